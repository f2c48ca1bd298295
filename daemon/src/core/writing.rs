//! The writer's thread: makes batches durable in order, one transaction and one sync for all that wait, and only then
//! lets their answers out. Where a commit certainly failed it gives the batches back; where that is not certain, the
//! process ends (LEASE-11).

use std::{
    sync::{Arc, mpsc},
    thread,
};

use leasehold_engine::{row::Change, time::Now};

use super::{Shared, batch::Batch};
use crate::{
    clock::evidence::Evidence,
    storage::{CommitFault, Store, end_process},
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

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) store: Store,
    pub(super) told: mpsc::Receiver<ToWriter>,
    pub(super) says: mpsc::Sender<FromWriter>,
}

impl Writer {
    pub(super) fn spawn(self) -> std::io::Result<thread::JoinHandle<()>> {
        thread::Builder::new().name("writer".into()).spawn(move || {
            let _end = EndsWithProcess("writer");
            self.run();
        })
    }

    fn say(&self, word: FromWriter) {
        // The core loop outlives the writer but for a panic, which ends the process.
        let _ = self.says.send(word);
        self.shared.queue.call();
    }

    fn run(mut self) {
        let mut failed = false;
        let mut next = None;
        let mut batches: Vec<Batch> = Vec::new();
        while let Some(word) = next.take().or_else(|| self.told.recv().ok()) {
            match word {
                ToWriter::Batch(first) => {
                    batches.push(first);
                    loop {
                        match self.told.try_recv() {
                            Ok(ToWriter::Batch(more)) => batches.push(more),
                            Ok(other) => {
                                next = Some(other);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    failed = self.write(std::mem::take(&mut batches), failed);
                }
                ToWriter::Fence => {
                    failed = false;
                    self.say(FromWriter::Fenced);
                }
                ToWriter::Retry(changes, now, evidence) => match self.store.retry(&changes, now, &evidence) {
                    Ok(()) => self.say(FromWriter::Recovered),
                    Err(CommitFault::NotDone(why)) => self.say(FromWriter::FailsStill(changes, why.into())),
                    Err(CommitFault::Unsure(why)) => end_process(&why),
                },
                ToWriter::Stop => break,
            }
        }
        if let Err(fault) = self.store.close() {
            tracing::warn!(
                "the database was not closed cleanly: {fault}; the next start reads its log, and nothing is lost"
            );
        }
    }

    /// Commits and delivers; true where storage fails from here on.
    fn write(&mut self, batches: Vec<Batch>, failed: bool) -> bool {
        let count = batches.len();
        if failed {
            // Formed on top of what was not committed.
            self.give_back(batches, "the commit before it failed".into());
            self.shared.queue.batches_done(count);
            return true;
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
                    self.give_back(batches, why.into());
                    self.shared.queue.batches_done(count);
                    return true;
                }
                Err(CommitFault::Unsure(why)) => end_process(&why),
            }
        }
        for batch in batches {
            batch.deliver(&self.shared.hub);
        }
        self.shared.queue.batches_done(count);
        // After the answers: whoever waits for them does not wait for this.
        if let Err(why) = self.store.tidy() {
            end_process(&why);
        }
        false
    }

    fn give_back(&self, batches: Vec<Batch>, why: Arc<str>) {
        self.say(FromWriter::Failed(batches, why));
    }
}
