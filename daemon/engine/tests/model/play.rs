//! Plays steps on the engine and on the model side by side, and compares what comes of each.

use std::ops::AddAssign;

use leasehold_engine::{
    Engine, Limits,
    command::{
        Acquire, Act, Ask, Assign, Attach, CallerInfo, Command, Entity, EntityChange, EntityName, HostFinding, Origin,
        Place, Release, Revoked,
    },
    decision::{LeaseView, Outcome, Reply, Told},
    ids::{HolderId, Identity, LeaseId, RequestId, RunId, Ticket},
    refusal::{EndReason, Refusal},
    row::Row,
    time::LeaseTime,
    view::{AssignmentView, HeldLeaseView, LeaseFilter},
};
use leasehold_keys::{
    activation::{Grant, Units},
    name::{KeyName, Method, PoolName},
};

use crate::{
    laws,
    site::{
        At, BASIC, CLIENT, Caller, Decision, Given, Held, Key, Lease, Name, Owner, Pool, Site as Paper, Station,
        Subject, User, Waiting, What, Why, assignable, fact, facts, included_in,
    },
    steps::{Again, By, GRANTED, STATIONS, Step, USERS, beginning},
    support::{self, Site, administrator, files, label, labels},
};

mod administering;
mod asking;
mod counts;
mod holding;
mod live;

pub(crate) const CALLERS: [Caller; 3] = [
    Caller { identity: "acd", instance: "" },
    Caller { identity: "acd", instance: "b" },
    Caller { identity: "portal", instance: "" },
];

/// What was seen, so that a test that sees nothing is noticed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) commands: u64,
    pub(crate) granted: u64,
    pub(crate) refused: u64,
    pub(crate) waited: u64,
    pub(crate) served: u64,
    pub(crate) ended: u64,
    pub(crate) displaced: u64,
    pub(crate) repeated: u64,
    pub(crate) either: u64,
    pub(crate) undone: u64,
}

impl Tally {
    pub(crate) fn plus(mut self, other: Tally) -> Tally {
        self.commands.add_assign(other.commands);
        self.granted.add_assign(other.granted);
        self.refused.add_assign(other.refused);
        self.waited.add_assign(other.waited);
        self.served.add_assign(other.served);
        self.ended.add_assign(other.ended);
        self.displaced.add_assign(other.displaced);
        self.repeated.add_assign(other.repeated);
        self.either.add_assign(other.either);
        self.undone.add_assign(other.undone);
        self
    }
}

/// A caller's stream: its run and the number that the engine gave it.
#[derive(Clone, Copy, Debug)]
struct Stream {
    run: u8,
    holder: HolderId,
    open: bool,
}

/// A granted request that is still remembered (LEASE-3).
#[derive(Clone, Debug)]
struct Remembered {
    identity: Name,
    request: u128,
    what: What,
    rest: (u64, u64, u8),
    lease: u64,
    acknowledged: bool,
}

#[derive(Clone, Debug)]
struct Asked {
    by: By,
    request: u128,
    what: What,
    ttl_s: u64,
    wait_s: u64,
    priority: u8,
}

pub(crate) struct Play {
    site: Site,
    /// Gets the same commands, and must do the same.
    twin: Engine,
    paper: Paper,
    streams: [Option<Stream>; 3],
    asked: Vec<Asked>,
    remembered: Vec<Remembered>,
    sequence: u32,
    arrivals: u64,
    /// Commands for a look at undoing, since the last one.
    recent: Vec<Command>,
    rows_then: Vec<Row>,
    /// Pools above their capacity, and since when (ALLOC-11).
    above: Vec<(Pool, u64)>,
    /// The run from whose stream the command came.
    contact: Option<Owner>,
    tally: Tally,
}

/// Leases that must have ended by now, each with the reasons that are right.
type Ends = Vec<(u64, Vec<EndReason>)>;
/// What the engine made of a command, and the leases whose time was over before it.
type Decided = (Result<Reply, Refusal>, Outcome, Ends);

/// What an acquire got.
#[derive(Debug)]
enum Got {
    Granted(Box<LeaseView>),
    Refused(Refusal),
    Waits,
}

pub(crate) fn key_of(name: &KeyName) -> Key {
    facts().iter().map(|fact| fact.key).find(|key| *key == name.as_str()).unwrap_or_else(|| panic!("no key {name}"))
}

pub(crate) fn pool_of(name: &PoolName) -> Pool {
    Pool { key: key_of(&name.key), concurrent: name.method == Method::Concurrent }
}

const fn method(concurrent: bool) -> Method {
    if concurrent { Method::Concurrent } else { Method::Assignable }
}

