//! Changes of rows, in the order in which they became durable.

use leasehold_engine::{
    ids::Subject,
    refusal::EndReason,
    row::{AssignmentRow, Change, LeaseRow, LeaseSubject, Row},
};
use leasehold_keys::name::Method;

use super::Oracle;
use crate::simulation::{
    asked::{At, What, ask_of, identity_number, number_of},
    books::{Holder, KeySet, Lease, Station, User, closed, has, lapse_ms, one},
    vendor::{BASIC, KEYS, POOLS, Pool, is_call_port, pool, pool_title},
};

/// A new run's predecessor keeps its leases so long (LEASE-13).
const TAKE_OVER_MS: u64 = 10_000;
const HOUR_MS: u64 = 3_600_000;

impl Oracle {
    /// One change.
    pub(crate) fn change(&mut self, change: &Change) {
        match (&change.before, &change.after) {
            (before, Some(Row::Lease(after))) => {
                let before = match before {
                    Some(Row::Lease(before)) => Some(&**before),
                    _ => None,
                };
                self.lease(before, Some(after));
            }
            (Some(Row::Lease(before)), None) => self.lease(Some(before), None),
            (_, Some(Row::Key(row))) => {
                if let Some(key) = KEYS.iter().position(|name| *name == row.name.as_str()) {
                    self.books.key_of.insert(row.id.0, key);
                }
            }
            (_, Some(Row::User(row))) => {
                let concurrent = row.method == Method::Concurrent;
                self.touched_users.insert(row.id.0);
                let name = number_of(row.name.as_str()).into();
                let new = User {
                    name,
                    concurrent,
                    keys: 0,
                    concurrent_keys: 0,
                    seats: [0; POOLS],
                    leases: std::collections::BTreeSet::new(),
                };
                self.books.users.entry(row.id.0).or_insert(new).concurrent = concurrent;
            }
            (Some(Row::User(row)), None) => {
                let left = self.books.users.remove(&row.id.0);
                if left.is_some_and(|user| !user.leases.is_empty() || user.keys != 0) {
                    self.broken("ADMIN-2", || format!("user {} is gone, and something of it is left", row.name));
                }
            }
            (_, Some(Row::Station(row))) => {
                self.touched_stations.insert(row.id.0);
                let name = number_of(row.name.as_str()).into();
                self.books.stations.entry(row.id.0).or_insert(Station { name, keys: 0 });
            }
            (Some(Row::Station(row)), None) => {
                self.books.stations.remove(&row.id.0);
            }
            (None, Some(Row::Assignment(row))) => self.assignment(row, true),
            (Some(Row::Assignment(row)), None) => self.assignment(row, false),
            (_, Some(Row::Holder(row))) => {
                let now = self.now;
                self.books.holders.entry(row.id.0).or_insert_with(|| Holder {
                    identity: identity_number(&row.identity),
                    instance: number_of(&row.instance),
                    run: row.run.map(|run| u128::from_be_bytes(run.0)),
                    heard_hi: now,
                    heard_since_start: true,
                    perhaps_since_start: true,
                });
            }
            (Some(Row::Holder(row)), None) => {
                if self.books.leases.values().any(|lease| lease.holder == row.id.0) {
                    self.broken("LEASE-13", || format!("holder {} is forgotten, and has leases", row.id));
                }
                self.books.holders.remove(&row.id.0);
            }
            (_, Some(Row::File(row))) => self.books.file(row, false, self.now),
            (Some(Row::File(row)), None) => self.books.file(row, true, self.now),
            (_, Some(Row::Audit(row))) => {
                if row.id.0 != self.last_audit + 1 {
                    let last = self.last_audit;
                    self.broken("audit", || format!("entry {} follows entry {last}", row.id));
                }
                self.last_audit = row.id.0;
            }
            (_, Some(Row::Site(row))) if row.last_lease < self.highest => {
                let highest = self.highest;
                self.broken("LEASE-4", || {
                    format!("the highest fencing number falls from {highest} to {}", row.last_lease)
                });
            }
            _ => {}
        }
    }

    /// The commit is whole.
    pub(crate) fn committed(&mut self) {
        self.commits += 1;
        self.tally.commits += 1;
        for user in std::mem::take(&mut self.logged_on) {
            self.one_computer(user);
        }
        for user in std::mem::take(&mut self.touched_users) {
            self.one_method(user);
        }
        self.touched_stations.clear();
        self.books.note_excess(self.now);
    }

