//! The way into the core: one order of events for everything that changes or reads the engine's state, and no answer
//! before its commit. Adapters hold a [`Core`]; the engine itself is owned by the core loop's thread alone.

mod answer;
mod batch;
mod deciding;
mod delivery;
mod events;
mod failing;
mod queue;
mod restore;
mod stepped;
mod writing;

#[cfg(test)]
pub(crate) mod tests;

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use leasehold_engine::{
    Engine,
    command::{Acquire, Command},
    decision::{LeaseView, Reply},
    ids::{HolderId, Ticket},
    time::{LeaseTime, Now},
};
use tokio::sync::{oneshot, watch};

pub use answer::{Answer, Refused, ReplyReceiver, ReplySender, Tagged, replies};
pub use deciding::Ended;
pub use events::{Cut, EventReceiver};
pub use restore::{Restored, restore};
pub use stepped::Stepped;

use answer::To;
use delivery::Delivery;
use queue::{NotTaken, Queue, Shed};

use crate::{
    clock::Clock,
    storage::{Durable, Store},
};

/// What the daemon can do now; health and readiness follow it (LEASE-11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Leases are renewed, and questions answered.
    pub renew: bool,
    /// Leases are granted, and everything else that must be stored is.
    pub grant: bool,
}

/// Where the daemon is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It reads its state and its files; acquires of callers are refused.
    Starting,
    /// It serves.
    Serving,
    /// It stops: streams are to be told, acquires and attaches are refused, all else goes on to the end.
    Draining,
}

/// Stated bounds of the core.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Commands that wait in the queue. 1,024 to 1,048,576.
    pub queue: usize,
    /// Commands decided in one go.
    pub batch: usize,
    /// Leases about which one stream may have unread events.
    pub events_per_stream: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { queue: 65_536, batch: 4_096, events_per_stream: 16_384 }
    }
}

/// What a question leaves to be done once everything before it is durable: its answer goes out, or word that it is not
/// to be had.
type Deferred = Box<dyn FnOnce(Result<(), Refused>) + Send>;

/// A question: looks at the state on the core loop.
type Question = Box<dyn FnOnce(&Engine, Now) -> Deferred + Send>;

/// One entry of the queue.
enum Job {
    Command(Box<Command>, To),
    Question(Question),
    /// The stream of this attaching of a holder has ended.
    Detach(HolderId, u64),
    /// The caller of an acquire is gone. It comes after the acquire by the same way, so that it finds it decided.
    Abandon(Ticket),
    /// Finish what came before this, and end.
    Stop,
}

/// What handle, core loop and writer share.
struct Shared {
    clock: Clock,
    /// Lease time when this run began: the stored mark, whatever the start took until the core ran …
    began: LeaseTime,
    /// … and as the clock showed it when the start was over.
    served: OnceLock<LeaseTime>,
    queue: Queue<Job>,
    hub: Arc<events::Hub>,
    delivery: Delivery,
    /// The last ticket given; see [`Acquire::ticket`].
    tickets: AtomicU64,
    phase: watch::Sender<Phase>,
    health: watch::Sender<Health>,
    /// Why nothing can be stored; `None` where all is well.
    fault: watch::Sender<Option<Arc<str>>>,
}

impl Shared {
    fn new(
        store: &impl Durable,
        clock: Clock,
        bounds: Bounds,
        delivery: impl FnOnce(&Arc<events::Hub>) -> Delivery,
    ) -> Arc<Self> {
        let hub = Arc::new(events::Hub::new(bounds.events_per_stream));
        Arc::new(Self {
            began: clock.went_on_from(),
            clock,
            served: OnceLock::new(),
            queue: Queue::new(bounds.queue),
            delivery: delivery(&hub),
            hub,
            tickets: AtomicU64::new(0),
            phase: watch::Sender::new(Phase::Starting),
            health: watch::Sender::new(Health { renew: false, grant: false }),
            fault: watch::Sender::new(store.fault().map(Into::into)),
        })
    }

    /// This moment. Lease time stands still until the daemon serves: the grace after a restart is for holders that can
    /// renew, so that a start that takes long ends no lease (LEASE-7).
    fn now(&self) -> Now {
        let now = self.clock.now();
        let from = self.served.get().copied().unwrap_or(now.lease);
        Now { lease: self.began.plus_ms(now.lease.ms_since(from)), ..now }
    }

