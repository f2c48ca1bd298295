//! A lease in the hands of the application: kept alive while the guard lives, given back when it goes.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Semaphore, broadcast, mpsc, oneshot, watch};
use uuid::Uuid;

use crate::{
    clock::{self, Moment},
    command::Command,
    event::Events,
    lease::{Lease, LeaseEvent, LeaseId, LeaseState},
    refusal::{Ended, Obstacle, RequestError},
};

/// Events of one lease kept for a listener that is slow.
const EVENTS_KEPT: usize = 16;

/// What clients and guards share: the way to the keeper. When the last of it is gone, the keeper ends.
#[derive(Debug)]
pub(crate) struct Handle {
    /// Unbounded in type, bounded in fact: by the permits in flight, and one drop for each guard.
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    /// One for each request in flight.
    pub(crate) permits: Arc<Semaphore>,
    /// How long beyond its wait a request is tried.
    pub(crate) patience: Duration,
}

/// When the last answered beat was sent. One beat renews every lease of the run, so that one number serves all.
#[derive(Debug, Default)]
pub(crate) struct Heart {
    renewed_at_ms: AtomicU64,
}

impl Heart {
    pub(crate) fn renewed_at(&self) -> Moment {
        Moment(self.renewed_at_ms.load(Ordering::Acquire))
    }

    pub(crate) fn beat_answered(&self, sent_at: Moment) {
        self.renewed_at_ms.fetch_max(sent_at.0, Ordering::AcqRel);
    }
}

/// A lease as the guard and the keeper know it.
#[derive(Debug)]
pub(crate) struct Record {
    id: LeaseId,
    ttl: Duration,
    /// When the request that was granted was first sent: the grant cannot be older.
    asked_at: Moment,
    heart: Arc<Heart>,
    /// The server did not name it after a reconnect, and is being asked.
    doubted: AtomicBool,
    details: Mutex<Details>,
    state: watch::Sender<LeaseState>,
    /// Made when somebody listens: most leases are never listened to.
    events: Mutex<Option<broadcast::Sender<LeaseEvent>>>,
}

#[derive(Debug)]
struct Details {
    lease: Arc<Lease>,
    ends_at: Option<Moment>,
}

impl Record {
    pub(crate) fn new(lease: Lease, asked_at: Moment, now: Moment, heart: Arc<Heart>) -> Self {
        Self {
            id: lease.id,
            ttl: lease.ttl,
            asked_at,
            heart,
            doubted: AtomicBool::new(false),
            details: Mutex::new(Details::new(lease, now)),
            state: watch::Sender::new(LeaseState::Confirmed),
            events: Mutex::new(None),
        }
    }

    pub(crate) fn id(&self) -> LeaseId {
        self.id
    }

    pub(crate) fn ttl(&self) -> Duration {
        self.ttl
    }

    /// LEASE-5: up to 0.8 × TTL after the last successful renewal was sent. An answered beat speaks for this lease
    /// even where it was granted later, since then its TTL began later too.
    pub(crate) fn confirmed_until(&self) -> Moment {
        if self.doubted.load(Ordering::Acquire) {
            return Moment::default();
        }
        let renewed = self.asked_at.max(self.heart.renewed_at()).plus(self.ttl * 4 / 5);
        lock(&self.details).ends_at.map_or(renewed, |ends_at| renewed.min(ends_at))
    }

    pub(crate) fn judge(&self, now: Moment) -> LeaseState {
        if let LeaseState::Ended(ended) = &*self.state.borrow() {
            return LeaseState::Ended(ended.clone());
        }
        if now < self.confirmed_until() { LeaseState::Confirmed } else { LeaseState::Unconfirmed }
    }

    /// Tells watchers what is true now; returns it.
    pub(crate) fn publish(&self, now: Moment) -> LeaseState {
        let state = self.judge(now);
        self.state.send_if_modified(|shown| {
            let changed = *shown != state;
            shown.clone_from(&state);
            changed
        });
        state
    }

    /// What watchers were told last.
    #[cfg(test)]
    pub(crate) fn shown(&self) -> LeaseState {
        self.state.borrow().clone()
    }

