//! What time does by itself: expiry, idle leases, pools over their capacity or closing, the daily check. Great endings go
//! in pieces, so that no grant waits for them.

use std::ops::Bound;

use leasehold_keys::{activation::Units, name::Method};

use crate::{
    decision::{Event, Notice, Reply, Told},
    engine::{Engine, Turn},
    excess::EXCESS_KEPT_MS,
    files::CLOSING_MS,
    ids::{KeyId, LeaseId, PoolId, Subject},
    refusal::{EndReason, Refusal},
    row::{LeaseSubject, PoolStateRow, Row},
    time::{DAY_MS, LeaseTime, Now},
    view::ExceededView,
};

/// Contacts are stored, and other slow things looked at, so often.
pub(crate) const STAMP_EVERY_MS: u64 = 60_000;
/// Leases that one great ending tells or ends in one turn.
pub(crate) const PIECE: usize = 256;
/// An idle lease ends so long after its warning.
const IDLE_WARNED_MS: u64 = 60_000;
/// Idle leases are looked at so often, at most.
const IDLE_LOOK_MS: u64 = 1_000;

impl Engine {
    /// When an idle lease is to be warned or ended next.
    pub(crate) fn next_idle(&self, now: Now) -> Option<LeaseTime> {
        let shortest_ms = self.state.idle_rules.values().min().copied()?;
        let longest_idle = self.state.idle.first()?.0;
        let due = longest_idle.plus_ms(shortest_ms);
        if due > now.lease {
            return Some(due);
        }
        let warned = self.idle_warned.values().min().copied();
        // Whether others wait changes at any time: look once a second while leases stand idle under a rule. It is counted
        // from the last look: from now on it would move ahead of a core that never rests.
        let look = due.max(self.idle_look_at);
        Some(warned.map_or(look, |at| at.min(look)))
    }

    /// When a pool over its capacity, or a closing one, is to be looked at next.
    pub(crate) fn next_pool_moment(&self, now: Now) -> Option<LeaseTime> {
        let moments = self.state.watched_pools.iter().filter_map(|id| {
            let pool = self.state.pools.get(id)?;
            let state = pool.state?;
            let untold = state.closes.is_some() && self.closing_told.get(id) != Some(&LeaseId(u64::MAX));
            if untold || state.closes.is_some_and(|at| at <= now.lease) {
                return Some(now.lease);
            }
            let excess = state.over_since.map(|since| since.plus_ms(EXCESS_KEPT_MS)).filter(|at| *at > now.lease);
            let closes = state.closes.filter(|at| *at > now.lease);
            excess.into_iter().chain(closes).min()
        });
        moments.chain(self.state.grace_ends(now)).min()
    }

    /// True where nothing is left of a closed pool.
    pub(crate) fn closed(&self, id: PoolId) -> bool {
        let Some(pool) = self.state.pools.get(&id) else {
            return true;
        };
        let assigned = pool.assigned.iter().filter(|_| id.method == Method::Assignable);
        let mut leases = assigned
            .filter_map(|assignment| self.state.assignments.get(assignment))
            .flat_map(|row| self.state.leases_of(row.subject));
        pool.holders.is_empty() && !leases.any(|lease| self.holds(*lease, id.key))
    }

    /// Live leases after a number that hold a pool's key through that pool, in order.
    pub(crate) fn leases_on(&self, id: PoolId, after: LeaseId) -> Box<dyn Iterator<Item = LeaseId> + '_> {
        let Some(pool) = self.state.pools.get(&id) else {
            return Box::new(std::iter::empty());
        };
        let seated = pool.holders.range((Bound::Excluded(after), Bound::Unbounded)).copied();
        if id.method == Method::Concurrent {
            return Box::new(seated);
        }
        let mut leases: Vec<LeaseId> = pool
            .assigned
            .iter()
            .filter_map(|assignment| self.state.assignments.get(assignment))
            .flat_map(|row| self.state.leases_of(row.subject).iter().copied())
            .filter(|lease| *lease > after && self.holds(*lease, id.key))
            .chain(seated)
            .collect();
        leases.sort();
        leases.dedup();
        Box::new(leases.into_iter())
    }

    pub(crate) fn holds(&self, lease: LeaseId, key: KeyId) -> bool {
        self.state.leases.get(&lease).is_some_and(|lease| lease.row.terms.keys.iter().any(|held| held.key == key))
    }
}

