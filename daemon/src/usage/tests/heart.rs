//! When a segment ends: at the end of an era of collecting, however short the time without it, and at its size.

use std::{collections::BTreeMap, sync::Arc};

use leasehold_engine::{
    UsagePlan, UsagePresence,
    ids::{KeyId, UsageEventId},
    row::{UsageBefore, UsageEventRow, UsageKind, UsageSegmentRow},
    time::{LeaseTime, Now, WallTime},
};
use leasehold_keys::{
    activation::LicenseId,
    installation::InstallationKey,
    usage::{Clocks, End, FILE_MAX_BYTES, Item, ROTATE_BYTES, UsagePrivateKey, open},
};

use super::{
    super::{
        draft::{Outside, Stored},
        heart::{Course, Heart},
        look::{EVENTS_PER_STEP, Glance, View},
        naming::{NamesSetting, Naming},
    },
    site::{GRANTS, Site, label},
};

/// 2030-03-17T12:00:00Z.
const WALL_MS: i64 = 1_899_979_200_000;

/// A heart with an engine of straw.
struct Bench {
    heart: Heart,
    installation: InstallationKey,
    reader: UsagePrivateKey,
    naming: Naming,
    lease_ms: u64,
    plan: UsagePlan,
    waiting: Vec<UsageEventRow>,
    present: Vec<UsagePresence>,
    rows: BTreeMap<u32, UsageSegmentRow>,
    files: BTreeMap<u32, Vec<u8>>,
    told: u64,
}

impl Bench {
    fn new() -> Self {
        let license = Some(LicenseId(uuid::Uuid::max()));
        Self {
            heart: Heart::new(),
            installation: InstallationKey::from_seed([5; 32]).unwrap(),
            reader: UsagePrivateKey::from_seed([9; 32].into()),
            naming: Naming::open(NamesSetting::Plain, std::path::Path::new("nowhere")).unwrap(),
            lease_ms: 0,
            plan: UsagePlan { collecting: true, era: 1, license, ..UsagePlan::default() },
            waiting: Vec::new(),
            present: Vec::new(),
            rows: BTreeMap::new(),
            files: BTreeMap::new(),
            told: 0,
        }
    }

    fn tell(&mut self, what: UsageKind, user: &str, counter: u32) {
        self.told += 1;
        let keys: Arc<[KeyId]> = Arc::from([]);
        let since = WallTime::from_ms(WALL_MS);
        let before = (what == UsageKind::Logoff).then(|| UsageBefore { since, keys: keys.clone() });
        let (id, era, at) = (UsageEventId(self.told), self.plan.era, WallTime::from_ms(WALL_MS));
        self.waiting.push(UsageEventRow { id, era, at, what, user: label(user), counter, keys, before });
    }

    fn is_there(user: &str) -> UsagePresence {
        UsagePresence { user: label(user), since: WallTime::from_ms(WALL_MS), counter: 1, keys: Arc::from([]) }
    }

    /// One look; false where nothing was due.
    fn look(&mut self) -> bool {
        let now = Now {
            lease: LeaseTime::from_ms(self.lease_ms),
            wall: WallTime::from_ms(WALL_MS + self.lease_ms.cast_signed()),
            unconfirmed_ms: 0,
        };
        let recipients = [self.reader.public()];
        let clocks = Clocks { trusted: now.wall, wall: now.wall };
        let outside =
            Outside { installation: &self.installation, recipients: &recipients, naming: &self.naming, clocks };
        let open = self.rows.values().any(|row| row.closed.is_none());
        let glance = Glance { now, waiting: self.waiting.len(), plan: self.plan.clone(), open };
        let Some(wish) = self.heart.due(&glance, &outside, Course::Running) else { return false };
        let events: Vec<_> = self.waiting.iter().take(EVENTS_PER_STEP).cloned().collect();
        let view = View {
            now,
            plan: self.plan.clone(),
            is_all: events.len() == self.waiting.len(),
            events,
            presences: wish.presences.then(|| self.present.clone()),
            rows: wish.rows.then(|| self.rows.values().cloned().collect()),
        };
        let hashed: Vec<Stored> = Vec::new();
        let Some(step) = self.heart.compose(&view, hashed, &outside, Course::Running).unwrap() else { return false };
        for row in step.segments {
            self.rows.insert(row.number, row);
        }
        if let Some(through) = step.sealed_through {
            self.waiting.retain(|event| event.id > through);
        }
        for write in self.heart.committed() {
            let file = self.files.entry(write.segment).or_default();
            assert_eq!(file.len() as u64, write.offset);
            file.extend_from_slice(&write.bytes);
        }
        true
    }

    fn settle(&mut self) {
        while self.look() {}
    }

    /// `logon ann`, and whether the file is closed.
    fn read(&self, segment: u32) -> (Vec<String>, bool) {
        let opened = open(&self.files[&segment], &self.reader).unwrap();
        assert_eq!(opened.damage, None);
        let one = |item: &Item| format!("{} {}", item.kind(), item.user().map(ToString::to_string).unwrap_or_default());
        (opened.items().map(one).collect(), matches!(opened.file.end(), End::Closed(_)))
    }
}

