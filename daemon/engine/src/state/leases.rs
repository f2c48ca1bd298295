//! Rows of leases as they come and go: the seats they count in, their timers, the answers that hang on them.

use std::collections::BTreeSet;

use leasehold_keys::name::Method;

use crate::{
    ids::{HolderId, LeaseId, PoolId, ShareHolder, Subject, UserId},
    refusal::EndReason,
    row::{LeaseRow, LeaseSubject},
    state::{Lease, State},
    time::{LeaseTime, lapse_ms},
};

impl State {
    pub(crate) fn replace_lease(&mut self, before: &LeaseRow, after: &LeaseRow) {
        let same_effect = before.ended.is_none()
            && after.ended.is_none()
            && before.holder == after.holder
            && before.request == after.request
            && std::sync::Arc::ptr_eq(&before.terms, &after.terms);
        if same_effect && self.leases.contains_key(&after.id) {
            if let Some(since) = before.idle_since {
                self.idle.remove(&(since, before.id));
            }
            if let Some(since) = after.idle_since {
                self.idle.insert((since, after.id));
            }
            self.list_warned(before, false);
            self.list_warned(after, true);
            if let Some(lease) = self.leases.get_mut(&after.id) {
                // An acknowledged answer stays forgotten, though an undo brings back a row that still names it.
                let request = lease.row.request.and(after.request);
                lease.row = LeaseRow { request, ..after.clone() };
            }
            self.rewind_timer(after.id);
            return;
        }
        self.remove_lease(before);
        self.insert_lease(after);
    }

    /// Puts a lease's timer to its present deadline.
    pub(crate) fn rewind_timer(&mut self, id: LeaseId) {
        if let Some(lease) = self.leases.get(&id) {
            let at = self.deadline(lease);
            self.set_timer(id, at);
        }
    }

    fn remember_answer(&mut self, row: &LeaseRow) {
        let Some((request, _)) = row.request else {
            return;
        };
        let Some(identity) = self.holders.get(&row.holder).map(|holder| holder.row.identity.clone()) else {
            return;
        };
        let number = self.identity_number(&identity);
        match self.answers.insert((number, request), row.id) {
            None => *self.answer_counts.entry(number).or_default() += 1,
            // The older answer was acknowledged and forgotten, which its row does not tell after a restart.
            Some(older) if older != row.id => {
                if let Some(lease) = self.leases.get_mut(&older) {
                    lease.row.request = None;
                } else if let Some(row) = self.ended.get_mut(&older) {
                    row.request = None;
                }
            }
            Some(_) => {}
        }
    }

    fn forget_answer(&mut self, row: &LeaseRow) {
        let Some((request, _)) = row.request else {
            return;
        };
        let Some(identity) = self.holders.get(&row.holder).map(|holder| holder.row.identity.clone()) else {
            return;
        };
        let number = self.identity_number(&identity);
        if self.answers.get(&(number, request)) == Some(&row.id)
            && self.answers.remove(&(number, request)).is_some()
            && let Some(count) = self.answer_counts.get_mut(&number)
        {
            *count = count.saturating_sub(1);
        }
    }

    pub(crate) fn insert_lease(&mut self, row: &LeaseRow) {
        self.remember_answer(row);
        if let Some((at, _)) = row.ended {
            self.ended_at.insert((at, row.id));
            self.ended.insert(row.id, row.clone());
            if let Some(holder) = self.holders.get_mut(&row.holder) {
                holder.ended += 1;
            }
            return;
        }
        if let Some(holder) = self.holders.get_mut(&row.holder) {
            holder.leases.insert(row.id);
        }
        match &row.subject {
            LeaseSubject::Logon { user, station, .. } => {
                if let Some(user) = self.users.get_mut(user) {
                    insert_sorted(&mut user.leases, row.id);
                }
                if let Some(station) = station.as_ref().and_then(|id| self.stations.get_mut(id)) {
                    insert_sorted(&mut station.leases, row.id);
                }
            }
            LeaseSubject::Station(station) => {
                if let Some(station) = self.stations.get_mut(station) {
                    insert_sorted(&mut station.leases, row.id);
                }
            }
            LeaseSubject::Units => {}
        }
        self.take_seats(row);
        self.list_warned(row, true);
        if let Some(since) = row.idle_since {
            self.idle.insert((since, row.id));
        }
        let row = LeaseRow { terms: self.interner.share(&row.terms), ..row.clone() };
        // LEASE-11: where its end is taken back, its renewals stand.
        let [recent, older] = &mut self.renewals_of_ended;
        let renewed = recent.remove(&row.id).or_else(|| older.remove(&row.id)).unwrap_or(row.granted);
        let lease = Lease { renewed, timer: LeaseTime::default(), row };
        let at = self.deadline(&lease);
        self.timers.insert((at, lease.row.id));
        self.leases.insert(lease.row.id, Box::new(Lease { timer: at, ..lease }));
    }

