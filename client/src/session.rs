//! What this run holds and asks, and what it makes of each command and each answer.
//!
//! There is no socket and no clock in here: messages to send gather in an outbox, and time is given.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Weak,
};

use leasehold_proto::v1::{self, attach_request::Message};
use tokio::sync::{broadcast, oneshot, watch};
use uuid::Uuid;

use crate::{
    beats::Beats,
    clock::Moment,
    command::{Acquiring, Command},
    event::ClientEvent,
    guard::{Handle, LeaseGuard},
    holdings::Holdings,
    lease::{LeaseId, SiteKeys},
    refusal::{AcquireError, Ended, Obstacle, RequestError, Unreleased, reason},
    requests::{Asked, Due, Pending, Requests},
};

mod answers;

/// Who waits for a lease.
type Caller = oneshot::Sender<Result<LeaseGuard, AcquireError>>;

/// Leases named in one message, so that it stays under the daemon's limit of 64 KiB.
pub(crate) const MOST_LEASES_A_MESSAGE: usize = 4_000;

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
    strangers: Strangers,
    /// Leases whose end was told before their grant: events and answers travel apart.
    early_ends: BTreeMap<u64, Ended>,
    /// Site keys changed since they were last asked for.
    pub(crate) site_keys_heard: bool,
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
        highest_lease_id: u64,
    ) -> Self {
        Self {
            holdings: Holdings::default(),
            requests: Requests::default(),
            outbox: VecDeque::new(),
            beats: None,
            answers_received: 0,
            highest_lease_id,
            strangers: Strangers::default(),
            early_ends: BTreeMap::new(),
            site_keys_heard: false,
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
        Some(v1::AttachRequest {
            message: Some(message),
            answers_received: self.answers_received,
        })
    }

    pub(crate) fn has_messages(&self) -> bool {
        !self.outbox.is_empty()
    }

    pub(crate) fn next_wake(&self) -> Option<Moment> {
        let beat = self
            .beats
            .as_ref()
            .map(|beats| beats.next_at(self.holdings.shortest_ttl()));
        let closing = self.closing.as_ref().map(|closing| closing.deadline);
        [
            beat,
            closing,
            self.requests.next_due(),
            self.holdings.next_check(),
        ]
        .into_iter()
        .flatten()
        .min()
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
        self.beats = Some(Beats::new(welcome.beat_every_ms));
        let named: BTreeSet<u64> = welcome.lease_ids.iter().copied().collect();
        for lease in &named {
            self.saw(*lease);
        }
        let being_released = self.requests.being_released();
        self.strangers = Strangers {
            leases: named
                .iter()
                .filter(|lease| {
                    self.holdings.get(**lease).is_none() && !being_released.contains(lease)
                })
                .copied()
                .collect(),
            unanswered: self.requests.perhaps_granted(),
        };
        let doubted: Vec<u64> = self
            .holdings
            .ids()
            .filter(|lease| !named.contains(lease))
            .collect();
        for lease in &doubted {
            self.holdings.doubt(*lease, true, now);
        }
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
        let Acquiring {
            id,
            message,
            begun,
            deadline,
            reply,
            permit,
        } = acquiring;
        if self.closing.is_some() {
            let _ = reply.send(Err(AcquireError::Closed));
            return;
        }
        self.requests.add(
            id,
            Asked::Lease {
                message: Box::new(message),
                reply,
            },
            Some(permit),
            begun,
            Some(deadline),
        );
        self.put(id, now);
    }

    pub(crate) fn command(&mut self, command: Command, now: Moment) {
        match command {
            Command::Acquire(acquiring) => self.acquire(*acquiring, now),
            // Its caller is gone: there is nobody to tell.
            Command::Abandon(id) => drop(self.withdraw(id, now)),
            Command::Release {
                id,
                lease,
                deadline,
                reply,
            } => {
                if self.forget(lease) {
                    let asked = Asked::Release {
                        leases: vec![lease.get()],
                        reply: Some(reply),
                    };
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
            Command::SetIdle {
                id,
                lease,
                idle,
                deadline,
                reply,
                permit,
            } => {
                let lease = lease.get();
                self.requests.add(
                    id,
                    Asked::Idle { lease, idle, reply },
                    Some(permit),
                    now,
                    Some(deadline),
                );
                self.put(id, now);
            }
            // The keeper's own affair; without it nobody waits.
            Command::Shutdown(reply) => drop(reply),
        }
    }

    /// Drops of many guards at once go back in few messages.
    pub(crate) fn dropped(&mut self, leases: &[LeaseId], now: Moment) {
        let held: Vec<u64> = leases
            .iter()
            .filter(|lease| self.forget(**lease))
            .map(|lease| lease.get())
            .collect();
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
            self.requests.add(
                id,
                Asked::Release {
                    leases: leases.to_vec(),
                    reply: None,
                },
                None,
                now,
                None,
            );
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
        let leases: Vec<u64> = self.holdings.ids().collect();
        let ended = Ended::new(
            reason::SHUTDOWN,
            "The client was shut down, which released the lease.",
        );
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
            self.requests.add(
                withdrawal,
                Asked::Withdrawal { acquire: id },
                pending.permit,
                now,
                None,
            );
            if self.strangers.unanswered.remove(&id) {
                self.strangers.unanswered.insert(withdrawal);
            }
            self.put(withdrawal, now);
        }
        Some((reply, no_answer))
    }

    fn no_answer(&self, pending: &Pending, now: Moment) -> RequestError {
        let obstacle = pending.obstacle.clone().or_else(|| self.obstacle.clone());
        RequestError::NoAnswer {
            waited: now.since(pending.begun),
            obstacle: obstacle.unwrap_or(Obstacle::Silence),
        }
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
        } else if let Some(Pending {
            asked: Asked::Idle { reply, .. },
            ..
        }) = self.requests.remove(id)
        {
            let _ = reply.send(Err(no_answer));
        }
    }

    /// Ends a lease and tells everybody.
    fn end(&mut self, lease: u64, ended: &Ended) {
        if self.holdings.end(lease, ended) {
            tracing::info!(lease, reason = %ended.reason, "lease ended");
            self.tell(ClientEvent::LeaseEnded {
                lease: LeaseId::new(lease),
                ended: ended.clone(),
            });
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
            let leases: Vec<u64> = std::mem::take(&mut self.strangers.leases)
                .into_iter()
                .collect();
            tracing::warn!(
                leases = leases.len(),
                "giving back leases that nobody here asked for"
            );
            self.give_back(&leases, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use leasehold_proto::v1::{acquire_answer::Outcome, attach_response};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::{lease::LeaseState, request::Logon};

    /// A session with one lease, granted at 1,000, on a connection that began then too.
    fn holding_one_lease() -> (Session, LeaseGuard) {
        let (commands, _inbox) = tokio::sync::mpsc::unbounded_channel();
        let permits = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&permits).try_acquire_owned().expect("free");
        let patience = std::time::Duration::from_secs(10);
        let handle = Arc::new(Handle {
            commands,
            permits,
            patience,
        });
        let events = broadcast::Sender::new(8);
        let mut session = Session::new(
            Arc::downgrade(&handle),
            events,
            watch::Sender::new(SiteKeys::default()),
            0,
        );
        assert!(session.attached(&welcome(&[]), Moment(1_000)).is_empty());
        assert_eq!(beat(&mut session), Some(1), "at once");
        answer_beat(&mut session, 1, 1_000);

        let id = Uuid::new_v4();
        let (reply, mut answer) = oneshot::channel();
        let message = crate::request::Acquire::from(Logon::user("u")).into_message(id);
        let (begun, deadline) = (Moment(1_000), Moment(11_000));
        session.acquire(
            Acquiring {
                id,
                message,
                begun,
                deadline,
                reply,
                permit,
            },
            Moment(1_000),
        );
        let outcome = Outcome::Lease(v1::Lease {
            lease_id: 7,
            ttl_ms: 60_000,
            ..v1::Lease::default()
        });
        let granted = v1::AcquireAnswer {
            request_id: id.as_bytes().to_vec(),
            outcome: Some(outcome),
        };
        receive(
            &mut session,
            attach_response::Message::Acquired(granted),
            1_200,
        );
        assert!(matches!(next(&mut session), Some(Message::Acquire(_))));
        let guard = answer.try_recv().expect("answered").expect("granted");
        (session, guard)
    }

    fn welcome(leases: &[u64]) -> v1::Welcome {
        v1::Welcome {
            lease_ids: leases.to_vec(),
            beat_every_ms: 20_000,
            ..v1::Welcome::default()
        }
    }

    fn receive(session: &mut Session, message: attach_response::Message, now: u64) {
        let answer = v1::AttachResponse {
            message: Some(message),
            answer_number: 0,
        };
        assert_eq!(session.received(answer, Moment(now)), Turn::Stay);
    }

    fn answer_beat(session: &mut Session, number: u64, now: u64) {
        let answer = v1::BeatAnswer { number, renewed: 1 };
        receive(session, attach_response::Message::Beat(answer), now);
    }

    fn next(session: &mut Session) -> Option<Message> {
        session.next_message().and_then(|request| request.message)
    }

    fn beat(session: &mut Session) -> Option<u64> {
        match next(session) {
            Some(Message::Beat(beat)) => Some(beat.number),
            _ => None,
        }
    }

    #[test]
    fn silence_unconfirms_a_lease_a_reconnect_restores_it_and_nothing_ends_it() {
        let (mut session, guard) = holding_one_lease();
        let watch = guard.watch();
        assert_eq!(session.next_wake(), Some(Moment(21_000)), "the next beat");

        assert!(session.tick(Moment(21_000)));
        assert_eq!(beat(&mut session), Some(2));
        answer_beat(&mut session, 2, 21_300);
        assert!(session.tick(Moment(41_000)));
        assert_eq!(beat(&mut session), Some(3));

        // No answer: after 10 s the server is given up.
        assert!(session.tick(Moment(50_999)));
        assert!(!session.tick(Moment(51_000)), "silence");
        session.detached(Obstacle::Silence);
        assert!(session.tick(Moment(68_999)));
        assert_eq!(*watch.borrow(), LeaseState::Confirmed);
        assert_eq!(
            session.next_wake(),
            Some(Moment(69_000)),
            "0.8 x TTL after the beat of 21,000"
        );
        assert!(session.tick(Moment(69_000)));
        assert_eq!(*watch.borrow(), LeaseState::Unconfirmed);
        // However long it lasts.
        assert!(session.tick(Moment(9_000_000)));
        assert_eq!(*watch.borrow(), LeaseState::Unconfirmed);

        assert!(
            session
                .attached(&welcome(&[7]), Moment(9_000_100))
                .is_empty()
        );
        assert_eq!(
            *watch.borrow(),
            LeaseState::Unconfirmed,
            "it is there, but not renewed yet"
        );
        assert_eq!(beat(&mut session), Some(1), "renewed first of all");
        answer_beat(&mut session, 1, 9_000_200);
        assert_eq!(*watch.borrow(), LeaseState::Confirmed);
        assert!(!session.has_messages());
    }

    #[test]
    fn a_beat_goes_ahead_of_a_storm() {
        let (mut session, guard) = holding_one_lease();
        session.dropped(&[guard.id()], Moment(21_000));
        assert!(session.tick(Moment(21_000)));
        assert_eq!(beat(&mut session), Some(2));
        assert!(matches!(next(&mut session), Some(Message::Release(_))));
    }

    #[test]
    fn many_leases_go_back_in_few_messages_of_a_bounded_size() {
        let (mut session, _guard) = holding_one_lease();
        let leases: Vec<u64> = (1..=9_000).collect();
        session.give_back(&leases, Moment(2_000));
        let mut sizes = Vec::new();
        while let Some(Message::Release(release)) = next(&mut session) {
            sizes.push(release.lease_ids.len());
        }
        assert_eq!(sizes, [4_000, 4_000, 1_000]);
    }
}
