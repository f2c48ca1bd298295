//! A second opinion: all lasting rows as they stand, and every count and index made afresh from them. It decides nothing;
//! tests and a support tool compare with it.

use std::collections::{BTreeMap, BTreeSet};

use leasehold_keys::activation::Units;

use crate::{
    engine::Engine,
    ids::{PoolId, Subject, UserId},
    pool::Pool,
    queue::Place,
    refusal::EndReason,
    row::{KeyRow, LeaseRow, LeaseSubject, Row},
    state::State,
};

impl Engine {
    /// All lasting rows but denials and audit entries, kind by kind in the order of [`Row`], each kind by its number. Given
    /// to [`Engine::restore`] of an empty engine they make the same state. A walk through everything: not for the hot path.
    pub fn lasting_rows(&self) -> Vec<Row> {
        let state = &self.state;
        let mut rows = Vec::new();
        rows.extend(state.key_names.iter().map(|(id, name)| Row::Key(KeyRow { id: *id, name: name.clone() })));
        rows.extend(state.organizations.values().cloned().map(Row::Organization));
        rows.extend(state.workgroups.values().cloned().map(Row::Workgroup));
        rows.extend(state.users.values().map(|user| Row::User(user.row.clone())));
        rows.extend(state.stations.values().map(|station| Row::Station(station.row.clone())));
        rows.extend(state.assignments.values().cloned().map(Row::Assignment));
        let pools = state.pools.values();
        rows.extend(pools.clone().flat_map(|pool| pool.shares.iter().map(|share| Row::Share(share.row.clone()))));
        rows.extend(pools.clone().filter_map(|pool| pool.rule.map(Row::PoolRule)));
        rows.extend(pools.filter_map(|pool| pool.state.map(Row::PoolState)));
        rows.extend(state.holders.values().map(|holder| Row::Holder(holder.row.clone())));
        rows.extend(state.leases.values().map(|lease| Row::Lease(Box::new(lease.row.clone()))));
        rows.extend(state.ended.values().map(|row| Row::Lease(Box::new(row.clone()))));
        rows.extend(state.files.values().cloned().map(Row::File));
        rows.extend(state.marks.values().copied().map(Row::Mark));
        rows.extend(state.usage.unsealed.iter().cloned().map(Row::UsageEvent));
        rows.extend(state.usage.segments.values().map(|row| Row::UsageSegment(Box::new(row.clone()))));
        rows.extend(state.standings.values().map(|row| Row::Standing(Box::new(row.clone()))));
        rows.push(Row::Site(state.site));
        rows
    }

    /// Counts everything afresh and says what differs from the counts that decisions are made by; empty where nothing does,
    /// as it should be after every command. Also tells pools above their capacity for which no rule gives leave (LEASE-1).
    /// A walk through everything: not for the hot path.
    pub fn discrepancies(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.recount_pools(&mut found);
        self.recount_subjects(&mut found);
        self.recount_leases(&mut found);
        self.recount_answers(&mut found);
        self.recount_queue(&mut found);
        found
    }

