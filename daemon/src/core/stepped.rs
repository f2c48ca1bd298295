//! The core without its threads, for simulations: the same queue, the same turns, the same writer, in an order that the
//! simulation chooses. Nothing here decides anything, and the daemon does not use it.

use std::{
    collections::VecDeque,
    sync::{Arc, mpsc},
};

use leasehold_engine::{Engine, time::LeaseTime};

use super::{
    Bounds, Core, Job, Phase, Shared,
    deciding::Deciding,
    delivery::Delivery,
    writing::{ToWriter, Writer},
};
use crate::{clock::Clock, storage::Durable};

/// A core that is driven step by step.
pub struct Stepped<S> {
    core: Core,
    deciding: Deciding,
    writer: Writer<S>,
    told: mpsc::Receiver<ToWriter>,
    words: VecDeque<ToWriter>,
    jobs: VecDeque<Job>,
    stopping: bool,
}

impl<S: Durable> Stepped<S> {
    /// As [`Core::start`]: `engine` has restored its rows, and recovers here.
    pub fn start(engine: Engine, store: S, clock: Clock, bounds: Bounds) -> Self {
        let shared = Shared::new(&store, clock, bounds, |_| Delivery::AtOnce);
        let (to_writer, told) = mpsc::channel();
        let (says, heard) = mpsc::channel();
        let mut deciding = Deciding::new(Arc::clone(&shared), engine, store.fault(), bounds, to_writer, heard);
        let writer = Writer { shared: Arc::clone(&shared), store, says, failed: false };
        deciding.begin();
        let (words, jobs) = (VecDeque::new(), VecDeque::new());
        Self { core: Core { shared }, deciding, writer, told, words, jobs, stopping: false }
    }

    /// The way into it, as everybody has it.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// One turn of the core loop: hears the writer, decides at most `most` of what waits, hands over what comes of it.
    /// False where it could do nothing: the writer is to come first.
    pub fn decide(&mut self, most: usize) -> bool {
        let now = self.core.shared.now();
        self.deciding.hear_writer(now);
        if self.deciding.is_fencing() || !self.core.shared.queue.take_now(&mut self.jobs, most) {
            return false;
        }
        self.stopping |= self.deciding.turn(now, &mut self.jobs);
        true
    }

    /// True where a turn of the core loop has something to do at once.
    pub fn has_something_to_decide(&self) -> bool {
        let queue = &self.core.shared.queue;
        queue.len() > 0
            || queue.is_called()
            || self.deciding.wakeup().is_some_and(|at| at <= self.core.shared.now().lease)
    }

    /// One turn of the writer, which has heard at most `most` words: commits all batches that come first and lets their
    /// answers out, or does one other thing. False where there was nothing to do.
    ///
    /// # Errors
    /// Why the process would end here (LEASE-11); nothing but dropping may follow.
    pub fn write(&mut self, most: usize) -> Result<bool, String> {
        let missing = most.saturating_sub(self.words.len());
        self.words.extend(self.told.try_iter().take(missing));
        if self.words.is_empty() {
            return Ok(false);
        }
        self.writer.turn(&mut self.words)?;
        Ok(true)
    }

    /// True where the writer has nothing in hand: all that was decided is durable, and answered.
    pub fn all_written(&self) -> bool {
        self.words.is_empty() && self.core.shared.queue.all_written()
    }

    /// True where the writer has said something that the core loop has not yet heard.
    pub fn has_unheard(&self) -> bool {
        self.core.shared.queue.is_called()
    }

    /// When the core loop has something to do though nobody asks.
    pub fn wakeup(&self) -> Option<LeaseTime> {
        self.deciding.wakeup()
    }

    /// The moment of lease time at which it would decide now.
    pub fn lease_time(&self) -> LeaseTime {
        self.core.shared.now().lease
    }

    /// The state that it decides on: what is not yet durable is in it.
    pub fn engine(&self) -> &Engine {
        &self.deciding.engine
    }

    /// Where it stores.
    pub fn store(&mut self) -> &mut S {
        &mut self.writer.store
    }

    /// Says that it is to stop. Turns go on until [`Stepped::has_stopped`].
    pub fn stop(&self) {
        self.core.set_phase(Phase::Draining);
        self.core.stop();
    }

    /// True after the last turn of the core loop; [`Stepped::say_last_word`] is to follow.
    pub fn has_stopped(&self) -> bool {
        self.stopping
    }

    /// No turn of the core loop comes any more; the writer's go on until it has nothing to do, then [`Stepped::end`].
    pub fn say_last_word(&self) {
        self.deciding.say_last_word();
    }

    /// Closes the store; who has no answer yet is told why.
    pub fn end(self) {
        self.writer.end();
        self.deciding.end();
    }
}
