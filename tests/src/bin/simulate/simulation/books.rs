//! The oracle's own books: what is durable, kept in the plainest way, and what the grants in force add up to. They are made
//! of rows as they become durable and of nothing that the engine counts.

use std::collections::{BTreeMap, BTreeSet};

use leasehold_engine::{
    refusal::EndReason,
    row::{FileRow, LeaseRow, LeaseSubject},
};
use leasehold_keys::{
    activation::{FileKind, Units},
    name::Label,
};

use super::vendor::{AGENT, BASIC, CLIENT, Caps, KEYS, Key, POOLS, Pool, SUPER, is_call_port, pool, pool_name};

/// A set of keys, a bit each.
pub(crate) type KeySet = u16;

pub(crate) const fn one(key: Key) -> KeySet {
    1 << key
}

pub(crate) const fn has(keys: KeySet, key: Key) -> bool {
    keys & one(key) != 0
}

/// With what comes with them.
pub(crate) const fn closed(keys: KeySet) -> KeySet {
    if has(keys, SUPER) { keys | one(AGENT) } else { keys }
}

/// How long a lease stands after its last renewal: 1.1 × TTL + 5 s (LEASE-5).
pub(crate) const fn lapse_ms(ttl_ms: u64) -> u64 {
    ttl_ms + ttl_ms / 10 + 5_000
}

/// A file that is gone, or not for this host, counts for so long (02).
const GRACE_MS: u64 = 72 * 3_600_000;
/// By when time's own turn has surely taken it away.
const SLACK_MS: u64 = 130_000;

#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) name: usize,
    pub(crate) concurrent: bool,
    pub(crate) keys: KeySet,
    /// Those of them that were given under the concurrent method.
    pub(crate) concurrent_keys: KeySet,
    /// Live leases on each shared seat (ALLOC-7).
    pub(crate) seats: [u32; POOLS],
    pub(crate) leases: BTreeSet<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Station {
    pub(crate) name: usize,
    pub(crate) keys: KeySet,
}

/// A run of an application server, or its unary calls.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) identity: u8,
    pub(crate) instance: u8,
    pub(crate) run: Option<u128>,
    /// It was perhaps heard of then.
    pub(crate) heard_hi: u64,
    /// It was surely heard of, and that could be stored, since the last start.
    pub(crate) heard_since_start: bool,
    /// Perhaps it was.
    pub(crate) perhaps_since_start: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) user: Option<u32>,
    pub(crate) station: Option<u32>,
    pub(crate) computer: Option<Label>,
    pub(crate) remote: bool,
    pub(crate) holder: u32,
    pub(crate) ask: usize,
    pub(crate) needed: KeySet,
    pub(crate) keys: KeySet,
    pub(crate) seats: Vec<(Pool, u32, bool)>,
    pub(crate) ttl_ms: u64,
    pub(crate) granted: u64,
    /// It was surely renewed then, by itself or with its run; perhaps by itself then.
    pub(crate) renewed_lo: u64,
    /// The same, of what could be stored.
    pub(crate) stored_lo: u64,
    pub(crate) renewed_hi: u64,
    /// Since the last start, granted or renewed by itself: surely, perhaps.
    pub(crate) renewed_since_start: bool,
    pub(crate) perhaps_since_start: bool,
    /// From a start: it may not lapse before (LEASE-7) …
    pub(crate) floor: u64,
    /// … and may last until then.
    pub(crate) ceiling: u64,
    pub(crate) ends: Option<(u64, EndReason)>,
    pub(crate) idle: bool,
    /// The commit that made it durable.
    pub(crate) commit: u64,
}

#[derive(Clone, Debug)]
struct File {
    caps: Caps,
    base: bool,
    absent_since: Option<u64>,
    host_lost_since: Option<u64>,
    unloaded: bool,
}

/// What the grants in force add up to, from one point of view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grants {
    pub(crate) caps: Caps,
    /// No file is in effect: all call ports together may hold two.
    pub(crate) unlicensed: bool,
}