    /// ALLOC-1: all keys of a user are given under the user's method.
    fn one_method(&mut self, id: u32) {
        let Some(user) = self.books.users.get(&id) else { return };
        if user.concurrent_keys != if user.concurrent { user.keys } else { 0 } {
            let user = user.clone();
            self.broken("ALLOC-1", || format!("keys under both methods: {user:?}"));
        }
    }

    /// ALLOC-8: primary leases of a user are on one computer.
    fn one_computer(&mut self, user: u32) {
        let Some(leases) = self.books.users.get(&user).map(|user| &user.leases) else { return };
        let mut computers = leases.iter().filter_map(|id| self.books.leases.get(id)?.computer.clone());
        if let Some(first) = computers.next()
            && let Some(other) = computers.find(|other| *other != first)
        {
            self.broken("ALLOC-8", || format!("user {user} is logged on at {first} and at {other}"));
        }
    }

    fn assignment(&mut self, row: &AssignmentRow, given: bool) {
        let Some(&key) = self.books.key_of.get(&row.key.0) else { return };
        let held = match row.subject {
            Subject::User(id) => {
                self.touched_users.insert(id.0);
                let user = self.books.users.get_mut(&id.0);
                user.map(|user| {
                    let under = if row.method == Method::Concurrent { one(key) } else { 0 };
                    user.concurrent_keys = user.concurrent_keys & !one(key) | if given { under } else { 0 };
                    &mut user.keys
                })
            }
            Subject::Station(id) => {
                self.touched_stations.insert(id.0);
                self.books.stations.get_mut(&id.0).map(|station| &mut station.keys)
            }
        };
        let Some(keys) = held else {
            return self.broken("ADMIN-3", || format!("an assignment of nobody: {row:?}"));
        };
        let twice = has(*keys, key) == given;
        *keys = if given { *keys | one(key) } else { *keys & !one(key) };
        let by_method = row.method == Method::Concurrent;
        if twice {
            return self.broken("ALLOC-10", || format!("given twice, or taken twice: {row:?}"));
        }
        let pool = pool(key, by_method);
        if by_method {
            return;
        }
        if given {
            self.books.assigned[pool] += 1;
            self.within_capacity(pool);
        } else {
            self.books.assigned[pool] = self.books.assigned[pool].saturating_sub(1);
        }
    }

    /// LEASE-1, ALLOC-2: a seat that was just taken was there.
    fn within_capacity(&mut self, pool: Pool) {
        self.within_capacity_but(pool, 0);
    }

    /// The same, where so many seats are passing on.
    fn within_capacity_but(&mut self, pool: Pool, passing: u64) {
        let (held, most) = (self.books.held(pool).saturating_sub(passing), self.books.most);
        if held > most.caps[pool] {
            self.broken("LEASE-1", || {
                format!("{} are held of {}, which has {}", held, pool_title(pool), most.caps[pool])
            });
        }
        // Where no file is in effect from any point of view, all call ports together have two.
        if most.unlicensed && self.books.least.unlicensed && is_call_port(pool) && self.books.call_ports_held() > 2 {
            let held = self.books.call_ports_held();
            self.broken("LEASE-1", || format!("{held} call ports are held of an unlicensed site's two"));
        }
    }

    fn lease(&mut self, before: Option<&LeaseRow>, after: Option<&LeaseRow>) {
        let live = |row: &&LeaseRow| row.ended.is_none();
        let was = before.filter(live);
        let is = after.filter(live);
        match (was, is) {
            (None, Some(row)) => {
                if let Some(before) = before {
                    return self.broken("LEASE-4", || format!("an ended lease lives again: {before:?}"));
                }
                self.granted(row);
            }
            (Some(_), Some(row)) => self.kept(row),
            (Some(row), None) => {
                let how = after.and_then(|row| row.ended);
                let at = how.map_or(self.now, |(at, _)| at.as_ms());
                self.ended_at(row, at, how.map(|(_, why)| why));
                if after.is_none() {
                    self.forgotten(row);
                }
            }
            (None, None) => {
                if let Some(row) = before
                    && after.is_none()
                {
                    self.forgotten(row);
                }
            }
        }
    }

