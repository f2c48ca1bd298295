//! The bounded queue in front of the core loop. Producers never wait: a full queue says so at once. The core loop takes
//! all that waits in one go; it is not woken for every command while the writer still has enough to do.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How a job is treated when the queue is nearly full: overload sheds new grants before renewals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shed {
    /// New grants: refused when seven eighths are taken.
    First,
    /// Everything else that callers send: refused when all is taken.
    Last,
    /// The same, and it does not wait for what came before it: renewals, which change nothing that others could ask for.
    Renewal,
    /// The daemon's own words to the core loop: never refused. Their number is bounded by other means.
    Never,
}

/// Why a job was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// The queue is full for its class.
    Full,
    /// The core loop has ended.
    Closed,
}

/// While the writer syncs, fewer waiting commands than this stay in the queue: they would only make a small batch that
/// waits by itself.
const WORTH_A_BATCH: usize = 128;

/// Batches that the writer may have in hand: one being synced, one being formed meanwhile.
const MOST_BATCHES: usize = 2;

struct State<T> {
    jobs: VecDeque<T>,
    /// Those that go first.
    renewals: VecDeque<T>,
    /// Batches handed to the writer and not yet done.
    written_behind: usize,
    /// Something to look at besides jobs: a failure of the writer, its recovery.
    called: bool,
    /// The core loop waits in `take`.
    parked: bool,
    /// The core loop has ended.
    closed: bool,
}

impl<T> State<T> {
    fn len(&self) -> usize {
        self.jobs.len() + self.renewals.len()
    }

    fn worth_waking(&self) -> bool {
        self.called
            || match self.written_behind {
                0 => self.len() > 0,
                behind => behind < MOST_BATCHES && self.len() >= WORTH_A_BATCH,
            }
    }
}

pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    wake: Condvar,
    capacity: usize,
}

impl<T> Queue<T> {
    pub(super) fn new(capacity: usize) -> Self {
        let state = State {
            jobs: VecDeque::new(),
            renewals: VecDeque::new(),
            written_behind: 0,
            called: false,
            parked: false,
            closed: false,
        };
        Self { state: Mutex::new(state), wake: Condvar::new(), capacity }
    }

    /// A panic while the lock is held ends the process, so a poisoned lock is never seen by a caller that matters.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_if(&self, mut state: MutexGuard<'_, State<T>>) {
        if state.parked && state.worth_waking() {
            state.parked = false;
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Puts a job at the end of its kind.
    ///
    /// # Errors
    /// See [`NotTaken`]; the job is dropped.
    pub(super) fn push(&self, job: T, shed: Shed) -> Result<(), NotTaken> {
        let most = match shed {
            Shed::First => self.capacity - self.capacity / 8,
            Shed::Last | Shed::Renewal => self.capacity,
            Shed::Never => usize::MAX,
        };
        let mut state = self.lock();
        if state.closed {
            return Err(NotTaken::Closed);
        }
        if state.len() >= most {
            return Err(NotTaken::Full);
        }
        if shed == Shed::Renewal {
            state.renewals.push_back(job)
        } else {
            state.jobs.push_back(job)
        }
        self.wake_if(state);
        Ok(())
    }

    /// Makes the core loop look up though there is no job.
    pub(super) fn call(&self) {
        let mut state = self.lock();
        state.called = true;
        self.wake_if(state);
    }

    /// A batch went to the writer.
    pub(super) fn batch_handed_over(&self) {
        self.lock().written_behind += 1;
    }

    /// The writer is done with `count` batches.
    pub(super) fn batches_done(&self, count: usize) {
        let mut state = self.lock();
        state.written_behind = state.written_behind.saturating_sub(count);
        self.wake_if(state);
    }

    /// True where everything that was handed to the writer is done: durable and answered.
    pub(super) fn all_written(&self) -> bool {
        self.lock().written_behind == 0
    }

    /// Takes no more jobs and drops those that wait.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let dropped = (std::mem::take(&mut state.jobs), std::mem::take(&mut state.renewals));
        drop(state);
        drop(dropped);
    }

    /// Waits for jobs, a call or the end of `longest`, and moves up to `most` jobs into `into`, which must be empty.
    /// False where the writer has its fill: nothing is taken, and no batch is to be formed.
    pub(super) fn take(&self, into: &mut VecDeque<T>, most: usize, longest: Duration) -> bool {
        debug_assert!(into.is_empty());
        let mut state = self.lock();
        if !state.worth_waking() {
            state.parked = true;
            let (mut woken, _) = self
                .wake
                .wait_timeout_while(state, longest, |state| !state.worth_waking())
                .unwrap_or_else(PoisonError::into_inner);
            woken.parked = false;
            state = woken;
        }
        Self::move_jobs(&mut state, into, most)
    }

