//! The writer: makes batches durable in order, one transaction and one sync for all that wait, and only then lets their
//! answers out. Where a commit certainly failed it gives the batches back; where that is not certain, the process ends
//! (LEASE-11). [`Writer::turn`] does all of it; the thread only waits for words and gives them to it.

use std::{
    collections::VecDeque,
    sync::{Arc, mpsc},
    thread,
};

use leasehold_engine::{row::Change, time::Now};

use super::{Shared, batch::Batch};
use crate::{
    clock::evidence::Evidence,
    storage::{CommitFault, Durable, end_process},
};

/// What the writer is told.
pub(super) enum ToWriter {
    Batch(Batch),
    /// The core loop has heard of the failure: batches from here on are formed on what is durable.
    Fence,
    /// Try to write again: these changes, the marks, and what is known of the wall clock.
    Retry(Vec<Change>, Now, Evidence),
    /// Everything is said.
    Stop,
}

/// What the writer says.
pub(super) enum FromWriter {
    /// These batches were certainly not committed; in order.
    Failed(Vec<Batch>, Arc<str>),
    Fenced,
    /// Writing goes on.
    Recovered,
    /// Writing fails still; the changes are given back.
    FailsStill(Vec<Change>, Arc<str>),
}

/// Ends the process where a thread of the core panics: half a daemon would hold seats that nobody can give back.
pub(super) struct EndsWithProcess(pub(super) &'static str);

impl Drop for EndsWithProcess {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!("the {} has panicked; the process ends, and its successor reads what is durable", self.0);
            std::process::abort();
        }
    }
}

pub(super) struct Writer<S> {
    pub(super) shared: Arc<Shared>,
    pub(super) store: S,
    pub(super) says: mpsc::Sender<FromWriter>,
    /// A commit has failed, and the core loop has not yet said that it knows.
    pub(super) failed: bool,
}

/// Whether the writer has more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goes {
    On,
    ToItsEnd,
}

impl<S: Durable + Send + 'static> Writer<S> {
    pub(super) fn spawn(self, told: mpsc::Receiver<ToWriter>) -> std::io::Result<thread::JoinHandle<()>> {
        thread::Builder::new().name("writer".into()).spawn(move || {
            let _end = EndsWithProcess("writer");
            self.run(&told);
        })
    }

    fn run(mut self, told: &mpsc::Receiver<ToWriter>) {
        let mut words = VecDeque::new();
        'life: while let Ok(first) = told.recv() {
            words.push_back(first);
            while !words.is_empty() {
                // What came meanwhile shares the next sync.
                words.extend(told.try_iter());
                match self.turn(&mut words) {
                    Ok(Goes::On) => {}
                    Ok(Goes::ToItsEnd) => break 'life,
                    Err(why) => end_process(&why),
                }
            }
        }
        self.end();
    }
}

impl<S: Durable> Writer<S> {
    fn say(&self, word: FromWriter) {
        // The core loop outlives the writer but for a panic, which ends the process.
        let _ = self.says.send(word);
        self.shared.queue.call();
    }

    /// Does what comes first: all batches up to another word, or that one word.
    ///
    /// # Errors
    /// What leaves open what is on disk: the process is to end, and nothing more of these words may be done.
    pub(super) fn turn(&mut self, words: &mut VecDeque<ToWriter>) -> Result<Goes, String> {
        match words.pop_front() {
            Some(ToWriter::Batch(first)) => {
                let mut batches = vec![first];
                while let Some(ToWriter::Batch(_)) = words.front() {
                    if let Some(ToWriter::Batch(more)) = words.pop_front() {
                        batches.push(more);
                    }
                }
                self.write(batches)?;
            }
            Some(ToWriter::Fence) => {
                self.failed = false;
                self.say(FromWriter::Fenced);
            }
            Some(ToWriter::Retry(changes, now, evidence)) => match self.store.retry(&changes, now, &evidence) {
                Ok(()) => self.say(FromWriter::Recovered),
                Err(CommitFault::NotDone(why)) => self.say(FromWriter::FailsStill(changes, why.into())),
                Err(CommitFault::Unsure(why)) => return Err(why),
            },
            Some(ToWriter::Stop) => return Ok(Goes::ToItsEnd),
            None => {}
        }
        Ok(Goes::On)
    }

    /// After the last word.
    pub(super) fn end(self) {
        if let Err(fault) = self.store.close() {
            tracing::warn!(
                "the database was not closed cleanly: {fault}; the next start reads its log, and nothing is lost"
            );
        }
    }

    /// Commits and delivers, or gives back what was certainly not committed.
    fn write(&mut self, batches: Vec<Batch>) -> Result<(), String> {
        let count = batches.len();
        if self.failed {
            // Formed on top of what was not committed.
            self.give_back(batches, "the commit before it failed".into());
            self.shared.queue.batches_done(count);
            return Ok(());
        }
        if batches.iter().any(Batch::must_be_stored) {
            let changes = batches.iter().map(|batch| batch.changes.as_slice());
            let done = match batches.last() {
                Some(last) => self.store.commit(changes, last.now, &last.evidence),
                None => Ok(()),
            };
            match done {
                Ok(()) => {}
                Err(CommitFault::NotDone(why)) => {
                    self.failed = true;
                    self.give_back(batches, why.into());
                    self.shared.queue.batches_done(count);
                    return Ok(());
                }
                Err(CommitFault::Unsure(why)) => return Err(why),
            }
        }
        for batch in batches {
            self.shared.deliver(batch);
        }
        self.shared.queue.batches_done(count);
        // After the answers: whoever waits for them does not wait for this.
        self.store.tidy()
    }

    fn give_back(&self, batches: Vec<Batch>, why: Arc<str>) {
        self.say(FromWriter::Failed(batches, why));
    }
}