    fn forgotten(&mut self, row: &LeaseRow) {
        let ask = self.known.get(&row.id.0).copied();
        if let Some(asked) = ask.and_then(|ask| self.asked.get_mut(ask)) {
            // LEASE-3: an answer that was not acknowledged is kept for a day.
            let old = row.ended.is_some_and(|(at, _)| self.now.saturating_sub(at.as_ms()) >= 24 * HOUR_MS);
            let early = !asked.received && !old;
            asked.forgotten = true;
            if early {
                self.broken("LEASE-3", || format!("the answer with lease {} is forgotten within the day", row.id));
            }
        }
    }

    /// A grant is durable: it was asked for, rises above all others, and holds what its subject may hold.
    fn granted(&mut self, row: &LeaseRow) {
        let id = row.id.0;
        self.tally.granted += 1;
        if id <= self.highest {
            let highest = self.highest;
            self.broken("LEASE-4", || format!("lease {id} is granted after lease {highest}"));
        }
        self.highest = self.highest.max(id);
        let Some(ask) = row.request.map(|(request, _)| ask_of(request)).filter(|ask| *ask < self.asked.len()) else {
            return self.broken("LEASE-3", || format!("nobody asked for {row:?}"));
        };
        if let Some(earlier) = self.asked[ask].lease.filter(|_| !self.asked[ask].forgotten && !self.asked[ask].received)
        {
            self.broken("LEASE-3", || format!("request {ask} has lease {earlier}, and is granted lease {id}"));
        }
        self.known.insert(id, ask);
        let mut lease = self.books.lease_of(row, ask, self.commits);
        // What was granted in the very millisecond of the start is not after it.
        lease.renewed_since_start = lease.granted > self.started;
        if lease.granted <= self.started {
            lease.ceiling = lease.granted + lapse_ms(lease.ttl_ms) + lease.ttl_ms / 10;
        }
        self.as_asked(row, &lease);
        self.not_overtaking(&lease, id);
        let asked = &mut self.asked[ask];
        (asked.lease, asked.waits, asked.forgotten) = (Some(id), None, false);
        asked.perhaps_waits = false;
        self.may_hold(id, &lease);
        if let Some(user) = lease.user {
            self.logged_on.insert(user);
            if let Some(user) = self.books.users.get_mut(&user) {
                user.leases.insert(id);
            }
        }
        let run = self.books.holders.get(&lease.holder).is_some_and(|holder| holder.run.is_some());
        let now = self.now;
        if let Some(holder) = self.books.holders.get_mut(&lease.holder).filter(|_| run) {
            // An acquire is a sign of life; a grant out of the queue is none, and is not told apart here.
            holder.heard_hi = holder.heard_hi.max(now);
            holder.perhaps_since_start = true;
        }
        let passing = self.passing(&lease);
        let seats = lease.seats.clone();
        let user = lease.user;
        self.books.leases.insert(id, lease);
        for seat in seats {
            self.take(user, seat, passing);
        }
    }

    fn as_asked(&mut self, row: &LeaseRow, lease: &Lease) {
        let asked = &self.asked[lease.ask];
        let holder = self.books.holders.get(&lease.holder);
        let name = |user: u32| self.books.users.get(&user).map(|user| user.name);
        let station = |station: u32| self.books.stations.get(&station).map(|station| station.name);
        let same = match (&asked.what, &row.subject) {
            (
                What::Logon { user, at, computer },
                LeaseSubject::Logon { user: of, station: there, remote_number, computer: here },
            ) => {
                let place = match at {
                    At::Nowhere => there.is_none() && remote_number.is_none(),
                    At::Station(number) => there.is_some_and(|there| station(there.0) == Some(*number)),
                    At::Number => remote_number.is_some(),
                };
                let on = here.as_ref().map(|here| usize::from(number_of(here.as_str())));
                name(of.0) == Some(*user) && place && on == *computer
            }
            (What::Station(number), LeaseSubject::Station(there)) => station(there.0) == Some(*number),
            (What::Units { key, units }, LeaseSubject::Units) => {
                lease.seats == [(pool(*key, false), *units, false)] && lease.keys == one(*key)
            }
            _ => false,
        };
        let ttl = row.ttl_ms == asked.ttl_ms || asked.reused && row.ttl_ms == asked.ttl_ms + 1_000;
        let whose =
            holder.is_some_and(|holder| holder.identity == asked.identity && holder.run.is_none() == asked.unary);
        let needed: KeySet = asked.needed.iter().fold(0, |keys, key| keys | one(*key));
        let has_needed = needed & !lease.keys == 0;
        if !(same && ttl && whose && has_needed) {
            let asked = asked.clone();
            self.broken("ALLOC-6", || format!("{asked:?} was granted {row:?}"));
        }
    }