    pub(crate) fn remove_lease(&mut self, row: &LeaseRow) {
        self.forget_answer(row);
        if let Some((at, _)) = row.ended {
            self.ended_at.remove(&(at, row.id));
            self.ended.remove(&row.id);
            if let Some(holder) = self.holders.get_mut(&row.holder) {
                holder.ended = holder.ended.saturating_sub(1);
            }
            return;
        }
        let Some(lease) = self.leases.remove(&row.id) else {
            return;
        };
        self.timers.remove(&(lease.timer, row.id));
        if lease.renewed > row.granted {
            self.renewals_of_ended[0].insert(row.id, lease.renewed);
        }
        if let Some(since) = row.idle_since {
            self.idle.remove(&(since, row.id));
        }
        self.list_warned(row, false);
        if let Some(holder) = self.holders.get_mut(&row.holder) {
            holder.leases.remove(&row.id);
        }
        match &row.subject {
            LeaseSubject::Logon { user, station, .. } => {
                if let Some(user) = self.users.get_mut(user) {
                    remove_sorted(&mut user.leases, row.id);
                }
                if let Some(station) = station.as_ref().and_then(|id| self.stations.get_mut(id)) {
                    remove_sorted(&mut station.leases, row.id);
                }
            }
            LeaseSubject::Station(station) => {
                if let Some(station) = self.stations.get_mut(station) {
                    remove_sorted(&mut station.leases, row.id);
                }
            }
            LeaseSubject::Units => {}
        }
        self.give_seats_back(row);
    }

    fn list_warned(&mut self, row: &LeaseRow, more: bool) {
        if row.ends.is_none_or(|(_, why)| why != EndReason::CapacityLowered) {
            return;
        }
        for seat in &row.terms.seats {
            if more {
                self.warned.insert((seat.pool, row.id));
            } else {
                self.warned.remove(&(seat.pool, row.id));
            }
        }
    }

    /// Counts the seats of a lease whose subject already lists it or not: only `seats` and pools are looked at.
    fn take_seats(&mut self, row: &LeaseRow) {
        for seat in &row.terms.seats {
            let first = if seat.shared { self.count_shared(row, seat.pool, true) } else { true };
            let app_first = !seat.shared || !self.application_uses(row, seat.pool);
            self.move_seat(row, seat.pool, seat.units, first, app_first, true);
        }
    }

    fn give_seats_back(&mut self, row: &LeaseRow) {
        for seat in &row.terms.seats {
            let last = if seat.shared { self.count_shared(row, seat.pool, false) } else { true };
            let app_last = !seat.shared || !self.application_uses(row, seat.pool);
            self.move_seat(row, seat.pool, seat.units, last, app_last, false);
        }
    }

    /// Counts one lease more or less on a user's shared seat. True where that takes the seat or frees it.
    fn count_shared(&mut self, row: &LeaseRow, pool: PoolId, more: bool) -> bool {
        let LeaseSubject::Logon { user, .. } = &row.subject else {
            return true;
        };
        let Some(user) = self.users.get_mut(user) else {
            return true;
        };
        let count = user.seats.entry(pool).or_default();
        if more {
            *count += 1;
            return *count == 1;
        }
        *count = count.saturating_sub(1);
        let gone = *count == 0;
        if gone {
            user.seats.remove(&pool);
        }
        gone
    }

    /// True where another live lease of the same user and application uses the pool.
    fn application_uses(&self, row: &LeaseRow, pool: PoolId) -> bool {
        // Only shares of applications ask.
        if self.pools.get(&pool).is_none_or(|pool| pool.shares.is_empty()) {
            return false;
        }
        let LeaseSubject::Logon { user, .. } = &row.subject else {
            return false;
        };
        self.users.get(user).is_some_and(|user| {
            user.leases.iter().filter(|id| **id != row.id).filter_map(|id| self.leases.get(id)).any(|other| {
                other.row.application == row.application && other.row.terms.seats.iter().any(|seat| seat.pool == pool)
            })
        })
    }

    fn move_seat(&mut self, row: &LeaseRow, id: PoolId, units: u32, counts: bool, app_counts: bool, take: bool) {
        let has_shares = self.pools.get(&id).is_some_and(|pool| !pool.shares.is_empty());
        let lineage = if has_shares {
            self.lineage(Self::subject_of(&row.subject).and_then(|s| self.organization_of(s)))
        } else {
            Vec::new()
        };
        let pool = self.pool(id);
        let application = pool.by_application.entry(row.application.clone()).or_default();
        if take {
            *application += 1;
            pool.holders.insert(row.id);
        } else {
            *application = application.saturating_sub(1);
            if *application == 0 {
                pool.by_application.remove(&row.application);
            }
            pool.holders.remove(&row.id);
        }
        if has_shares {
            if counts {
                pool.use_shares(&lineage, None, u64::from(units), take);
            }
            if app_counts {
                pool.use_shares(&[], Some(&row.application), u64::from(units), take);
            }
        }
        if has_shares && app_counts && !take {
            // Room in the application's share, though the user may keep the seat through another one.
            self.freed.insert(id);
        }
        let pool = self.pool(id);
        if counts {
            if take {
                pool.leased += u64::from(units);
                pool.note_peak(id.method);
            } else {
                pool.leased = pool.leased.saturating_sub(u64::from(units));
                self.freed.insert(id);
            }
        }
    }

