//! Seats in use beyond a capacity that was lowered: warned after 24 hours, newest first, and ended an hour later (ALLOC-11).
//! What ends is a seat with all leases that need it, since anything less frees nothing. Assignments stay.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use leasehold_keys::name::Method;

use crate::{
    engine::{Engine, Turn},
    ids::{AssignmentId, LeaseId, PoolId, Subject},
    refusal::EndReason,
    row::{AssignmentRow, HeldKey, LeaseRow, LeaseSubject, Row, Seat, Source},
    state::{Lease, State},
    time::LeaseTime,
    upkeep::PIECE,
};

/// Excess leases stay so long before they are warned.
pub(crate) const EXCESS_KEPT_MS: u64 = 24 * 3_600_000;
/// They end so long after the warning.
const EXCESS_WARNED_MS: u64 = 3_600_000;

/// A seat, or the units of one take, as leases hold it. Seats are as old as the first live lease on them: a lease that joins
/// later makes no seat newer, and a logon that takes a seat over from another computer makes it as new as itself.
struct SeatHeld {
    /// Oldest first; several where a user's leases share the seat (ALLOC-7).
    leases: Vec<LeaseId>,
    units: u64,
}

impl State {
    /// The pools that are counted together with one: an unlicensed site's call ports, else the pool alone.
    fn counted_with(&self, id: PoolId) -> Vec<PoolId> {
        if self.unlicensed_call_ports().is_some() && self.catalog.is_call_port(id.key) {
            return self.call_ports().map(|(id, _)| id).collect();
        }
        vec![id]
    }

    /// By how much a pool, with those that are counted together with it, is over the capacity.
    fn excess(&self, id: PoolId) -> u64 {
        match self.unlicensed_call_ports() {
            Some(joint) if self.catalog.is_call_port(id.key) => self.call_ports_held().saturating_sub(joint),
            _ => self.pools.get(&id).map_or(0, |pool| pool.excess(id.method)),
        }
    }

    /// True where a pool takes part in an excess (ALLOC-11).
    pub(crate) fn is_over(&self, id: PoolId) -> bool {
        self.held(id) > 0 && self.excess(id) > 0
    }

    /// Never a call port that is in use; none at all while enforcement limits them.
    fn is_spared(&self, id: PoolId, row: &LeaseRow) -> bool {
        self.catalog.is_call_port(id.key) && (row.idle_since.is_none() || self.enforcement.limits_ports())
    }

    /// The assignment that gives a lease a key; none where it comes with another one.
    fn assignment_behind(&self, row: &LeaseRow, held: &HeldKey) -> Option<AssignmentId> {
        let subject = match (held.source, &row.subject) {
            (Source::User, LeaseSubject::Logon { user, .. }) => Subject::User(*user),
            (Source::Station, LeaseSubject::Logon { station: Some(station), .. } | LeaseSubject::Station(station)) => {
                Subject::Station(*station)
            }
            _ => return None,
        };
        self.assignments_of(subject)?.get(&held.key).copied()
    }

    /// Live leases that have a key from an assignment, newest first.
    fn leases_behind<'a>(&'a self, assignment: &'a AssignmentRow) -> impl Iterator<Item = &'a Lease> {
        let leases =
            self.leases_of(assignment.subject).iter().rev().filter_map(|id| self.leases.get(id).map(AsRef::as_ref));
        leases.filter(|lease| {
            let mut keys = lease.row.terms.keys.iter().filter(|held| held.key == assignment.key);
            keys.any(|held| self.assignment_behind(&lease.row, held) == Some(assignment.id))
        })
    }

    fn rows<'a>(&'a self, leases: &'a [LeaseId]) -> impl Iterator<Item = &'a LeaseRow> {
        leases.iter().filter_map(|id| self.leases.get(id)).map(|lease| &lease.row)
    }

    /// The seat that a lease holds in a pool.
    fn seat_of(&self, row: &LeaseRow, pool: PoolId) -> Option<SeatHeld> {
        let in_pool = |seat: &&Seat| seat.pool == pool;
        let seat = row.terms.seats.iter().find(in_pool)?;
        let leases = match &row.subject {
            LeaseSubject::Logon { user, .. } if seat.shared => self
                .rows(&self.users.get(user)?.leases)
                .filter(|other| other.terms.seats.iter().any(|seat| seat.pool == pool))
                .map(|other| other.id)
                .collect(),
            _ => vec![row.id],
        };
        Some(SeatHeld { leases, units: seat.units.into() })
    }

