//! Moves what is durable from the write-ahead log into the database, beside the writer, so that no answer waits for it
//! and the log stays short.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, Ordering},
        mpsc,
    },
    thread,
};

use rusqlite::{Connection, DEFAULT_NAME, ErrorCode, wal::CheckpointMode};

use super::opening;

/// Pages in the log from which on a checkpoint is made beside the writer (8 MiB) …
const BESIDE_AT_PAGES: i32 = 2_000;
/// … and from which on the writer itself makes one, so that the log begins anew (64 MiB).
const INLINE_AT_PAGES: i32 = 16_000;
/// A log that only a reader can keep so long (1 GiB) is told of.
const TOO_LONG_PAGES: i32 = 262_144;

pub(super) struct Checkpointer {
    /// Pages in the log after the last commit.
    pages: Arc<AtomicI32>,
    running: Arc<AtomicBool>,
    ask: Option<mpsc::SyncSender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    told: bool,
}

impl Checkpointer {
    pub(super) fn start(db: &mut Connection, path: PathBuf) -> rusqlite::Result<Self> {
        let pages = Arc::new(AtomicI32::new(0));
        let counted = pages.clone();
        db.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, count| {
            counted.store(count, Ordering::Relaxed);
            Ok(())
        }))?;
        let own = opening::connect(&path)?;
        let running = Arc::new(AtomicBool::new(false));
        let (ask, asked) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("checkpoint".into()).spawn({
            let running = running.clone();
            move || {
                while asked.recv().is_ok() {
                    if let Err(why) = checkpoint(&own) {
                        super::end_process(&why);
                    }
                    running.store(false, Ordering::Release);
                }
            }
        });
        let thread = thread.map_err(|fault| rusqlite::Error::ToSqlConversionFailure(fault.into()))?;
        Ok(Self { pages, running, ask: Some(ask), thread: Some(thread), told: false })
    }

    /// After a commit: asks for a checkpoint where the log has grown.
    ///
    /// # Errors
    /// What leaves open what is on disk.
    pub(super) fn after_commit(&mut self, db: &Connection) -> Result<(), String> {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < BESIDE_AT_PAGES {
            self.told = false;
            return Ok(());
        }
        if self.running.load(Ordering::Acquire) {
            return Ok(());
        }
        if pages >= INLINE_AT_PAGES {
            checkpoint(db)?;
            if pages >= TOO_LONG_PAGES && !std::mem::replace(&mut self.told, true) {
                tracing::warn!(
                    "the database's log has passed 1 GiB: another program reads leasehold.db for long; look at a copy (leasehold db snapshot) instead"
                );
            }
        }
        if let Some(ask) = &self.ask
            && ask.try_send(()).is_ok()
        {
            self.running.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Waits for a checkpoint that is being made, and ends.
    pub(super) fn stop(&mut self) {
        self.ask = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One checkpoint that waits for nobody.
fn checkpoint(db: &Connection) -> Result<(), String> {
    match db.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::PASSIVE) {
        Ok(_) => Ok(()),
        Err(fault) => match fault.sqlite_error_code() {
            // The log holds everything still, and the next checkpoint begins anew.
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull) => Ok(()),
            _ => Err(format!("checkpoint: {fault}")),
        },
    }
}
