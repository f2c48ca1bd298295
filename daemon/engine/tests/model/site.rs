//! A licensed site as the specification tells it, and nothing of how the engine keeps it: lists, walked from end to end, and
//! every count made afresh whenever it is asked for. What the specification leaves open is left open here too: a decision
//! may name several answers that are all right.

use std::sync::OnceLock;

use leasehold_engine::{refusal::EndReason, row::StationKind, time::lapse_ms};
use leasehold_keys::definition::{Holder, KeyKind};

use crate::support::catalog::definitions;

mod deciding;

pub(crate) type Key = &'static str;
pub(crate) type Name = &'static str;

/// What the catalog says of a key, as far as the model follows it.
pub(crate) struct Fact {
    pub(crate) key: Key,
    pub(crate) includes: Vec<Key>,
    pub(crate) requires: Vec<Key>,
    pub(crate) holders: Vec<Holder>,
    pub(crate) kind: KeyKind,
}

pub(crate) fn facts() -> &'static [Fact] {
    static FACTS: OnceLock<Vec<Fact>> = OnceLock::new();
    FACTS.get_or_init(|| {
        let all = definitions();
        let names: Vec<Key> = all.iter().map(|def| &*Box::leak(def.name.to_string().into_boxed_str())).collect();
        let find = |name: &str| names.iter().copied().find(|key| *key == name).unwrap();
        let each = |set: &std::collections::BTreeSet<leasehold_keys::name::KeyName>| {
            set.iter().map(|name| find(name.as_str())).collect()
        };
        all.iter()
            .map(|def| Fact {
                key: find(def.name.as_str()),
                includes: each(&def.includes),
                requires: each(&def.requires),
                holders: def.holders.iter().copied().collect(),
                kind: def.kind,
            })
            .collect()
    })
}

pub(crate) fn fact(key: &str) -> &'static Fact {
    facts().iter().find(|fact| fact.key == key).unwrap_or_else(|| panic!("no key {key}"))
}

/// All keys that come with one, itself not among them.
pub(crate) fn included_in(key: Key) -> Vec<Key> {
    let mut all = fact(key).includes.clone();
    let mut at = 0;
    while at < all.len() {
        for more in &fact(all[at]).includes {
            if !all.contains(more) {
                all.push(more);
            }
        }
        at += 1;
    }
    all
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pool {
    pub(crate) key: Key,
    pub(crate) concurrent: bool,
}

pub(crate) const BASIC: Key = "BASIC_STATION";
pub(crate) const CLIENT: Key = "CLIENT";

pub(crate) const fn assignable(key: Key) -> Pool {
    Pool { key, concurrent: false }
}

#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) name: Name,
    pub(crate) concurrent: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Station {
    pub(crate) name: Name,
    pub(crate) kind: StationKind,
    pub(crate) enabled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    User(Name),
    Station(Name),
}

/// A key given to someone.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    /// Rises with each.
    pub(crate) order: u64,
    pub(crate) to: Subject,
    pub(crate) pool: Pool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Nowhere,
    Station(Name),
    Number(Name),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Logon { user: Name, at: At, computer: Option<Name>, needed: Vec<Key> },
    Station { station: Name, needed: Vec<Key> },
    Units { key: Key, units: u32 },
}

impl What {
    pub(crate) fn needed(&self) -> &[Key] {
        match self {
            What::Logon { needed, .. } | What::Station { needed, .. } => needed,
            What::Units { .. } => &[],
        }
    }

    pub(crate) const fn user(&self) -> Option<Name> {
        match self {
            What::Logon { user, .. } => Some(user),
            What::Station { .. } | What::Units { .. } => None,
        }
    }

    pub(crate) const fn station(&self) -> Option<Name> {
        match self {
            What::Logon { at: At::Station(station), .. } | What::Station { station, .. } => Some(station),
            What::Logon { .. } | What::Units { .. } => None,
        }
    }

    pub(crate) const fn computer(&self) -> Option<Name> {
        match self {
            What::Logon { computer, .. } => *computer,
            What::Station { .. } | What::Units { .. } => None,
        }
    }
}

/// A key of a lease, and the seats that the lease uses for it.
pub(crate) type Held = (Key, Option<(Pool, u32)>);

/// One caller: an identity, and an instance of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Caller {
    pub(crate) identity: Name,
    pub(crate) instance: Name,
}

/// Whose a lease is: a run of a caller, or all its unary calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    pub(crate) caller: Caller,
    pub(crate) run: Option<u8>,
}

#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) id: u64,
    pub(crate) owner: Owner,
    pub(crate) what: What,
    /// By key.
    pub(crate) held: Vec<Held>,
    pub(crate) ttl_ms: u64,
    pub(crate) heard_ms: u64,
    pub(crate) idle_since_ms: Option<u64>,
    /// A new run may take it over until then (LEASE-13).
    pub(crate) orphan_until_ms: Option<u64>,
}