    /// What a lease holds, its subject has a right to; and it sits where the rules seat it.
    fn may_hold(&mut self, id: u64, lease: &Lease) {
        if lease.user.is_none() && lease.station.is_none() {
            return;
        }
        let rights = self.books.rights(lease.user, lease.station, lease.remote);
        if lease.keys & !rights != 0 {
            self.broken("ALLOC-9", || {
                format!("lease {id} holds {:#b} with rights to {rights:#b}: {lease:?}", lease.keys)
            });
        }
        let at = lease.station.and_then(|id| self.books.stations.get(&id));
        if at.is_some_and(|station| !has(station.keys, BASIC)) {
            self.broken("STATION-1", || format!("lease {id} is at a station without its key: {lease:?}"));
        }
        let brought = self.books.brought(lease.station, lease.remote);
        // Of a pool above its capacity the last assignments have no effect (ALLOC-11): either way is right then.
        let unsure = self.books.unsure(lease.station);
        let user = lease.user.and_then(|id| self.books.users.get(&id));
        let (keys, concurrent) = user.map_or((0, false), |user| (user.keys, user.concurrent));
        let mut wanted: Vec<(Pool, u32, bool)> = Vec::new();
        if lease.remote {
            wanted.push((pool(BASIC, false), 1, false));
        }
        for key in (0..KEYS.len()).filter(|key| concurrent && has(lease.keys & keys, *key)) {
            let included = (0..KEYS.len())
                .any(|outer| outer != key && has(lease.keys & keys, outer) && has(closed(one(outer)), key));
            let seated = lease.seats.contains(&(pool(key, true), 1, true));
            if !included && (!has(brought, key) || has(unsure, key) && seated) {
                wanted.push((pool(key, true), 1, true));
            }
        }
        let mut seats = lease.seats.clone();
        seats.sort();
        wanted.sort();
        if seats != wanted {
            self.broken("ALLOC-7", || format!("lease {id} sits on {seats:?} and should on {wanted:?}: {lease:?}"));
        }
    }

    /// 03, Queue and shares: who does not wait overtakes nobody, and of equals the first comes first.
    fn not_overtaking(&mut self, lease: &Lease, id: u64) {
        let asked = &self.asked[lease.ask];
        let What::Units { key, units } = asked.what else { return };
        let (mine, waited, class) = (asked.first_submitted, asked.wait_ms > 0, asked.priority);
        let overtaken = self.asked.iter().position(|other| {
            let (Some((since, until)), What::Units { key: wants, units: many }) = (other.waits, &other.what) else {
                return false;
            };
            // Arrived before this one was first given to the daemon; it waits still.
            let first = *wants == key && since < mine && until > lease.granted && other.lease.is_none();
            first && (!waited || (other.priority <= class && *many <= units))
        });
        if let Some(overtaken) = overtaken {
            let (first, asked) = (self.asked[overtaken].clone(), asked.clone());
            self.broken("queue", || format!("lease {id} overtakes {first:?}; it is for {asked:?}"));
        }
    }

    fn take(&mut self, user: Option<u32>, (pool, units, shared): (Pool, u32, bool), passing: u64) {
        if shared && let Some(user) = user.and_then(|id| self.books.users.get_mut(&id)) {
            user.seats[pool] += 1;
            if user.seats[pool] > 1 {
                return;
            }
        }
        self.books.leased[pool] += u64::from(units);
        self.within_capacity_but(pool, if shared { 0 } else { passing });
    }

    /// Seats of a dynamic remote logon's own that pass on from leases which it displaces (ALLOC-8, STATION-4).
    fn passing(&self, lease: &Lease) -> u64 {
        let user = lease.user.and_then(|id| self.books.users.get(&id));
        let others = user.into_iter().flat_map(|user| &user.leases).filter_map(|id| self.books.leases.get(id));
        let moves = |other: &&Lease| {
            other.remote && other.computer.is_some() && lease.computer.is_some() && other.computer != lease.computer
        };
        others.filter(moves).count() as u64
    }

    fn give_back(&mut self, user: Option<u32>, (pool, units, shared): (Pool, u32, bool)) {
        if shared && let Some(user) = user.and_then(|id| self.books.users.get_mut(&id)) {
            user.seats[pool] = user.seats[pool].saturating_sub(1);
            if user.seats[pool] > 0 {
                return;
            }
        }
        self.books.leased[pool] = self.books.leased[pool].saturating_sub(u64::from(units));
    }