#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) key_of: BTreeMap<u32, Key>,
    pub(crate) users: BTreeMap<u32, User>,
    pub(crate) stations: BTreeMap<u32, Station>,
    pub(crate) holders: BTreeMap<u32, Holder>,
    pub(crate) leases: BTreeMap<u64, Lease>,
    /// Seats taken by assignments …
    pub(crate) assigned: [u64; POOLS],
    /// … and by leases.
    pub(crate) leased: [u64; POOLS],
    files: BTreeMap<u128, File>,
    /// The licensor's key is revoked: surely; perhaps.
    pub(crate) revoked: (bool, bool),
    /// At most and at least.
    pub(crate) most: Grants,
    pub(crate) least: Grants,
    grants_until: u64,
    /// Since when a pool may have been over its capacity (ALLOC-11), or without any (LEVEL-5).
    pub(crate) over_since: [Option<u64>; POOLS],
    pub(crate) none_since: [Option<u64>; POOLS],
}

impl Books {
    pub(crate) fn new() -> Self {
        let nothing = Grants { caps: [0; POOLS], unlicensed: true };
        let mut books = Self {
            key_of: BTreeMap::new(),
            users: BTreeMap::new(),
            stations: BTreeMap::new(),
            holders: BTreeMap::new(),
            leases: BTreeMap::new(),
            assigned: [0; POOLS],
            leased: [0; POOLS],
            files: BTreeMap::new(),
            revoked: (false, false),
            most: nothing,
            least: nothing,
            grants_until: 0,
            over_since: [None; POOLS],
            none_since: [None; POOLS],
        };
        books.add_up(0);
        books
    }

    pub(crate) fn held(&self, pool: Pool) -> u64 {
        self.assigned[pool] + self.leased[pool]
    }

    pub(crate) fn call_ports_held(&self) -> u64 {
        (0..POOLS).filter(|pool| is_call_port(*pool)).map(|pool| self.held(pool)).sum()
    }

    pub(crate) fn user_named(&self, name: usize) -> Option<(u32, &User)> {
        self.users.iter().find(|(_, user)| user.name == name).map(|(id, user)| (*id, user))
    }

    pub(crate) fn station_named(&self, name: usize) -> Option<(u32, &Station)> {
        self.stations.iter().find(|(_, station)| station.name == name).map(|(id, station)| (*id, station))
    }

    /// Keys that a logon may have, however full the pools are (ALLOC-9, STATION-4).
    pub(crate) fn rights(&self, user: Option<u32>, station: Option<u32>, remote: bool) -> KeySet {
        let users = user.and_then(|id| self.users.get(&id)).map_or(0, |user| user.keys);
        closed(users | self.brought(station, remote))
    }

    /// What the station brings, or the way of logging on.
    pub(crate) fn brought(&self, station: Option<u32>, remote: bool) -> KeySet {
        let stations = station.and_then(|id| self.stations.get(&id)).map_or(0, |station| station.keys);
        closed(stations | if remote { one(BASIC) | one(CLIENT) } else { 0 })
    }

    /// Keys of a station that may have no effect now.
    pub(crate) fn unsure(&self, station: Option<u32>) -> KeySet {
        let keys = station.and_then(|id| self.stations.get(&id)).map_or(0, |station| station.keys);
        let over = |key: &Key| self.least.caps[pool(*key, false)] < self.assigned[pool(*key, false)];
        (0..KEYS.len()).filter(|key| has(keys, *key)).filter(over).fold(0, |keys, key| keys | closed(one(key)))
    }

    pub(crate) fn file(&mut self, row: &FileRow, gone: bool, now: u64) {
        let number = row.terms.license_id.0.as_u128();
        if gone {
            self.files.remove(&number);
        } else {
            let mut caps = [0; POOLS];
            for (pool, cap) in caps.iter_mut().enumerate() {
                let name = pool_name(pool);
                *cap = row.terms.grants.iter().find(|grant| grant.pool == name).map_or(0, |grant| match grant.units {
                    Units::Unlimited => u64::MAX,
                    Units::Count(count) => count.into(),
                });
            }
            let file = File {
                caps,
                base: row.terms.kind == FileKind::Base,
                absent_since: row.absent_since.map(|at| at.as_ms()),
                host_lost_since: row.host_lost_since.map(|at| at.as_ms()),
                unloaded: row.unloaded,
            };
            self.files.insert(number, file);
        }
        self.add_up(now);
    }