impl Turn<'_> {
    /// [`crate::command::Command::Tick`].
    pub(crate) fn tick(&mut self) -> Result<Reply, Refusal> {
        // What is granted now comes first: nothing that comes free is given away on a file whose time is over.
        let date = self.engine.state.dated(self.now);
        let date_before = std::mem::replace(&mut self.engine.last_date, date);
        let boundary = self.engine.next_file_boundary.is_some_and(|at| at <= date);
        let stamp = self.engine.next_stamp <= self.now.lease;
        let state = &self.engine.state;
        let grace = state.files.values().any(|file| file.absent_since.is_some() || state.host_lost(file));
        // Where a date of the licensor's no longer vouches for the clock, a file may come back.
        let stepped_back = date < date_before;
        if boundary || stepped_back || stamp && (grace || self.within_the_hour()) {
            self.tell_ended(date_before, date);
            self.refresh_grants();
        }
        self.end_successions(PIECE);
        // What has come free goes to the first; one whose wait is over does not come before those ahead of it.
        self.serve_queue();
        self.end_waits();
        self.end_timed_assignments();
        self.sweep();
        self.look_at_idle();
        if stamp || self.engine.contacts_stored.is_some() {
            self.store_contacts();
        }
        if stamp {
            self.engine.next_stamp = self.now.lease.plus_ms(STAMP_EVERY_MS);
            self.engine.state.renewals_of_ended.rotate_right(1);
            self.engine.state.renewals_of_ended[0].clear();
            self.store_denials();
            self.forget_old_answers(PIECE * 8);
            self.look_at_excess();
            self.turn_day();
        }
        if stamp || self.engine.state.identities_looked.is_some() {
            self.engine.state.forget_identities(PIECE * 8);
        }
        self.close_pools();
        Ok(Reply::Done)
    }

    fn within_the_hour(&self) -> bool {
        let date = self.engine.state.dated(self.now);
        self.engine.next_file_boundary.is_some_and(|at| at.as_ms() - date.as_ms() <= crate::time::HOUR_MS + 120_000)
    }

    fn turn_day(&mut self) {
        if self.engine.denials.turn_day(self.now.wall) {
            for pool in self.engine.state.pools.iter_mut() {
                pool.1.denied_today = 0;
                pool.1.peak_today = pool.1.held(pool.0.method);
            }
        }
        let day = self.now.wall.as_ms().div_euclid(DAY_MS);
        if self.engine.state.site.compliance_day != day {
            self.change_site(|site| site.compliance_day = day);
            self.check_compliance(true);
            self.warn_of_ends(false);
            self.forget_old_standings();
        }
    }

    /// COMPLY-1: one error for each pool that is used beyond its capacity, and none where nothing is.
    pub(crate) fn check_compliance(&mut self, daily: bool) {
        let (pools, exceeded) = self.engine.compliance();
        let count = exceeded.len() as u64;
        for ExceededView { pool, title, licensed, used } in exceeded {
            self.out.notices.push(Notice::Exceeded { pool, title, licensed, used });
        }
        if daily {
            self.out.notices.push(Notice::ComplianceChecked { pools, exceeded: count });
        }
    }

    /// An assignment of a timed key ends with its date.
    fn end_timed_assignments(&mut self) {
        let date = self.engine.state.dated(self.now);
        let due: Vec<_> = self
            .engine
            .state
            .assignment_ends
            .iter()
            .take(PIECE)
            .take_while(|(ms, _)| *ms <= date.as_ms())
            .filter_map(|(_, id)| self.engine.state.assignments.get(id).cloned())
            .collect();
        for row in due {
            let subject = row.subject;
            self.change(Some(Row::Assignment(row)), None);
            for device in self.devices_of(subject) {
                // STATION-5. Time cannot be refused: a device whose new pool has no seat keeps what it has, without effect,
                // until its owner's keys change again.
                if self.follow_owner(device).is_err() {
                    self.look_again_at(Subject::Station(device), EndReason::Unassigned);
                }
            }
            self.look_again_at(subject, EndReason::Unassigned);
        }
    }

    /// Looks at all live leases of a subject again (ALLOC-16).
    pub(crate) fn look_again_at(&mut self, subject: Subject, how: EndReason) {
        for id in self.engine.state.leases_of(subject).to_vec() {
            self.look_again(id, how);
        }
    }

    /// 03, Idle: warns leases that stand idle longer than a pool of theirs allows while others wait, and ends them a minute
    /// later if that is still so.
    fn look_at_idle(&mut self) {
        let now = self.now.lease;
        let mut warn = Vec::new();
        let mut end = Vec::new();
        let state = &self.engine.state;
        let Some(shortest_ms) = state.idle_rules.values().min().copied() else {
            return;
        };
        self.engine.idle_look_at = now.plus_ms(IDLE_LOOK_MS);
        // Where more stand idle than one look takes in, the next one goes on after them.
        let begin = self.engine.idle_looked.take().map_or(Bound::Unbounded, Bound::Excluded);
        let old_enough = |(since, _): &&(LeaseTime, LeaseId)| now.ms_since(*since) >= shortest_ms;
        let looked: Vec<(LeaseTime, LeaseId)> =
            state.idle.range((begin, Bound::Unbounded)).take_while(old_enough).take(PIECE * 16).copied().collect();
        if looked.len() == PIECE * 16 {
            self.engine.idle_looked = looked.last().copied();
        }
        for (since, id) in looked {
            if !self.idle_too_long(id, since) {
                self.engine.idle_warned.remove(&id);
                continue;
            }
            match self.engine.idle_warned.get(&id) {
                None => warn.push(id),
                Some(at) if *at <= now => end.push(id),
                Some(_) => {}
            }
        }
        for id in warn.into_iter().take(PIECE) {
            self.engine.idle_warned.insert(id, now.plus_ms(IDLE_WARNED_MS));
            self.warn(id, EndReason::Idle, IDLE_WARNED_MS);
        }
        for id in end.into_iter().take(PIECE) {
            // Each ending may satisfy the one who waited.
            let since = self.engine.state.leases.get(&id).and_then(|lease| lease.row.idle_since);
            if let Some(since) = since
                && self.idle_too_long(id, since)
            {
                self.end(id, EndReason::Idle, None);
                self.serve_queue();
            }
        }
    }

    fn idle_too_long(&self, id: LeaseId, since: LeaseTime) -> bool {
        let Some(lease) = self.engine.state.leases.get(&id) else {
            return false;
        };
        lease.row.terms.seats.iter().any(|seat| {
            self.engine.state.pools.get(&seat.pool).is_some_and(|pool| {
                pool.rule.is_some_and(|rule| {
                    rule.idle_ms > 0
                        && self.now.lease.ms_since(since) >= rule.idle_ms
                        && (rule.idle_always || pool.head.is_some())
                })
            })
        })
    }

    pub(crate) fn warn(&mut self, id: LeaseId, reason: EndReason, ends_in_ms: u64) {
        if let Some(holder) = self.engine.state.leases.get(&id).map(|lease| lease.row.holder) {
            self.out.events.push(Event { to: Some(holder), what: Told::Warned { lease: id, reason, ends_in_ms } });
        }
    }

    /// LEVEL-5: tells the leases on a closing pool, and at its moment takes its key from them, in pieces.
    fn close_pools(&mut self) {
        let closing: Vec<(PoolId, LeaseTime)> = self
            .engine
            .state
            .watched_pools
            .iter()
            .filter_map(|id| {
                let closes = self.engine.state.pools.get(id)?.state?.closes?;
                Some((*id, closes))
            })
            .collect();
        for (id, closes) in closing {
            if self.now.lease >= closes && !self.engine.state.is_granted(id) {
                let piece: Vec<LeaseId> = self.engine.leases_on(id, LeaseId(0)).take(PIECE).collect();
                for lease in piece {
                    self.lose_pool(lease, id);
                }
                continue;
            }
            let told = self.engine.closing_told.get(&id).copied().unwrap_or(LeaseId(0));
            if told == LeaseId(u64::MAX) {
                continue;
            }
            let piece: Vec<LeaseId> = self.engine.leases_on(id, told).take(PIECE).collect();
            let left_ms = closes.ms_since(self.now.lease).min(CLOSING_MS);
            for lease in &piece {
                self.warn(*lease, EndReason::LicenseEnded, left_ms);
            }
            let reached = piece.last().copied().filter(|_| piece.len() == PIECE).unwrap_or(LeaseId(u64::MAX));
            self.engine.closing_told.insert(id, reached);
        }
    }

    /// A lease's pool has closed: the lease ends, or loses the key where it did not need it.
    fn lose_pool(&mut self, lease: LeaseId, id: PoolId) {
        let units = self.engine.state.leases.get(&lease).is_some_and(|lease| lease.row.subject == LeaseSubject::Units);
        if units {
            self.end(lease, EndReason::LicenseEnded, None);
            return;
        }
        self.look_again(lease, EndReason::LicenseEnded);
        if self.engine.holds(lease, id.key)
            && self
                .engine
                .state
                .leases
                .get(&lease)
                .is_some_and(|lease| lease.row.terms.seats.iter().any(|seat| seat.pool == id))
        {
            self.end(lease, EndReason::LicenseEnded, None);
        }
    }

    /// Forgets that a pool was over its capacity once it is not (ALLOC-11), or that it closed once nobody is left on it.
    pub(crate) fn settle_pools(&mut self, tick: bool) {
        if self.engine.state.watched_pools.is_empty() {
            return;
        }
        for id in self.engine.state.watched_pools.clone() {
            let Some(pool) = self.engine.state.pools.get(&id) else {
                continue;
            };
            let Some(before) = pool.state else { continue };
            let over_since =
                before.over_since.filter(|_| self.engine.state.is_over(id) && pool.capacity != Units::Count(0));
            // Going through a great pool takes a while: only time's own turns do it.
            let closes = before.closes.filter(|at| !tick || *at > self.now.lease || !self.engine.closed(id));
            let after =
                (over_since.is_some() || closes.is_some()).then_some(PoolStateRow { pool: id, over_since, closes });
            if after != Some(before) {
                if closes.is_none() {
                    self.engine.closing_told.remove(&id);
                }
                self.change(Some(Row::PoolState(before)), after.map(Row::PoolState));
            }
        }
    }
}
