//! What this run holds and asks, and what it makes of each command and each answer.
//!
//! There is no socket and no clock in here: messages to send gather in an outbox, and time is given.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Weak,
    time::Duration,
};

use leasehold_proto::v1::{self, attach_request::Message};
use tokio::sync::{broadcast, oneshot, watch};
use uuid::Uuid;

use crate::{
    beats::Beats,
    clock::Moment,
    command::{Acquiring, Command},
    event::{ClientEvent, Standing},
    guard::{Handle, LeaseGuard},
    holdings::Holdings,
    lease::{LeaseId, SiteKeys},
    refusal::{AcquireError, Ended, Obstacle, RequestError, Unreleased, reason},
    requests::{Asked, Due, Pending, Requests},
    witnesses::Witnesses,
};

mod answers;
#[cfg(test)]
mod tests;

/// Who waits for a lease.
type Caller = oneshot::Sender<Result<LeaseGuard, AcquireError>>;

/// Leases named in one message, so that it stays under the daemon's limit of 64 KiB.
pub(crate) const MOST_LEASES_A_MESSAGE: usize = 4_000;

/// Leases to take over that are named in one message: the answer tells of each in full.
pub(crate) const MOST_TAKEN_A_MESSAGE: usize = 1_000;

/// How long after it attached a new run may take its predecessor's leases over (LEASE-13).
const TAKE_OVER_WITHIN: Duration = Duration::from_secs(10);

/// Ends remembered of leases that are not known yet.
const EARLY_ENDS_KEPT: usize = 1_024;

/// What an answer means for the connection itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Stay,
    /// The server is stopping.
    Drain,
    /// The server is not the active one.
    Elsewhere,
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) holdings: Holdings,
    pub(crate) requests: Requests,
    /// Only filled while attached; bounded by what is in flight and by the guards.
    outbox: VecDeque<Message>,
    /// Of the present connection.
    beats: Option<Beats>,
    answers_received: u64,
    pub(crate) highest_lease_id: u64,
    /// The highest statements of installations …
    pub(crate) witnesses: Witnesses,
    /// … some of which are not stored yet.
    pub(crate) has_new_witnesses: bool,
    strangers: Strangers,
    /// Leases whose end was told before their grant: events and answers travel apart.
    early_ends: BTreeMap<u64, Ended>,
    /// Site keys changed since they were last asked for.
    pub(crate) site_keys_heard: bool,
    /// No site keys were named to be watched, so that the server tells of all that there are.
    pub(crate) watches_all_site_keys: bool,
    /// Leases of an earlier run that can be taken over.
    pub(crate) predecessors: watch::Sender<Predecessors>,
    /// The last word on the site's standing.
    pub(crate) standing: watch::Sender<Option<Standing>>,
    /// What keeps us from being attached.
    obstacle: Option<Obstacle>,
    handle: Weak<Handle>,
    pub(crate) events: broadcast::Sender<ClientEvent>,
    pub(crate) site_keys: watch::Sender<SiteKeys>,
    pub(crate) closing: Option<Closing>,
}

/// Leases of this run that the server named and nobody here knows: granted without our hearing of it. Requests still
/// open may turn out to be theirs; what is left when those are answered is given back.
#[derive(Debug, Default)]
struct Strangers {
    leases: BTreeSet<u64>,
    unanswered: BTreeSet<Uuid>,
}

/// Leases of an earlier run of this application server, and until when they can be taken over (LEASE-13).
#[derive(Debug, Default)]
pub(crate) struct Predecessors {
    leases: BTreeSet<u64>,
    until: Moment,
}

impl Predecessors {
    pub(crate) fn at(&self, now: Moment) -> Vec<LeaseId> {
        let leases = self.leases.iter().copied().map(LeaseId::new);
        if now < self.until { leases.collect() } else { Vec::new() }
    }
}