    fn grants(&self, counts: impl Fn(&File) -> bool) -> Grants {
        let base = self.files.values().any(|file| file.base && counts(file));
        let mut grants = Grants { caps: [0; POOLS], unlicensed: true };
        for file in self.files.values().filter(|file| base && counts(file)) {
            grants.unlicensed = false;
            for pool in 0..POOLS {
                grants.caps[pool] = grants.caps[pool].saturating_add(file.caps[pool]);
            }
        }
        if grants.unlicensed {
            for pool in (0..POOLS).filter(|pool| is_call_port(*pool)) {
                grants.caps[pool] = 2;
            }
        }
        grants
    }

    /// What the grants in force add up to at a moment.
    pub(crate) fn add_up(&mut self, now: u64) {
        let within = |since: Option<u64>, ms: u64| since.is_none_or(|since| now < since.saturating_add(ms));
        let (revoked, perhaps_revoked) = self.revoked;
        // A host that was lost may match again, which is in no row.
        let counted = |file: &File| !file.unloaded && !revoked && within(file.absent_since, GRACE_MS + SLACK_MS);
        let sure = |file: &File| {
            !file.unloaded
                && !perhaps_revoked
                && within(file.absent_since, GRACE_MS - 1)
                && within(file.host_lost_since, GRACE_MS - 1)
        };
        let (most, least) = (self.grants(counted), self.grants(sure));
        // Where it is not sure that there is a file, call ports may have any of both.
        self.most = most;
        self.least = least;
        for pool in 0..POOLS {
            if most.unlicensed != least.unlicensed {
                self.most.caps[pool] = most.caps[pool].max(least.caps[pool]);
                self.least.caps[pool] = most.caps[pool].min(least.caps[pool]);
            }
        }
        let moments = self.files.values().flat_map(|file| [file.absent_since, file.host_lost_since]).flatten();
        let moments = moments.flat_map(|since| [since + GRACE_MS - 1, since + GRACE_MS + SLACK_MS]);
        self.grants_until = moments.filter(|at| *at > now).min().unwrap_or(u64::MAX);
        self.note_excess(now);
    }

    /// Lease time goes on, or back to a mark.
    pub(crate) fn look_at_time(&mut self, now: u64, back: bool) {
        if now >= self.grants_until || back {
            self.add_up(now);
        }
    }

    pub(crate) fn note_excess(&mut self, now: u64) {
        let joint = self.least.unlicensed && self.call_ports_held() > 2;
        for pool in 0..POOLS {
            let over = self.held(pool) > self.least.caps[pool] || joint && is_call_port(pool);
            self.over_since[pool] = over.then(|| self.over_since[pool].unwrap_or(now));
            let none = self.least.caps[pool] == 0;
            self.none_since[pool] = none.then(|| self.none_since[pool].unwrap_or(now));
        }
    }

    /// A lease as its row tells it.
    pub(crate) fn lease_of(&self, row: &LeaseRow, ask: usize, commit: u64) -> Lease {
        let (user, station, remote, computer) = match &row.subject {
            LeaseSubject::Logon { user, station, remote_number, computer } => {
                (Some(user.0), station.map(|id| id.0), remote_number.is_some(), computer.clone())
            }
            LeaseSubject::Station(station) => (None, Some(station.0), false, None),
            LeaseSubject::Units => (None, None, false, None),
        };
        let granted = row.granted.as_ms();
        Lease {
            user,
            station,
            computer,
            remote,
            holder: row.holder.0,
            ask,
            needed: self.keys_of(row.terms.needed.iter().map(|key| key.0)),
            keys: self.keys_of(row.terms.keys.iter().map(|held| held.key.0)),
            seats: self.seats_of(row),
            ttl_ms: row.ttl_ms,
            granted,
            renewed_lo: granted,
            stored_lo: granted,
            renewed_hi: granted,
            renewed_since_start: true,
            perhaps_since_start: true,
            floor: 0,
            ceiling: 0,
            ends: row.ends.map(|(at, why)| (at.as_ms(), why)),
            idle: row.idle_since.is_some(),
            commit,
        }
    }

    pub(crate) fn keys_of(&self, ids: impl Iterator<Item = u32>) -> KeySet {
        ids.filter_map(|id| self.key_of.get(&id)).fold(0, |keys, key| keys | one(*key))
    }

