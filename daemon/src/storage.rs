//! What is durable, and how: SQLite in one file, one transaction and one sync for all that waits. The engine's rows map to
//! tables here and nowhere else; nothing is decided here.

mod audit;
mod checkpoint;
mod load;
mod net;
mod opening;
mod reading;
mod standing;
mod state_dir;
mod usage;
mod write;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use leasehold_engine::{
    row::{AuditRow, Change, Row},
    time::{LeaseTime, Now},
};
use rusqlite::{Connection, ErrorCode, ffi};

pub use audit::AuditVerdict;
pub use load::LeftOut;
pub use net::net;
pub use opening::{Database, OpenFault};
pub use reading::{AuditQuery, DenialQuery, MOST_ROWS, ReadFault, Reader};
pub use state_dir::{StateDir, StateDirFault};

use crate::{clock::evidence::Evidence, exit::Exit};

/// The most denials that are kept …
const DENIALS_KEPT: i64 = 100_000;
/// … and how long.
const DENIALS_KEPT_MS: i64 = 90 * leasehold_engine::time::DAY_MS;
/// How often old denials are looked for, and how many go at once.
const PRUNE_EVERY_MS: u64 = 60_000;
const PRUNED_AT_ONCE: i64 = 10_000;

/// Why changes were not made durable (LEASE-11).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitFault {
    /// Certainly nothing of them is on disk, nor ever will be.
    #[error("{0}")]
    NotDone(String),
    /// What is on disk is not known. The process is to end.
    #[error("{0}")]
    Unsure(String),
}

/// Where the core makes changes durable: the database, or in a simulation something that fails when it is told to.
pub trait Durable {
    /// Why nothing can be written, where that was found at the start.
    fn fault(&self) -> Option<&str>;

    /// Makes the net effect of these changes durable, and with them the marks of lease time and of trusted time, and what
    /// is known of the wall clock: all or nothing. When it returns `Ok` they are synced (LEASE-2).
    ///
    /// # Errors
    /// See [`CommitFault`].
    fn commit<'c>(
        &mut self,
        changes: impl Iterator<Item = &'c [Change]>,
        now: Now,
        evidence: &Evidence,
    ) -> Result<(), CommitFault>;

    /// Tries to write again after a failure.
    ///
    /// # Errors
    /// See [`CommitFault`].
    fn retry(&mut self, changes: &[Change], now: Now, evidence: &Evidence) -> Result<(), CommitFault>;

    /// To be called after commits, when their answers are out: keeps the log short.
    ///
    /// # Errors
    /// What leaves open what is on disk; the process is to end.
    fn tidy(&mut self) -> Result<(), String>;

    /// Brings everything into one place and closes it.
    ///
    /// # Errors
    /// What the storage says; everything committed is durable nevertheless.
    fn close(self) -> Result<(), String>;
}

/// The one writer of the database.
pub struct Store {
    db: Connection,
    path: PathBuf,
    chain: audit::Chain,
    texts: write::TermsTexts,
    checkpointer: checkpoint::Checkpointer,
    pruned: Option<LeaseTime>,
    /// What was stored last in this run of what is known of the wall clock.
    evidence: Option<Evidence>,
    /// What a stop in the middle left is not yet settled, and why.
    unsettled: Option<String>,
}

impl Store {
    fn new(mut db: Connection, path: PathBuf, unclean: bool) -> rusqlite::Result<Self> {
        let chain = audit::Chain::read(&db)?;
        let unsettled = if unclean { opening::settle(&db).err() } else { None };
        let checkpointer = checkpoint::Checkpointer::start(&mut db, path.clone())?;
        let texts = write::TermsTexts::new();
        Ok(Self { db, path, chain, texts, checkpointer, pruned: None, evidence: None, unsettled })
    }

    /// A reader of the same database.
    pub fn reader(&self) -> Reader {
        Reader::new(self.path.clone())
    }

    /// Where the database is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Does not wait for other programs' locks, so that a test can make a commit fail by holding one.
    #[cfg(test)]
    pub(crate) fn impatient(self) -> Self {
        self.db.busy_timeout(std::time::Duration::ZERO).unwrap();
        self
    }
}

impl Durable for Store {
    fn fault(&self) -> Option<&str> {
        self.unsettled.as_deref()
    }