    /// A live lease has other terms, another holder, another end.
    fn kept(&mut self, row: &LeaseRow) {
        let id = row.id.0;
        let seats = self.books.seats_of(row);
        let keys = self.books.keys_of(row.terms.keys.iter().map(|held| held.key.0));
        let taken_over = {
            let Some(lease) = self.books.leases.get_mut(&id) else {
                return self.broken("LEASE-2", || format!("lease {id} is changed, and is not there"));
            };
            lease.ends = row.ends.map(|(at, why)| (at.as_ms(), why));
            lease.idle = row.idle_since.is_some();
            let other = lease.holder != row.holder.0;
            let old = std::mem::replace(&mut lease.holder, row.holder.0);
            lease.keys = keys;
            other.then_some(old)
        };
        if let Some(old) = taken_over {
            self.took_over(id, old, row.holder.0);
        }
        let Some(lease) = self.books.leases.get(&id).cloned() else { return };
        if lease.seats != seats {
            for seat in lease.seats.iter().filter(|seat| !seats.contains(seat)) {
                self.give_back(lease.user, *seat);
            }
            for seat in seats.iter().filter(|seat| !lease.seats.contains(seat)) {
                self.take(lease.user, *seat, 0);
            }
            if let Some(lease) = self.books.leases.get_mut(&id) {
                lease.seats = seats;
            }
        }
    }

    /// LEASE-13: only a newer run of the same server, and only within its time.
    fn took_over(&mut self, id: u64, old: u32, new: u32) {
        let whose = |holder: u32| self.books.holders.get(&holder).map(|holder| (holder.identity, holder.instance));
        let may = whose(old).is_some() && whose(old) == whose(new) && old != new;
        let runs = |holder: u32| self.books.holders.get(&holder).is_some_and(|holder| holder.run.is_some());
        if !may || !runs(old) || !runs(new) {
            return self.broken("LEASE-13", || format!("lease {id} of holder {old} is taken over by holder {new}"));
        }
        let now = self.now;
        if let Some(lease) = self.books.leases.get_mut(&id) {
            // It lives by the new run's contacts from here on.
            lease.perhaps_since_start = true;
            lease.renewed_hi = lease.renewed_hi.max(now);
        }
    }

    fn ended_at(&mut self, row: &LeaseRow, at: u64, why: Option<EndReason>) {
        let id = row.id.0;
        let Some(lease) = self.books.leases.remove(&id) else {
            return self.broken("LEASE-2", || format!("lease {id} ends, and was not there"));
        };
        if let Some(user) = lease.user.and_then(|id| self.books.users.get_mut(&id)) {
            user.leases.remove(&id);
        }
        let why_not = match why {
            Some(why) => self.may_end(id, &lease, at, why).err(),
            None => {
                let any = ALL_REASONS.iter().any(|why| self.may_end(id, &lease, at, *why).is_ok());
                (!any).then(|| ("LEASE-7", "it has no reason to".to_owned()))
            }
        };
        if let Some((law, how)) = why_not {
            self.broken(law, || format!("lease {id} ends at {at} ({why:?}): {how}: {lease:?}"));
        }
        for seat in lease.seats.clone() {
            self.give_back(lease.user, seat);
        }
        self.ended.insert(id, self.commits);
    }

