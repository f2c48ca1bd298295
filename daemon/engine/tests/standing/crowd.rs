//! Random crowds of people, ports and requests under stages that come and go: whatever is done, no stage ends a call port, no
//! lease keeps what its stage refuses, everything comes back, and all counts stay true.

use std::collections::BTreeMap;

use leasehold_engine::{
    command::{Acquire, Act, Command, Revoked},
    decision::Told,
    ids::LeaseId,
    refusal::EndReason,
    row::{Change, LeaseRow, Row},
    standing::Stage,
};
use leasehold_keys::name::Method;
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRng, TestRunner},
};

use crate::{
    site::Story,
    support::{administrator, logon, unary, units, user},
};

const HOUR: u64 = 3_600_000;
const PEOPLE: [(&str, Method, &[&str]); 5] = [
    ("ann", Method::Assignable, &["CLIENT", "SUPERVISOR"]),
    ("bob", Method::Assignable, &["CLIENT"]),
    ("cid", Method::Concurrent, &["CLIENT", "SUPERVISOR"]),
    ("dot", Method::Concurrent, &["SUPERVISOR"]),
    ("eve", Method::Concurrent, &["TRACKER", "SUPERVISOR"]),
];
const GRANTS: [&str; 8] = [
    "CLIENT 3",
    "CLIENT_CONCURRENT 1",
    "SUPERVISOR 2",
    "SUPERVISOR_CONCURRENT 1",
    "TRACKER_CONCURRENT 2",
    "SESSION 12",
    "TRUNK 3",
    "SPEECH 4",
];

#[derive(Clone, Debug)]
enum Op {
    Logon { who: usize, needs: usize, wait: bool },
    Ports { trunk: bool, units: u32, wait: bool },
    Speech { units: u32, wait: bool },
    Release { nth: usize },
    Idle { nth: usize, idle: bool },
    Give { who: usize, key: usize, give: bool },
    Convert { who: usize },
    Revoke { nth: usize },
    Pass { ms: u64 },
    Good,
    Revoked,
    Restart,
    Undo,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..PEOPLE.len(), 0..4_usize, any::<bool>()).prop_map(|(who, needs, wait)| Op::Logon { who, needs, wait }),
        4 => (any::<bool>(), 1..4_u32, any::<bool>()).prop_map(|(trunk, units, wait)| Op::Ports { trunk, units, wait }),
        1 => (1..3_u32, any::<bool>()).prop_map(|(units, wait)| Op::Speech { units, wait }),
        3 => (0..12_usize).prop_map(|nth| Op::Release { nth }),
        2 => (0..12_usize, any::<bool>()).prop_map(|(nth, idle)| Op::Idle { nth, idle }),
        2 => (0..PEOPLE.len(), 0..3_usize, any::<bool>()).prop_map(|(who, key, give)| Op::Give { who, key, give }),
        1 => (0..PEOPLE.len()).prop_map(|who| Op::Convert { who }),
        1 => (0..12_usize).prop_map(|nth| Op::Revoke { nth }),
        8 => prop_oneof![Just(12 * HOUR), Just(24 * HOUR), 1..HOUR, 1..30 * HOUR].prop_map(|ms| Op::Pass { ms }),
        1 => Just(Op::Good),
        1 => Just(Op::Revoked),
        1 => Just(Op::Restart),
        1 => Just(Op::Undo),
    ]
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    held: u64,
    enforced: u64,
    regained: u64,
    refused: u64,
}

struct Play {
    story: Story,
    /// Live leases as their changes tell them.
    live: BTreeMap<LeaseId, LeaseRow>,
    /// Changes and events that were looked at.
    seen: (usize, usize),
    tally: Tally,
}

impl Play {
    fn new() -> Self {
        let mut story = Story::granting(&GRANTS);
        story.steps("file 2020-05-02 1");
        for (name, method, keys) in PEOPLE {
            story.site.add_user(name, method);
            story.site.assign(true, user(name), keys).unwrap();
        }
        Self { story, live: BTreeMap::new(), seen: (0, 0), tally: Tally::default() }
    }