    /// Counts a share's use afresh, when it is set or an organization moves.
    pub(crate) fn share_use(&self, id: PoolId, holder: &ShareHolder) -> u64 {
        let Some(pool) = self.pools.get(&id) else {
            return 0;
        };
        let belongs = |subject: Subject| match holder {
            ShareHolder::Organization(organization) => {
                self.lineage(self.organization_of(subject)).contains(organization)
            }
            ShareHolder::Application(_) => false,
        };
        let mut used = 0;
        if id.method == Method::Assignable {
            let assigned = pool.assigned.iter().filter_map(|id| self.assignments.get(id));
            used += assigned.filter(|row| belongs(row.subject)).count() as u64;
        }
        let mut counted: BTreeSet<UserId> = BTreeSet::new();
        for row in pool.holders.iter().filter_map(|id| self.leases.get(id)).map(|lease| &lease.row) {
            let mine = match holder {
                ShareHolder::Organization(_) => Self::subject_of(&row.subject).is_some_and(belongs),
                ShareHolder::Application(application) => row.application == *application,
            };
            if !mine {
                continue;
            }
            for seat in row.terms.seats.iter().filter(|seat| seat.pool == id) {
                match &row.subject {
                    LeaseSubject::Logon { user, .. } if seat.shared => used += u64::from(counted.insert(*user)),
                    _ => used += u64::from(seat.units),
                }
            }
        }
        used
    }

    /// Counts all shares afresh, after an organization moved.
    pub(crate) fn recount_shares(&mut self) {
        let all: Vec<(PoolId, ShareHolder)> = self
            .pools
            .iter()
            .flat_map(|(id, pool)| pool.shares.iter().map(|share| (*id, share.row.holder.clone())))
            .collect();
        for (id, holder) in all {
            let used = self.share_use(id, &holder);
            // Who waits may have another limit now.
            self.freed.insert(id);
            for share in &mut self.pool(id).shares {
                if share.row.holder == holder {
                    share.used = used;
                }
            }
        }
    }

    /// When a lease ends unless it is renewed (LEASE-5, LEASE-7), or by its own end.
    pub(crate) fn deadline(&self, lease: &Lease) -> LeaseTime {
        let by_renewal = self.lapse(&lease.row, lease.renewed);
        lease.row.ends.map_or(by_renewal, |(at, _)| at.min(by_renewal))
    }

    /// When a lease lapses, from the renewals of its own and of its run.
    pub(crate) fn lapse(&self, row: &LeaseRow, renewed: LeaseTime) -> LeaseTime {
        let lapse = lapse_ms(row.ttl_ms);
        let Some(holder) = self.holders.get(&row.holder) else {
            return renewed.plus_ms(lapse);
        };
        // A run's leases live by its beats, those of unary calls each by its own renewals.
        let (contact, graced) = match holder.row.run {
            // What was granted after the grace was not live at the stop.
            Some(_) => {
                let at = holder.row.graced;
                (renewed.max(holder.contact), Some(at).filter(|at| *at != LeaseTime::default() && row.granted <= *at))
            }
            None => (renewed, row.graced),
        };
        // LEASE-7: after a restart all would lapse at one moment; up to a tenth of the TTL spreads them.
        let spread = row.ttl_ms / 640 * (row.id.0 % 64);
        let by_grace = graced.map(|at| at.plus_ms(lapse + spread)).unwrap_or_default();
        contact.plus_ms(lapse).max(by_grace)
    }

    pub(crate) fn set_timer(&mut self, id: LeaseId, at: LeaseTime) {
        if let Some(lease) = self.leases.get_mut(&id)
            && lease.timer != at
        {
            self.timers.remove(&(lease.timer, id));
            lease.timer = at;
            self.timers.insert((at, id));
        }
    }

    pub(crate) fn leases_of_holder(&self, id: HolderId) -> Vec<LeaseId> {
        self.holders.get(&id).map(|holder| holder.leases.iter().copied().collect()).unwrap_or_default()
    }

    /// How a lease ended, where that is remembered.
    pub(crate) fn how_ended(&self, id: LeaseId) -> Option<EndReason> {
        self.ended.get(&id).and_then(|row| row.ended).map(|(_, how)| how)
    }
}

fn insert_sorted(leases: &mut Vec<LeaseId>, id: LeaseId) {
    if let Err(place) = leases.binary_search(&id) {
        leases.insert(place, id);
    }
}

fn remove_sorted(leases: &mut Vec<LeaseId>, id: LeaseId) {
    if let Ok(place) = leases.binary_search(&id) {
        leases.remove(place);
    }
}