    /// Whether a lease may end so.
    fn may_end(&self, id: u64, lease: &Lease, at: u64, why: EndReason) -> Result<(), (&'static str, String)> {
        let fails = |law: &'static str, how: String| Err((law, how));
        let user = lease.user.unwrap_or(u32::MAX);
        match why {
            EndReason::Released => {
                let identity = self.asked[lease.ask].identity;
                if self.releases.contains(&(identity, id)) || self.asked[lease.ask].release_asked {
                    return Ok(());
                }
                fails("LEASE-9", "its own identity did not release it".into())
            }
            EndReason::Expired => {
                let from = self.books.lapses_not_before(lease);
                if at >= from {
                    return Ok(());
                }
                fails("LEASE-5", format!("it stands until {from}"))
            }
            EndReason::LoggedOnElsewhere => {
                let elsewhere = self.books.users.get(&user).is_some_and(|user| {
                    user.leases.range(id + 1..).filter_map(|id| self.books.leases.get(id)).any(|newer| {
                        newer.computer.is_some() && lease.computer.is_some() && newer.computer != lease.computer
                    })
                });
                if elsewhere {
                    return Ok(());
                }
                fails("ALLOC-8", "its user is logged on nowhere else".into())
            }
            EndReason::Unassigned | EndReason::StationNotLicensed => {
                let rights = self.books.rights(lease.user, lease.station, lease.remote);
                let touched = self.touched_users.contains(&user)
                    || lease.station.is_some_and(|station| self.touched_stations.contains(&station));
                // Of a pool that fell below its assignments, the last of them have no effect (ALLOC-11, LEVEL-5).
                let rests_on = lease.keys | if lease.station.is_some() { one(BASIC) } else { 0 };
                let fell =
                    |key: &usize| self.books.least.caps[pool(*key, false)] < self.books.assigned[pool(*key, false)];
                let fallen = (0..KEYS.len()).filter(|key| has(rests_on, *key)).any(|key| fell(&key));
                if lease.needed & !rights != 0 || rights == 0 || touched || fallen {
                    return Ok(());
                }
                fails("ALLOC-16", format!("its subject has rights to {rights:#b}"))
            }
            EndReason::SubjectDeleted => {
                // Leases end before their user or station goes; who has ever asked for that is in the books of deletions.
                let named = self.revoked_users.get(&user).is_some_and(|until| *until >= lease.commit);
                let stationed = lease.station.and_then(|id| self.revoked_users.get(&(id | STATION)));
                if named || stationed.is_some_and(|until| *until >= lease.commit) {
                    return Ok(());
                }
                fails("ADMIN-2", "nobody deleted its subject".into())
            }
            EndReason::Revoked => {
                let named = self.revoked_users.get(&user).is_some_and(|until| *until >= lease.commit);
                if named || self.revoked_leases.get(&id).is_some_and(|until| *until >= lease.commit) {
                    return Ok(());
                }
                fails("ADMIN-12", "nobody revoked it".into())
            }
            EndReason::Idle => {
                if lease.idle && self.idle_rules {
                    return Ok(());
                }
                fails("Idle", "it is not idle, or no pool has a rule".into())
            }
            EndReason::LicenseEnded => {
                let closed = |pool: &Pool| self.books.none_since[*pool].is_some_and(|since| at >= since + HOUR_MS - 1);
                let rights = (0..KEYS.len()).filter(|key| has(lease.keys, *key));
                let mut pools = lease.seats.iter().map(|seat| seat.0).chain(rights.map(|key| pool(key, false)));
                if pools.any(|pool| closed(&pool)) {
                    return Ok(());
                }
                fails("LEVEL-5", "its pools are granted, or fell to nothing within the hour".into())
            }
            EndReason::CapacityLowered => {
                let over = |pool: &Pool| self.books.over_since[*pool].is_some_and(|since| at >= since + 25 * HOUR_MS);
                let rights = (0..KEYS.len()).filter(|key| has(lease.keys, *key));
                let mut pools = lease.seats.iter().map(|seat| seat.0).chain(rights.map(|key| pool(key, false)));
                if pools.any(|pool| over(&pool)) {
                    return Ok(());
                }
                fails("ALLOC-11", "none of its pools was over its capacity for 25 hours".into())
            }
            EndReason::HolderRestarted => {
                let holder = self.books.holders.get(&lease.holder);
                let newer = holder.is_some_and(|holder| {
                    self.attached.iter().any(|(identity, instance, other, since)| {
                        (*identity, *instance) == (holder.identity, holder.instance)
                            && Some(*other) != holder.run
                            && at >= since + TAKE_OVER_MS
                    })
                });
                if newer {
                    return Ok(());
                }
                fails("LEASE-13", "no newer run attached 10 s before".into())
            }
            EndReason::Enforced => fails("05", "no file that enforcement applies to is loaded".into()),
            EndReason::DevelopmentHourlyDisconnect => fails("LEVEL-2", "no development file is loaded".into()),
        }
    }
}

/// Stations among what is deleted or revoked.
pub(super) const STATION: u32 = 1 << 31;

/// Ends by which a lease may go whose answer is not remembered.
const ALL_REASONS: [EndReason; 11] = [
    EndReason::Released,
    EndReason::Expired,
    EndReason::LoggedOnElsewhere,
    EndReason::Unassigned,
    EndReason::SubjectDeleted,
    EndReason::Revoked,
    EndReason::Idle,
    EndReason::LicenseEnded,
    EndReason::CapacityLowered,
    EndReason::HolderRestarted,
    EndReason::StationNotLicensed,
];