    /// How many of each sort are remembered, for tests of the bounds and for support.
    pub fn sizes(&self) -> [(&'static str, usize); 7] {
        let state = &self.state;
        [
            ("leases", state.leases.len()),
            ("ended leases", state.ended.len()),
            ("acquire answers", state.answers.len()),
            ("release answers", self.releases.len()),
            ("holders", state.holders.len()),
            ("identities", state.identities.len()),
            ("waiting", self.queue.waiters.len()),
        ]
    }

    fn recount_pools(&self, found: &mut Vec<String>) {
        let state = &self.state;
        let mut fresh: BTreeMap<PoolId, Pool> = BTreeMap::new();
        for row in state.assignments.values() {
            fresh.entry(row.pool()).or_default().assigned.insert(row.id);
        }
        let mut shared: BTreeSet<(UserId, PoolId)> = BTreeSet::new();
        for row in state.leases.values().map(|lease| &lease.row) {
            for seat in &row.terms.seats {
                let pool = fresh.entry(seat.pool).or_default();
                pool.holders.insert(row.id);
                *pool.by_application.entry(row.application.clone()).or_default() += 1;
                let counts = match &row.subject {
                    LeaseSubject::Logon { user, .. } if seat.shared => shared.insert((*user, seat.pool)),
                    _ => true,
                };
                pool.leased += if counts { u64::from(seat.units) } else { 0 };
            }
        }
        let empty = Pool::default();
        for (id, pool) in &state.pools {
            let name = state.pool_name(*id);
            let again = fresh.get(id).unwrap_or(&empty);
            differ(found, &format!("{name} capacity"), &pool.capacity, &state.counted(*id, pool.granted));
            differ(found, &format!("{name} assigned"), &pool.assigned, &again.assigned);
            differ(found, &format!("{name} last counted"), &pool.last_counted, &pool.find_last_counted());
            differ(found, &format!("{name} leased"), &pool.leased, &again.leased);
            differ(found, &format!("{name} holders"), &pool.holders, &again.holders);
            differ(found, &format!("{name} by application"), &pool.by_application, &again.by_application);
            for share in &pool.shares {
                let used = state.share_use(*id, &share.row.holder);
                let whose = state.share_holder_name(&share.row.holder);
                differ(found, &format!("{name} share of {whose}"), &share.used, &used);
            }
            differ(found, &format!("{name} watched"), &state.watched_pools.contains(id), &pool.state.is_some());
            let excess = state.is_over(*id);
            let gone = pool.capacity == Units::Count(0);
            if excess && !gone && pool.state.is_none_or(|row| row.over_since.is_none()) {
                found.push(format!("{name}: {} held of {}", pool.held(id.method), pool.capacity));
            }
            if gone && pool.leased > 0 && pool.state.is_none_or(|row| row.closes.is_none()) {
                found.push(format!("{name}: {} leased of a pool that is gone and does not close", pool.leased));
            }
        }
        for id in fresh.keys().filter(|id| !state.pools.contains_key(id)) {
            found.push(format!("{} is used and not known", state.pool_name(*id)));
        }
    }

    fn recount_subjects(&self, found: &mut Vec<String>) {
        let state = &self.state;
        for (id, user) in &state.users {
            let name = &user.row.name;
            differ(found, &format!("user {name} by name"), &state.user_names.get(name), &Some(id));
            let leases: Vec<_> =
                of(state, |row| matches!(&row.subject, LeaseSubject::Logon { user, .. } if user == id));
            differ(found, &format!("user {name} leases"), &user.leases, &leases);
            let mut seats: BTreeMap<PoolId, u32> = BTreeMap::new();
            for row in leases.iter().filter_map(|id| state.leases.get(id)).map(|lease| &lease.row) {
                for seat in row.terms.seats.iter().filter(|seat| seat.shared) {
                    *seats.entry(seat.pool).or_default() += 1;
                }
            }
            differ(found, &format!("user {name} seats"), &user.seats, &seats);
            let given = assignments(state, Subject::User(*id));
            differ(found, &format!("user {name} assignments"), &user.assignments, &given);
            let methods = state.assignments.values().filter(|row| row.subject == Subject::User(*id));
            if methods.into_iter().any(|row| row.method != user.row.method) {
                found.push(format!("user {name} has assignments of both methods"));
            }
        }
        let mut devices: BTreeMap<UserId, BTreeSet<_>> = BTreeMap::new();
        for (id, station) in &state.stations {
            let name = &station.row.name;
            differ(found, &format!("station {name} by name"), &state.station_names.get(name), &Some(id));
            let leases: Vec<_> = of(state, |row| match &row.subject {
                LeaseSubject::Logon { station, .. } => station.as_ref() == Some(id),
                LeaseSubject::Station(station) => station == id,
                LeaseSubject::Units => false,
            });
            differ(found, &format!("station {name} leases"), &station.leases, &leases);
            let given = assignments(state, Subject::Station(*id));
            differ(found, &format!("station {name} assignments"), &station.assignments, &given);
            if let Some(owner) = station.row.owner {
                devices.entry(owner).or_default().insert(*id);
            }
        }
        differ(found, "devices", &state.devices, &devices);
        differ(found, "user names", &state.user_names.len(), &state.users.len());
        differ(found, "station names", &state.station_names.len(), &state.stations.len());
        differ(found, "workgroup names", &state.workgroup_names.len(), &state.workgroups.len());
        differ(found, "organization names", &state.organization_names.len(), &state.organizations.len());
        let ends: BTreeSet<_> =
            state.assignments.values().filter_map(|row| Some((row.until?.as_ms(), row.id))).collect();
        differ(found, "ends of assignments", &state.assignment_ends, &ends);
    }

    fn recount_leases(&self, found: &mut Vec<String>) {
        let state = &self.state;
        let timers: BTreeSet<_> = state.leases.iter().map(|(id, lease)| (lease.timer, *id)).collect();
        differ(found, "timers", &state.timers, &timers);
        for (id, lease) in &state.leases {
            if lease.timer > state.deadline(lease) {
                found.push(format!("lease {id} is looked at after its end"));
            }
            if lease.row.ended.is_some() {
                found.push(format!("lease {id} has ended and is live"));
            }
        }
        let idle: BTreeSet<_> =
            state.leases.iter().filter_map(|(id, lease)| Some((lease.row.idle_since?, *id))).collect();
        differ(found, "idle leases", &state.idle, &idle);
        let lowered = |row: &&LeaseRow| row.ends.is_some_and(|(_, why)| why == EndReason::CapacityLowered);
        let rows = state.leases.values().map(|lease| &lease.row).filter(lowered);
        let warned = rows.flat_map(|row| row.terms.seats.iter().map(|seat| (seat.pool, row.id))).collect();
        differ(found, "warned seats", &state.warned, &warned);
        for (id, holder) in &state.holders {
            let leases: BTreeSet<_> = of(state, |row| row.holder == *id).into_iter().collect();
            differ(found, &format!("leases of holder {id}"), &holder.leases, &leases);
            let ended = state.ended.values().filter(|row| row.holder == *id).count() as u64;
            differ(found, &format!("ended leases of holder {id}"), &holder.ended, &ended);
        }
        let ended: BTreeSet<_> = state.ended.values().filter_map(|row| Some((row.ended?.0, row.id))).collect();
        differ(found, "ended leases", &state.ended_at, &ended);
    }

    fn recount_answers(&self, found: &mut Vec<String>) {
        let state = &self.state;
        let rows = state.leases.values().map(|lease| &lease.row).chain(state.ended.values());
        let mut answers = BTreeMap::new();
        let mut counts: BTreeMap<u32, u64> = self.releases.counts();
        for row in rows {
            let identity = state.holders.get(&row.holder).and_then(|h| state.identities.get(&h.row.identity));
            if let (Some((request, _)), Some(number)) = (row.request, identity) {
                answers.insert((*number, request), row.id);
                *counts.entry(*number).or_default() += 1;
            }
        }
        differ(found, "answers", &state.answers, &answers);
        let kept: BTreeMap<u32, u64> =
            state.answer_counts.iter().filter(|(_, count)| **count > 0).map(|(id, count)| (*id, *count)).collect();
        differ(found, "answers by identity", &kept, &counts);
        let numbers: BTreeSet<u32> = state.identities.values().copied().collect();
        differ(found, "numbers of identities", &state.answer_counts.keys().copied().collect(), &numbers);
    }

    fn recount_queue(&self, found: &mut Vec<String>) {
        let mut waiters: BTreeMap<PoolId, BTreeSet<Place>> = BTreeMap::new();
        for (place, waiter) in &self.queue.waiters {
            for (pool, _) in &waiter.pools {
                waiters.entry(*pool).or_default().insert(*place);
            }
        }
        differ(found, "ends of waits", &self.queue.ends_are_true(), &true);
        let rules: BTreeMap<PoolId, u64> = self
            .state
            .pools
            .iter()
            .filter_map(|(id, pool)| Some((*id, pool.rule?.idle_ms)))
            .filter(|(_, idle_ms)| *idle_ms > 0)
            .collect();
        differ(found, "idle rules", &self.state.idle_rules, &rules);
        let none = BTreeSet::new();
        for (id, pool) in &self.state.pools {
            let name = self.state.pool_name(*id);
            let again = waiters.get(id).unwrap_or(&none);
            differ(found, &format!("{name} waiters"), &pool.waiters, again);
            let away = again.iter().filter(|place| self.queue.is_away(**place)).copied().collect();
            differ(found, &format!("{name} waiters who are away"), &pool.away, &away);
            // One that waits for room in its own share alone is nobody's head.
            let stands = |place: &&Place| self.queue.wants(**place, *id) > 0;
            let head = again.iter().find(stands).copied();
            differ(found, &format!("{name} head"), &pool.head.map(|(place, _)| place), &head);
        }
    }
}

/// Leases that fit, in order.
fn of(state: &State, fits: impl Fn(&LeaseRow) -> bool) -> Vec<crate::ids::LeaseId> {
    state.leases.values().filter(|lease| fits(&lease.row)).map(|lease| lease.row.id).collect()
}

fn assignments(state: &State, subject: Subject) -> BTreeMap<crate::ids::KeyId, crate::ids::AssignmentId> {
    state.assignments.values().filter(|row| row.subject == subject).map(|row| (row.key, row.id)).collect()
}

fn differ<T: PartialEq + std::fmt::Debug>(found: &mut Vec<String>, what: &str, kept: &T, fresh: &T) {
    if kept != fresh {
        found.push(format!("{what}: kept {kept:?}, counted {fresh:?}"));
    }
}
