//! A licensed site as the specification tells it, and nothing of how the engine keeps it: lists, walked from end to end, and
//! every count made afresh whenever it is asked for. What the specification leaves open is left open here too: a decision
//! may name several answers that are all right.

use std::sync::OnceLock;

use leasehold_engine::{refusal::EndReason, row::StationKind, time::lapse_ms};
use leasehold_keys::definition::{Holder, KeyKind};

use crate::support::catalog::definitions;

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

    /// Does the user use a seat of this pool already? Displaced leases count: their seats pass on (ALLOC-8).
    fn has_seat(&self, user: &str, pool: Pool) -> bool {
        let uses = |lease: &Lease| lease.held.iter().any(|(_, seat)| seat.is_some_and(|(of, _)| of == pool));
        self.leases.iter().any(|lease| lease.what.user() == Some(user) && uses(lease))
    }

    // --- decisions ------------------------------------------------------------------------------------------------

    /// What an acquire would get now, where seats of `blocked` pools are for others who wait.
    pub(crate) fn decide(&self, what: &What, blocked: &[Pool]) -> Decision {
        match what {
            What::Logon { user, at, needed, .. } => self.decide_logon(what, user, at, needed, blocked),
            What::Station { station, needed } => self.decide_station(station, needed),
            What::Units { key, units } => self.decide_units(key, *units, blocked),
        }
    }

    fn decide_units(&self, key: Key, units: u32, blocked: &[Pool]) -> Decision {
        let Some(known) = facts().iter().find(|fact| fact.key == key) else {
            return Decision::Refused(vec![("KEY_UNKNOWN", None)]);
        };
        let pool = assignable(key);
        if !matches!(known.kind, KeyKind::Session | KeyKind::Engine | KeyKind::Hardware) {
            return Decision::Refused(vec![("HOLDER_NOT_ALLOWED", Some(key))]);
        }
        if self.capacity(pool) == 0 {
            return Decision::Refused(vec![("NOT_LICENSED", Some(key))]);
        }
        if !known.requires.iter().all(|required| self.site_has(required)) {
            return Decision::Refused(vec![("PREREQUISITE_MISSING", Some(key))]);
        }
        if self.free_without(pool, &[]) < u64::from(units) || blocked.contains(&pool) {
            return Decision::Refused(vec![("POOL_EXHAUSTED", Some(key))]);
        }
        Decision::Granted(vec![(key, Some((pool, units)))])
    }

    fn decide_station(&self, name: Name, needed: &[Key]) -> Decision {
        let Some(station) = self.station(name) else { return Decision::Refused(vec![("STATION_UNKNOWN", None)]) };
        let mut whys: Vec<Why> = self.station_fault(station, false).into_iter().collect();
        let rights = self.station_rights(name);
        for key in needed.iter().copied().filter(|key| !rights.contains(key)) {
            whys.extend(self.why_not_given(Subject::Station(name), key, &rights));
        }
        if rights.is_empty() {
            whys.push(("NOT_ASSIGNED", None));
            whys.extend(self.given_to(Subject::Station(name)).iter().flat_map(|given| self.why_inactive(given)));
        }
        if whys.is_empty() {
            Decision::Granted(rights.into_iter().map(|key| (key, None)).collect())
        } else {
            Decision::Refused(whys)
        }
    }

    /// Every reason that may be told for a key that is given and has no effect.
    fn why_inactive(&self, given: &Given) -> Vec<Why> {
        let key = given.pool.key;
        if self.capacity(given.pool) == 0 {
            vec![("NOT_LICENSED", Some(key))]
        } else {
            vec![("POOL_EXHAUSTED", Some(key))]
        }
    }

    /// Every reason that may be told for a needed key that is not had. Some way to it may be a key that includes it.
    fn why_not_given(&self, subject: Subject, key: Key, have: &[Key]) -> Vec<Why> {
        let Some(known) = facts().iter().find(|fact| fact.key == key) else { return vec![("KEY_UNKNOWN", None)] };
        let mut whys = Vec::new();
        let ways: Vec<&Given> = self
            .given_to(subject)
            .into_iter()
            .filter(|given| given.pool.key == key || included_in(given.pool.key).contains(&key))
            .collect();
        if ways.is_empty() {
            whys.push(("NOT_ASSIGNED", Some(key)));
            let methods = [false, true].map(|concurrent| Pool { key, concurrent });
            if methods.iter().all(|pool| self.capacity(*pool) == 0) {
                whys.push(("NOT_LICENSED", Some(key)));
            }
            let kind = if matches!(subject, Subject::User(_)) { Holder::User } else { Holder::Station };
            if !known.holders.contains(&kind) {
                whys.push(("HOLDER_NOT_ALLOWED", Some(key)));
            }
        }
        for way in ways {
            let told = |why: &'static str| [(why, Some(key)), (why, Some(way.pool.key))];
            if self.capacity(way.pool) == 0 {
                whys.extend(told("NOT_LICENSED"));
                continue;
            }
            let missing: Vec<Key> = fact(way.pool.key)
                .requires
                .iter()
                .copied()
                .filter(|required| !have.contains(required) && !self.site_has(required))
                .collect();
            if !missing.is_empty() {
                whys.extend(told("PREREQUISITE_MISSING"));
                // The prerequisite may itself be given and find no seat.
                whys.extend(missing.iter().map(|required| ("POOL_EXHAUSTED", Some(*required))));
            }
            // No seat, or an assignment beyond the capacity.
            whys.extend(told("POOL_EXHAUSTED"));
        }
        whys
    }

    fn decide_logon(&self, what: &What, name: Name, at: &At, needed: &[Key], blocked: &[Pool]) -> Decision {
        let mut unknown: Vec<Why> = Vec::new();
        let user = self.user(name);
        if user.is_none() {
            unknown.push(("USER_UNKNOWN", None));
        }
        let station = if let At::Station(station) = at { Some(*station) } else { None };
        if station.is_some_and(|station| self.station(station).is_none()) {
            unknown.push(("STATION_UNKNOWN", None));
        }
        if needed.iter().any(|key| !facts().iter().any(|fact| fact.key == *key)) {
            unknown.push(("KEY_UNKNOWN", None));
        }
        let (Some(user), true) = (user, unknown.is_empty()) else { return Decision::Refused(unknown) };

        let without = self.displaced_by(what);
        let mut whys: Vec<Why> = Vec::new();
        let mut brought: Vec<Key> = Vec::new();
        let mut number_seat = None;
        match at {
            At::Nowhere => {}
            At::Station(station) => {
                let station = self.station(station).unwrap();
                whys.extend(self.station_fault(station, true));
                brought = self.station_rights(station.name);
            }
            At::Number(_) => {
                let pool = assignable(BASIC);
                if self.capacity(pool) == 0 {
                    whys.push(("NOT_LICENSED", Some(BASIC)));
                } else if self.free_without(pool, &without) == 0 || blocked.contains(&pool) {
                    whys.push(("POOL_EXHAUSTED", Some(BASIC)));
                }
                // STATION-4: "the user needs no client key", so the logon brings that right along, and no seat for it.
                brought.extend([BASIC, CLIENT]);
                number_seat = Some((pool, 1));
            }
        }

        // ALLOC-6, ALLOC-7, ALLOC-9: which of the user's keys can be had at all?
        let subject = Subject::User(name);
        let mut own: Vec<Key> = Vec::new();
        for given in self.given_to(subject) {
            let had = brought.contains(&given.pool.key)
                || (self.active(given)
                    && (!given.pool.concurrent
                        || self.has_seat(name, given.pool)
                        || (self.free_without(given.pool, &without) > 0 && !blocked.contains(&given.pool))));
            if had {
                own.push(given.pool.key);
            }
        }
        self.drop_without_prerequisites(&mut own, &brought);

        let mut all = Self::closed(own.clone());
        all.extend(&brought);
        all.sort_unstable();
        all.dedup();
        for key in needed.iter().copied().filter(|key| !all.contains(key)) {
            whys.extend(self.why_not_given(subject, key, &all));
        }
        if all.is_empty() {
            let given = self.given_to(subject);
            if given.is_empty() {
                whys.push(("NOT_ASSIGNED", None));
            }
            for given in given {
                whys.extend(self.why_not_given(subject, given.pool.key, &all));
            }
        }
        if !whys.is_empty() {
            return Decision::Refused(whys);
        }
        let seat = |key: &Key| {
            let comes_along = brought.contains(key) || own.iter().any(|other| included_in(other).contains(key));
            (user.concurrent && !comes_along && own.contains(key)).then_some((Pool { key, concurrent: true }, 1))
        };
        let held = all.iter().map(|key| {
            let number = number_seat.filter(|_| *key == BASIC);
            (*key, number.or_else(|| seat(key)))
        });
        Decision::Granted(held.collect())
    }

    /// The same with room in every pool: would it be worth waiting?
    pub(crate) fn would_be_granted_with_room(&self, what: &What) -> bool {
        let mut roomy = self.clone();
        for (_, units) in &mut roomy.grants {
            *units = None;
        }
        matches!(roomy.decide(what, &[]), Decision::Granted(_))
    }

    /// Pools in which the request could take a seat.
    pub(crate) fn pools_of(&self, what: &What) -> Vec<Pool> {
        match what {
            What::Logon { user, at, .. } => {
                let mut pools: Vec<Pool> = self
                    .given_to(Subject::User(user))
                    .iter()
                    .map(|given| given.pool)
                    .filter(|pool| pool.concurrent)
                    .collect();
                if matches!(at, At::Number(_)) {
                    pools.push(assignable(BASIC));
                }
                pools
            }
            What::Station { .. } => Vec::new(),
            What::Units { key, .. } => vec![assignable(key)],
        }
    }

    /// Of them, those without which the request makes no sense.
    pub(crate) fn pools_needed(&self, what: &What) -> Vec<Pool> {
        let needed = what.needed();
        let serves = |pool: &Pool| {
            let for_it = |key: &Key| {
                pool.key == *key || included_in(pool.key).contains(key) || fact(key).requires.contains(&pool.key)
            };
            !pool.concurrent || needed.iter().any(for_it)
        };
        let pools = self.pools_of(what);
        if needed.is_empty() { pools } else { pools.into_iter().filter(serves).collect() }
    }

    /// Pools in which the request lacks a seat now.
    pub(crate) fn pools_lacked(&self, what: &What) -> Vec<Pool> {
        let without = self.displaced_by(what);
        let units = if let What::Units { units, .. } = what { *units } else { 1 };
        let lacks = |pool: &Pool| {
            self.free_without(*pool, &without) < u64::from(units)
                && !what.user().is_some_and(|user| self.has_seat(user, *pool))
        };
        self.pools_of(what).into_iter().filter(lacks).collect()
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