    fn commit<'c>(
        &mut self,
        changes: impl Iterator<Item = &'c [Change]>,
        now: Now,
        evidence: &Evidence,
    ) -> Result<(), CommitFault> {
        let net = net::net_of(changes.flatten());
        self.statement("BEGIN IMMEDIATE").map_err(|fault| classify("begin", &fault))?;
        let chain = match self.write(&net, now, evidence) {
            Ok(chain) => chain,
            Err(fault) => return Err(self.roll_back("write", &fault)),
        };
        match self.statement("COMMIT") {
            Ok(()) => {
                self.chain = chain;
                self.evidence = Some(*evidence);
                Ok(())
            }
            Err(fault) => match fault.sqlite_error_code() {
                // Found while pages were written to the log, before its sync; the log's end is where it was.
                Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy) => Err(self.roll_back("commit", &fault)),
                _ => Err(CommitFault::Unsure(format!("commit: {fault}"))),
            },
        }
    }

    fn retry(&mut self, changes: &[Change], now: Now, evidence: &Evidence) -> Result<(), CommitFault> {
        if self.unsettled.is_some() {
            opening::settle(&self.db).map_err(CommitFault::NotDone)?;
            self.unsettled = None;
        }
        self.commit(std::iter::once(changes), now, evidence)
    }

    fn tidy(&mut self) -> Result<(), String> {
        self.checkpointer.after_commit(&self.db)
    }

    fn close(mut self) -> Result<(), String> {
        self.checkpointer.stop();
        if self.unsettled.is_none() {
            opening::settle(&self.db)?;
        }
        self.db.close().map_err(|(_, fault)| fault.to_string())
    }
}

impl Store {
    /// As a full disk does it: the database may not grow beyond so many pages, or what it has.
    #[cfg(test)]
    pub(crate) fn limit_pages(&self, pages: i64) {
        let _: i64 = self.db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get(0)).unwrap();
    }

    fn statement(&self, sql: &str) -> rusqlite::Result<()> {
        self.db.prepare_cached(sql)?.execute([]).map(drop)
    }

    fn write(&mut self, net: &[net::Net<'_>], now: Now, evidence: &Evidence) -> rusqlite::Result<audit::Chain> {
        let mut entries: Vec<AuditRow> = Vec::new();
        let mut events = usage::Events::default();
        for net in net {
            if events.take(net) {
                continue;
            }
            if net.gone {
                write::delete(&self.db, net.row)?;
            } else {
                write::put(&self.db, net.row, &mut self.texts)?;
                if let Row::Audit(entry) = net.row {
                    entries.push((**entry).clone());
                }
            }
        }
        events.write(&self.db)?;
        let chain = self.chain.extend(&self.db, &entries)?;
        // The marks are part of every commit, so that no stored time lies after them.
        write::mark(&self.db, now)?;
        if self.evidence.as_ref() != Some(evidence) {
            write::evidence(&self.db, evidence)?;
        }
        if self.pruned.is_none_or(|last| now.lease.ms_since(last) >= PRUNE_EVERY_MS) {
            self.prune(now)?;
            self.pruned = Some(now.lease);
        }
        Ok(chain)
    }

    fn prune(&self, now: Now) -> rusqlite::Result<()> {
        let count = "DELETE FROM denials WHERE id <= (SELECT max(id) FROM denials) - ? AND id < (SELECT min(id) FROM denials) + ?";
        self.db.prepare_cached(count)?.execute([DENIALS_KEPT, PRUNED_AT_ONCE])?;
        let age = "DELETE FROM denials WHERE at_ms < ? AND id < (SELECT min(id) FROM denials) + ?";
        self.db
            .prepare_cached(age)?
            .execute([now.confirmed().as_ms().saturating_sub(DENIALS_KEPT_MS), PRUNED_AT_ONCE])?;
        Ok(())
    }

    /// Takes a transaction back that was not committed.
    fn roll_back(&self, doing: &str, fault: &rusqlite::Error) -> CommitFault {
        // SQLite takes some back by itself.
        if !self.db.is_autocommit()
            && let Err(second) = self.db.execute_batch("ROLLBACK")
        {
            return CommitFault::Unsure(format!("{doing}: {fault}; and taking it back: {second}"));
        }
        classify(doing, fault)
    }
}

/// A fault before the sync leaves nothing on disk; a fault of a sync leaves that open, whenever it came.
fn classify(doing: &str, fault: &rusqlite::Error) -> CommitFault {
    let extended = fault.sqlite_error().map(|error| error.extended_code);
    match extended {
        Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC) => CommitFault::Unsure(format!("{doing}: {fault}")),
        _ => CommitFault::NotDone(format!("{doing}: {fault}")),
    }
}

/// LEASE-11: where a sync failed, what is on disk is not known to this process, and asking again could be answered
/// wrongly. The next start reads and checkpoints before it grants anything.
pub(crate) fn end_process(why: &str) -> ! {
    tracing::error!(
        "storing failed in a way that leaves open what is on disk: {why}. The process ends now; nothing that was \
         acknowledged is lost by that. Check the disk (dmesg, smartctl), then start the daemon again: it reads what is on \
         disk before it grants anything. A service manager starts it by itself"
    );
    std::process::exit(Exit::StorageUnsure.code());
}