    /// True for the lease by which a seat is counted: the first of those that share it.
    fn is_first_on(&self, row: &LeaseRow, pool: PoolId) -> bool {
        let uses = |other: &LeaseRow| other.terms.seats.iter().any(|seat| seat.pool == pool && seat.shared);
        match &row.subject {
            LeaseSubject::Logon { user, .. } if uses(row) => {
                let leases = self.users.get(user).map_or(&[][..], |user| &user.leases);
                self.rows(leases).find(|other| uses(other)).is_none_or(|first| first.id == row.id)
            }
            _ => true,
        }
    }

    /// Seats that leases hold of some pools, newest first.
    fn seats_newest_first<'a>(&'a self, pools: &[PoolId]) -> impl Iterator<Item = (PoolId, SeatHeld)> + 'a {
        let mut holders: Vec<_> =
            pools.iter().filter_map(|id| Some((*id, self.pools.get(id)?.holders.iter().rev().copied()))).collect();
        std::iter::from_fn(move || {
            loop {
                let (id, newest) = holders.iter_mut().max_by_key(|(_, leases)| leases.clone().next())?;
                let row = self.leases.get(&newest.next()?).map(|lease| &lease.row);
                if let Some(row) = row.filter(|row| self.is_first_on(row, *id))
                    && let Some(seat) = self.seat_of(row, *id)
                {
                    return Some((*id, seat));
                }
            }
        })
    }

    /// When a seat that was warned ends.
    fn seat_ends(&self, seat: &SeatHeld) -> Option<LeaseTime> {
        let warned = |row: &LeaseRow| row.ends.filter(|(_, why)| *why == EndReason::CapacityLowered).map(|(at, _)| at);
        self.rows(&seat.leases).filter_map(warned).min()
    }

    /// Units of the seats that were warned and are newer than one, over all pools that are counted together. Only warned ones
    /// are visited, of which a piece at most comes to its end at one moment.
    fn warned_newer(&self, pool: PoolId, than: &SeatHeld) -> u64 {
        let Some(first) = than.leases.first().copied() else {
            return 0;
        };
        let mut newer: BTreeMap<(PoolId, LeaseId), u64> = BTreeMap::new();
        for id in self.counted_with(pool) {
            let range = (Bound::Excluded((id, first)), Bound::Included((id, LeaseId(u64::MAX))));
            let rows = self.warned.range(range).filter_map(|(_, lease)| self.leases.get(lease)).map(|lease| &lease.row);
            let seats = rows.filter_map(|row| self.seat_of(row, id));
            let newer_ones =
                seats.filter_map(|seat| Some((seat.leases.first().copied().filter(|it| *it > first)?, seat.units)));
            newer.extend(newer_ones.map(|(lease, units)| ((id, lease), units)));
        }
        newer.values().sum()
    }

    /// A lease that joins a seat which was warned ends with it: nobody keeps a seat by logging on once more.
    pub(crate) fn end_of_seats(&self, subject: &LeaseSubject, seats: &[Seat]) -> Option<(LeaseTime, EndReason)> {
        let LeaseSubject::Logon { user, .. } = subject else {
            return None;
        };
        if self.watched_pools.is_empty() {
            return None;
        }
        let shared = |pool: PoolId| seats.iter().any(|seat| seat.shared && seat.pool == pool);
        self.rows(&self.users.get(user)?.leases)
            .filter(|row| row.terms.seats.iter().any(|seat| shared(seat.pool)))
            .filter_map(|row| row.ends.filter(|(_, why)| *why == EndReason::CapacityLowered))
            .min()
    }
}

impl Turn<'_> {
    /// After 24 hours the excess seats are warned, newest first; they end an hour later.
    pub(crate) fn look_at_excess(&mut self) {
        let now = self.now.lease;
        let state = &self.engine.state;
        let over_since = |id: &PoolId| state.pools.get(id)?.state?.over_since;
        let is_due = |id: &&PoolId| over_since(id).is_some_and(|since| now.ms_since(since) >= EXCESS_KEPT_MS);
        let groups: BTreeSet<Vec<PoolId>> =
            state.watched_pools.iter().filter(is_due).map(|id| state.counted_with(*id)).collect();
        for pools in groups {
            for (lease, at) in self.engine.excess_leases(&pools, self.now) {
                let Some(row) = self.engine.state.leases.get(&lease).map(|lease| lease.row.clone()) else {
                    continue;
                };
                let after = LeaseRow { ends: Some((at, EndReason::CapacityLowered)), ..row.clone() };
                self.change(Some(Row::Lease(Box::new(row))), Some(Row::Lease(Box::new(after))));
                self.warn(lease, EndReason::CapacityLowered, at.ms_since(now));
            }
        }
    }

    /// The moment of a lease that was warned has come: it ends with all leases on the seat, or stays where it is not one too
    /// many any more. Returns how many ended.
    pub(crate) fn end_excess(&mut self, id: LeaseId) -> usize {
        let together = self.engine.still_in_excess(id, self.now);
        for lease in &together {
            self.end(*lease, EndReason::CapacityLowered, None);
        }
        if together.is_empty()
            && let Some(row) = self.engine.state.leases.get(&id).map(|lease| lease.row.clone())
        {
            let after = LeaseRow { ends: None, ..row.clone() };
            self.change(Some(Row::Lease(Box::new(row))), Some(Row::Lease(Box::new(after))));
            self.engine.state.rewind_timer(id);
        }
        together.len()
    }
}