    /// Lets a batch out, in order.
    fn deliver(&self, batch: batch::Batch) {
        self.delivery.deliver(batch, &self.hub);
    }

    /// Health follows phase and fault.
    fn show_health(&self) {
        let serving = *self.phase.borrow() == Phase::Serving;
        let health = Health { renew: serving, grant: serving && self.fault.borrow().is_none() };
        self.health.send_if_modified(|shown| std::mem::replace(shown, health) != health);
    }
}

/// A handle to the core. Cheap to clone.
#[derive(Clone)]
pub struct Core {
    shared: Arc<Shared>,
}

impl Core {
    /// Starts the core loop and the writer on threads of their own.
    ///
    /// `engine` has restored its rows; it recovers here, and what comes of that goes to storage first. Where the store
    /// says that it cannot write yet, renewals and questions are served meanwhile (LEASE-11). Lease time stands still
    /// until the phase is no longer [`Phase::Starting`]: nothing ends before it can be renewed (LEASE-7).
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(engine: Engine, store: Store, clock: Clock, bounds: Bounds) -> std::io::Result<(Self, Ended)> {
        let shared = Shared::new(&store, clock, bounds, Delivery::start);
        let ended = deciding::spawn(shared.clone(), engine, store, bounds)?;
        Ok((Self { shared }, ended))
    }

    /// Gives a command to the core and waits until what came of it is durable. For everything but acquires.
    ///
    /// A caller that gives up waiting changes nothing: the command is decided (LEASE-14).
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn submit(&self, command: Command) -> Result<Reply, Refused> {
        let (to, answer) = oneshot::channel();
        self.put(Box::new(command), To::Caller(to))?;
        match answer.await.map_err(|_| Refused::Draining)?? {
            Answer::Reply(reply) => Ok(reply),
            // An acquire given to `submit`: its lease stands and lapses by its TTL.
            Answer::Lease(_) => Ok(Reply::Done),
        }
    }