    /// The same without waiting.
    pub(super) fn take_now(&self, into: &mut VecDeque<T>, most: usize) -> bool {
        Self::move_jobs(&mut self.lock(), into, most)
    }

    fn move_jobs(state: &mut State<T>, into: &mut VecDeque<T>, most: usize) -> bool {
        state.called = false;
        if state.written_behind >= MOST_BATCHES {
            return false;
        }
        if state.renewals.is_empty() && state.jobs.len() <= most {
            std::mem::swap(&mut state.jobs, into);
            return true;
        }
        // At most half of a batch where others wait: whoever beats without end holds nobody up.
        let share = if state.jobs.is_empty() { most } else { most.div_ceil(2) };
        let renewals = state.renewals.len().min(share);
        into.extend(state.renewals.drain(..renewals));
        let others = state.jobs.len().min(most - renewals);
        into.extend(state.jobs.drain(..others));
        true
    }

    /// True where the core loop is to look up though there is no job.
    pub(super) fn is_called(&self) -> bool {
        self.lock().called
    }

    /// Jobs that wait.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn overload_sheds_grants_before_renewals_and_the_daemon_never() {
        let queue = Queue::new(8);
        for n in 0..7 {
            assert_eq!(queue.push(n, Shed::First), Ok(()));
        }
        assert_eq!(queue.push(7, Shed::First), Err(NotTaken::Full));
        assert_eq!(queue.push(7, Shed::Last), Ok(()));
        assert_eq!(queue.push(8, Shed::Last), Err(NotTaken::Full));
        assert_eq!(queue.push(8, Shed::Never), Ok(()));
        let mut jobs = VecDeque::new();
        queue.take(&mut jobs, 5, LONG);
        assert_eq!(jobs, [0, 1, 2, 3, 4]);
        jobs.clear();
        queue.take(&mut jobs, 5, LONG);
        assert_eq!(jobs, [5, 6, 7, 8]);
        queue.close();
        assert_eq!(queue.push(9, Shed::Never), Err(NotTaken::Closed));
    }

    #[test]
    fn a_waiting_taker_is_woken_by_a_job_and_by_a_call() {
        let queue = std::sync::Arc::new(Queue::new(8));
        let taker = std::thread::spawn({
            let queue = queue.clone();
            move || {
                let mut jobs = VecDeque::new();
                assert!(queue.take(&mut jobs, 10, LONG));
                jobs
            }
        });
        queue.push(1, Shed::Last).unwrap();
        assert_eq!(taker.join().unwrap(), [1]);
        let taker = std::thread::spawn({
            let queue = queue.clone();
            move || queue.take(&mut VecDeque::new(), 10, LONG)
        });
        queue.call();
        assert!(taker.join().unwrap());
    }

    #[test]
    fn renewals_go_first_and_hold_nobody_up() {
        let queue = Queue::new(100);
        for n in 0..6 {
            queue.push(n, Shed::First).unwrap();
        }
        for n in 10..16 {
            queue.push(n, Shed::Renewal).unwrap();
        }
        assert_eq!(queue.len(), 12);
        let mut jobs = VecDeque::new();
        queue.take(&mut jobs, 4, LONG);
        assert_eq!(jobs, [10, 11, 0, 1]);
        jobs.clear();
        queue.take(&mut jobs, 100, LONG);
        assert_eq!(jobs, [12, 13, 14, 15, 2, 3, 4, 5]);
        jobs.clear();
        for n in 20..23 {
            queue.push(n, Shed::Renewal).unwrap();
        }
        queue.take(&mut jobs, 2, LONG);
        assert_eq!(jobs, [20, 21], "nobody else waits");
    }

    #[test]
    fn a_few_commands_wait_for_the_writer_and_many_do_not() {
        let queue = Queue::new(1_000);
        let mut jobs = VecDeque::new();
        queue.batch_handed_over();
        queue.push(1, Shed::Last).unwrap();
        assert!(!queue.lock().worth_waking());
        for n in 0..WORTH_A_BATCH {
            queue.push(n, Shed::Last).unwrap();
        }
        assert!(queue.lock().worth_waking());
        queue.take(&mut jobs, 10, LONG);
        assert_eq!(jobs.len(), 10);
        jobs.clear();
        queue.batch_handed_over();
        assert!(!queue.lock().worth_waking());
        queue.batches_done(2);
        queue.take(&mut jobs, 1_000, LONG);
        assert_eq!(jobs.len(), WORTH_A_BATCH + 1 - 10);
        assert_eq!(queue.len(), 0);
    }
}
