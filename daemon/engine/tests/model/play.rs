//! Plays steps on the engine and on the model side by side, and compares what comes of each.

use std::ops::AddAssign;

use leasehold_engine::{
    Engine, Limits,
    command::{
        Acquire, Act, Ask, Assign, Attach, CallerInfo, Command, Entity, EntityChange, EntityName, HostFinding, Origin,
        Place, Release, Revoked, ShareName,
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
    steps::{Again, By, GRANTED, ORGANIZATIONS, STATIONS, Step, USERS, beginning},
    support::{self, Site, administrator, files, label, labels},
};

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
    fn command(&mut self, command: Command) -> (Result<Reply, Refusal>, Outcome, Vec<(u64, Vec<EndReason>)>) {
        let now = self.site.now();
        self.paper.now_ms = self.site.lease_ms;
        self.paper.wall_ms = self.site.wall_ms;
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

    /// After a command: waiting requests that were answered, leases that ended, keys that came and went, and the counts of
    /// all pools. `expected`: leases that must have ended, with reasons to choose from. `free`: the command may change
    /// what live leases hold, or end them.
    fn settle(&mut self, outcome: &Outcome, expected: &[(u64, Vec<EndReason>)], free: bool) {
        let views = self.views();
        self.check_ends(outcome, expected, &views, free);
        self.check_kept(&views, free);
        self.serve(outcome);
        self.hear(&views);
        self.check_leases(&views);
        self.check_waiting();
        self.check_assignments();
        self.check_pools();
        if self.tally.commands.is_multiple_of(16) {
            self.look(false);
        }
    }

    /// Left open by 03: whatever comes down a run's stream shows that the run lives, and may renew its leases as a beat does.
    fn hear(&mut self, views: &[HeldLeaseView]) {
        let Some(contact) = self.contact.take() else { return };
        let now_ms = self.paper.now_ms;
        for lease in self.paper.leases.iter_mut().filter(|lease| lease.owner == contact) {
            let now = |view: &&HeldLeaseView| view.lease.id.0 == lease.id && view.lease.renewed_ms_ago == 0;
            if views.iter().any(|view| now(&view)) {
                lease.heard_ms = now_ms;
            }
        }
    }

    fn views(&self) -> Vec<HeldLeaseView> {
        let filter = LeaseFilter { limit: 1_000, ..LeaseFilter::default() };
        self.site.engine.leases(self.site.now(), &filter).unwrap()
    }

    /// Why the engine says that a lease ended: by an event to its holder, or in its row.
    fn told_end(outcome: &Outcome, id: u64) -> Vec<EndReason> {
        let mut told = Vec::new();
        for event in &outcome.events {
            if let Told::Ended { lease, reason, .. } = event.what
                && lease.0 == id
            {
                told.push(reason);
            }
        }
        for change in &outcome.changes {
            if let Some(Row::Lease(row)) = &change.after
                && row.id.0 == id
                && let Some((_, reason)) = row.ended
            {
                told.push(reason);
            }
        }
        told
    }

    fn check_ends(
        &mut self,
        outcome: &Outcome,
        expected: &[(u64, Vec<EndReason>)],
        views: &[HeldLeaseView],
        free: bool,
    ) {
        let live = |id: u64| views.iter().any(|view| view.lease.id.0 == id);
        for (id, reasons) in expected {
            self.tally.ended += 1;
            assert!(!live(*id), "lease {id} is over ({reasons:?}) and still live");
            let told = Self::told_end(outcome, *id);
            assert!(told.iter().all(|reason| reasons.contains(reason)), "lease {id} ended {told:?}, not {reasons:?}");
            if !reasons.contains(&EndReason::Released) {
                assert!(!told.is_empty(), "nobody was told that lease {id} ended");
            }
            if let Some(reason) = told.first()
                && let Some(ended) = self.paper.ended.iter_mut().find(|(ended, _)| ended == id)
            {
                ended.1 = *reason;
            }
        }
        let displaced = self.displaced_by_served(outcome);
        let gone: Vec<Lease> = self.paper.leases.iter().filter(|lease| !live(lease.id)).cloned().collect();
        for lease in gone {
            if displaced.contains(&lease.id) {
                // It ends where the request that waited is granted.
                continue;
            }
            let told = Self::told_end(outcome, lease.id);
            assert!(!told.is_empty(), "lease {} is gone, and nobody was told why", lease.id);
            let why = told[0];
            assert!(told.iter().all(|other| *other == why), "lease {} ended {told:?}", lease.id);
            assert!(self.may_end(&lease, why, free), "lease {} ended {why:?} for no reason: {lease:?}", lease.id);
            self.tally.ended += 1;
            self.paper.end(lease.id, why);
        }
    }

    /// Leases that a request which waited, and was granted now, displaces (ALLOC-8).
    fn displaced_by_served(&self, outcome: &Outcome) -> Vec<u64> {
        let served = |waiting: &&Waiting| {
            outcome.answers.iter().any(|(ticket, answer)| answer.is_ok() && waiting.tickets.contains(&ticket.0))
        };
        self.paper.waiting.iter().filter(served).flat_map(|waiting| self.paper.displaced_by(&waiting.what)).collect()
    }

    /// Whether a lease may end, though no rule of the model says that it must.
    fn may_end(&self, lease: &Lease, why: EndReason, free: bool) -> bool {
        match why {
            // ALLOC-16: what it needs was taken away, or nothing is left.
            EndReason::Unassigned | EndReason::StationNotLicensed if free => {
                self.station_closed(lease) || self.lost_what_it_needs(lease)
            }
            EndReason::HolderRestarted => lease.orphan_until_ms.is_some_and(|until| until <= self.paper.now_ms),
            // ALLOC-11: 24 hours, and an hour from the warning.
            EndReason::CapacityLowered => self.above.iter().any(|(pool, since)| {
                self.paper.now_ms >= since + 25 * 3_600_000 && lease.held.iter().any(|(key, _)| *key == pool.key)
            }),
            _ => false,
        }
    }

    /// The station of a lease was switched off, or lost a key that it must be given.
    fn station_closed(&self, lease: &Lease) -> bool {
        let logon = lease.what.user().is_some();
        lease.what.station().is_some_and(|name| {
            let station = self.paper.station(name);
            station.is_none_or(|station| self.paper.standing_fault(station, logon).is_some())
        })
    }

    /// A key that the lease needs is not a right of its subject any more; or, where it names none, nothing is.
    fn lost_what_it_needs(&self, lease: &Lease) -> bool {
        let mut rights = self.rights_left(lease);
        // ALLOC-11: what it holds of a pool that was lowered stays with it.
        let mut subjects: Vec<Subject> = lease.what.user().map(Subject::User).into_iter().collect();
        subjects.extend(lease.what.station().map(Subject::Station));
        for given in subjects.into_iter().flat_map(|subject| self.paper.given_to(subject)) {
            if lease.has(given.pool.key) && self.paper.capacity(given.pool) > 0 {
                rights.push(given.pool.key);
                rights.extend(included_in(given.pool.key));
            }
        }
        loop {
            let met = |required: &Key| rights.contains(required) || self.paper.site_has(required);
            let kept: Vec<Key> = rights.iter().copied().filter(|key| fact(key).requires.iter().all(met)).collect();
            if kept.len() == rights.len() {
                break;
            }
            rights = kept;
        }
        lease.what.needed().iter().any(|key| !rights.contains(key)) || rights.is_empty()
    }

    /// Keys that a live lease could hold now, were there room: what it holds and is still given, and what it could get.
    fn rights_left(&self, lease: &Lease) -> Vec<Key> {
        // Leases of the user stand beside it: a new decision, without displacement.
        let what = match lease.what.clone() {
            What::Logon { user, at, needed: _, .. } => What::Logon { user, at, computer: None, needed: Vec::new() },
            What::Station { station, .. } => What::Station { station, needed: Vec::new() },
            units @ What::Units { .. } => units,
        };
        let mut paper = self.paper.clone();
        if matches!(what, What::Logon { at: At::Number(_), .. }) {
            // Its own seat is free for it.
            paper.leases.retain(|other| other.id != lease.id);
        }
        match paper.decide(&what, &[]) {
            Decision::Granted(held) => held.into_iter().map(|(key, _)| key).collect(),
            Decision::Refused(_) => Vec::new(),
        }
    }

    /// What live leases hold: as before, unless the command may change it; then nothing without a right to it, and nothing
    /// lost that could be kept.
    fn check_kept(&mut self, views: &[HeldLeaseView], free: bool) {
        let leases = self.paper.leases.clone();
        for lease in &leases {
            let Some(view) = views.iter().find(|view| view.lease.id.0 == lease.id) else { continue };
            let held = held_of(&view.lease);
            if held == lease.held {
                continue;
            }
            assert!(free, "lease {} held {:?} and now {held:?}", lease.id, lease.held);
            assert!(
                lease.what.needed().iter().all(|key| held.iter().any(|(other, _)| other == key)),
                "lease {} lives on without a key that it needs: {held:?} {lease:?}",
                lease.id
            );
            let at = self.paper.leases.iter().position(|other| other.id == lease.id).unwrap();
            self.paper.leases[at].held.clone_from(&held);
        }
        if free {
            for lease in leases.iter().filter(|lease| views.iter().any(|view| view.lease.id.0 == lease.id)) {
                self.check_justified(lease);
            }
        }
    }

    /// After a change: each key of a live lease is still a right of its subject, and a right with a free seat is had.
    fn check_justified(&self, before: &Lease) {
        let lease = self.paper.leases.iter().find(|lease| lease.id == before.id).unwrap();
        if matches!(lease.what, What::Units { .. }) {
            assert_eq!(lease.held, before.held, "units stay as they are");
            return;
        }
        assert!(!self.station_closed(lease), "a lease lives on at a station that cannot be used: {lease:?}");
        let by_number = matches!(lease.what, What::Logon { at: At::Number(_), .. });
        let mut brought = lease.what.station().map(|station| self.paper.station_rights(station)).unwrap_or_default();
        if by_number {
            brought.extend([BASIC, CLIENT]);
        }
        // ALLOC-11: what the station brought when there was room for it stays with the lease.
        for given in lease.what.station().map(|name| self.paper.given_to(Subject::Station(name))).unwrap_or_default() {
            let key = given.pool.key;
            if self.paper.capacity(given.pool) > 0 && before.held.iter().any(|held| *held == (key, None)) {
                brought.push(key);
                brought.extend(included_in(key));
            }
        }
        let given: Vec<&Given> =
            lease.what.user().map(|user| self.paper.given_to(Subject::User(user))).unwrap_or_default();
        for (key, seat) in &lease.held {
            let number = *key == BASIC && by_number;
            let own = given.iter().find(|given| given.pool.key == *key);
            let included = lease.held.iter().any(|(other, _)| included_in(other).contains(key));
            assert!(
                number || brought.contains(key) || own.is_some() || included,
                "lease {} holds {key} without a right to it: {lease:?}",
                lease.id
            );
            let wants_seat =
                number || (own.is_some_and(|own| own.pool.concurrent) && !included && !brought.contains(key));
            assert_eq!(seat.is_some(), wants_seat, "lease {}: the seat of {key}: {lease:?}", lease.id);
            let met =
                |required: &Key| lease.has(required) || brought.contains(required) || self.paper.site_has(required);
            assert!(
                fact(key).requires.iter().all(met) || before.has(key),
                "lease {} holds {key} without what it requires",
                lease.id
            );
        }
        // Nothing is lost that the subject still has a right to and could have.
        let could = self.rights_left(lease);
        for (key, _) in &before.held {
            assert!(
                lease.has(key) || !could.contains(key),
                "lease {} lost {key}, which it has a right to: {before:?} {lease:?}",
                lease.id
            );
        }
    }

    /// ALLOC-16: a key that was given just now is tried at once by every live lease of its subject.
    fn check_tried(&self, subject: Subject, key: Key) {
        for lease in &self.paper.leases {
            let of = match subject {
                Subject::User(user) => lease.what.user() == Some(user),
                Subject::Station(station) => lease.what.station() == Some(station),
            };
            let sought = self
                .paper
                .waiting
                .iter()
                .any(|waiting| self.paper.pools_of(&waiting.what).iter().any(|pool| pool.key == key));
            if of && !sought && !lease.has(key) {
                assert!(
                    !self.rights_left(lease).contains(&key),
                    "{key} was given to {subject:?}, there is room, and lease {} did not get it: {lease:?}",
                    lease.id
                );
            }
        }
    }

    /// Answers to requests that waited.
    fn serve(&mut self, outcome: &Outcome) {
        for (ticket, answer) in &outcome.answers {
            let Some(at) = self.paper.waiting.iter().position(|waiting| waiting.tickets.contains(&ticket.0)) else {
                continue;
            };
            let waiting = self.paper.waiting[at].clone();
            match answer {
                Ok(view) if waiting.tickets.len() > 1 && self.owner_of(view.id.0).is_some() => {
                    // A ticket that joined.
                }
                Ok(view) => {
                    self.tally.served += 1;
                    assert!(waiting.away_since_ms.is_none(), "a seat for somebody who is not there: {waiting:?}");
                    // Left open: a seat that comes free before the refusal of a request whose time is over is still its own.
                    for other in &self.paper.waiting {
                        let sooner = other.priority <= waiting.priority && other.arrival < waiting.arrival;
                        let there = other.away_since_ms.is_none() && other.deadline_ms > self.paper.now_ms;
                        let served = outcome.answers.iter().any(|(ticket, _)| other.tickets.contains(&ticket.0));
                        if sooner && there && !served {
                            assert!(
                                !matches!(self.paper.decide(&other.what, &[]), Decision::Granted(_)),
                                "{waiting:?} overtook {other:?}"
                            );
                        }
                    }
                    let right = [self.paper.decide(&waiting.what, &[])];
                    self.grant(view, waiting.owner, &waiting.what, waiting.ttl_ms, &right);
                    self.remember(waiting.owner, waiting.request, &waiting.what, view.id.0);
                    for more in &waiting.tickets {
                        let told = outcome.answers.iter().any(|(ticket, answer)| {
                            ticket.0 == *more && answer.as_ref().is_ok_and(|other| other.id == view.id)
                        });
                        assert!(told, "ticket {more} of {waiting:?} has no answer");
                    }
                    self.paper.waiting.remove(at);
                }
                Err(refusal) => {
                    let late = waiting.deadline_ms <= self.paper.now_ms;
                    assert!(
                        late || matches!(refusal, Refusal::Cancelled)
                            || !self.paper.would_be_granted_with_room(&waiting.what),
                        "{waiting:?} was refused before its deadline: {refusal:?}"
                    );
                    self.paper.waiting.remove(at);
                }
            }
        }
    }

    fn remember(&mut self, owner: Owner, request: u128, what: &What, lease: u64) {
        let identity = owner.caller.identity;
        let rest = self.asked.iter().rev().find(|asked| {
            asked.request == request && asked.what == *what && CALLERS[asked.by.caller].identity == identity
        });
        let rest = rest.map_or((0, 0, 0), |asked| (asked.ttl_s, asked.wait_s, asked.priority));
        self.remembered.push(Remembered { identity, request, what: what.clone(), rest, lease, acknowledged: false });
    }

    /// A grant, checked against what the model would give: any of `right`.
    fn grant(&mut self, view: &LeaseView, owner: Owner, what: &What, ttl_ms: u64, right: &[Decision]) {
        let held = held_of(view);
        assert!(
            right.iter().any(|decision| *decision == Decision::Granted(held.clone())),
            "{what:?} was granted {held:?}; the model: {right:?}"
        );
        for (_, seat) in &held {
            if let Some((pool, units)) = seat {
                self.check_room(what, *pool, *units);
            }
        }
        let id = view.id.0;
        let last =
            self.paper.leases.iter().map(|lease| lease.id).chain(self.paper.ended.iter().map(|(id, _)| *id)).max();
        assert!(last.is_none_or(|last| id > last), "lease {id} after {last:?} (LEASE-4)");
        assert_eq!(view.ttl_ms, ttl_ms);
        assert_eq!(view.ended, None);
        self.tally.granted += 1;
        for displaced in self.paper.displaced_by(what) {
            self.tally.displaced += 1;
            self.paper.end(displaced, EndReason::LoggedOnElsewhere);
        }
        let now_ms = self.paper.now_ms;
        self.paper.leases.push(Lease {
            id,
            owner,
            what: what.clone(),
            held,
            ttl_ms,
            heard_ms: now_ms,
            granted_ms: now_ms,
            idle_since_ms: None,
            orphan_until_ms: None,
        });
    }

    /// LEASE-1, said once more without the decision: a seat that is new was free.
    fn check_room(&self, what: &What, pool: Pool, units: u32) {
        let without = self.paper.displaced_by(what);
        let has = what.user().is_some_and(|user| {
            pool.concurrent
                && self.paper.leases.iter().any(|lease| {
                    lease.what.user() == Some(user)
                        && lease.held.iter().any(|(_, seat)| seat.is_some_and(|(of, _)| of == pool))
                })
        });
        assert!(
            has || self.paper.in_use_without(pool, &without) + u64::from(units) <= self.paper.capacity(pool),
            "a grant takes {pool:?} above its capacity"
        );
    }

    fn check_leases(&self, views: &[HeldLeaseView]) {
        for view in views {
            let id = view.lease.id.0;
            let Some(lease) = self.paper.leases.iter().find(|lease| lease.id == id) else {
                panic!("the engine has a lease that the model has not: {:?}", view.lease);
            };
            assert_eq!(held_of(&view.lease), lease.held, "lease {id}");
            assert_eq!(view.lease.renewed_ms_ago, self.paper.now_ms - lease.heard_ms, "last renewal of lease {id}");
            assert_eq!(view.identity, Self::identity(lease.owner.caller), "lease {id}");
            assert_eq!(view.instance, lease.owner.caller.instance, "lease {id}");
            assert_eq!(view.lease.idle, lease.idle_since_ms.is_some(), "idle: lease {id}");
            assert_eq!(view.lease.computer.as_ref().map(|label| label.as_str()), lease.what.computer());
        }
        assert_eq!(views.len(), self.paper.leases.len(), "the model has leases that the engine has not");
    }

    /// Nobody waits who need not.
    fn check_waiting(&mut self) {
        let now_ms = self.paper.now_ms;
        self.paper.waiting.retain(|waiting| waiting.away_since_ms.is_none_or(|since| since + 60_000 > now_ms));
        for waiting in &self.paper.waiting {
            if waiting.away_since_ms.is_some() {
                continue;
            }
            let others: Vec<&Waiting> = self
                .paper
                .waiting
                .iter()
                .filter(|other| other.request != waiting.request || other.owner != waiting.owner)
                .collect();
            let first =
                others.iter().all(|other| waiting.priority <= other.priority && waiting.arrival < other.arrival);
            let sought: Vec<Pool> = if first {
                Vec::new()
            } else {
                others.iter().flat_map(|other| self.paper.pools_of(&other.what)).collect()
            };
            assert!(
                !matches!(self.paper.decide(&waiting.what, &sought), Decision::Granted(_)),
                "there is room for {waiting:?}, and it waits"
            );
        }
    }

    fn assignments(&self) -> Vec<AssignmentView> {
        laws::all_assignments(&self.site.engine, self.site.now())
    }

    /// The same keys given to the same subjects; the order is the engine's, as long as what is new comes last.
    fn check_assignments(&mut self) {
        let views = self.assignments();
        for view in &views {
            let (to, pool) = (subject_of(&view.subject), pool_of(&view.pool));
            let Some(given) = self.paper.given.iter_mut().find(|given| given.to == to && given.pool == pool) else {
                panic!("the engine has an assignment that the model has not: {view:?}");
            };
            given.order = view.id.0;
        }
        assert_eq!(
            views.len(),
            self.paper.given.len(),
            "the model has assignments that the engine has not: {:?}",
            self.paper.given
        );
        for view in &views {
            let (to, pool) = (subject_of(&view.subject), pool_of(&view.pool));
            let given = self.paper.given.iter().find(|given| given.to == to && given.pool == pool).unwrap();
            let active = self.paper.active(given);
            assert_eq!(view.inactive.is_none(), active, "whether {view:?} has effect (ALLOC-11)");
        }
    }

    fn check_pools(&mut self) {
        for view in self.site.engine.pools(self.site.now(), None, None).unwrap() {
            let pool = pool_of(&view.name);
            let capacity = match view.capacity {
                Units::Count(count) => u64::from(count),
                Units::Unlimited => u64::MAX,
            };
            assert_eq!(capacity, self.paper.capacity(pool), "capacity of {}", view.name);
            assert_eq!(view.assigned, self.paper.assigned(pool), "assigned of {}", view.name);
            assert_eq!(view.in_use, self.paper.in_use(pool), "in use of {}", view.name);
            let above = view.in_use > capacity;
            let known = self.above.iter().any(|(other, _)| *other == pool);
            if above && !known {
                self.above.push((pool, self.paper.now_ms));
            }
            if !above {
                self.above.retain(|(other, _)| *other != pool);
            }
        }
        let status = self.site.engine.status(self.site.now());
        assert_eq!(status.leases, self.paper.leases.len() as u64);
        assert_eq!(status.users, self.paper.users.len() as u64);
        assert_eq!(status.stations, self.paper.stations.len() as u64);
    }

    /// A longer look at what must hold whatever was done.
    fn look(&mut self, last: bool) {
        self.site.check();
        laws::a_restart_shows_the_same(&self.site);
        let recent = std::mem::take(&mut self.recent);
        if self.tally.commands.is_multiple_of(32) || last {
            laws::undone_is_not_done(&self.rows_then, self.site.now(), &recent);
            self.tally.undone += recent.len() as u64;
        }
        self.rows_then = self.site.engine.lasting_rows();
    }

    // --- steps ----------------------------------------------------------------------------------------------------

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
            Step::Unload => self.unload(),
            Step::SetShare { pool, organization, share } => self.set_share(*pool, organization, *share),
            Step::MoveUser { name, organization } => self.move_user(name, *organization),
            Step::Sleep { ms } => self.site.sleep(*ms),
            Step::Pass { ms } => self.pass(*ms),
        }
    }

    fn attach(&mut self, at: usize, new_run: bool) {
        let caller = CALLERS[at];
        let run = match self.streams[at] {
            Some(stream) if !new_run => stream.run,
            Some(stream) => stream.run + 1,
            None => 1,
        };
        let attach = Attach { caller: Self::info(caller), run: RunId([run; 16]) };
        let (reply, outcome, over) = self.command(Command::Attach(attach));
        self.end_over(&over);
        let Ok(Reply::Attached { holder, leases, predecessor, .. }) = reply else { panic!("attaching: {reply:?}") };
        let now_ms = self.paper.now_ms;
        let mut own = Vec::new();
        let mut orphans = Vec::new();
        for lease in self.paper.leases.iter_mut().filter(|lease| lease.owner.caller == caller) {
            match lease.owner.run {
                Some(of) if of == run => {
                    // Left open by 03: a run that is back is alive, so its leases are renewed as by a beat.
                    lease.heard_ms = now_ms;
                    own.push(lease.id);
                }
                Some(_) => {
                    if *lease.orphan_until_ms.get_or_insert(now_ms + 10_000) > now_ms {
                        orphans.push(lease.id);
                    }
                }
                None => {}
            }
        }
        own.sort_unstable();
        orphans.sort_unstable();
        let ids = |leases: Vec<LeaseId>| {
            let mut ids: Vec<u64> = leases.into_iter().map(|lease| lease.0).collect();
            ids.sort_unstable();
            ids
        };
        assert_eq!(ids(leases), own, "leases of the run (LEASE-13)");
        assert_eq!(ids(predecessor), orphans, "leases of the run before (LEASE-13)");
        if self.streams[at].is_some_and(|old| old.run != run) {
            self.mark_away(Owner { caller, run: self.streams[at].map(|old| old.run) });
        }
        self.streams[at] = Some(Stream { run, holder, open: true });
        self.settle(&outcome, &over, false);
    }

    fn mark_away(&mut self, owner: Owner) {
        let now_ms = self.paper.now_ms;
        for waiting in self.paper.waiting.iter_mut().filter(|waiting| waiting.owner == owner) {
            waiting.away_since_ms.get_or_insert(now_ms);
        }
    }

    fn detach(&mut self, at: usize) {
        let Some(stream) = self.stream(at) else { return };
        let (_, outcome, over) = self.command(Command::Detach(stream.holder));
        self.end_over(&over);
        self.streams[at] = Some(Stream { open: false, ..stream });
        self.mark_away(Owner { caller: CALLERS[at], run: Some(stream.run) });
        self.settle(&outcome, &over, false);
    }

    fn beat(&mut self, at: usize) {
        let Some(stream) = self.stream(at) else { return };
        let (reply, outcome, over) = self.command(Command::Beat(stream.holder));
        self.end_over(&over);
        let owner = Owner { caller: CALLERS[at], run: Some(stream.run) };
        let now_ms = self.paper.now_ms;
        let mut renewed = 0;
        for lease in self.paper.leases.iter_mut().filter(|lease| lease.owner == owner) {
            lease.heard_ms = now_ms;
            renewed += 1;
        }
        assert_eq!(reply, Ok(Reply::Beaten(renewed)), "a beat renews all leases of the run (LEASE-13)");
        self.settle(&outcome, &over, false);
    }

    fn ask(what: &What) -> Ask {
        match what {
            What::Logon { user, at, computer, needed } => Ask::Logon {
                user: label(user),
                place: match at {
                    At::Nowhere => Place::None,
                    At::Station(station) => Place::Station(label(station)),
                    At::Number(number) => Place::DynamicRemote(label(number)),
                },
                computer: computer.map(label),
                needed: labels(needed),
                application: None,
            },
            What::Station { station, needed } => Ask::Station { station: label(station), needed: labels(needed) },
            What::Units { key, units } => Ask::Units { key: label(key), units: *units },
        }
    }

    fn acquire(&mut self, by: By, what: &What, ttl_s: u64, wait_s: u64, priority: u8, again: Again) {
        let back = |nth: usize| self.asked.iter().rev().nth(nth).cloned();
        let fresh = u128::from_be_bytes(self.site.request().0);
        let asked = Asked { by, request: fresh, what: what.clone(), ttl_s, wait_s, priority };
        let asked = match again {
            Again::Fresh => asked,
            Again::Whole(nth) => back(nth).unwrap_or(asked),
            Again::Id(nth) => Asked { request: back(nth).map_or(fresh, |old| old.request), ..asked },
        };
        self.asked.push(asked.clone());
        let (from, owner) = self.origin(asked.by);
        self.contact = owner.run.map(|_| owner);
        let ticket = self.site.ticket();
        let command = Acquire {
            from,
            request: RequestId(asked.request.to_be_bytes()),
            ask: Self::ask(&asked.what),
            ttl_ms: asked.ttl_s * 1_000,
            wait_ms: asked.wait_s * 1_000,
            priority: asked.priority,
            ticket,
        };
        let rows_before = self.site.engine.lasting_rows();
        let (reply, outcome, mut over) = self.command(Command::Acquire(Box::new(command)));
        self.end_over(&over);
        let got = match reply {
            Err(refusal) => Got::Refused(refusal),
            Ok(Reply::Ticketed { waiting: Some(_) }) => Got::Waits,
            Ok(Reply::Ticketed { waiting: None }) => {
                match outcome.answers.iter().find(|(answered, _)| *answered == ticket) {
                    Some((_, Ok(view))) => Got::Granted(Box::new(view.clone())),
                    Some((_, Err(refusal))) => Got::Refused(refusal.clone()),
                    None => panic!("no answer for {ticket:?}"),
                }
            }
            Ok(other) => panic!("an acquire is not answered {other:?}"),
        };
        // Waiting requests that were served before this one was decided.
        let own = outcome.answers.iter().position(|(answered, _)| *answered == ticket).unwrap_or(usize::MAX);
        let before = Outcome { answers: outcome.answers.iter().take(own).cloned().collect(), ..Outcome::default() };
        self.serve(&before);
        if !self.repeated(&asked, owner, ticket, &got) {
            let displaced = self.paper.displaced_by(&asked.what);
            self.decided(&asked, owner, ticket, &got);
            if matches!(got, Got::Granted(_)) {
                // A lease that expired in the same breath gave its seats back first.
                if over.is_empty() {
                    laws::seats_pass_on(&rows_before, &outcome.changes);
                }
                over.extend(displaced.into_iter().map(|id| (id, vec![EndReason::LoggedOnElsewhere])));
            }
        }
        if let (Got::Refused(_), true, 0) = (&got, over.is_empty(), own.min(outcome.answers.len())) {
            laws::only_a_denial(&outcome.changes);
        }
        self.settle(&outcome, &over, false);
    }

    /// LEASE-3: true where the request is known, and was answered as it should be.
    fn repeated(&mut self, asked: &Asked, owner: Owner, ticket: Ticket, got: &Got) -> bool {
        let identity = owner.caller.identity;
        let rest = (asked.ttl_s, asked.wait_s, asked.priority);
        let known =
            self.remembered.iter().rev().find(|known| known.identity == identity && known.request == asked.request);
        if let Some(known) = known.filter(|known| !known.acknowledged).cloned() {
            self.tally.repeated += 1;
            match got {
                Got::Granted(view) => {
                    assert_eq!(known.what, asked.what, "another body was answered (LEASE-3)");
                    assert_eq!(view.id.0, known.lease, "the same request, another lease (LEASE-3)");
                    let ended = self.paper.ended.iter().find(|(id, _)| *id == known.lease).map(|(_, why)| *why);
                    assert_eq!(view.ended, ended, "the lease's present state (LEASE-3)");
                }
                // Whether times and class belong to the body is left open.
                Got::Refused(refusal) => assert!(
                    matches!(refusal, Refusal::RequestIdReused) && (known.what != asked.what || known.rest != rest),
                    "{asked:?} repeats {known:?} and was refused {refusal:?}"
                ),
                Got::Waits => panic!("{asked:?} was answered already, and waits"),
            }
            return true;
        }
        let now_ms = self.paper.now_ms;
        let Some(waiting) = self
            .paper
            .waiting
            .iter_mut()
            .find(|waiting| waiting.owner.caller.identity == identity && waiting.request == asked.request)
        else {
            return false;
        };
        match got {
            Got::Waits => {
                assert_eq!(waiting.what, asked.what, "another body joined a waiting request (LEASE-3)");
                self.tally.repeated += 1;
                // It joins the first; one whose caller was gone is there again.
                waiting.tickets =
                    if waiting.away_since_ms.take().is_some() { Vec::new() } else { waiting.tickets.clone() };
                waiting.tickets.push(ticket.0);
                waiting.owner = owner;
                true
            }
            Got::Refused(Refusal::RequestIdReused) => {
                assert!(
                    waiting.what != asked.what
                        || (waiting.ttl_ms, waiting.priority) != (asked.ttl_s * 1_000, asked.priority)
                        || asked.wait_s > 0,
                    "{asked:?} repeats {waiting:?}"
                );
                true
            }
            // A place that was kept for a caller who went away: decided anew, it may be served at once.
            Got::Granted(_) | Got::Refused(_) if waiting.away_since_ms.is_some() || waiting.deadline_ms <= now_ms => {
                let request = asked.request;
                self.paper
                    .waiting
                    .retain(|waiting| waiting.request != request || waiting.owner.caller.identity != identity);
                false
            }
            other => panic!("{asked:?} repeats {waiting:?}, and got {other:?}"),
        }
    }

    fn decided(&mut self, asked: &Asked, owner: Owner, ticket: Ticket, got: &Got) {
        // What others wait for is theirs: surely what they lack now; perhaps whatever they could take.
        let there = self.paper.waiting.clone();
        let lacked: Vec<Pool> = there.iter().flat_map(|waiting| self.paper.pools_lacked(&waiting.what)).collect();
        let sought: Vec<Pool> = there.iter().flat_map(|waiting| self.paper.pools_of(&waiting.what)).collect();
        let free = self.paper.decide(&asked.what, &[]);
        let strict = self.paper.decide(&asked.what, &lacked);
        let wide = self.paper.decide(&asked.what, &sought);
        let mut right = vec![strict];
        if !right.contains(&wide) {
            self.tally.either += 1;
            right.push(wide);
        }
        // Or so many units as they want are set aside, by all of them or by the first; of all that they could take, or of
        // what they cannot do without.
        let units = |waiting: &Waiting| if let What::Units { units, .. } = waiting.what { u64::from(units) } else { 1 };
        for needed in [false, true] {
            let pools = |waiting: &Waiting| {
                if needed { self.paper.pools_needed(&waiting.what) } else { self.paper.pools_of(&waiting.what) }
            };
            let sought: Vec<Pool> = there.iter().flat_map(pools).collect();
            let free = |pool: &Pool| self.paper.free_without(*pool, &self.paper.displaced_by(&asked.what));
            let claims = |pool: &Pool| -> Vec<u64> {
                there.iter().filter(|waiting| pools(waiting).contains(pool)).map(units).collect()
            };
            let by_one = sought
                .iter()
                .copied()
                .filter(|pool| free(pool) <= claims(pool).into_iter().max().unwrap_or(0))
                .collect();
            let by_all = sought.iter().copied().filter(|pool| free(pool) <= claims(pool).iter().sum()).collect();
            for blocked in [sought.clone(), by_one, by_all] {
                let decision = self.paper.decide(&asked.what, &blocked);
                if !right.contains(&decision) {
                    self.tally.either += 1;
                    right.push(decision);
                }
            }
        }
        // Only who does not wait never overtakes: who waits is in the queue, and what is free goes to the first whom it
        // satisfies. A place that is kept for a caller who is away gives way or not.
        let yields = |waiting: &Waiting| waiting.away_since_ms.is_some() || asked.wait_s > 0;
        if !right.contains(&free) && there.iter().any(yields) {
            self.tally.either += 1;
            right.push(free);
        }
        match got {
            Got::Granted(view) => {
                self.grant(view, owner, &asked.what, asked.ttl_s * 1_000, &right);
                self.remember(owner, asked.request, &asked.what, view.id.0);
            }
            Got::Refused(refusal) => {
                self.tally.refused += 1;
                let whys: Vec<Why> = right
                    .iter()
                    .filter_map(
                        |decision| if let Decision::Refused(whys) = decision { Some(whys.clone()) } else { None },
                    )
                    .flatten()
                    .collect();
                assert!(is_one_of(refusal, &whys), "{asked:?} was refused {refusal:?}; the model: {right:?}");
                assert!(
                    asked.wait_s == 0 || !self.may_wait(&asked.what),
                    "{asked:?} would wait, and was refused {refusal:?}"
                );
            }
            Got::Waits => {
                self.tally.waited += 1;
                assert!(asked.wait_s > 0, "{asked:?} waits though it would not");
                assert!(
                    right.iter().any(|decision| matches!(decision, Decision::Refused(_))),
                    "{asked:?} waits; the model: {right:?}"
                );
                assert!(
                    self.paper.would_be_granted_with_room(&asked.what),
                    "{asked:?} waits for what it will never get"
                );
                self.arrivals += 1;
                self.paper.waiting.push(Waiting {
                    owner,
                    request: asked.request,
                    tickets: vec![ticket.0],
                    what: asked.what.clone(),
                    ttl_ms: asked.ttl_s * 1_000,
                    priority: asked.priority,
                    arrival: self.arrivals,
                    deadline_ms: self.paper.now_ms + asked.wait_s * 1_000,
                    away_since_ms: None,
                });
            }
        }
    }

    /// Worth waiting for: room is all that is missing, and more units than there are will never be free.
    fn may_wait(&self, what: &What) -> bool {
        let possible = match what {
            What::Units { key, units } => u64::from(*units) <= self.paper.capacity(assignable(key)),
            // An assignment beyond the capacity waits for no seat.
            What::Logon { user, .. } => !self
                .paper
                .given_to(Subject::User(user))
                .iter()
                .any(|given| !given.pool.concurrent && !self.paper.active(given)),
            What::Station { .. } => false,
        };
        possible && self.paper.would_be_granted_with_room(what)
    }

    fn cancel(&mut self, by: By, nth: usize) {
        let Some(waiting) = self.paper.waiting.get(nth).cloned() else { return };
        let (from, owner) = self.origin(by);
        self.contact = owner.run.map(|_| owner);
        let request = RequestId(waiting.request.to_be_bytes());
        let (reply, outcome, over) = self.command(Command::CancelWait { from, request });
        self.end_over(&over);
        self.serve(&outcome);
        if owner.caller.identity == waiting.owner.caller.identity {
            if reply.is_ok() {
                self.paper.waiting.retain(|other| {
                    other.request != waiting.request || other.owner.caller.identity != owner.caller.identity
                });
            }
        }
        self.settle(&outcome, &over, false);
    }

    fn abandon(&mut self, nth: usize) {
        let Some(waiting) = self.paper.waiting.get(nth).cloned() else { return };
        let ticket = Ticket(*waiting.tickets.last().unwrap());
        let (_, outcome, over) = self.command(Command::Abandon(ticket));
        self.end_over(&over);
        let now_ms = self.paper.now_ms;
        if let Some(waiting) = self.paper.waiting.iter_mut().find(|waiting| waiting.tickets.contains(&ticket.0)) {
            waiting.tickets.retain(|other| *other != ticket.0);
            if waiting.tickets.is_empty() {
                waiting.tickets.push(ticket.0);
                waiting.away_since_ms.get_or_insert(now_ms);
            }
        }
        self.settle(&outcome, &over, false);
    }

    fn release(&mut self, by: By, leases: &[usize], requests: &[usize]) {
        let (from, owner) = self.origin(by);
        self.contact = owner.run.map(|_| owner);
        let ids: Vec<u64> = leases.iter().map(|nth| self.nth(*nth)).collect();
        let wanted: Vec<u128> = requests
            .iter()
            .map(|nth| self.asked.iter().rev().nth(*nth).map_or(u128::MAX, |asked| asked.request))
            .collect();
        let release = Release {
            from,
            request: None,
            leases: ids.iter().copied().map(LeaseId).collect(),
            acquired_by: wanted.iter().map(|request| RequestId(request.to_be_bytes())).collect(),
        };
        let (reply, outcome, mut over) = self.command(Command::Release(release));
        self.end_over(&over);
        if ids.is_empty() && wanted.is_empty() {
            self.settle(&outcome, &over, false);
            return;
        }
        let Ok(Reply::Released(results)) = reply else { panic!("a release is answered as one: {reply:?}") };
        assert_eq!(results.len(), ids.len() + wanted.len());
        let mut named: Vec<(u64, Result<(), Refusal>)> = Vec::new();
        for result in results {
            match (result.acquired_by, result.lease) {
                (None, Some(lease)) => named.push((lease.0, result.result)),
                (Some(request), lease) => {
                    let request = u128::from_be_bytes(request.0);
                    let known = self
                        .remembered
                        .iter()
                        .rev()
                        .find(|known| known.request == request && known.identity == owner.caller.identity);
                    match (known, lease) {
                        (Some(known), Some(lease)) => {
                            assert_eq!(known.lease, lease.0, "released by request (LEASE-14)");
                            named.push((lease.0, result.result));
                        }
                        (Some(known), None) => assert!(
                            known.acknowledged || self.owner_of(known.lease).is_none(),
                            "{known:?} cannot be released by its request: {:?}",
                            result.result
                        ),
                        (None, _) if result.result.is_ok() => {
                            // A request that waits is withdrawn: what it would be granted is wanted no more.
                            let identity = owner.caller.identity;
                            let at = self.paper.waiting.iter().position(|waiting| {
                                waiting.request == request && waiting.owner.caller.identity == identity
                            });
                            let at = at.unwrap_or_else(|| panic!("nothing was granted, and it was released"));
                            self.paper.waiting.remove(at);
                        }
                        (None, _) => {}
                    }
                }
                (None, None) => panic!("a result for nothing"),
            }
        }
        for (id, result) in named {
            if let Some(lease) = self.owner_of(id).cloned() {
                if lease.owner.caller.identity == owner.caller.identity && result.is_ok() {
                    self.paper.end(id, EndReason::Released);
                    over.push((id, vec![EndReason::Released]));
                } else {
                    assert!(matches!(result, Err(Refusal::NotYourLease(_))), "LEASE-9: {result:?} {lease:?} {owner:?}");
                    assert_ne!(lease.owner.caller, owner.caller, "a caller may release its own lease: {lease:?}");
                }
            } else if id == 1_000_000 {
                assert!(matches!(result, Err(Refusal::LeaseUnknown(_))), "{result:?}");
            } else {
                // LEASE-10; to a stranger it may also be said that it is not theirs.
                assert!(
                    matches!(result, Ok(()) | Err(Refusal::LeaseEnded { .. } | Refusal::NotYourLease(_))),
                    "releasing {id} twice: {result:?}"
                );
                let released = self.paper.ended.iter().any(|(ended, why)| *ended == id && *why == EndReason::Released);
                if released && self.caller_of(id) == Some(owner.caller.identity) {
                    assert_eq!(result, Ok(()), "releasing {id} twice (LEASE-10)");
                }
            }
        }
        self.settle(&outcome, &over, false);
    }

    fn caller_of(&self, id: u64) -> Option<Name> {
        self.remembered.iter().find(|known| known.lease == id).map(|known| known.identity)
    }

    fn renew(&mut self, by: By, leases: &[usize]) {
        let (from, owner) = self.origin(by);
        self.contact = owner.run.map(|_| owner);
        let ids: Vec<u64> = leases.iter().map(|nth| self.nth(*nth)).collect();
        let command = Command::Renew { from, leases: ids.iter().copied().map(LeaseId).collect() };
        let (reply, outcome, over) = self.command(command);
        self.end_over(&over);
        let Ok(Reply::Leases(results)) = reply else { panic!("a renewal is answered as one: {reply:?}") };
        let now_ms = self.paper.now_ms;
        for (id, (lease, result)) in ids.iter().zip(&results) {
            assert_eq!(*id, lease.0);
            self.check_own(*id, owner, result);
            if result.is_ok() {
                self.paper.leases.iter_mut().find(|lease| lease.id == *id).unwrap().heard_ms = now_ms;
            }
        }
        self.settle(&outcome, &over, false);
    }

    /// The answer to an act on one lease by its holder.
    fn check_own(&self, id: u64, owner: Owner, result: &Result<(), Refusal>) {
        match (self.owner_of(id), result) {
            (Some(lease), Ok(())) => assert_eq!(lease.owner.caller.identity, owner.caller.identity, "LEASE-9"),
            (Some(lease), Err(refusal)) => {
                assert!(matches!(refusal, Refusal::NotYourLease(_)), "{refusal:?}");
                assert_ne!(lease.owner, owner, "a caller may act on its own lease: {lease:?}");
            }
            (None, Ok(())) => panic!("lease {id} is not live, and was acted on"),
            (None, Err(refusal)) => assert!(
                matches!(refusal, Refusal::LeaseEnded { .. } | Refusal::LeaseUnknown(_) | Refusal::NotYourLease(_)),
                "{refusal:?}"
            ),
        }
    }

    fn set_idle(&mut self, by: By, leases: &[usize], idle: bool) {
        let (from, owner) = self.origin(by);
        self.contact = owner.run.map(|_| owner);
        let ids: Vec<u64> = leases.iter().map(|nth| self.nth(*nth)).collect();
        let command = Command::SetIdle { from, leases: ids.iter().copied().map(LeaseId).collect(), idle };
        let (reply, outcome, over) = self.command(command);
        self.end_over(&over);
        let Ok(Reply::Leases(results)) = reply else { panic!("idling is answered as one: {reply:?}") };
        let now_ms = self.paper.now_ms;
        for (id, (_, result)) in ids.iter().zip(&results) {
            self.check_own(*id, owner, result);
            if result.is_ok() {
                let lease = self.paper.leases.iter_mut().find(|lease| lease.id == *id).unwrap();
                lease.idle_since_ms = idle.then(|| lease.idle_since_ms.unwrap_or(now_ms));
            }
        }
        self.settle(&outcome, &over, false);
    }

    fn take_over(&mut self, at: usize, leases: &[usize]) {
        let Some(stream) = self.stream(at) else { return };
        let ids: Vec<u64> = leases.iter().map(|nth| self.nth(*nth)).collect();
        let command = Command::TakeOver { holder: stream.holder, leases: ids.iter().copied().map(LeaseId).collect() };
        let (reply, outcome, over) = self.command(command);
        self.end_over(&over);
        let owner = Owner { caller: CALLERS[at], run: Some(stream.run) };
        let views = self.views();
        let now_ms = self.paper.now_ms;
        let mut taken = Vec::new();
        if let Ok(Reply::Leases(results)) = &reply {
            taken.extend(results.iter().filter(|(_, result)| result.is_ok()).map(|(lease, _)| lease.0));
        }
        for lease in &mut self.paper.leases {
            let orphan = lease.owner.caller == owner.caller && lease.orphan_until_ms.is_some();
            let wanted = ids.is_empty() || ids.contains(&lease.id);
            let own = lease.owner == owner;
            if taken.contains(&lease.id) {
                assert!(orphan || own, "taken over without a right to it: {lease:?}");
            }
            if orphan && wanted && lease.orphan_until_ms.is_some_and(|until| until > now_ms) {
                assert!(taken.contains(&lease.id), "{lease:?} was not taken over (LEASE-13): {reply:?}");
                lease.owner = owner;
                lease.orphan_until_ms = None;
                // Whether that renews it is left open.
                if let Some(view) = views.iter().find(|view| view.lease.id.0 == lease.id)
                    && view.lease.renewed_ms_ago == 0
                {
                    lease.heard_ms = now_ms;
                }
            }
        }
        self.settle(&outcome, &over, false);
    }

    fn received(&mut self, at: usize, nth: usize) {
        let Some(stream) = self.stream(at) else { return };
        let Some(asked) = self.asked.iter().rev().nth(nth).cloned() else { return };
        let command =
            Command::AnswersReceived { holder: stream.holder, requests: vec![RequestId(asked.request.to_be_bytes())] };
        let (_, outcome, over) = self.command(command);
        self.end_over(&over);
        for known in &mut self.remembered {
            if known.request == asked.request && known.identity == CALLERS[at].identity {
                known.acknowledged = true;
            }
        }
        self.settle(&outcome, &over, false);
    }

    // --- administration -------------------------------------------------------------------------------------------

    fn act(&mut self, act: Act) -> (Result<Reply, Refusal>, Outcome, Vec<(u64, Vec<EndReason>)>) {
        let rows = self.site.engine.lasting_rows();
        let (reply, outcome, over) = self.command(Command::Administer { by: administrator(), act });
        self.end_over(&over);
        if reply.is_err() && over.is_empty() && outcome.answers.is_empty() {
            laws::only_a_denial(&outcome.changes);
            laws::same_rows(&rows, &self.site.engine.lasting_rows());
        }
        (reply, outcome, over)
    }

    /// Reasons why a pair cannot be given; empty where it can.
    fn why_not_give(paper: &Paper, subject: Subject, key: Key) -> Vec<Why> {
        let concurrent = match subject {
            Subject::User(name) => match paper.user(name) {
                Some(user) => user.concurrent,
                None => return vec![("USER_UNKNOWN", None)],
            },
            Subject::Station(name) if paper.station(name).is_none() => return vec![("STATION_UNKNOWN", None)],
            Subject::Station(_) => false,
        };
        let kind = match subject {
            Subject::User(_) => leasehold_keys::definition::Holder::User,
            Subject::Station(_) => leasehold_keys::definition::Holder::Station,
        };
        if !fact(key).holders.contains(&kind) {
            return vec![("HOLDER_NOT_ALLOWED", Some(key))];
        }
        if paper.is_given(subject, key) {
            return Vec::new();
        }
        let pool = Pool { key, concurrent };
        let other = Pool { key, concurrent: !concurrent };
        if paper.capacity(pool) == 0 {
            return if paper.capacity(other) > 0 {
                vec![("METHOD_MISMATCH", Some(key)), ("NOT_LICENSED", Some(key))]
            } else {
                vec![("NOT_LICENSED", Some(key))]
            };
        }
        if !concurrent && paper.in_use(pool) >= paper.capacity(pool) {
            return vec![("POOL_EXHAUSTED", Some(key))];
        }
        Vec::new()
    }

    fn assign(&mut self, give: bool, subjects: &[Subject], keys: &[Key], best_effort: bool, dry_run: bool) {
        let act = Act::Assign(Assign {
            subjects: subjects.iter().copied().map(entity).collect(),
            keys: labels(keys),
            give,
            best_effort,
            dry_run,
            until: None,
        });
        let (reply, outcome, over) = self.act(act);
        let mut paper = self.paper.clone();
        let mut order = paper.given.iter().map(|given| given.order).max().unwrap_or(0);
        let mut failed = false;
        let mut added = Vec::new();
        let done = match reply {
            Ok(Reply::Administered(done)) => done,
            Err(refusal) => {
                let whys: Vec<Why> = subjects
                    .iter()
                    .flat_map(|subject| keys.iter().map(move |key| (*subject, *key)))
                    .flat_map(|(subject, key)| Self::why_not_give(&paper, subject, key))
                    .collect();
                assert!(is_one_of(&refusal, &whys), "assigning was refused {refusal:?}; the model: {whys:?}");
                self.settle(&outcome, &over, true);
                return;
            }
            other => panic!("an act is answered as one: {other:?}"),
        };
        assert_eq!(done.assignments.len(), subjects.len() * keys.len(), "an outcome for each pair (ADMIN-3)");
        for pair in &done.assignments {
            let subject = subject_of(&pair.subject);
            let key = *keys.iter().find(|key| **key == pair.key.as_str()).unwrap();
            let had = paper.is_given(subject, key);
            let whys = if give {
                Self::why_not_give(&paper, subject, key)
            } else {
                let whys = Self::why_not_give(&paper, subject, key);
                whys.into_iter().filter(|(why, _)| why.ends_with("_UNKNOWN")).collect()
            };
            match &pair.result {
                Ok(changed) => {
                    assert!(whys.is_empty(), "{pair:?} was done; the model: {whys:?}");
                    assert_eq!(*changed, had != give, "{pair:?} (ALLOC-10)");
                    if give && !had {
                        order += 1;
                        let concurrent = matches!(subject, Subject::User(name) if paper.user(name).unwrap().concurrent);
                        paper.given.push(Given { order, to: subject, pool: Pool { key, concurrent }, until_ms: None });
                        added.push((subject, key));
                    } else if !give {
                        paper.given.retain(|given| given.to != subject || given.pool.key != key);
                    }
                }
                Err(refusal) => {
                    failed = true;
                    assert!(is_one_of(refusal, &whys), "{pair:?}; the model: {whys:?}");
                }
            }
        }
        let applied = !dry_run && (best_effort || !failed);
        assert_eq!(done.applied, applied, "{done:?}");
        if applied {
            self.paper.given = paper.given;
        }
        self.settle(&outcome, &over, true);
        if applied {
            for (subject, key) in added {
                self.check_tried(subject, key);
            }
        }
    }

    fn add_user(&mut self, name: Name, concurrent: bool) {
        let entity = Entity::User {
            name: label(name),
            display_name: None,
            method: method(concurrent),
            organization: None,
            workgroups: Vec::new(),
            types: Vec::new(),
        };
        let (reply, outcome, over) = self.act(Act::Create(entity));
        if self.paper.user(name).is_some() {
            assert!(matches!(reply, Err(Refusal::AlreadyExists { .. })), "{reply:?}");
        } else {
            assert!(reply.is_ok(), "{reply:?}");
            self.paper.users.push(User { name, concurrent, organization: None });
        }
        self.settle(&outcome, &over, false);
    }

    fn convert(&mut self, name: Name, concurrent: bool) {
        let change = EntityChange::User {
            name: label(name),
            display_name: None,
            method: Some(method(concurrent)),
            organization: None,
            workgroups: None,
            types: None,
        };
        let (reply, outcome, over) = self.act(Act::Change(change));
        let Some(user) = self.paper.user(name).cloned() else {
            assert!(matches!(reply, Err(Refusal::UserUnknown(_))), "{reply:?}");
            self.settle(&outcome, &over, false);
            return;
        };
        if user.concurrent == concurrent {
            assert!(reply.is_ok(), "{reply:?}");
            self.settle(&outcome, &over, true);
            return;
        }
        let subject = Subject::User(name);
        let keys: Vec<Key> = self.paper.given_to(subject).iter().map(|given| given.pool.key).collect();
        let before: Vec<Lease> =
            self.paper.leases.iter().filter(|lease| lease.what.user() == Some(name)).cloned().collect();
        let mut must: Vec<Why> = Vec::new();
        let mut may: Vec<Why> = Vec::new();
        for key in keys.iter().copied() {
            let pool = Pool { key, concurrent };
            if self.paper.capacity(pool) == 0 {
                must.extend([("METHOD_MISMATCH", Some(key)), ("NOT_LICENSED", Some(key))]);
            } else if !concurrent && self.paper.in_use(pool) >= self.paper.capacity(pool) {
                must.push(("POOL_EXHAUSTED", Some(key)));
            } else if concurrent
                && self.paper.in_use(pool) >= self.paper.capacity(pool)
                && before.iter().any(|lease| lease.has(key))
            {
                // ALLOC-16; where a station or another key brings it no seat is wanted.
                may.push(("POOL_EXHAUSTED", Some(key)));
            }
        }
        match reply {
            Ok(_) => {
                assert!(must.is_empty(), "{name} was converted; the model: {must:?}");
                let paper = &mut self.paper;
                paper.users.iter_mut().find(|user| user.name == name).unwrap().concurrent = concurrent;
                for given in paper.given.iter_mut().filter(|given| given.to == subject) {
                    given.pool.concurrent = concurrent;
                }
                self.settle(&outcome, &over, true);
                for old in before.iter().filter(|old| !over.iter().any(|(id, _)| *id == old.id)) {
                    let Some(lease) = self.owner_of(old.id) else {
                        panic!("{old:?} ended with a conversion (ALLOC-16)")
                    };
                    for (key, _) in &old.held {
                        assert!(lease.has(key), "{key} did not move with the method (ALLOC-16): {lease:?}");
                    }
                }
            }
            Err(refusal) => {
                must.extend(may);
                assert!(is_one_of(&refusal, &must), "converting {name}: {refusal:?}; the model: {must:?}");
                self.settle(&outcome, &over, false);
            }
        }
    }

    fn delete(&mut self, subject: Subject) {
        let (reply, outcome, mut over) = self.act(Act::Delete(entity(subject)));
        let known = match subject {
            Subject::User(name) => self.paper.user(name).is_some(),
            Subject::Station(name) => self.paper.station(name).is_some(),
        };
        assert_eq!(reply.is_ok(), known, "{reply:?}");
        if known {
            let of = |lease: &Lease| match subject {
                Subject::User(name) => lease.what.user() == Some(name),
                Subject::Station(name) => lease.what.station() == Some(name),
            };
            let ids: Vec<u64> = self.paper.leases.iter().filter(|lease| of(lease)).map(|lease| lease.id).collect();
            for id in ids {
                self.paper.end(id, EndReason::SubjectDeleted);
                over.push((id, vec![EndReason::SubjectDeleted]));
            }
            self.paper.given.retain(|given| given.to != subject);
            match subject {
                Subject::User(name) => self.paper.users.retain(|user| user.name != name),
                Subject::Station(name) => self.paper.stations.retain(|station| station.name != name),
            }
        }
        self.settle(&outcome, &over, true);
    }

    fn add_station(&mut self, name: Name, kind: leasehold_engine::row::StationKind) {
        let entity = Entity::Station { name: label(name), kind, enabled: true, organization: None, owner: None };
        let (reply, outcome, over) = self.act(Act::Create(entity));
        if self.paper.station(name).is_some() {
            assert!(matches!(reply, Err(Refusal::AlreadyExists { .. })), "{reply:?}");
        } else {
            assert!(reply.is_ok(), "{reply:?}");
            self.paper.stations.push(Station { name, kind, enabled: true, organization: None });
        }
        self.settle(&outcome, &over, false);
    }

    fn enable(&mut self, name: Name, enabled: bool) {
        let change = EntityChange::Station {
            name: label(name),
            kind: None,
            enabled: Some(enabled),
            organization: None,
            owner: None,
        };
        let (reply, outcome, mut over) = self.act(Act::Change(change));
        if self.paper.station(name).is_none() {
            assert!(matches!(reply, Err(Refusal::StationUnknown(_))), "{reply:?}");
        } else {
            assert!(reply.is_ok(), "{reply:?}");
            self.paper.stations.iter_mut().find(|station| station.name == name).unwrap().enabled = enabled;
            if !enabled {
                let at: Vec<u64> = self
                    .paper
                    .leases
                    .iter()
                    .filter(|lease| lease.what.station() == Some(name))
                    .map(|lease| lease.id)
                    .collect();
                for id in at {
                    self.paper.end(id, EndReason::StationNotLicensed);
                    over.push((id, vec![EndReason::StationNotLicensed]));
                }
            }
        }
        self.settle(&outcome, &over, true);
    }

    fn revoke(&mut self, leases: &[usize]) {
        let ids: Vec<u64> = leases.iter().map(|nth| self.nth(*nth)).collect();
        let what = Revoked::Leases(ids.iter().copied().map(LeaseId).collect());
        self.revoked(what, &ids);
    }

    fn revoke_user(&mut self, name: Name) {
        let of = |lease: &&Lease| lease.what.user() == Some(name);
        let ids: Vec<u64> = self.paper.leases.iter().filter(of).map(|lease| lease.id).collect();
        self.revoked(Revoked::User(label(name)), &ids);
    }

    fn revoked(&mut self, what: Revoked, ids: &[u64]) {
        let (reply, outcome, mut over) = self.act(Act::Revoke { what, reason: label("because") });
        if reply.is_ok() {
            for id in ids {
                if self.owner_of(*id).is_some() {
                    self.paper.end(*id, EndReason::Revoked);
                    over.push((*id, vec![EndReason::Revoked]));
                }
            }
        } else {
            assert!(ids.iter().all(|id| self.owner_of(*id).is_none()), "nothing was revoked: {reply:?}");
        }
        self.settle(&outcome, &over, false);
    }

    /// Loads what the paper grants as the next sequence of the base file.
    fn load(&mut self) -> (Outcome, Vec<(u64, Vec<EndReason>)>) {
        self.sequence += 1;
        let grants: Vec<Grant> = self
            .paper
            .grants
            .iter()
            .map(|(pool, units)| Grant { pool: pool_name(*pool), units: units.map_or(Units::Unlimited, Units::Count) })
            .collect();
        let mut base = files::base(&grants);
        base.sequence = self.sequence;
        let terms = files::Licensor::get().issue(&base);
        self.site.folder = vec![leasehold_engine::command::FolderFile {
            name: "base.i3lic".into(),
            terms,
            host: HostFinding::Primary,
        }];
        let (reply, outcome, over) = self.command(Command::Folder(self.site.folder.clone()));
        self.end_over(&over);
        let Ok(Reply::Folder(verdicts)) = reply else { panic!("a folder is judged: {reply:?}") };
        assert!(verdicts.iter().all(|verdict| verdict.verdict.is_ok()), "{verdicts:?}");
        (outcome, over)
    }

    /// Changes one pool's capacity: never to nothing, which is another rule (LEVEL-5).
    fn regrant(&mut self, pool: Pool, units: u32) {
        self.paper.unloaded = false;
        match self.paper.grants.iter_mut().find(|(granted, _)| *granted == pool) {
            Some(grant) => grant.1 = Some(units),
            None => self.paper.grants.push((pool, Some(units))),
        }
        let (outcome, over) = self.load();
        self.settle(&outcome, &over, true);
    }

    fn unload(&mut self) {
        let act = Act::Unload { license: files::license(1), reason: "a test".into() };
        let (_, outcome, over) = self.act(act);
        self.paper.unloaded = true;
        self.settle(&outcome, &over, true);
    }

    fn set_share(&mut self, _pool: (Key, bool), _organization: Name, _share: Option<(u32, Option<u32>)>) {
        let _ = (ORGANIZATIONS, ShareName::Organization(label("acme")));
    }

    fn move_user(&mut self, _name: Name, _organization: Option<Name>) {}

    // --- time -----------------------------------------------------------------------------------------------------

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
