//! What waiting requests come to: joined, withdrawn, abandoned, served as seats come free, ended at their deadline (03,
//! Queue and shares). The order of the queue itself is in `queue.rs`.

use std::{collections::BTreeSet, ops::Bound};

use leasehold_keys::name::PoolName;

use crate::{
    answers::body,
    command::{Acquire, Ask, EntityName, Origin},
    decision::Reply,
    engine::Turn,
    ids::{Identity, PoolId, RequestId, StationId, Subject, Ticket, UserId},
    plan::{Blocked, Plan, Want},
    queue::{Place, Waiter},
    refusal::Refusal,
    row::{Change, LeaseSubject, Row},
};

/// Waiters that are looked at in one turn; the next turn goes on.
pub(crate) const WAITERS_PER_TURN: usize = 512;

impl Turn<'_> {
    pub(crate) fn position(&self, place: Place, pools: &[(PoolId, u32)]) -> (u32, Vec<PoolName>) {
        let ahead = pools
            .iter()
            .filter_map(|(pool, _)| self.engine.state.pools.get(pool))
            .map(|pool| pool.waiting(Some(place)))
            .max()
            .unwrap_or(0);
        (
            u32::try_from(ahead + 1).unwrap_or(u32::MAX),
            pools.iter().map(|(pool, _)| self.engine.state.pool_name(*pool)).collect(),
        )
    }

    pub(crate) fn wait(&mut self, acquire: Acquire, blocked: Blocked, identity: &Identity) -> Result<Reply, Refusal> {
        let most = self.engine.limits.waiting_per_pool;
        if let Some((pool, _)) = blocked
            .pools
            .iter()
            .find(|(pool, _)| self.engine.state.pools.get(pool).is_some_and(|pool| pool.waiters.len() >= most))
        {
            let what = format!("requests waiting for {}", self.engine.state.pool_name(*pool));
            return Err(Refusal::Overloaded { what: what.into(), most: most as u64, retry_after_ms: 10_000 });
        }
        let holder = self.holder_of(&acquire.from)?;
        let number = self.engine.state.identity_number(identity);
        let deadline = self.now.lease.plus_ms(acquire.wait_ms);
        let pools = blocked.waits_for(&[]);
        let waiter = Waiter {
            identity: number,
            tickets: vec![acquire.ticket],
            acquire,
            holder,
            pools: pools.clone(),
            deadline,
            abandoned: None,
            overtaken: None,
        };
        let place = self.engine.queue.join(number, waiter, self.now.lease);
        self.engine.state.list_waiter(&self.engine.queue, place, &[], &pools, self.now.lease);
        // Its class puts it before the one for whom units were set aside: it was refused them as if it came last.
        let is_head = |(id, _): &(PoolId, u32)| {
            self.engine.state.pools.get(id).and_then(|pool| pool.head).is_some_and(|(head, _)| head == place)
        };
        if pools.iter().any(is_head) {
            self.try_waiter(place);
        }
        let waits = self.engine.queue.waiters.get(&place).map(|waiter| waiter.pools.clone());
        Ok(Reply::Ticketed { waiting: waits.map(|pools| self.position(place, &pools)) })
    }

    pub(crate) fn cancel_wait(&mut self, from: &Origin, request: RequestId) -> Result<Reply, Refusal> {
        let identity = self.identity(from)?;
        if let Some(number) = self.engine.state.known_identity(&identity)
            && let Some(place) = self.engine.queue.by_request(number, request)
        {
            self.leave_queue(number, place, Refusal::Cancelled);
        }
        Ok(Reply::Done)
    }

    pub(crate) fn abandon(&mut self, ticket: Ticket) -> Result<Reply, Refusal> {
        self.abandon_ticket(ticket);
        Ok(Reply::Done)
    }

    pub(crate) fn abandon_ticket(&mut self, ticket: Ticket) {
        if let Some(place) = self.engine.queue.drop_ticket(ticket, self.now.lease) {
            self.engine.state.note_caller(&self.engine.queue, place, self.now.lease);
        }
    }

    /// Takes a waiter out of the queue with a refusal for whoever waits.
    pub(crate) fn leave_queue(&mut self, number: u32, place: Place, refusal: Refusal) {
        let Some(waiter) = self.engine.queue.leave(number, place) else {
            return;
        };
        self.engine.state.list_waiter(&self.engine.queue, place, &waiter.pools, &[], self.now.lease);
        for (pool, _) in &waiter.pools {
            self.engine.state.freed.insert(*pool);
        }
        for ticket in &waiter.tickets {
            self.out.answers.push((*ticket, Err(refusal.clone())));
        }
    }

    /// A standby grants nothing, and nobody waits there.
    pub(crate) fn refuse_who_wait(&mut self) {
        let waiting: Vec<_> =
            self.engine.queue.waiters.iter().map(|(place, waiter)| (waiter.identity, *place)).collect();
        for (identity, place) in waiting {
            self.leave_queue(identity, place, Refusal::NotActive);
        }
    }

    fn waiter_identity(&self, place: Place) -> Option<(Identity, u32)> {
        let waiter = self.engine.queue.waiters.get(&place)?;
        let identity = self.engine.state.holders.get(&waiter.holder)?.row.identity.clone();
        Some((identity, waiter.identity))
    }

    /// The next waiter to look at (`behind`: those whom a walk has passed among them): the first over all pools that are gone
    /// through, since one who waits for one pool may take what another one ahead waits for in the next.
    pub(crate) fn next_to_serve(&mut self, behind: bool) -> Option<(PoolId, Place)> {
        let mut first: Option<(PoolId, Place)> = None;
        let mut done = Vec::new();
        for (id, walk) in &mut self.engine.serving {
            let pool = self.engine.state.pools.get(id).filter(|pool| pool.free(id.method) > 0);
            walk.least = walk.least.min(pool.map_or(0, |pool| pool.free(id.method)));
            let next = |after: Option<Place>| {
                let lower = after.map_or(Bound::Unbounded, Bound::Excluded);
                pool?.waiters.range((lower, Bound::Unbounded)).next().copied()
            };
            let passed = walk.behind.and_then(next).filter(|place| walk.after.is_some_and(|after| *place <= after));
            if passed.is_none() {
                walk.behind = None;
            }
            let mut place = passed.filter(|_| behind).or_else(|| next(walk.after));
            if place.is_none() && std::mem::take(&mut walk.again) {
                walk.after = None;
                place = next(None);
            }
            match place {
                None => done.push(*id),
                Some(place) if first.is_none_or(|(_, other)| place < other) => first = Some((*id, place)),
                Some(_) => {}
            }
        }
        for id in done {
            self.engine.serving.remove(&id);
        }
        first
    }

    /// Looks again at who waits on behalf of a user or at a station that this turn changed: a key that was given, or a seat
    /// that another lease of the user took (ALLOC-7), may be all that was lacking.
    pub(crate) fn serve_concerned(&mut self) {
        let mut seen = 0;
        let mut budget = WAITERS_PER_TURN;
        while seen < self.out.changes.len() && !self.engine.queue.waiters.is_empty() {
            let concerned: BTreeSet<EntityName> =
                self.out.changes[seen..].iter().flat_map(|change| self.concerns(change)).collect();
            seen = self.out.changes.len();
            let places: BTreeSet<Place> =
                concerned.iter().flat_map(|subject| self.engine.queue.about(subject)).take(budget).collect();
            budget -= places.len();
            for place in places {
                self.reconsider(place);
            }
            self.serve_queue();
        }
    }

    /// Serves a waiter, or refuses it where room is not all that is missing any more.
    pub(crate) fn reconsider(&mut self, place: Place) {
        // One that was overtaken keeps its place, to be told so.
        let waiter = self.engine.queue.waiters.get(&place).filter(|waiter| waiter.overtaken.is_none());
        let Some(acquire) = waiter.map(|waiter| waiter.acquire.clone()) else {
            return;
        };
        match (self.look_at(&acquire, Some(place), true), self.waiter_identity(place)) {
            (Err(other), Some((identity, number))) => {
                self.deny(&acquire, &identity, &other.refusal);
                self.leave_queue(number, place, other.refusal);
            }
            _ => self.try_waiter(place),
        }
    }

    /// Users and stations whose rights or seats a change may have made more.
    fn concerns(&self, change: &Change) -> Option<EntityName> {
        let state = &self.engine.state;
        let user = |id: &UserId| state.users.get(id).map(|user| EntityName::User(user.row.name.clone()));
        let station = |id: &StationId| state.stations.get(id).map(|it| EntityName::Station(it.row.name.clone()));
        match (&change.before, &change.after) {
            (_, Some(Row::Assignment(row))) | (Some(Row::Assignment(row)), None) => match &row.subject {
                Subject::User(id) => user(id),
                Subject::Station(id) => station(id),
            },
            (None, Some(Row::Lease(row))) => match &row.subject {
                LeaseSubject::Logon { user: id, .. } if row.terms.seats.iter().any(|seat| seat.shared) => user(id),
                LeaseSubject::Logon { .. } | LeaseSubject::Station(_) | LeaseSubject::Units => None,
            },
            (_, Some(Row::User(row))) | (Some(Row::User(row)), None) => Some(EntityName::User(row.name.clone())),
            (_, Some(Row::Station(row))) | (Some(Row::Station(row)), None) => {
                Some(EntityName::Station(row.name.clone()))
            }
            _ => None,
        }
    }

    pub(crate) fn try_waiter(&mut self, place: Place) {
        let Some(waiter) = self.engine.queue.waiters.get(&place).filter(|waiter| waiter.abandoned.is_none()) else {
            return;
        };
        let (acquire, holder, before) = (waiter.acquire.clone(), waiter.holder, waiter.pools.clone());
        if self.engine.state.is_standby(self.now) {
            // A file made it one since this request began to wait (02).
            let identity = waiter.identity;
            self.leave_queue(identity, place, Refusal::NotActive);
            return;
        }
        match self.look(&acquire, Some(place)) {
            Ok((want, plan)) => {
                let Some((_, number)) = self.waiter_identity(place) else {
                    return;
                };
                let Some(waiter) = self.engine.queue.leave(number, place) else {
                    return;
                };
                self.engine.state.list_waiter(&self.engine.queue, place, &before, &[], self.now.lease);
                let (want, plan) = self.move_on(&acquire, Some(place), Some(place), (want, plan));
                let lease = self.grant(holder, want, plan, &acquire, body(&acquire.ask, acquire.ttl_ms));
                for ticket in waiter.tickets {
                    let view = self.view(lease);
                    self.out.answers.push((ticket, view));
                }
            }
            Err(blocked) if !blocked.pools.is_empty() => {
                let pools = blocked.waits_for(&before);
                if pools != before {
                    if let Some(waiter) = self.engine.queue.waiters.get_mut(&place) {
                        waiter.pools.clone_from(&pools);
                    }
                    self.engine.state.list_waiter(&self.engine.queue, place, &before, &pools, self.now.lease);
                }
            }
            Err(blocked) => {
                let Some((identity, number)) = self.waiter_identity(place) else {
                    return;
                };
                self.deny(&acquire, &identity, &blocked.refusal);
                self.leave_queue(number, place, blocked.refusal);
            }
        }
    }

    /// ALLOC-8: a user is to be logged on at one computer, and waits at another one since before that. The user has moved on:
    /// granting the older request would throw out the newer logon, so it is refused, at once or when its caller comes back for it.
    /// `place`: where the newer one waited.
    /// Returns what the newer one gets now that nothing is set aside for the older.
    pub(crate) fn move_on(
        &mut self,
        newer: &Acquire,
        place: Option<Place>,
        judged_at: Option<Place>,
        gets: (Want, Plan),
    ) -> (Want, Plan) {
        let Ask::Logon { user, computer: Some(here), .. } = &newer.ask else {
            return gets;
        };
        let overtaken = |other: &Place| {
            let ask = self.engine.queue.waiters.get(other).map(|waiter| &waiter.acquire.ask);
            let elsewhere = matches!(ask, Some(Ask::Logon { computer: Some(there), .. }) if there != here);
            elsewhere && place.is_none_or(|place| other.came_before(place))
        };
        let places: Vec<Place> = self.engine.queue.about(&EntityName::User(user.clone())).filter(overtaken).collect();
        if places.is_empty() {
            return gets;
        }
        for place in places {
            if let Some(away) = self.engine.queue.waiters.get_mut(&place).filter(|waiter| waiter.abandoned.is_some()) {
                away.overtaken = Some(here.clone());
                continue;
            }
            let refusal = Refusal::LoggedOnElsewhere { user: user.clone(), computer: here.clone() };
            if let Some((_, number)) = self.waiter_identity(place) {
                self.leave_queue(number, place, refusal);
            }
        }
        self.look(newer, judged_at).unwrap_or(gets)
    }

    /// ALLOC-8: where a newer logon of the same user elsewhere was granted while nobody waited at a place, and still stands.
    pub(crate) fn overtaken_at(&self, place: Place) -> Option<Refusal> {
        let waiter = self.engine.queue.waiters.get(&place)?;
        let there = waiter.overtaken.as_ref()?;
        let Ask::Logon { user, .. } = &waiter.acquire.ask else {
            return None;
        };
        let id = self.engine.state.user_names.get(user)?;
        let stands = self.engine.state.leases_of(Subject::User(*id)).iter().any(|lease| {
            let subject = self.engine.state.leases.get(lease).map(|lease| &lease.row.subject);
            matches!(subject, Some(LeaseSubject::Logon { computer: Some(computer), .. }) if computer == there)
        });
        stands.then(|| Refusal::LoggedOnElsewhere { user: user.clone(), computer: there.clone() })
    }

    /// Ends waits whose deadline has come, and drops places that nobody came back for.
    pub(crate) fn end_waits(&mut self) {
        for place in self.engine.queue.due(self.now.lease, WAITERS_PER_TURN) {
            let Some(waiter) = self.engine.queue.waiters.get(&place) else {
                continue;
            };
            let (acquire, abandoned) = (waiter.acquire.clone(), waiter.abandoned.is_some());
            let Some((identity, number)) = self.waiter_identity(place) else {
                continue;
            };
            let refusal = match self.look(&acquire, Some(place)) {
                Err(blocked) => blocked.refusal,
                // Freed in this very turn, or not needed any more: granted before anyone is told no.
                Ok(_) if !abandoned => {
                    self.try_waiter(place);
                    continue;
                }
                Ok(_) => Refusal::Cancelled,
            };
            if !abandoned {
                self.deny(&acquire, &identity, &refusal);
            }
            self.leave_queue(number, place, refusal);
        }
    }
}