    pub(crate) fn doubt(&self, doubted: bool) {
        self.doubted.store(doubted, Ordering::Release);
    }

    /// Ends it; only the first end counts.
    pub(crate) fn end(&self, ended: &Ended) -> bool {
        let first = self.state.send_if_modified(|state| {
            let live = !matches!(state, LeaseState::Ended(_));
            if live {
                *state = LeaseState::Ended(ended.clone());
            }
            live
        });
        if first && let Some(listeners) = lock(&self.events).take() {
            // Nobody listening any more is no failure.
            let _ = listeners.send(LeaseEvent::Ended(ended.clone()));
        }
        first
    }

    pub(crate) fn change(&self, lease: Lease, now: Moment) {
        *lock(&self.details) = Details::new(lease, now);
    }

    /// Where only the idle mark changed.
    pub(crate) fn mark_idle(&self, idle: bool) {
        let mut details = lock(&self.details);
        if details.lease.idle != idle {
            Arc::make_mut(&mut details.lease).idle = idle;
        }
    }

    pub(crate) fn tell(&self, event: LeaseEvent) {
        if let Some(listeners) = &*lock(&self.events) {
            let _ = listeners.send(event);
        }
    }

    fn listen(&self) -> Events<LeaseEvent> {
        let mut events = lock(&self.events);
        if let LeaseState::Ended(ended) = &*self.state.borrow() {
            let (sender, receiver) = broadcast::channel(1);
            let _ = sender.send(LeaseEvent::Ended(ended.clone()));
            return Events::new(receiver);
        }
        Events::new(events.get_or_insert_with(|| broadcast::Sender::new(EVENTS_KEPT)).subscribe())
    }
}

impl Details {
    fn new(lease: Lease, now: Moment) -> Self {
        let ends_at = lease.ends_in.map(|ends_in| now.plus(ends_in));
        Self { lease: Arc::new(lease), ends_at }
    }
}

/// Nothing that is locked here is left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A lease that is held: renewed in the background for as long as this lives, and released when it is dropped.
///
/// Dropping it does not wait: the client gives the lease back over its stream, and again after a reconnect, until the
/// server has answered. [`release`](Self::release) waits for that answer.
pub struct LeaseGuard {
    record: Arc<Record>,
    handle: Arc<Handle>,
    /// The release was asked for; dropping adds nothing.
    given_back: bool,
}

impl LeaseGuard {
    pub(crate) fn new(record: Arc<Record>, handle: Arc<Handle>) -> Self {
        Self { record, handle, given_back: false }
    }

    /// The grant's number, which is the fencing number to give to whatever the lease protects (LEASE-4).
    #[must_use]
    pub fn id(&self) -> LeaseId {
        self.record.id
    }

    /// The lease in its present details: keys may have joined or left it since it was granted.
    #[must_use]
    pub fn lease(&self) -> Arc<Lease> {
        Arc::clone(&lock(&self.record.details).lease)
    }

    /// Whether it may be relied upon at this moment (LEASE-5), by a clock that counts suspend.
    #[must_use]
    pub fn state(&self) -> LeaseState {
        self.record.judge(clock::now())
    }