fn pool_name(pool: Pool) -> PoolName {
    PoolName { key: pool.key.parse().unwrap(), method: method(pool.concurrent) }
}

fn entity(subject: Subject) -> EntityName {
    match subject {
        Subject::User(name) => support::user(name),
        Subject::Station(name) => support::station(name),
    }
}

fn subject_of(name: &EntityName) -> Subject {
    let find = |all: &[Name], text: &str| *all.iter().find(|name| **name == text).unwrap();
    match name {
        EntityName::User(name) => Subject::User(find(&USERS, name.as_str())),
        EntityName::Station(name) => Subject::Station(find(&STATIONS, name.as_str())),
        other => panic!("nobody gave {other:?} a key"),
    }
}

fn held_of(view: &LeaseView) -> Vec<Held> {
    let mut held: Vec<Held> = view
        .keys
        .iter()
        .map(|held| (key_of(&held.key), held.seat.as_ref().map(|(pool, units)| (pool_of(pool), *units))))
        .collect();
    held.sort_unstable();
    held
}

/// The key that a refusal blames, where it names one.
fn blamed(refusal: &Refusal) -> Option<String> {
    match refusal {
        Refusal::PoolExhausted(exhausted) => Some(exhausted.pool.key.to_string()),
        Refusal::NotAssigned { key, .. }
        | Refusal::NotLicensed { key, .. }
        | Refusal::HolderNotAllowed { key, .. }
        | Refusal::MethodMismatch { key, .. }
        | Refusal::PrerequisiteMissing { key, .. } => Some(key.to_string()),
        Refusal::StationNotLicensed { key, .. } => key.as_ref().map(ToString::to_string),
        _ => None,
    }
}

fn is_one_of(refusal: &Refusal, whys: &[Why]) -> bool {
    let key = blamed(refusal);
    whys.iter().any(|(reason, blame)| {
        *reason == refusal.reason() && (blame.is_none() || key.is_none() || key.as_deref() == *blame)
    })
}

pub(crate) fn play(grants: &[Option<u32>], steps: &[Step]) -> Tally {
    let mut play = Play::new(grants);
    for step in beginning().iter().chain(steps) {
        play.step(step);
    }
    play.look(true);
    play.tally
}

impl Play {
    pub(crate) fn new(grants: &[Option<u32>]) -> Self {
        let mut play = Self {
            site: Site::empty(Limits::default()),
            twin: Engine::new(Limits::default()),
            paper: Paper::default(),
            streams: [None; 3],
            asked: Vec::new(),
            remembered: Vec::new(),
            sequence: 0,
            arrivals: 0,
            recent: Vec::new(),
            rows_then: Vec::new(),
            above: Vec::new(),
            contact: None,
            tally: Tally::default(),
        };
        play.twin.recover(play.site.now());
        for ((key, concurrent), units) in GRANTED.into_iter().zip(grants) {
            if *units != Some(0) {
                play.paper.grants.push((Pool { key, concurrent }, *units));
            }
        }
        if play.paper.grants.is_empty() {
            play.paper.grants.push((assignable("CLIENT"), Some(1)));
        }
        play.load();
        play.rows_then = play.site.engine.lasting_rows();
        play
    }

    fn identity(caller: Caller) -> Identity {
        Identity::Name(label(caller.identity))
    }

    fn info(caller: Caller) -> CallerInfo {
        CallerInfo { instance: caller.instance.to_string(), ..support::caller(caller.identity) }
    }

    fn stream(&self, caller: usize) -> Option<Stream> {
        self.streams[caller].filter(|stream| stream.open)
    }

    fn origin(&self, by: By) -> (Origin, Owner) {
        let caller = CALLERS[by.caller];
        match self.stream(by.caller).filter(|_| by.stream) {
            Some(stream) => (Origin::Stream(stream.holder), Owner { caller, run: Some(stream.run) }),
            None => (Origin::Unary(Self::info(caller)), Owner { caller, run: None }),
        }
    }

    /// A lease by its age; live or not. Far too old: one that never was.
    fn nth(&self, nth: usize) -> u64 {
        let mut ids: Vec<u64> = self.paper.leases.iter().map(|lease| lease.id).collect();
        ids.extend(self.paper.ended.iter().map(|(id, _)| *id));
        ids.sort_unstable();
        ids.into_iter().rev().nth(nth).unwrap_or(1_000_000)
    }

    fn owner_of(&self, id: u64) -> Option<&Lease> {
        self.paper.leases.iter().find(|lease| lease.id == id)
    }

    // --- one command ----------------------------------------------------------------------------------------------