    pub(crate) fn seats_of(&self, row: &LeaseRow) -> Vec<(Pool, u32, bool)> {
        let seats = row.terms.seats.iter();
        seats
            .map(|seat| {
                let key = self.key_of.get(&seat.pool.key.0).copied().unwrap_or(KEYS.len());
                let concurrent = seat.pool.method == leasehold_keys::name::Method::Concurrent;
                (super::vendor::pool(key, concurrent), seat.units, seat.shared)
            })
            .filter(|(pool, _, _)| *pool < POOLS)
            .collect()
    }

    /// It must not lapse before (LEASE-5, LEASE-7).
    pub(crate) fn lapses_not_before(&self, lease: &Lease) -> u64 {
        let heard = lease.renewed_lo;
        let by_renewal = if heard > 0 { heard + lapse_ms(lease.ttl_ms) } else { 0 };
        by_renewal.max(lease.floor)
    }

    /// By then it must have lapsed, as far as anyone asks (LEASE-5, LEASE-6).
    pub(crate) fn lapses_by(&self, lease: &Lease) -> u64 {
        let mut heard = lease.renewed_hi;
        if let Some(holder) = self.holders.get(&lease.holder).filter(|holder| holder.run.is_some()) {
            heard = heard.max(holder.heard_hi);
        }
        (heard + lapse_ms(lease.ttl_ms)).max(lease.ceiling)
    }

    /// A run was surely heard of between two moments: its leases that surely stood then are renewed.
    pub(crate) fn renew_all(&mut self, holder: u32, from: u64, until: u64, stored: bool) {
        let mine = self.leases.iter().filter(|(_, lease)| lease.holder == holder);
        let stood: Vec<u64> =
            mine.filter(|(_, lease)| self.lapses_not_before(lease) > until).map(|(id, _)| *id).collect();
        for id in stood {
            if let Some(lease) = self.leases.get_mut(&id) {
                lease.renewed_lo = lease.renewed_lo.max(from);
                if stored {
                    lease.stored_lo = lease.stored_lo.max(from);
                }
            }
        }
    }

    /// The daemon was killed or stopped at `then`, and goes on at `now`, both in lease time (LEASE-7).
    pub(crate) fn restarted(&mut self, then: u64, now: u64, failed: bool) {
        let graces: Vec<(u64, bool, bool)> = self
            .leases
            .iter()
            .map(|(id, lease)| {
                let holder = self.holders.get(&lease.holder);
                let run = holder.filter(|holder| holder.run.is_some());
                let surely = lease.renewed_since_start || run.is_some_and(|holder| holder.heard_since_start);
                let perhaps = lease.perhaps_since_start || run.is_some_and(|holder| holder.perhaps_since_start);
                // What was heard while nothing could be stored is not known any more.
                let stands = if lease.stored_lo > 0 { lease.stored_lo + lapse_ms(lease.ttl_ms) } else { 0 };
                let was_live = stands.max(lease.floor) > then;
                // A holder of unary calls shows by each lease that it lives; one of a run shows for all of them.
                // A storage that failed may not have the last minute's contacts, or any since.
                (*id, surely && was_live && !failed, perhaps)
            })
            .collect();
        for (id, owed, possible) in graces {
            let lapsed_by = self.leases.get(&id).map_or(0, |lease| self.lapses_by(lease));
            if let Some(lease) = self.leases.get_mut(&id) {
                // One full TTL. What an earlier grace gives stands.
                if owed {
                    lease.floor = lease.floor.max(now + lease.ttl_ms);
                }
                lease.ceiling =
                    if possible { lapsed_by.max(now + lapse_ms(lease.ttl_ms) + lease.ttl_ms / 10) } else { lapsed_by };
                (lease.renewed_lo, lease.renewed_hi, lease.stored_lo) = (0, 0, 0);
                (lease.renewed_since_start, lease.perhaps_since_start) = (false, false);
            }
        }
        for holder in self.holders.values_mut() {
            holder.heard_hi = 0;
            (holder.heard_since_start, holder.perhaps_since_start) = (false, false);
        }
        // What was noted in lease time that is not counted any more was noted at the mark.
        for since in self.over_since.iter_mut().chain(&mut self.none_since).flatten() {
            *since = (*since).min(now);
        }
        self.look_at_time(now, true);
    }
}