/// The client is being shut down.
#[derive(Debug)]
pub(crate) struct Closing {
    pub(crate) deadline: Moment,
    pub(crate) replies: Vec<oneshot::Sender<Result<(), Unreleased>>>,
}

impl Session {
    pub(crate) fn new(
        handle: Weak<Handle>,
        events: broadcast::Sender<ClientEvent>,
        site_keys: watch::Sender<SiteKeys>,
        witnesses: Witnesses,
    ) -> Self {
        Self {
            holdings: Holdings::default(),
            requests: Requests::default(),
            outbox: VecDeque::new(),
            beats: None,
            answers_received: 0,
            highest_lease_id: 0,
            witnesses,
            has_new_witnesses: false,
            strangers: Strangers::default(),
            early_ends: BTreeMap::new(),
            site_keys_heard: false,
            watches_all_site_keys: true,
            predecessors: watch::Sender::new(Predecessors::default()),
            standing: watch::Sender::new(None),
            obstacle: None,
            handle,
            events,
            site_keys,
            closing: None,
        }
    }

    /// The next message, with what it acknowledges.
    pub(crate) fn next_message(&mut self) -> Option<v1::AttachRequest> {
        let message = self.outbox.pop_front()?;
        Some(v1::AttachRequest { message: Some(message), answers_received: self.answers_received })
    }

    pub(crate) fn has_messages(&self) -> bool {
        !self.outbox.is_empty()
    }

    pub(crate) fn next_wake(&self) -> Option<Moment> {
        let beat = self.beats.as_ref().map(|beats| beats.next_at(self.holdings.shortest_ttl()));
        let closing = self.closing.as_ref().map(|closing| closing.deadline);
        [beat, closing, self.requests.next_due(), self.holdings.next_check()].into_iter().flatten().min()
    }

    /// Everything that time brings; false where the server has been silent for too long.
    pub(crate) fn tick(&mut self, now: Moment) -> bool {
        self.holdings.tick(now);
        while let Some((due, id)) = self.requests.due(now) {
            match due {
                Due::Retry => self.put(id, now),
                Due::Deadline => self.out_of_time(id, now),
            }
        }
        let shortest_ttl = self.holdings.shortest_ttl();
        let Some(beats) = &mut self.beats else {
            return true;
        };
        if let Some(number) = beats.due(shortest_ttl, now) {
            // Ahead of everything else: renewals must not wait behind a storm of requests.
            self.outbox.push_front(Message::Beat(v1::Beat { number }));
        }
        !beats.silent(now)
    }

    // ---- the connection

    /// A server accepted this run. Returns the leases that are held here and that it did not name.
    pub(crate) fn attached(&mut self, welcome: &v1::Welcome, now: Moment) -> Vec<u64> {
        self.outbox.clear();
        self.answers_received = 0;
        self.early_ends.clear();
        self.obstacle = None;
        // Who attaches is told where there is something to tell: what was said before may be over.
        self.standing.send_if_modified(|standing| standing.take().is_some());
        self.beats = Some(Beats::new(welcome.beat_every_ms));
        let named: BTreeSet<u64> = welcome.lease_ids.iter().copied().collect();
        for lease in &named {
            self.saw(*lease);
        }
        if !welcome.predecessor_lease_ids.is_empty() {
            let leases = welcome.predecessor_lease_ids.iter().copied().collect();
            // The server counts from when this run came first: coming again gives it no more time.
            let first = self.predecessors.borrow().until;
            let until = if now < first { first } else { now.plus(TAKE_OVER_WITHIN) };
            self.predecessors.send_replace(Predecessors { leases, until });
        }
        let being_released = self.requests.being_released();
        self.strangers = Strangers {
            leases: named
                .iter()
                .filter(|lease| self.holdings.get(**lease).is_none() && !being_released.contains(lease))
                .copied()
                .collect(),
            unanswered: self.requests.perhaps_granted(),
        };
        let doubted: Vec<u64> = self.holdings.ids().filter(|lease| !named.contains(lease)).collect();
        for lease in &doubted {
            self.holdings.doubt(*lease, true, now);
        }
        self.requests.resume();
        for id in self.requests.in_order() {
            self.put(id, now);
        }
        self.settle_strangers(now);
        self.tick(now);
        doubted
    }