    /// Gives a command to the engine and its twin; what is over by now ends on paper.
    fn command(&mut self, command: Command) -> Decided {
        let now = self.site.now();
        self.paper.now_ms = self.site.lease_ms;
        self.tally.commands += 1;
        let over = self.paper.over(matches!(command, Command::Tick));
        self.recent.push(command.clone());
        let (twin_reply, twin_outcome) = self.twin.apply(now, command.clone());
        let (reply, outcome) = self.site.engine.apply(now, command);
        assert_eq!(
            format!("{twin_reply:?} {twin_outcome:?}"),
            format!("{reply:?} {outcome:?}"),
            "the same commands do not do the same"
        );
        self.site.changes.extend(outcome.changes.iter().cloned());
        laws::changes_follow_each_other(&outcome.changes);
        (reply, outcome, over)
    }

    /// Ends on paper what the engine must have ended; gives the ends for [`Play::settle`].
    fn end_over(&mut self, over: &[(u64, Vec<EndReason>)]) {
        for (id, why) in over {
            self.paper.end(*id, why[0]);
        }
    }

    pub(crate) fn step(&mut self, step: &Step) {
        match step {
            Step::Attach { caller, new_run } => self.attach(*caller, *new_run),
            Step::Detach { caller } => self.detach(*caller),
            Step::Beat { caller } => self.beat(*caller),
            Step::Acquire { by, what, ttl_s, wait_s, priority, again } => {
                self.acquire(*by, what, *ttl_s, *wait_s, *priority, *again);
            }
            Step::Cancel { by, nth } => self.cancel(*by, *nth),
            Step::Abandon { nth } => self.abandon(*nth),
            Step::Release { by, leases, requests } => self.release(*by, leases, requests),
            Step::Renew { by, leases } => self.renew(*by, leases),
            Step::SetIdle { by, leases, idle } => self.set_idle(*by, leases, *idle),
            Step::TakeOver { caller, leases } => self.take_over(*caller, leases),
            Step::Received { caller, nth } => self.received(*caller, *nth),
            Step::Assign { give, subjects, keys, best_effort, dry_run } => {
                self.assign(*give, subjects, keys, *best_effort, *dry_run);
            }
            Step::AddUser { name, concurrent } => self.add_user(name, *concurrent),
            Step::Convert { name, concurrent } => self.convert(name, *concurrent),
            Step::DeleteUser { name } => self.delete(Subject::User(name)),
            Step::AddStation { name, kind } => self.add_station(name, *kind),
            Step::Enable { name, enabled } => self.enable(name, *enabled),
            Step::DeleteStation { name } => self.delete(Subject::Station(name)),
            Step::Revoke { leases } => self.revoke(leases),
            Step::RevokeUser { name } => self.revoke_user(name),
            Step::Regrant { pool, units } => self.regrant(Pool { key: pool.0, concurrent: pool.1 }, *units),
            Step::Sleep { ms } => self.site.sleep(*ms),
            Step::Pass { ms } => self.pass(*ms),
        }
    }

    /// Time passes, with a tick whenever the engine wants one; it never wants one in vain for ever.
    fn pass(&mut self, ms: u64) {
        let end = self.site.lease_ms + ms;
        let mut idle_ticks = 0;
        loop {
            let now = self.site.lease_ms;
            let next = self.site.engine.next_wakeup(self.site.now()).map_or(end, LeaseTime::as_ms);
            // A moment that has passed already means: at once.
            let at = next.clamp(now, end);
            self.site.sleep(at - now);
            let (reply, outcome, over) = self.command(Command::Tick);
            assert_eq!(reply, Ok(Reply::Done));
            self.end_over(&over);
            let quiet = outcome.changes.is_empty() && outcome.answers.is_empty() && outcome.events.is_empty();
            self.settle(&outcome, &over, true);
            for waiting in &self.paper.waiting {
                assert!(
                    waiting.deadline_ms > self.paper.now_ms || waiting.away_since_ms.is_some(),
                    "after a tick somebody waits beyond the deadline: {waiting:?}"
                );
            }
            let again = self.site.engine.next_wakeup(self.site.now()).map(LeaseTime::as_ms);
            assert!(
                again.is_none_or(|again| again <= self.site.lease_ms + 60_000),
                "the next tick is at most a minute away"
            );
            idle_ticks =
                if quiet && again.is_some_and(|again| again <= self.site.lease_ms) { idle_ticks + 1 } else { 0 };
            assert!(idle_ticks < 8, "ticks at {} do nothing, and more are wanted", self.site.lease_ms);
            if self.site.lease_ms == end && again.is_none_or(|again| again > end) {
                return;
            }
        }
    }
}
