//! The life of a lease: asked for, granted, renewed, given back, ended (LEASE-1 to LEASE-6, LEASE-9, LEASE-10, LEASE-14).

use std::{collections::BTreeSet, sync::Arc};

use leasehold_keys::{activation::ProductVersion, name::Label};

use crate::{
    answers::{body, hash},
    command::{Acquire, Origin, Release},
    decision::{Event, ReleaseOutcome, Reply, Told},
    engine::{Engine, Turn},
    ids::{HolderId, Identity, LeaseId},
    plan::{Blocked, Plan, Planner, Want},
    queue::Place,
    refusal::{EndReason, Refusal},
    row::{LeaseRow, LeaseSubject, Row, Terms, UsageKind},
    time::HOUR_MS,
};

/// Expired leases that are ended for one request which finds its pool full (LEASE-5).
const EXPIRIES_FOR_A_SEAT: usize = 4_096;
/// Live leases at once.
const LEASES_MAX: u64 = 10_000_000;
/// Answers of acquires that are remembered at once, over all identities (LEASE-3).
const ANSWERS_MAX: u64 = 20_000_000;
/// Ends of forgotten leases that can still be told.
const RECENTLY_ENDED: usize = 65_536;

impl Engine {
    /// LEASE-9: the live lease of this identity, or why the caller may not act on it.
    pub(crate) fn own_lease(&self, identity: &Identity, id: LeaseId) -> Result<(), Refusal> {
        let state = &self.state;
        let row = state.leases.get(&id).map(|lease| &lease.row).or_else(|| state.ended.get(&id));
        if let Some(row) = row {
            if state.holders.get(&row.holder).is_none_or(|holder| holder.row.identity != *identity) {
                return Err(Refusal::NotYourLease(id));
            }
            return match row.ended {
                None => Ok(()),
                Some((_, how)) => Err(Refusal::LeaseEnded { lease: id, how: Some(how) }),
            };
        }
        if id.0 == 0 || id.0 > state.site.last_lease {
            return Err(Refusal::LeaseUnknown(id));
        }
        Err(Refusal::LeaseEnded { lease: id, how: self.recently_ended.get(&id).copied() })
    }
}