    /// No more can be sent on this connection, though answers may come.
    pub(crate) fn detached(&mut self, obstacle: Obstacle) {
        self.beats = None;
        self.outbox.clear();
        self.obstacle = Some(obstacle);
    }

    // ---- what the application wants

    pub(crate) fn acquire(&mut self, acquiring: Acquiring, now: Moment) {
        let Acquiring { id, message, begun, deadline, reply, permit } = acquiring;
        if self.closing.is_some() {
            let _ = reply.send(Err(AcquireError::Closed));
            return;
        }
        self.requests.add(id, Asked::Lease { message: Box::new(message), reply }, Some(permit), begun, Some(deadline));
        self.put(id, now);
    }

    pub(crate) fn command(&mut self, command: Command, now: Moment) {
        match command {
            Command::Acquire(acquiring) => self.acquire(*acquiring, now),
            // Its caller is gone: there is nobody to tell.
            Command::Abandon(id) => drop(self.withdraw(id, now)),
            Command::Release { id, lease, deadline, reply } => {
                if self.forget(lease) {
                    let asked = Asked::Release { leases: vec![lease.get()], reply: Some(reply) };
                    self.requests.add(id, asked, None, now, Some(deadline));
                    self.put(id, now);
                } else {
                    let _ = reply.send(Ok(()));
                }
            }
            Command::Dropped(lease) => {
                if self.forget(lease) {
                    self.give_back(&[lease.get()], now);
                }
            }
            Command::SetIdle { id, lease, idle, deadline, reply, permit } => {
                let lease = lease.get();
                self.requests.add(id, Asked::Idle { lease, idle, reply }, Some(permit), now, Some(deadline));
                self.put(id, now);
            }
            Command::TakeOver { id, leases, deadline, reply, permit } => {
                if self.closing.is_some() {
                    let _ = reply.send(Err(RequestError::Closed));
                    return;
                }
                let asked = Asked::TakeOver { leases, reply: Some(reply) };
                self.requests.add(id, asked, Some(permit), now, Some(deadline));
                self.put(id, now);
            }
            // The keeper's own affair; without it nobody waits.
            Command::Shutdown(reply) => drop(reply),
        }
    }

    /// Drops of many guards at once go back in few messages.
    pub(crate) fn dropped(&mut self, leases: &[LeaseId], now: Moment) {
        let held: Vec<u64> = leases.iter().filter(|lease| self.forget(**lease)).map(|lease| lease.get()).collect();
        self.give_back(&held, now);
    }

    /// Ends the lease on this side, since its holder wants it no more; false where it had ended.
    fn forget(&mut self, lease: LeaseId) -> bool {
        let released = Ended::new(reason::RELEASED, "Its holder gave it back.");
        self.holdings.end(lease.get(), &released)
    }

    fn give_back(&mut self, leases: &[u64], now: Moment) {
        for leases in leases.chunks(MOST_LEASES_A_MESSAGE) {
            let id = Uuid::new_v4();
            self.requests.add(id, Asked::Release { leases: leases.to_vec(), reply: None }, None, now, None);
            self.put(id, now);
        }
    }

    /// Releases everything and takes nothing new.
    pub(crate) fn close(&mut self, closing: Closing, now: Moment) {
        self.closing = Some(closing);
        for id in self.requests.for_leases() {
            if let Some((reply, _)) = self.withdraw(id, now) {
                let _ = reply.send(Err(AcquireError::Closed));
            }
        }
        for id in self.requests.taking_over() {
            if let Some(reply) = self.requests.waiting_for_takeover(id) {
                let _ = reply.send(Err(RequestError::Closed));
            }
        }
        let leases: Vec<u64> = self.holdings.ids().collect();
        let ended = Ended::new(reason::SHUTDOWN, "The client was shut down, which released the lease.");
        for lease in &leases {
            self.end(*lease, &ended);
        }
        self.give_back(&leases, now);
    }