/// Off, a logoff, on again, all between two looks.
#[test]
fn an_era_that_ended_unseen_closes_its_segment() {
    let mut bench = Bench::new();
    bench.settle();
    bench.tell(UsageKind::Logon, "ann", 1);
    bench.tell(UsageKind::Logon, "bob", 1);
    // Nobody has looked when the third era begins: ann left before the second, and tina, who came in it, before the third.
    bench.plan.era = 2;
    bench.tell(UsageKind::Logon, "tina", 1);
    bench.plan.era = 3;
    bench.tell(UsageKind::Logoff, "bob", 0);
    // As the engine tells them that are there, were only events of the first era sealed.
    bench.present = vec![Bench::is_there("bob")];
    bench.settle();
    let said: Vec<_> = (1..=3).map(|segment| bench.read(segment)).collect();
    let words = |some: &[&str]| some.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    assert_eq!(said[0], (words(&["logon ann", "logon bob"]), true));
    assert_eq!(said[1], (words(&["present bob", "logon tina"]), true));
    assert_eq!(said[2], (words(&["present bob", "logoff bob"]), false));
}

/// An era with nothing to tell closes the one before all the same.
#[test]
fn another_era_without_events_opens_with_who_is_there() {
    let mut bench = Bench::new();
    bench.tell(UsageKind::Logon, "ann", 1);
    bench.settle();
    bench.lease_ms += 60_000;
    bench.settle();
    bench.plan.era = 2;
    bench.present = vec![Bench::is_there("bob")];
    bench.settle();
    assert_eq!(bench.read(1), (vec!["logon ann".to_owned()], true));
    assert_eq!(bench.read(2), (vec!["present bob".to_owned()], false));
    assert_eq!(bench.rows[&2].because, "changed");
    // Nothing more is due.
    assert!(!bench.look());
}

/// The same with the real engine: a license that asks for usage, one that does not, and the next one, within one look.
#[test]
fn a_logoff_while_nobody_collects_leaves_nobody_logged_on() {
    let users = ["ann", "bob"].map(str::to_owned);
    let mut site = Site::new(&users, NamesSetting::Plain);
    site.turn(Course::Running).unwrap();
    let leases: Vec<_> = users
        .iter()
        .map(|user| {
            let request = site.next_request();
            site.log_on(request, user, "Desktop").unwrap()
        })
        .collect();
    site.lease_ms += 60_000;
    site.turn(Course::Running).unwrap();
    assert_eq!((site.rows().len(), site.waiting()), (1, 2));
    site.lease_ms += 60_000;
    site.turn(Course::Running).unwrap();
    assert_eq!((site.rows().len(), site.waiting()), (1, 0));
    site.license(&GRANTS[1..]).unwrap();
    site.release(leases[0]).unwrap();
    site.license(GRANTS).unwrap();
    site.turn(Course::Running).unwrap();
    let rows = site.rows();
    assert_eq!(rows.len(), 2);
    assert!(rows[0].closed.is_some() && rows[1].because == "changed", "{rows:?}");
    site.turn(Course::Ending).unwrap();
    let bytes = std::fs::read(site.folder().join(&rows[1].file)).unwrap();
    let opened = open(&bytes, &site.reader).unwrap();
    let there: Vec<_> = opened.items().filter_map(Item::user).map(ToString::to_string).collect();
    assert_eq!(there, ["bob"]);
}

/// USAGE-4: one more at 16 MiB; and what a file has no room for any more within one step goes into the next.
#[test]
fn a_segment_turns_at_its_size_and_where_it_is_full() {
    let mut bench = Bench::new();
    bench.settle();
    // Names that are as long as names may be, each its own.
    let name = |number: u32| format!("{number:08}{}", "x".repeat(240));
    let mut last = 0;
    let mut more = |bench: &mut Bench, most: u32| {
        for number in last..last + most {
            bench.tell(UsageKind::Logon, &name(number), 1);
        }
        last += most;
    };
    // More than a file holds waits: the step that comes to its end seals a part.
    more(&mut bench, 75_000);
    bench.settle();
    let full = &bench.rows[&1];
    assert!(full.closed.is_some() && full.bytes > ROTATE_BYTES as u64, "{full:?}");
    assert!(full.bytes as usize <= FILE_MAX_BYTES && FILE_MAX_BYTES - (full.bytes as usize) < 70_000, "{full:?}");
    assert_ne!(full.events % EVENTS_PER_STEP as u64, 0, "its end was within a step");
    assert_eq!(bench.rows[&2].because, "size");
    // From here on little comes at a time.
    while bench.rows.len() == 2 {
        more(&mut bench, 2_000);
        bench.settle();
    }
    let turned = &bench.rows[&2];
    assert!(turned.closed.is_some() && turned.bytes >= ROTATE_BYTES as u64, "{turned:?}");
    assert!(turned.bytes < ROTATE_BYTES as u64 + 600_000, "{turned:?}");
    assert_eq!((bench.rows[&3].because.as_str(), bench.rows[&3].events), ("size", 0));
    let told = (1..=3).flat_map(|segment| bench.read(segment).0);
    assert!(told.eq((0..last).map(|number| format!("logon {}", name(number)))), "each once, in order");
    assert!(bench.waiting.is_empty());
}