impl Turn<'_> {
    /// The identity behind a command, and its version of the product.
    pub(crate) fn identity(&self, from: &Origin) -> Result<Identity, Refusal> {
        match from {
            Origin::Unary(caller) => Ok(caller.identity.clone()),
            Origin::Stream(id) => {
                self.engine.state.holders.get(id).map(|holder| holder.row.identity.clone()).ok_or(Refusal::Malformed {
                    field: "hello".into(),
                    fault: "the stream has not said who it is".into(),
                })
            }
        }
    }

    fn caller_facts(&self, from: &Origin) -> Option<(Label, Option<ProductVersion>)> {
        match from {
            Origin::Unary(caller) => Some((caller.application.clone(), caller.version)),
            Origin::Stream(id) => {
                self.engine.state.holders.get(id).map(|holder| (holder.row.application.clone(), holder.row.version))
            }
        }
    }

    pub(crate) fn acquire(&mut self, acquire: Acquire) -> Result<Reply, Refusal> {
        let identity = self.identity(&acquire.from)?;
        let number = self.engine.state.known_identity(&identity);
        let asked = body(&acquire.ask, acquire.ttl_ms);
        if let Some(number) = number
            && let Some(reply) = self.answered_before(&acquire, number, asked)?
        {
            return Ok(reply);
        }
        self.check_bounds(number)?;
        if self.engine.state.is_standby(self.now) {
            self.out.answers.push((acquire.ticket, Err(Refusal::NotActive)));
            return Ok(Reply::Ticketed { waiting: None });
        }
        let place = (acquire.wait_ms > 0).then_some(Place::LAST);
        let mut decided = self.look(&acquire, place);
        if let Err(Blocked { refusal: Refusal::PoolExhausted(_) | Refusal::LimitReached(_), .. }) = &decided
            && self.end_due(EXPIRIES_FOR_A_SEAT) > 0
        {
            // LEASE-5: what has expired is not in the way, and those who waited come first.
            self.serve_queue();
            decided = self.look(&acquire, place);
        }
        if acquire.wait_ms > 0
            && decided.as_ref().is_err_and(|blocked| !blocked.pools.is_empty())
            && let Err(other) = self.look_at(&acquire, place, true)
        {
            // Room is not all that is missing: waiting would end in the same refusal.
            decided = Err(other);
        }
        match decided {
            Ok((want, plan)) => {
                let holder = self.holder_of(&acquire.from)?;
                let (want, plan) = self.move_on(&acquire, None, place, (want, plan));
                // Its request is a sign of life. A grant out of the queue is none (LEASE-6).
                if let Some(holder) = self.engine.state.holders.get_mut(&holder) {
                    holder.contact = holder.contact.max(self.now.lease);
                }
                let lease = self.grant(holder, want, plan, &acquire, asked);
                let view = self.view(lease);
                self.out.answers.push((acquire.ticket, view));
                Ok(Reply::Ticketed { waiting: None })
            }
            Err(blocked) if acquire.wait_ms > 0 && !blocked.pools.is_empty() => self.wait(acquire, blocked, &identity),
            Err(blocked) => {
                self.deny(&acquire, &identity, &blocked.refusal);
                self.out.answers.push((acquire.ticket, Err(blocked.refusal)));
                Ok(Reply::Ticketed { waiting: None })
            }
        }
    }

    /// Whether one more lease, and its answer, can be remembered.
    fn check_bounds(&self, number: Option<u32>) -> Result<(), Refusal> {
        let state = &self.engine.state;
        let of_identity = number.and_then(|number| state.answer_counts.get(&number)).copied().unwrap_or(0);
        let bounds = [
            ("answers that have not been acknowledged", of_identity, self.engine.limits.answers_per_identity),
            ("answers of all application servers together", state.answers.len() as u64, ANSWERS_MAX),
            ("live leases", state.leases.len() as u64, LEASES_MAX),
        ];
        match bounds.into_iter().find(|(_, count, most)| count >= most) {
            None => Ok(()),
            Some((what, _, most)) => Err(Refusal::Overloaded { what: what.into(), most, retry_after_ms: 60_000 }),
        }
    }

    /// What the request would get now.
    pub(crate) fn look(&self, acquire: &Acquire, place: Option<Place>) -> Result<(Want, Plan), Blocked> {
        self.look_at(acquire, place, false)
    }

    /// The same; `roomy`: as if there were room in every pool.
    pub(crate) fn look_at(
        &self,
        acquire: &Acquire,
        place: Option<Place>,
        roomy: bool,
    ) -> Result<(Want, Plan), Blocked> {
        let Some((application, version)) = self.caller_facts(&acquire.from) else {
            return Err(Refusal::Malformed { field: "caller".into(), fault: "it is not known".into() }.into());
        };
        let mut planner = Planner {
            state: &self.engine.state,
            queue: &self.engine.queue,
            now: self.now,
            place,
            own: None,
            roomy,
            steps: None,
        };
        let want = planner.resolve(&acquire.ask, &application, version)?;
        let plan = planner.plan(&want)?;
        Ok((want, plan))
    }

    /// Makes a plan true.
    pub(crate) fn grant(&mut self, holder: HolderId, want: Want, plan: Plan, acquire: &Acquire, body: u64) -> LeaseId {
        self.change_site(|site| site.last_lease += 1);
        let id = LeaseId(self.engine.state.site.last_lease);
        let now = self.now;
        let ends = self
            .engine
            .state
            .development
            .then(|| (now.lease.plus_ms(HOUR_MS.unsigned_abs()), EndReason::DevelopmentHourlyDisconnect));
        let with_seat = self.engine.state.end_of_seats(&want.subject, &plan.terms.seats);
        let ends = ends.into_iter().chain(with_seat).min();
        let row = LeaseRow {
            id,
            holder,
            subject: want.subject,
            application: want.application,
            terms: Arc::new(plan.terms),
            ttl_ms: acquire.ttl_ms,
            granted_wall: now.wall,
            granted: now.lease,
            idle_since: None,
            ends,
            request: Some((acquire.request, body)),
            ended: None,
            graced: None,
        };
        // The new lease stands before the old ones fall: shared seats pass on, and are never free in between (ALLOC-8).
        let told = self.engine.state.site.usage_collecting.then(|| row.clone());
        self.change(None, Some(Row::Lease(Box::new(row))));
        if let Some(row) = told {
            self.tell_usage(UsageKind::Logon, &row, now.wall);
        }
        for old in plan.displaces {
            self.end(old, EndReason::LoggedOnElsewhere, None);
        }
        id
    }

    /// Ends a live lease. Its holder is told, unless it gave the lease back itself.
    pub(crate) fn end(&mut self, id: LeaseId, how: EndReason, words: Option<Label>) {
        let Some(lease) = self.engine.state.leases.get(&id) else {
            return;
        };
        let row = lease.row.clone();
        let holder = row.holder;
        self.engine.idle_warned.remove(&id);
        let used_until = self.end_of_use(&row, how);
        let told = self.engine.state.site.usage_collecting.then(|| row.clone());
        let remembered = row.request.is_some();
        let after = remembered.then(|| {
            Row::Lease(Box::new(LeaseRow { idle_since: None, ended: Some((self.now.lease, how)), ..row.clone() }))
        });
        self.change(Some(Row::Lease(Box::new(row))), after);
        if let Some(row) = told {
            self.tell_usage(UsageKind::Logoff, &row, used_until);
        }
        if !remembered {
            self.note_ended(id, how);
        }
        if how != EndReason::Released {
            self.out.events.push(Event { to: Some(holder), what: Told::Ended { lease: id, reason: how, words } });
        }
    }

    /// Keeps how a lease ended whose row goes.
    pub(crate) fn note_ended(&mut self, id: LeaseId, how: EndReason) {
        self.engine.recently_ended.insert(id, how);
        if self.engine.recently_ended.len() > RECENTLY_ENDED {
            self.engine.recently_ended.pop_first();
        }
    }

    /// Ends leases whose time is over, at most so many, and moves the timers of those that were renewed. Returns how many
    /// ended.
    pub(crate) fn end_due(&mut self, most: usize) -> usize {
        let mut ended = 0;
        for _ in 0..most {
            let Some(&(at, id)) = self.engine.state.timers.first() else {
                break;
            };
            if at > self.now.lease {
                break;
            }
            let Some(lease) = self.engine.state.leases.get(&id) else {
                break;
            };
            let deadline = self.engine.state.deadline(lease);
            if deadline > self.now.lease {
                self.engine.state.set_timer(id, deadline);
                continue;
            }
            let stated = lease.row.ends.filter(|(at, _)| *at <= self.now.lease).map(|(_, why)| why);
            ended += self.end_stated(id, stated.unwrap_or(EndReason::Expired));
        }
        ended
    }

    /// Ends a lease whose time is over, with what ends together with it; returns how many ended.
    fn end_stated(&mut self, id: LeaseId, why: EndReason) -> usize {
        if why == EndReason::CapacityLowered {
            return self.end_excess(id);
        }
        self.end(id, why, None);
        1
    }

    fn own_lease(&self, identity: &Identity, id: LeaseId) -> Result<(), Refusal> {
        self.engine.own_lease(identity, id)
    }

    fn note_contact(&mut self, from: &Origin) {
        let id = match from {
            Origin::Stream(id) => Some(*id),
            Origin::Unary(caller) => self.unary_holder(caller),
        };
        let Some(id) = id else {
            return;
        };
        if let Some(holder) = self.engine.state.holders.get_mut(&id) {
            holder.contact = holder.contact.max(self.now.lease);
        }
        self.store_first_contact(id);
    }

    pub(crate) fn renew(&mut self, from: &Origin, leases: &[LeaseId]) -> Result<Reply, Refusal> {
        let identity = self.identity(from)?;
        self.note_contact(from);
        let mut outcomes = Vec::with_capacity(leases.len());
        for &id in leases {
            let mut result = self.own_lease(&identity, id);
            let ends = self.engine.state.leases.get(&id).and_then(|lease| lease.row.ends);
            if let Some((at, why)) = ends.filter(|_| result.is_ok())
                && at <= self.now.lease
                && self.end_stated(id, why) > 0
            {
                result = Err(Refusal::LeaseEnded { lease: id, how: Some(why) });
            }
            if result.is_ok() {
                self.end_grace(id);
            }
            if result.is_ok()
                && let Some(lease) = self.engine.state.leases.get_mut(&id)
            {
                // The timer stays where it is: it is looked at when it is due.
                lease.renewed = self.now.lease;
            }
            outcomes.push((id, result));
        }
        Ok(Reply::Leases(outcomes))
    }

    /// LEASE-10: releasing twice succeeds twice.
    pub(crate) fn release(&mut self, release: Release) -> Result<Reply, Refusal> {
        let identity = self.identity(&release.from)?;
        let number = self.engine.state.known_identity(&identity);
        let asked = hash(&(&release.leases, &release.acquired_by));
        if let (Some(request), Some(number)) = (release.request, number) {
            if let Some((body, outcomes)) = self.engine.releases.get(number, request) {
                if body != asked {
                    return Err(Refusal::RequestIdReused);
                }
                return Ok(Reply::Released(outcomes.clone()));
            }
            let acquires = self.engine.state.answers.contains_key(&(number, request));
            if acquires || self.engine.queue.by_request(number, request).is_some() {
                return Err(Refusal::RequestIdReused);
            }
        }
        self.note_contact(&release.from);
        let before = self.out.changes.len();
        let mut withdrawn = false;
        let mut outcomes = Vec::with_capacity(release.leases.len() + release.acquired_by.len());
        for id in release.leases {
            let result = self.release_one(&identity, id);
            outcomes.push(ReleaseOutcome { lease: Some(id), acquired_by: None, result });
        }
        for request in release.acquired_by {
            let answer = number.and_then(|number| self.engine.state.answers.get(&(number, request)).copied());
            let place = number.and_then(|number| Some((number, self.engine.queue.by_request(number, request)?)));
            let (lease, result) = match (answer, place) {
                (Some(id), _) => (Some(id), self.release_one(&identity, id)),
                (None, Some((number, place))) => {
                    self.leave_queue(number, place, Refusal::Cancelled);
                    withdrawn = true;
                    (None, Ok(()))
                }
                (None, None) => (None, Err(Refusal::RequestUnknown)),
            };
            outcomes.push(ReleaseOutcome { lease, acquired_by: Some(request), result });
        }
        // Only what changed something is remembered (LEASE-3).
        if let (Some(request), Some(number)) = (release.request, number)
            && (withdrawn || self.out.changes.len() > before)
        {
            self.remember_release(number, request, asked, &outcomes);
        }
        Ok(Reply::Released(outcomes))
    }

    fn release_one(&mut self, identity: &Identity, id: LeaseId) -> Result<(), Refusal> {
        match self.own_lease(identity, id) {
            Ok(()) => {
                self.end(id, EndReason::Released, None);
                Ok(())
            }
            Err(Refusal::LeaseEnded { .. }) => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }

    pub(crate) fn set_idle(&mut self, from: &Origin, leases: &[LeaseId], idle: bool) -> Result<Reply, Refusal> {
        let identity = self.identity(from)?;
        self.note_contact(from);
        let mut outcomes = Vec::with_capacity(leases.len());
        for &id in leases {
            let result = self.own_lease(&identity, id);
            if result.is_ok()
                && let Some(row) = self.engine.state.leases.get(&id).map(|lease| lease.row.clone())
                && row.idle_since.is_some() != idle
            {
                self.engine.idle_warned.remove(&id);
                let after = LeaseRow { idle_since: idle.then_some(self.now.lease), ..row.clone() };
                self.change(Some(Row::Lease(Box::new(row))), Some(Row::Lease(Box::new(after))));
                self.end_beyond_stage(id);
            }
            outcomes.push((id, result));
        }
        Ok(Reply::Leases(outcomes))
    }

    /// ALLOC-16: looks at a live lease again after its subject's keys or station changed. Removed keys leave it, added ones
    /// are tried, and it ends where a key that it needs is gone.
    pub(crate) fn look_again(&mut self, id: LeaseId, how: EndReason) {
        let Some(lease) = self.engine.state.leases.get(&id) else {
            return;
        };
        let row = lease.row.clone();
        if row.subject == LeaseSubject::Units {
            return;
        }
        let version = self.engine.state.holders.get(&row.holder).and_then(|holder| holder.row.version);
        let want = Want {
            subject: row.subject.clone(),
            needed: row.terms.needed.clone(),
            units: None,
            application: row.application.clone(),
            version,
        };
        let mut planner = Planner {
            state: &self.engine.state,
            queue: &self.engine.queue,
            now: self.now,
            place: None,
            own: Some(id),
            roomy: false,
            steps: None,
        };
        let mut planned = planner.plan(&want);
        if let Err(Blocked { refusal: Refusal::Enforced { .. }, .. }) = &planned
            && self.engine.state.is_call_port_lease(&row)
        {
            // 05: no stage ends a call that runs; it goes on without the keys that are refused.
            let mut kept = want.clone();
            kept.needed.retain(|key| !planner.state.enforced_away(*key, true));
            planned = planner.plan(&kept);
        }
        match planned {
            Ok(plan) => self.retell(row, plan.terms),
            Err(Blocked { refusal: Refusal::Enforced { .. }, .. }) => self.end(id, EndReason::Enforced, None),
            Err(Blocked { refusal: Refusal::StationNotLicensed { .. }, .. }) => {
                self.end(id, EndReason::StationNotLicensed, None);
            }
            Err(_) => self.end(id, how, None),
        }
    }

    /// Gives a live lease other terms, and tells its holder.
    fn retell(&mut self, row: LeaseRow, terms: Terms) {
        if *row.terms == terms {
            return;
        }
        let key_of = |held: &crate::row::HeldKey| held.key;
        let old: BTreeSet<_> = row.terms.keys.iter().map(key_of).collect();
        let new: BTreeSet<_> = terms.keys.iter().map(key_of).collect();
        let id = row.id;
        let holder = row.holder;
        let after = LeaseRow { terms: Arc::new(terms), ..row.clone() };
        let applied = self.applied_to(&row);
        self.change(Some(Row::Lease(Box::new(row.clone()))), Some(Row::Lease(Box::new(after))));
        if let Some((user, old)) = applied {
            self.tell_keys_changed(user, old);
        }
        let state = &self.engine.state;
        let added: Vec<_> = new.difference(&old).map(|key| state.key_name(*key)).collect();
        let removed: Vec<_> = old.difference(&new).map(|key| state.key_name(*key)).collect();
        if (!added.is_empty() || !removed.is_empty())
            && let Ok(view) = self.view(id)
        {
            self.out
                .events
                .push(Event { to: Some(holder), what: Told::Changed { lease: Box::new(view), added, removed } });
        }
    }
}