    /// Leases and requests whose release no server has confirmed.
    pub(crate) fn unreleased(&self) -> usize {
        self.requests.being_released().len() + self.requests.perhaps_granted().len()
    }

    // ---- requests

    /// Puts a request to the server, where there is one; else it goes out with the next.
    fn put(&mut self, id: Uuid, now: Moment) {
        if self.beats.is_some() {
            self.outbox.extend(self.requests.messages(id, now));
        }
    }

    /// Takes a request for a lease back, and its caller out of it. Where a server may know of the request, it is
    /// withdrawn there too, and goes on to count as in flight until that is answered.
    fn withdraw(&mut self, id: Uuid, now: Moment) -> Option<(Caller, RequestError)> {
        if !matches!(self.requests.get(id)?.asked, Asked::Lease { .. }) {
            return None;
        }
        let pending = self.requests.remove(id)?;
        let no_answer = self.no_answer(&pending, now);
        let Asked::Lease { reply, .. } = pending.asked else {
            return None;
        };
        if pending.sent_at.is_some() {
            let withdrawal = Uuid::new_v4();
            self.requests.add(withdrawal, Asked::Withdrawal { acquire: id }, pending.permit, now, None);
            if self.strangers.unanswered.remove(&id) {
                self.strangers.unanswered.insert(withdrawal);
            }
            self.put(withdrawal, now);
        }
        Some((reply, no_answer))
    }

    fn no_answer(&self, pending: &Pending, now: Moment) -> RequestError {
        let obstacle = pending.obstacle.clone().or_else(|| self.obstacle.clone());
        RequestError::NoAnswer { waited: now.since(pending.begun), obstacle: obstacle.unwrap_or(Obstacle::Silence) }
    }

    /// The caller's deadline has come.
    fn out_of_time(&mut self, id: Uuid, now: Moment) {
        if let Some((reply, no_answer)) = self.withdraw(id, now) {
            let _ = reply.send(Err(no_answer.into()));
            return;
        }
        let Some(pending) = self.requests.get(id) else {
            return;
        };
        let no_answer = self.no_answer(pending, now);
        if let Some(reply) = self.requests.reply(id) {
            let _ = reply.send(Err(no_answer));
        } else if let Some(reply) = self.requests.waiting_for_takeover(id) {
            let _ = reply.send(Err(no_answer));
        } else if let Some(Pending { asked: Asked::Idle { reply, .. }, .. }) = self.requests.remove(id) {
            let _ = reply.send(Err(no_answer));
        }
    }

    /// Ends a lease and tells everybody.
    fn end(&mut self, lease: u64, ended: &Ended) {
        if self.holdings.end(lease, ended) {
            tracing::info!(lease, reason = %ended.reason, "lease ended");
            self.tell(ClientEvent::LeaseEnded { lease: LeaseId::new(lease), ended: ended.clone() });
        }
    }

    fn tell(&self, event: ClientEvent) {
        // Nobody listening is no failure.
        let _ = self.events.send(event);
    }

    fn saw(&mut self, lease: u64) {
        self.highest_lease_id = self.highest_lease_id.max(lease);
    }

    /// Gives the strangers back once no open request can be theirs.
    fn settle_strangers(&mut self, now: Moment) {
        if self.strangers.unanswered.is_empty() && !self.strangers.leases.is_empty() {
            let leases: Vec<u64> = std::mem::take(&mut self.strangers.leases).into_iter().collect();
            tracing::warn!(leases = leases.len(), "giving back leases that nobody here asked for");
            self.give_back(&leases, now);
        }
    }
}