    fn nth(&self, nth: usize) -> LeaseId {
        self.live.keys().rev().nth(nth).copied().unwrap_or(LeaseId(1 << 40))
    }

    fn keys(&self, row: &LeaseRow) -> Vec<String> {
        row.terms.keys.iter().map(|held| self.story.site.engine.key_name(held.key).to_string()).collect()
    }

    fn is_port(&self, row: &LeaseRow) -> bool {
        self.keys(row).iter().any(|key| key == "SESSION" || key == "TRUNK")
    }

    fn ask(&mut self, ask: leasehold_engine::command::Ask, wait: bool) {
        let acquire = self.story.site.acquire_command(unary("acd"), ask);
        let wait_ms = if wait { HOUR } else { 0 };
        let got = self.story.site.acquire(Acquire { ttl_ms: 86_400_000, wait_ms, ..acquire });
        self.tally.held += u64::from(matches!(&got, Some(Ok(_))));
        if let Some(Err(refusal)) = got
            && refusal.reason() == "ENFORCED"
        {
            self.tally.refused += 1;
            assert!(self.story.stage() >= Stage::SupervisorDisabled, "{}", refusal.message());
        }
    }

    fn renew(&mut self) {
        let leases: Vec<LeaseId> = self.live.keys().copied().collect();
        self.story.site.run(Command::Renew { from: unary("acd"), leases }).unwrap();
    }

    fn op(&mut self, op: &Op) {
        let needs: [&[&str]; 4] = [&[], &["CLIENT"], &["SUPERVISOR"], &["CLIENT", "SUPERVISOR"]];
        match op {
            Op::Logon { who, needs: which, wait } => self.ask(logon(PEOPLE[*who].0, needs[*which]), *wait),
            Op::Ports { trunk, units: count, wait } => {
                self.ask(units(if *trunk { "TRUNK" } else { "SESSION" }, *count), *wait);
            }
            Op::Speech { units: count, wait } => self.ask(units("SPEECH", *count), *wait),
            Op::Release { nth } => drop(self.story.site.release(unary("acd"), self.nth(*nth))),
            Op::Idle { nth, idle } => {
                let leases = vec![self.nth(*nth)];
                self.story.site.run(Command::SetIdle { from: unary("acd"), leases, idle: *idle }).unwrap();
            }
            Op::Give { who, key, give } => {
                let key = ["CLIENT", "SUPERVISOR", "TRACKER"][*key];
                drop(self.story.site.assign(*give, user(PEOPLE[*who].0), &[key]));
            }
            Op::Convert { who } => {
                let name = crate::support::label(PEOPLE[*who].0);
                let views = self.story.site.engine.entity(self.story.site.now(), &user(PEOPLE[*who].0)).unwrap();
                let leasehold_engine::view::EntityView::User { row, .. } = views else { panic!("no user") };
                let method = match row.method {
                    Method::Assignable => Method::Concurrent,
                    Method::Concurrent => Method::Assignable,
                };
                drop(self.story.site.administer(Act::Change(leasehold_engine::command::EntityChange::User {
                    name,
                    display_name: None,
                    method: Some(method),
                    organization: None,
                    workgroups: None,
                    types: None,
                })));
            }
            Op::Revoke { nth } => {
                let what = Revoked::Leases(vec![self.nth(*nth)]);
                let act = Act::Revoke { what, reason: crate::support::label("a test") };
                self.story.site.run(Command::Administer { by: administrator(), act }).unwrap();
            }
            Op::Pass { ms } => {
                let mut left = *ms;
                while left > 0 {
                    let step = left.min(6 * HOUR);
                    self.story.run(step);
                    self.follow();
                    self.renew();
                    left -= step;
                }
            }
            Op::Good => self.story.step("good"),
            Op::Revoked => self.story.step("revoked 2020-01-01"),
            Op::Restart => self.story.step("restart"),
            Op::Undo => {
                self.story.site.sleep(1);
                let (_, outcome) = self.story.site.engine.apply(self.story.site.now(), Command::Tick);
                self.story.site.engine.undo(outcome.changes);
            }
        }
        // Between a change and its last piece nothing is promised of keys, and everything of counts.
        self.story.site.check();
        self.story.settle();
        self.follow();
        self.laws();
    }