    /// Follows the state. It may be late where the machine was suspended; [`state`](Self::state) never is.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<LeaseState> {
        self.record.state.subscribe()
    }

    /// Waits until the lease has ended, and says why. A lease is not ended by silence: a server that comes back
    /// restores it (LEASE-7).
    pub async fn ended(&self) -> Ended {
        let mut state = self.record.state.subscribe();
        loop {
            if let LeaseState::Ended(ended) = &*state.borrow_and_update() {
                return ended.clone();
            }
            if state.changed().await.is_err() {
                // The sender lives in the record, which this guard holds.
                std::future::pending::<()>().await;
            }
        }
    }

    /// What becomes of the lease from now on; at most 16 events are kept for a slow listener.
    #[must_use]
    pub fn events(&self) -> Events<LeaseEvent> {
        self.record.listen()
    }

    /// Marks the lease idle or active, which matters for pools with an idle time.
    ///
    /// # Errors
    ///
    /// [`RequestError`] where the server refuses, or does not answer within the client's patience.
    pub async fn set_idle(&self, idle: bool) -> Result<(), RequestError> {
        let begun = clock::now();
        let patience = self.handle.patience;
        let Ok(permit) = tokio::time::timeout(patience, Arc::clone(&self.handle.permits).acquire_owned()).await else {
            return Err(RequestError::NoAnswer { waited: patience, obstacle: Obstacle::Crowded });
        };
        let permit = permit.map_err(|_| RequestError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let deadline = begun.plus(patience);
        let lease = self.record.id;
        self.handle
            .commands
            .send(Command::SetIdle { id: Uuid::new_v4(), lease, idle, deadline, reply, permit })
            .map_err(|_| RequestError::Closed)?;
        answer.await.unwrap_or(Err(RequestError::Closed))
    }

    /// Gives the lease back and waits for the answer. Giving back what has ended already succeeds.
    ///
    /// # Errors
    ///
    /// [`RequestError::NoAnswer`] where no server answered within the client's patience: the client goes on trying in
    /// the background. [`RequestError::Refused`] where the server would not have it.
    pub async fn release(mut self) -> Result<(), RequestError> {
        self.given_back = true;
        let (reply, answer) = oneshot::channel();
        let deadline = clock::now().plus(self.handle.patience);
        let lease = self.record.id;
        self.handle
            .commands
            .send(Command::Release { id: Uuid::new_v4(), lease, deadline, reply })
            .map_err(|_| RequestError::Closed)?;
        answer.await.unwrap_or(Err(RequestError::Closed))
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        if !self.given_back {
            // Where the keeper is gone, it released everything as it went.
            let _ = self.handle.commands.send(Command::Dropped(self.record.id));
        }
    }
}

impl fmt::Debug for LeaseGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseGuard").field("id", &self.record.id).field("state", &self.state()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(ttl_ms: u64, ends_in_ms: u64, asked_at: u64) -> (Record, Arc<Heart>) {
        let lease =
            leasehold_proto::v1::Lease { lease_id: 7, ttl_ms, ends_in_ms, ..leasehold_proto::v1::Lease::default() };
        let heart = Arc::new(Heart::default());
        (Record::new(lease.into(), Moment(asked_at), Moment(asked_at), Arc::clone(&heart)), heart)
    }

    #[test]
    fn a_lease_is_unconfirmed_from_four_fifths_of_its_ttl_after_its_last_renewal_was_sent() {
        let (record, heart) = record(60_000, 0, 1_000);
        assert_eq!(record.judge(Moment(48_999)), LeaseState::Confirmed);
        assert_eq!(record.judge(Moment(49_000)), LeaseState::Unconfirmed);
        // It was sent at 30,000, whenever its answer came.
        heart.beat_answered(Moment(30_000));
        assert_eq!(record.judge(Moment(77_999)), LeaseState::Confirmed);
        assert_eq!(record.judge(Moment(78_000)), LeaseState::Unconfirmed);
        // An older answer takes nothing back.
        heart.beat_answered(Moment(20_000));
        assert_eq!(record.judge(Moment(77_999)), LeaseState::Confirmed);
    }

    #[test]
    fn nothing_is_confirmed_beyond_the_leases_own_end() {
        let (record, heart) = record(60_000, 10_000, 1_000);
        heart.beat_answered(Moment(9_000));
        assert_eq!(record.judge(Moment(10_999)), LeaseState::Confirmed);
        assert_eq!(record.judge(Moment(11_000)), LeaseState::Unconfirmed);
    }

    #[tokio::test]
    async fn the_first_end_counts_and_late_listeners_hear_it() {
        let (record, _) = record(60_000, 0, 0);
        let mut early = record.listen();
        assert!(record.end(&Ended::new("REVOKED", "by ann")));
        assert!(!record.end(&Ended::new("EXPIRED", "")));
        let ended = LeaseEvent::Ended(Ended::new("REVOKED", "by ann"));
        assert_eq!(early.next().await, Some(ended.clone()));
        assert_eq!(early.next().await, None);
        let mut late = record.listen();
        assert_eq!(late.next().await, Some(ended));
        assert_eq!(late.next().await, None);
    }
}