impl Engine {
    /// Leases that are over the capacity of pools that are counted together, and not warned yet, newest seat first, in a
    /// piece; each with the moment of its end.
    fn excess_leases(&self, pools: &[PoolId], now: crate::time::Now) -> Vec<(LeaseId, LeaseTime)> {
        let state = &self.state;
        let then = now.lease.plus_ms(EXCESS_WARNED_MS);
        let mut chosen: Vec<(LeaseId, LeaseTime)> = Vec::new();
        for id in pools {
            let Some(pool) = state.pools.get(id).filter(|_| id.method == Method::Assignable) else {
                continue;
            };
            // Users over-assigned log on in the order of their assignment: leases of the others are in excess.
            chosen.extend(
                pool.assigned
                    .iter()
                    .rev()
                    .filter_map(|assignment| state.assignments.get(assignment))
                    .take_while(|row| !state.assignment_counts(row, now, false))
                    .flat_map(|row| state.leases_behind(row))
                    .filter(|lease| lease.row.ends.is_none() && !state.is_spared(*id, &lease.row))
                    .take(PIECE)
                    .map(|lease| (lease.row.id, then)),
            );
        }
        // Of what leases themselves hold; assignments stay.
        let leased: u64 = pools.iter().filter_map(|id| state.pools.get(id)).map(|pool| pool.leased).sum();
        let mut excess = pools.first().map_or(0, |id| state.excess(*id)).min(leased);
        for (id, seat) in state.seats_newest_first(pools) {
            if excess == 0 || chosen.len() >= PIECE {
                break;
            }
            let warned = state.seat_ends(&seat);
            let mut open = state.rows(&seat.leases).filter(|row| row.ends.is_none()).peekable();
            let spared = || state.rows(&seat.leases).any(|row| state.is_spared(id, row));
            if warned.is_none() && (open.peek().is_none() || spared()) {
                continue;
            }
            excess = excess.saturating_sub(seat.units);
            chosen.extend(open.map(|row| (row.id, warned.unwrap_or(then))));
        }
        chosen
    }

    /// Of a lease that was warned: it, with all that must end with it to free a seat; none where it is not one too many any
    /// more, or may not be ended.
    fn still_in_excess(&self, id: LeaseId, now: crate::time::Now) -> Vec<LeaseId> {
        let state = &self.state;
        let Some(row) = state.leases.get(&id).map(|lease| &lease.row) else {
            return Vec::new();
        };
        let mut together: BTreeSet<LeaseId> = BTreeSet::new();
        for pool in row.terms.seats.iter().map(|seat| seat.pool).filter(|pool| state.is_over(*pool)) {
            let Some(seat) = state.seat_of(row, pool) else {
                continue;
            };
            if state.rows(&seat.leases).any(|row| state.is_spared(pool, row)) {
                continue;
            }
            // Newest first: an older seat is one too many only where those that are newer and warned are not enough.
            if state.excess(pool) > state.warned_newer(pool, &seat) {
                together.extend(seat.leases);
            }
        }
        let over = |assignment: &AssignmentRow| {
            let pool = assignment.pool();
            state.is_over(pool) && !state.is_spared(pool, row) && !state.assignment_counts(assignment, now, false)
        };
        if assignments_behind(state, row).any(over) {
            together.insert(id);
        }
        together.into_iter().collect()
    }
}

/// The assignments from which a lease has its keys.
fn assignments_behind<'a>(state: &'a State, row: &'a LeaseRow) -> impl Iterator<Item = &'a AssignmentRow> {
    row.terms
        .keys
        .iter()
        .filter_map(|held| state.assignment_behind(row, held))
        .filter_map(|id| state.assignments.get(&id))
}