    /// Looks at all changes and events since the last look.
    fn follow(&mut self) {
        let site = &self.story.site;
        for Change { before, after } in &site.changes[self.seen.0..] {
            let live = |row: &Option<Row>| match row {
                Some(Row::Lease(row)) if row.ended.is_none() => Some((**row).clone()),
                _ => None,
            };
            if let Some(row) = live(before) {
                self.live.remove(&row.id);
            }
            if let Some(row) = live(after) {
                self.live.insert(row.id, row);
            }
            let how = match after {
                Some(Row::Lease(row)) => row.ended.map(|(_, how)| how),
                _ => None,
            };
            if let (Some(row), Some(how)) = (live(before), how) {
                let port = self.is_port(&row);
                self.tally.enforced += u64::from(how == EndReason::Enforced);
                let own = [EndReason::Released, EndReason::Revoked];
                assert!(!port || own.contains(&how), "a call port ended: {how:?}");
            }
        }
        for event in &site.events[self.seen.1..] {
            match &event.what {
                Told::Changed { added, .. } => {
                    self.tally.regained += added.iter().filter(|key| key.as_str() == "SUPERVISOR").count() as u64;
                }
                Told::Ended { .. } | Told::Warned { .. } | Told::SiteKeysChanged | Told::Standing(_) => {}
            }
        }
        self.seen = (site.changes.len(), site.events.len());
    }

    /// What must hold when all pieces are done.
    fn laws(&self) {
        let site = &self.story.site;
        site.check();
        let stage = self.story.stage();
        let standing = site.engine.standing(site.now());
        for row in self.live.values() {
            let keys = self.keys(row);
            let supervised = keys.iter().any(|key| key == "SUPERVISOR");
            assert!(
                !supervised || stage < Stage::SupervisorDisabled,
                "lease {} keeps {keys:?} at stage {stage}",
                row.id
            );
            if stage == Stage::Unlicensed && !self.is_port(row) {
                assert!(row.idle_since.is_none(), "lease {} is idle and lives", row.id);
                assert!(standing.leases_end_in_ms > Some(0), "lease {} outlives its twelve hours", row.id);
            }
            let refused = row.terms.missing.iter().any(|(_, why)| why.reason() == "ENFORCED");
            assert!(
                !refused || stage >= Stage::SupervisorDisabled,
                "lease {} still lacks what nothing refuses",
                row.id
            );
        }
    }
}

#[test]
fn whatever_a_crowd_does_no_stage_ends_a_call_and_nothing_is_lost_for_good() {
    let times = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(1_u32).max(1);
    let config = Config {
        cases: 120 * times,
        failure_persistence: None,
        max_shrink_iters: 500,
        max_shrink_time: 20_000,
        ..Config::default()
    };
    let mut seed = [0x43; 32];
    if let Some(number) = std::env::var("LEASEHOLD_SEED").ok().and_then(|text| text.parse::<u64>().ok()) {
        seed[..8].copy_from_slice(&number.to_le_bytes());
    }
    let algorithm = config.rng_algorithm;
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(algorithm, &seed));
    let seen = std::cell::Cell::new(Tally::default());
    runner
        .run(&vec(op(), 1..60), |ops| {
            let mut play = Play::new();
            for op in &ops {
                play.op(op);
            }
            // Back in good standing everything can be had again.
            play.story.step("good");
            play.story.settle();
            play.follow();
            play.laws();
            let (before, now) = (seen.get(), play.tally);
            seen.set(Tally {
                held: before.held + now.held,
                enforced: before.enforced + now.enforced,
                regained: before.regained + now.regained,
                refused: before.refused + now.refused,
            });
            Ok(())
        })
        .unwrap_or_else(|fault| panic!("{fault}"));
    let Tally { held, enforced, regained, refused } = seen.get();
    println!("{:?}", seen.get());
    assert!(held > 300 && enforced > 40 && regained > 10 && refused > 30, "little was seen: {:?}", seen.get());
}