    /// Asks for a lease and waits for the outcome, in the queue of its pools too; fills in the ticket. When the future
    /// is dropped, a request that still waits is abandoned: it gets no seat and keeps its place for 60 s.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn acquire(&self, mut acquire: Acquire) -> Result<LeaseView, Refused> {
        acquire.ticket = self.next_ticket();
        let mut gone = Abandon { core: self, ticket: Some(acquire.ticket) };
        let (to, answer) = oneshot::channel();
        let sent = self.put(Box::new(Command::Acquire(Box::new(acquire))), To::Caller(to));
        if let Err(refused) = sent {
            gone.ticket = None;
            return Err(refused);
        }
        let answer = answer.await;
        gone.ticket = None;
        match answer.map_err(|_| Refused::Draining)?? {
            Answer::Lease(lease) => Ok(*lease),
            // The outcome of an acquire is a lease or a refusal; the word that it waits goes to streams only.
            Answer::Reply(_) => Err(Refused::Draining),
        }
    }

    /// Gives a command of a stream to the core; its answer comes down the stream's own way with this tag. An acquire's
    /// ticket is filled in; where it has to wait, the first answer is [`Reply::Ticketed`] and its outcome follows.
    ///
    /// # Errors
    /// [`Refused::Overloaded`] where the queue is full or the stream has too many commands unanswered;
    /// [`Refused::Starting`], [`Refused::Draining`]. No answer follows then.
    pub fn submit_to(&self, mut command: Command, to: &ReplySender, tag: u64) -> Result<(), Refused> {
        if !to.reserve() {
            return Err(Refused::Overloaded);
        }
        if let Command::Acquire(acquire) = &mut command {
            acquire.ticket = self.next_ticket();
        }
        self.put(Box::new(command), To::Stream(to.clone(), tag)).inspect_err(|_| to.release())
    }

    /// Asks a question of the engine on the core loop. The answer comes when everything that it may have seen is
    /// durable. Questions hold up grants: they are to be short, and long lists come in pages.
    ///
    /// # Errors
    /// [`Refused::Overloaded`], [`Refused::Draining`]; [`Refused::StorageUnavailable`] where a commit failed under it:
    /// ask again.
    pub async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Engine, Now) -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let (to, answer) = oneshot::channel();
        let question: Question = Box::new(move |engine, now| {
            let value = question(engine, now);
            Box::new(move |durable| {
                // Who asked may be gone.
                let _ = to.send(durable.map(|()| value));
            })
        });
        self.shared.queue.push(Job::Question(question), Shed::Last)?;
        answer.await.map_err(|_| Refused::Draining)?
    }

    /// True where a question goes through the core loop and the writer within `patience`, however much waits.
    pub async fn is_alive(&self, patience: std::time::Duration) -> bool {
        let (to, answer) = oneshot::channel();
        let question: Question = Box::new(move |_, _| {
            Box::new(move |_| {
                // Who asked has lost patience.
                let _ = to.send(());
            })
        });
        self.shared.queue.push(Job::Question(question), Shed::Never).is_ok()
            && tokio::time::timeout(patience, answer).await.is_ok_and(|answer| answer.is_ok())
    }

    /// The events of a holder, from the moment at which its attaching became durable. Called once by its stream after
    /// [`Reply::Attached`].
    pub fn subscribe(&self, holder: HolderId) -> EventReceiver {
        self.shared.hub.subscribe(holder)
    }

    /// Says that the stream with these events has ended: its holder is detached, unless another stream has attached in
    /// its place meanwhile. Streams use this rather than [`Command::Detach`], which does not ask.
    pub fn detach(&self, events: EventReceiver) {
        let (holder, attaching) = events.attaching();
        // Refused only where the core has ended, and with it every attaching.
        let _ = self.shared.queue.push(Job::Detach(holder, attaching), Shed::Never);
    }

    /// What the daemon can do now, and every change of it.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.shared.health.subscribe()
    }

    /// Where the daemon is in its life, and every change of it: streams watch it for the drain.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.shared.phase.subscribe()
    }

    /// True where leases can be granted now.
    pub fn grants_available(&self) -> bool {
        self.shared.health.borrow().grant
    }

    /// Why nothing can be stored, and every change of that; `None` where all is well (LEASE-11).
    pub fn storage_fault(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.shared.fault.subscribe()
    }

    /// Commands that wait in the queue.
    pub fn queued(&self) -> usize {
        self.shared.queue.len()
    }

    /// Moves the daemon on in its life. Said by its start and stop only.
    pub fn set_phase(&self, phase: Phase) {
        if phase != Phase::Starting {
            // Before anyone hears of it, and once: lease time goes on from here.
            self.shared.served.get_or_init(|| self.shared.clock.now().lease);
        }
        self.shared.phase.send_replace(phase);
        self.shared.show_health();
    }

    /// Ends the core after everything that was submitted before is decided, durable and answered.
    pub fn stop(&self) {
        let _ = self.shared.queue.push(Job::Stop, Shed::Never);
        self.shared.queue.call();
    }

    fn next_ticket(&self) -> Ticket {
        Ticket(self.shared.tickets.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn put(&self, command: Box<Command>, to: To) -> Result<(), Refused> {
        let shed = match &*command {
            Command::Acquire(_) | Command::Attach(_) => {
                match *self.shared.phase.borrow() {
                    Phase::Starting => return Err(Refused::Starting),
                    Phase::Serving => {}
                    Phase::Draining => return Err(Refused::Draining),
                }
                if matches!(*command, Command::Acquire(_)) { Shed::First } else { Shed::Last }
            }
            Command::Beat(_) | Command::Renew { .. } => Shed::Renewal,
            _ => Shed::Last,
        };
        Ok(self.shared.queue.push(Job::Command(command, to), shed)?)
    }
}

impl From<NotTaken> for Refused {
    fn from(why: NotTaken) -> Self {
        match why {
            NotTaken::Full => Refused::Overloaded,
            NotTaken::Closed => Refused::Draining,
        }
    }
}

/// Tells the core loop that the caller of an acquire is gone, unless it has its answer.
struct Abandon<'c> {
    core: &'c Core,
    ticket: Option<Ticket>,
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            // Where the queue is closed, everything in it is decided or refused already.
            let _ = self.core.shared.queue.push(Job::Abandon(ticket), Shed::Never);
        }
    }
}
