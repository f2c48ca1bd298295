//! Application servers and their runs: who holds leases, when they were last heard of, and what a restart of theirs or of
//! ours means (LEASE-5 to LEASE-7, LEASE-13).

use std::{collections::BTreeSet, ops::Bound};

use crate::{
    command::{Attach, CallerInfo, Origin},
    decision::Reply,
    engine::Turn,
    ids::{HolderId, LeaseId, Ticket},
    queue::Waiter,
    refusal::{EndReason, Limit, Refusal},
    row::{HolderRow, LeaseRow, Row},
    state::Holder,
    time::{LeaseTime, lapse_ms},
};

/// A new run may take its predecessor's leases over within so long (LEASE-13).
pub(crate) const TAKE_OVER_MS: u64 = 10_000;
/// Application servers that are remembered at once.
const HOLDERS_MAX: usize = 100_000;
/// A run on which nothing hangs is forgotten after so long: one that was cut off and comes back must not pass for a new one,
/// which would throw its replacement out (LEASE-13).
const RUN_KEPT_MS: u64 = 2 * 86_400_000;
/// So many such runs are kept, those that were heard of last.
const IDLE_RUNS_MAX: usize = 10_000;
/// Nothing is forgotten sooner, nor unary callers kept for longer.
const HOLDER_KEPT_MS: u64 = 60_000;
/// Holders that one turn looks at.
const HOLDERS_PER_TURN: usize = 2_048;
/// The last contact is stored so often (LEASE-7); what is stored may be older by as much.
pub(crate) const CONTACT_EVERY_MS: u64 = 60_000;

/// Earlier runs whose leases a new run may still take over.
#[derive(Clone, Debug)]
pub(crate) struct Succession {
    pub predecessors: Vec<HolderId>,
    /// The one of them whose stream was cut.
    pub displaced: Option<HolderId>,
    pub until: LeaseTime,
}