impl Lease {
    pub(crate) fn has(&self, key: Key) -> bool {
        self.held.iter().any(|(held, _)| *held == key)
    }

    pub(crate) const fn lapses_ms(&self) -> u64 {
        self.heard_ms + lapse_ms(self.ttl_ms)
    }
}

/// A request that waits.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) owner: Owner,
    pub(crate) request: u128,
    pub(crate) tickets: Vec<u64>,
    pub(crate) what: What,
    pub(crate) ttl_ms: u64,
    pub(crate) priority: u8,
    pub(crate) arrival: u64,
    pub(crate) deadline_ms: u64,
    /// Since when its caller is not there to take the answer.
    pub(crate) away_since_ms: Option<u64>,
    /// A newer logon of the user elsewhere was granted meanwhile (ALLOC-8).
    pub(crate) overtaken: bool,
}

/// Why not: a stable reason, and the key that is to blame where there is one.
pub(crate) type Why = (&'static str, Option<Key>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Granted(Vec<Held>),
    /// Any of these is a right answer.
    Refused(Vec<Why>),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Site {
    pub(crate) now_ms: u64,
    /// What the base file grants; `None`: no end of it.
    pub(crate) grants: Vec<(Pool, Option<u32>)>,
    pub(crate) users: Vec<User>,
    pub(crate) stations: Vec<Station>,
    pub(crate) given: Vec<Given>,
    pub(crate) leases: Vec<Lease>,
    pub(crate) waiting: Vec<Waiting>,
    /// Every lease that ended, and how.
    pub(crate) ended: Vec<(u64, EndReason)>,
}

impl Site {
    // --- counts ---------------------------------------------------------------------------------------------------

    pub(crate) fn capacity(&self, pool: Pool) -> u64 {
        let grant = self.grants.iter().find(|(granted, _)| *granted == pool);
        grant.map_or(0, |(_, units)| units.map_or(u64::MAX, u64::from))
    }

    pub(crate) fn assigned(&self, pool: Pool) -> u64 {
        self.given.iter().filter(|given| given.pool == pool).count() as u64
    }

    pub(crate) fn in_use(&self, pool: Pool) -> u64 {
        self.in_use_without(pool, &[])
    }

    /// Seats taken of a pool, were these leases not there: each user once (ALLOC-7).
    pub(crate) fn in_use_without(&self, pool: Pool, without: &[u64]) -> u64 {
        let mut users: Vec<Name> = Vec::new();
        let mut own = 0;
        for lease in self.leases.iter().filter(|lease| !without.contains(&lease.id)) {
            for (seat, units) in lease.held.iter().filter_map(|(_, seat)| *seat).filter(|(seat, _)| *seat == pool) {
                match lease.what.user() {
                    Some(user) if seat.concurrent => {
                        if !users.contains(&user) {
                            users.push(user);
                        }
                    }
                    _ => own += u64::from(units),
                }
            }
        }
        let given = if pool.concurrent { 0 } else { self.assigned(pool) };
        own + users.len() as u64 + given
    }

    pub(crate) fn free_without(&self, pool: Pool, without: &[u64]) -> u64 {
        self.capacity(pool).saturating_sub(self.in_use_without(pool, without))
    }

    // --- who has what ---------------------------------------------------------------------------------------------

    pub(crate) fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    pub(crate) fn station(&self, name: &str) -> Option<&Station> {
        self.stations.iter().find(|station| station.name == name)
    }

    /// ALLOC-11: of an assignable pool, the first assignments up to the capacity have effect.
    pub(crate) fn active(&self, given: &Given) -> bool {
        let ahead =
            self.given.iter().filter(|other| other.pool == given.pool && other.order < given.order).count() as u64;
        let capacity = self.capacity(given.pool);
        if given.pool.concurrent { capacity > 0 } else { ahead < capacity }
    }

    pub(crate) fn given_to(&self, subject: Subject) -> Vec<&Given> {
        self.given.iter().filter(|given| given.to == subject).collect()
    }

    pub(crate) fn is_given(&self, subject: Subject, key: Key) -> bool {
        self.given_to(subject).iter().any(|given| given.pool.key == key)
    }

    /// SITE-1, with what the key requires (01, `requires`).
    pub(crate) fn site_has(&self, key: Key) -> bool {
        let fact = fact(key);
        matches!(fact.kind, KeyKind::Server | KeyKind::Feature)
            && self.capacity(assignable(key)) > 0
            && fact.requires.iter().all(|required| self.site_has(required))
    }

    fn closed(mut keys: Vec<Key>) -> Vec<Key> {
        for key in keys.clone() {
            keys.extend(included_in(key));
        }
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// What a station brings to whoever logs on there.
    pub(crate) fn station_rights(&self, station: &str) -> Vec<Key> {
        let given = self.given.iter().filter(|given| given.to_station() == Some(station) && self.active(given));
        let mut own: Vec<Key> = given.map(|given| given.pool.key).collect();
        self.drop_without_prerequisites(&mut own, &[]);
        Self::closed(own)
    }

    /// Takes away keys whose prerequisites are not met, until nothing changes.
    fn drop_without_prerequisites(&self, own: &mut Vec<Key>, beside: &[Key]) {
        loop {
            let mut all = Self::closed(own.clone());
            all.extend(beside);
            let met = |required: &Key| all.contains(required) || self.site_has(required);
            let before = own.len();
            own.retain(|key| fact(key).requires.iter().all(met));
            if own.len() == before {
                return;
            }
        }
    }

    /// STATION-1, STATION-3: `None` where it may be used, or a user may log on there.
    pub(crate) fn station_fault(&self, station: &Station, logon: bool) -> Option<Why> {
        self.fault_with(station, logon, &self.station_rights(station.name))
    }

    /// The same for a lease that stands: ALLOC-11 ends none at once, so a key that is given will do.
    pub(crate) fn standing_fault(&self, station: &Station, logon: bool) -> Option<Why> {
        let given = self.given_to(Subject::Station(station.name));
        let served: Vec<Key> =
            given.iter().filter(|given| self.capacity(given.pool) > 0).map(|given| given.pool.key).collect();
        self.fault_with(station, logon, &served)
    }

    fn fault_with(&self, station: &Station, logon: bool, rights: &[Key]) -> Option<Why> {
        let lacks = |key: Key| !rights.contains(&key);
        match station.kind {
            _ if !station.enabled => Some(("STATION_NOT_LICENSED", None)),
            StationKind::Device => None,
            _ if lacks(BASIC) => Some(("STATION_NOT_LICENSED", Some(BASIC))),
            StationKind::Remote if logon && lacks(CLIENT) => Some(("STATION_NOT_LICENSED", Some(CLIENT))),
            _ => None,
        }
    }

    /// Leases that end with this logon (ALLOC-8).
    pub(crate) fn displaced_by(&self, what: &What) -> Vec<u64> {
        let What::Logon { user, computer: Some(computer), .. } = what else { return Vec::new() };
        let elsewhere = |lease: &&Lease| {
            lease.what.user() == Some(*user) && lease.what.computer().is_some_and(|old| old != *computer)
        };
        self.leases.iter().filter(elsewhere).map(|lease| lease.id).collect()
    }

    /// Logons of the same user elsewhere that asked before, and whose callers are away, are overtaken by this one (ALLOC-8).
    pub(crate) fn overtake(&mut self, what: &What, arrival: u64) {
        let Some(here) = what.computer() else { return };
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.arrival < arrival) {
            let elsewhere = waiting.what.computer().is_some_and(|there| there != here);
            let away = waiting.away_since_ms.is_some();
            waiting.overtaken |= away && elsewhere && waiting.what.user() == what.user();
        }
    }

    /// Does the user use a seat of this pool already? Displaced leases count: their seats pass on (ALLOC-8).
    fn has_seat(&self, user: &str, pool: Pool) -> bool {
        let uses = |lease: &Lease| lease.held.iter().any(|(_, seat)| seat.is_some_and(|(of, _)| of == pool));
        self.leases.iter().any(|lease| lease.what.user() == Some(user) && uses(lease))
    }

    // --- what happens ---------------------------------------------------------------------------------------------

    /// Leases whose time is over by now (LEASE-5, LEASE-13). Only expiry is tested whenever a seat is asked for; `tick`: so
    /// is everything else.
    pub(crate) fn over(&self, tick: bool) -> Vec<(u64, Vec<EndReason>)> {
        let mut over = Vec::new();
        for lease in &self.leases {
            let mut why = Vec::new();
            if lease.lapses_ms() <= self.now_ms {
                why.push(EndReason::Expired);
            }
            if tick && lease.orphan_until_ms.is_some_and(|until| until <= self.now_ms) {
                why.push(EndReason::HolderRestarted);
            }
            if !why.is_empty() {
                over.push((lease.id, why));
            }
        }
        over
    }

    pub(crate) fn end(&mut self, id: u64, why: EndReason) {
        self.leases.retain(|lease| lease.id != id);
        self.ended.push((id, why));
    }
}

impl Given {
    pub(crate) const fn to_station(&self) -> Option<Name> {
        match self.to {
            Subject::Station(station) => Some(station),
            Subject::User(_) => None,
        }
    }
}