impl Turn<'_> {
    pub(crate) fn attach(&mut self, attach: Attach) -> Result<Reply, Refusal> {
        let Attach { caller, run } = attach;
        let key = (caller.identity.clone(), caller.instance.clone(), Some(run));
        let now = self.now.lease;
        let known = self.engine.state.holder_ids.get(&key).copied();
        let holder = match known {
            Some(id) => {
                self.update_holder(id, &caller);
                id
            }
            None => self.new_holder(&caller, Some(run))?,
        };
        let mut displaced = None;
        let mut predecessors = Vec::new();
        if known.is_none() {
            let state = &self.engine.state;
            let others = state.holder_ids.range((key.0.clone(), key.1.clone(), None)..).take_while(
                |((identity, instance, _), _)| *identity == caller.identity && *instance == caller.instance,
            );
            for ((_, _, run), id) in others {
                let Some(other) = state.holders.get(id).filter(|_| run.is_some() && *id != holder) else {
                    continue;
                };
                if other.attached {
                    displaced = Some(*id);
                }
                if !other.leases.is_empty() {
                    predecessors.push(*id);
                }
            }
        }
        if let Some(holder) = self.engine.state.holders.get_mut(&holder) {
            holder.contact = holder.contact.max(now);
            holder.attached = true;
        }
        if let Some(displaced) = displaced {
            self.detach(displaced)?;
        }
        if !predecessors.is_empty() {
            let until = now.plus_ms(TAKE_OVER_MS);
            self.engine.successions.insert(holder, Succession { predecessors, displaced, until });
        }
        self.store_first_contact(holder);
        // A run that comes again, since it lost its first answer, is told once more what it may still take over.
        let predecessor: Vec<LeaseId> = (self.engine.successions.get(&holder).into_iter())
            .filter(|succession| now < succession.until)
            .flat_map(|succession| &succession.predecessors)
            .filter_map(|id| self.engine.state.holders.get(id))
            .flat_map(|old| old.leases.iter().copied())
            .collect();
        let leases = self.engine.state.holders.get(&holder).map(|holder| holder.leases.iter().copied().collect());
        self.tell_standing_to(holder);
        Ok(Reply::Attached { holder, leases: leases.unwrap_or_default(), predecessor, displaced })
    }

    pub(crate) fn detach(&mut self, id: HolderId) -> Result<Reply, Refusal> {
        if let Some(holder) = self.engine.state.holders.get_mut(&id) {
            holder.attached = false;
        }
        self.abandon_waits_of(id);
        Ok(Reply::Done)
    }

    /// The stream of a run is gone: nobody waits for what it waited for, and its places are kept for 60 s.
    fn abandon_waits_of(&mut self, id: HolderId) {
        let of_stream = |waiter: &&Waiter| matches!(waiter.acquire.from, Origin::Stream(holder) if holder == id);
        let tickets: Vec<Ticket> =
            self.engine.queue.waiters.values().filter(of_stream).flat_map(|waiter| waiter.tickets.clone()).collect();
        for ticket in tickets {
            self.abandon_ticket(ticket);
            self.out.answers.push((ticket, Err(Refusal::Cancelled)));
        }
    }

    /// LEASE-13: renews the leases of this run and no others, all at once.
    pub(crate) fn beat(&mut self, id: HolderId) -> Result<Reply, Refusal> {
        let now = self.now.lease;
        let Some(holder) = self.engine.state.holders.get_mut(&id) else {
            return Err(Refusal::Malformed {
                field: "beat".into(),
                fault: "this stream has not said who it is".into(),
            });
        };
        holder.contact = holder.contact.max(now);
        let renewed = holder.leases.len() as u64;
        self.store_first_contact(id);
        Ok(Reply::Beaten(renewed))
    }

    /// LEASE-7: the first contact after a grace is stored at once, so that a second restart within the minute knows that
    /// the holder was live. One row per holder and restart.
    pub(crate) fn store_first_contact(&mut self, id: HolderId) {
        let Some(holder) = self.engine.state.holders.get(&id) else {
            return;
        };
        let graced = holder.row.graced;
        if graced > LeaseTime::default() && holder.row.contact <= graced && holder.contact > graced {
            let before = holder.row.clone();
            let after = HolderRow { contact: holder.contact, ..before.clone() };
            self.change(Some(Row::Holder(before)), Some(Row::Holder(after)));
        }
    }

    pub(crate) fn take_over(&mut self, new: HolderId, asked: &[LeaseId]) -> Result<Reply, Refusal> {
        let from = self.engine.successions.get(&new).filter(|succession| self.now.lease < succession.until).cloned();
        let theirs: Vec<LeaseId> = from
            .iter()
            .flat_map(|succession| &succession.predecessors)
            .filter_map(|id| self.engine.state.holders.get(id))
            .flat_map(|old| old.leases.iter().copied())
            .collect();
        let asked = if asked.is_empty() { &theirs[..] } else { asked };
        let theirs: BTreeSet<LeaseId> = theirs.iter().copied().collect();
        let mut outcomes = Vec::with_capacity(asked.len());
        for &id in asked {
            if !theirs.contains(&id) {
                let mine = self.engine.state.leases.get(&id).is_some_and(|lease| lease.row.holder == new);
                let refusal = match self.engine.state.leases.contains_key(&id) {
                    _ if mine => None,
                    true => Some(Refusal::NotYourLease(id)),
                    false => Some(Refusal::LeaseEnded { lease: id, how: self.engine.state.how_ended(id) }),
                };
                outcomes.push((id, refusal.map_or(Ok(()), Err)));
                continue;
            }
            if let Some(row) = self.engine.state.leases.get(&id).map(|lease| lease.row.clone()) {
                let after = LeaseRow { holder: new, ..row.clone() };
                self.change(Some(Row::Lease(Box::new(row))), Some(Row::Lease(Box::new(after))));
                self.engine.state.rewind_timer(id);
            }
            outcomes.push((id, Ok(())));
        }
        Ok(Reply::Leases(outcomes))
    }

    /// Ends what was not taken over in time, at most so many leases.
    pub(crate) fn end_successions(&mut self, most: usize) {
        let due: Vec<HolderId> = self
            .engine
            .successions
            .iter()
            .filter(|(_, succession)| succession.until <= self.now.lease)
            .map(|(id, _)| *id)
            .collect();
        let mut left = most;
        for new in due {
            let Some(succession) = self.engine.successions.get(&new).cloned() else {
                continue;
            };
            let leases: Vec<LeaseId> = succession
                .predecessors
                .iter()
                .filter_map(|id| self.engine.state.holders.get(id))
                .filter(|old| !old.attached)
                .flat_map(|old| old.leases.iter().copied())
                .take(left)
                .collect();
            left -= leases.len();
            for id in leases {
                self.end(id, EndReason::HolderRestarted, None);
            }
            if left == 0 {
                return;
            }
            self.engine.successions.remove(&new);
        }
    }

    /// The holder behind a command that takes a lease; a unary caller gets one with its first.
    pub(crate) fn holder_of(&mut self, from: &Origin) -> Result<HolderId, Refusal> {
        match from {
            Origin::Stream(id) => Ok(*id),
            Origin::Unary(caller) => match self.unary_holder(caller) {
                Some(id) => {
                    self.update_holder(id, caller);
                    Ok(id)
                }
                None => self.new_holder(caller, None),
            },
        }
    }

    pub(crate) fn unary_holder(&self, caller: &CallerInfo) -> Option<HolderId> {
        self.engine.state.holder_ids.get(&(caller.identity.clone(), caller.instance.clone(), None)).copied()
    }

    fn new_holder(&mut self, caller: &CallerInfo, run: Option<crate::ids::RunId>) -> Result<HolderId, Refusal> {
        if self.engine.state.holders.len() >= HOLDERS_MAX {
            return Err(Refusal::LimitReached(Limit::Stored {
                what: "application servers at once".into(),
                most: HOLDERS_MAX as u64,
            }));
        }
        let id = HolderId(self.next_entity());
        let row = HolderRow {
            id,
            identity: caller.identity.clone(),
            instance: caller.instance.clone(),
            run,
            application: caller.application.clone(),
            version: caller.version,
            host: caller.host.clone(),
            contact: self.now.lease,
            graced: LeaseTime::default(),
        };
        self.change(None, Some(Row::Holder(row)));
        Ok(id)
    }

    fn update_holder(&mut self, id: HolderId, caller: &CallerInfo) {
        let Some(before) = self.engine.state.holders.get(&id).map(|holder| holder.row.clone()) else {
            return;
        };
        let after = HolderRow {
            application: caller.application.clone(),
            version: caller.version,
            host: caller.host.clone(),
            ..before.clone()
        };
        if before != after {
            self.change(Some(Row::Holder(before)), Some(Row::Holder(after)));
        }
    }

    /// LEASE-7: the last contact of each holder, stored once a minute, in pieces. Holders on which nothing hangs any more are
    /// forgotten in time: no lease, no answer that is remembered by their identity (LEASE-3), no request that waits, no stream.
    pub(crate) fn store_contacts(&mut self) {
        let (state, now) = (&self.engine.state, self.now.lease);
        let begin = self.engine.contacts_stored.map_or(Bound::Unbounded, Bound::Excluded);
        let piece: Vec<&Holder> =
            state.holders.range((begin, Bound::Unbounded)).map(|(_, it)| it).take(HOLDERS_PER_TURN).collect();
        let mut reached = piece.last().filter(|_| piece.len() == HOLDERS_PER_TURN).map(|holder| holder.row.id);
        let mut idle_runs = std::mem::take(&mut self.engine.idle_runs);
        let mut gone: BTreeSet<HolderId> = BTreeSet::new();
        for holder in piece.iter().filter(|holder| self.is_idle(holder)) {
            if holder.row.run.is_none() || now.ms_since(holder.contact) >= RUN_KEPT_MS {
                gone.insert(holder.row.id);
            } else {
                idle_runs.push((holder.contact, holder.row.id));
            }
        }
        // All have been looked at: those beyond the bound that were heard of longest ago go, in pieces as well.
        let beyond = idle_runs.len().saturating_sub(IDLE_RUNS_MAX);
        if reached.is_none() {
            idle_runs.sort_unstable();
            let oldest = idle_runs.drain(..beyond.min(HOLDERS_PER_TURN)).filter_map(|(_, id)| state.holders.get(&id));
            gone.extend(oldest.filter(|holder| self.is_idle(holder)).map(|holder| holder.row.id));
            if beyond > HOLDERS_PER_TURN {
                reached = state.holders.keys().next_back().copied();
            } else {
                idle_runs.clear();
            }
        }
        if !gone.is_empty() {
            for waiter in self.engine.queue.waiters.values() {
                gone.remove(&waiter.holder);
            }
        }
        let mut changes = Vec::new();
        changes.extend(gone.iter().filter_map(|id| state.holders.get(id)).map(|holder| (holder.row.clone(), None)));
        for holder in piece.into_iter().filter(|holder| !gone.contains(&holder.row.id)) {
            if holder.contact > holder.row.contact && !holder.leases.is_empty() {
                changes.push((holder.row.clone(), Some(HolderRow { contact: holder.contact, ..holder.row.clone() })));
            }
        }
        self.engine.contacts_stored = reached;
        self.engine.idle_runs = idle_runs;
        for (before, after) in changes {
            self.change(Some(Row::Holder(before)), after.map(Row::Holder));
        }
    }

    /// True for a holder on which nothing hangs, but perhaps a request that waits.
    fn is_idle(&self, holder: &Holder) -> bool {
        let inherits = self.engine.successions.contains_key(&holder.row.id);
        let hangs = holder.attached || !holder.leases.is_empty() || holder.ended > 0 || inherits;
        !hangs && self.now.lease.ms_since(holder.contact) >= HOLDER_KEPT_MS
    }

    /// LEASE-7: each lease that was live at the stop gets one full TTL. Whether a run was live is told by its stored
    /// contact, which may be a minute old. Restarts never keep a dead holder's seat: a run that has not been heard of since
    /// its last grace gets no second one, and no more does a lease of unary calls that has not been renewed since, whatever
    /// its caller does with others.
    pub(crate) fn grace_after_restart(&mut self) {
        let now = self.now.lease;
        // 0 means "never" of a run: a site whose first second of lease time saw a restart still gets its grace.
        let graced = now.max(LeaseTime::from_ms(1));
        let mut changes = Vec::new();
        for holder in self.engine.state.holders.values() {
            let leases = || holder.leases.iter().filter_map(|id| self.engine.state.leases.get(id)).map(|it| &it.row);
            let newest_grant = leases().next_back().map(|row| row.granted);
            let contact = newest_grant.map_or(holder.row.contact, |granted| granted.max(holder.row.contact));
            // Lease time does not run while the daemon is down, so this is true however long that was.
            let was_live = |row: &LeaseRow| contact.plus_ms(CONTACT_EVERY_MS + lapse_ms(row.ttl_ms)) >= now;
            if holder.row.run.is_none() {
                // What is still there was live when time was last looked at, and its last renewal is in no row.
                let open = leases().filter(|row| row.graced.is_none()).cloned();
                changes.extend(open.map(|row| {
                    let after = LeaseRow { graced: Some(graced), ..row.clone() };
                    (Row::Lease(Box::new(row)), Row::Lease(Box::new(after)))
                }));
            } else if leases().any(was_live)
                && (contact > holder.row.graced || holder.row.graced == LeaseTime::default())
            {
                let after = HolderRow { contact, graced, ..holder.row.clone() };
                changes.push((Row::Holder(holder.row.clone()), Row::Holder(after)));
            }
        }
        for (before, after) in changes {
            self.change(Some(before), Some(after));
        }
    }

    /// A lease of unary calls is renewed for the first time after a restart: it may get a grace again. One row for each lease
    /// and restart.
    pub(crate) fn end_grace(&mut self, id: LeaseId) {
        let graced = self.engine.state.leases.get(&id).filter(|lease| lease.row.graced.is_some());
        if let Some(row) = graced.map(|lease| lease.row.clone()) {
            let after = LeaseRow { graced: None, ..row.clone() };
            self.change(Some(Row::Lease(Box::new(row))), Some(Row::Lease(Box::new(after))));
        }
    }
}
