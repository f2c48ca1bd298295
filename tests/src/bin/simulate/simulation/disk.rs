//! The simulated storage: rows that survive, a commit that fails where it is told to, and a log of what became durable for
//! the oracle. Commits are atomic, as those of a journal with checksums are: what a crash tears is dropped as a whole.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use leasehold_engine::{
    row::{Change, Row},
    time::Now,
};
use leaseholdd::{
    clock::{TimeMark, evidence::Evidence},
    storage::{CommitFault, Durable},
};

use super::tally::Kind;

/// What happens at the next commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The disk is full while pages are written, before the sync; it stays full until space is made.
    Full,
    /// Another program holds the file; once.
    Busy,
    /// The sync fails; `reached`: all of it is on disk nevertheless.
    SyncFails {
        /// Whether it is on disk.
        reached: bool,
    },
    /// The daemon is killed while it writes: a part is on disk, and worth nothing.
    Torn,
    /// The daemon is killed after the write and before the sync; `reached`: the system had written it by itself.
    KilledUnsynced {
        /// Whether it is on disk.
        reached: bool,
    },
    /// The daemon is killed after the sync, before anyone is answered.
    KilledUnanswered,
}

/// A part of the log.
#[derive(Debug)]
pub(crate) enum Entry {
    /// A change of a commit, in order.
    Change(Box<Change>),
    /// The commit is whole.
    Commit,
}

/// Rows by kind and number.
pub(crate) type Rows = Vec<BTreeMap<u128, Row>>;

/// What a machine's disk holds, over lives of the daemon.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// What is durable, as far as [`Disk::log`] has been taken.
    pub(crate) rows: Rows,
    pub(crate) mark: Option<TimeMark>,
    pub(crate) log: Vec<Entry>,
    pub(crate) armed: Option<Fault>,
    /// No space left.
    pub(crate) full: bool,
    /// What a stop in the middle left cannot be brought in order for so many tries.
    pub(crate) unsettled: u32,
    /// Faults that happened since they were last looked at.
    pub(crate) happened: Vec<Kind>,
}

/// Kind and number of a row; kinds come in the order of [`Row`].
pub(crate) fn place(row: &Row) -> (usize, u128) {
    match row {
        Row::Key(row) => (0, row.id.0.into()),
        Row::Organization(row) => (1, row.id.0.into()),
        Row::Workgroup(row) => (2, row.id.0.into()),
        Row::User(row) => (3, row.id.0.into()),
        Row::Station(row) => (4, row.id.0.into()),
        Row::Assignment(row) => (5, row.id.0.into()),
        Row::Share(row) => (6, share_number(row)),
        Row::PoolRule(row) => (7, u64::from(row.pool).into()),
        Row::PoolState(row) => (8, u64::from(row.pool).into()),
        Row::Holder(row) => (9, row.id.0.into()),
        Row::Lease(row) => (10, row.id.0.into()),
        Row::File(row) => (11, row.terms.license_id.0.as_u128()),
        Row::Mark(mark) => (12, mark.license_id.0.as_u128()),
        Row::Denial(row) => (13, row.id.0.into()),
        Row::Audit(row) => (14, row.id.0.into()),
        Row::UsageEvent(row) => (15, row.id.0.into()),
        // Many in one: they only go, all up to this one.
        Row::UsageEvents(rows) => (15, rows.last().map_or(0, |row| row.id.0.into())),
        Row::UsageRecord(row) => (16, u128::from(row.segment) << 64 | u128::from(row.place)),
        Row::UsageSegment(row) => (17, row.number.into()),
        // Many rows in one: see [`Disk::settle`].
        Row::UsageEvents(rows) => (15, rows.last().map_or(0, |row| row.id.0.into())),
        Row::Standing(row) => (18, row.license_id.0.as_u128()),
        Row::Site(_) => (19, 0),
    }
}

fn share_number(row: &leasehold_engine::row::ShareRow) -> u128 {
    use leasehold_engine::ids::ShareHolder;
    let holder = match &row.holder {
        ShareHolder::Organization(id) => u64::from(id.0),
        // Applications of the world are told apart by their last letter.
        ShareHolder::Application(name) => 1 << 40 | u64::from(name.as_str().bytes().last().unwrap_or(0)),
    };
    u128::from(u64::from(row.pool)) << 64 | u128::from(holder)
}

pub(crate) const KINDS_OF_ROWS: usize = 20;

impl Disk {
    pub(crate) fn new() -> Self {
        Self { rows: vec![BTreeMap::new(); KINDS_OF_ROWS], ..Self::default() }
    }

    /// A change of the log takes effect on the rows.
    pub(crate) fn settle(&mut self, change: Change) {
        match change {
            Change { before: Some(Row::UsageEvents(sealed)), after: None } => {
                for event in sealed.iter() {
                    self.rows[15].remove(&event.id.0.into());
                }
            }
            Change { after: Some(row), .. } => {
                let (kind, number) = place(&row);
                self.rows[kind].insert(number, row);
            }
            Change { before: Some(Row::UsageEvents(rows)), after: None } => {
                for row in rows.iter().cloned().map(Row::UsageEvent) {
                    let (kind, number) = place(&row);
                    self.rows[kind].remove(&number);
                }
            }
            Change { before: Some(row), after: None } => {
                let (kind, number) = place(&row);
                self.rows[kind].remove(&number);
            }
            Change { before: None, after: None } => {}
        }
    }

    fn keep<'c>(&mut self, changes: impl Iterator<Item = &'c Change>, now: Now, evidence: &Evidence) {
        self.log.extend(changes.map(|change| Entry::Change(Box::new(change.clone()))));
        self.log.push(Entry::Commit);
        self.mark = Some(TimeMark { lease: now.lease, trusted: Some(now.wall), evidence: *evidence });
    }

    fn commit<'c>(
        &mut self,
        changes: impl Iterator<Item = &'c Change>,
        now: Now,
        evidence: &Evidence,
    ) -> Result<(), CommitFault> {
        if self.full {
            return Err(CommitFault::NotDone("write: no space left on device".into()));
        }
        let unsure = |why: &str| Err(CommitFault::Unsure(why.to_owned()));
        match self.armed.take() {
            None => {
                self.keep(changes, now, evidence);
                Ok(())
            }
            Some(Fault::Full) => {
                self.full = true;
                self.happened.push(Kind::DiskFull);
                Err(CommitFault::NotDone("commit: no space left on device".into()))
            }
            Some(Fault::Busy) => {
                self.happened.push(Kind::DiskBusy);
                Err(CommitFault::NotDone("begin: the database is locked".into()))
            }
            Some(Fault::SyncFails { reached }) => {
                self.happened.push(Kind::SyncFailed);
                if reached {
                    self.keep(changes, now, evidence);
                }
                unsure("commit: input/output error of fsync")
            }
            Some(Fault::Torn) => {
                self.happened.push(Kind::TornWrite);
                unsure("killed while writing")
            }
            Some(Fault::KilledUnsynced { reached }) => {
                self.happened.push(if reached { Kind::UnsyncedKept } else { Kind::UnsyncedLost });
                if reached {
                    self.keep(changes, now, evidence);
                }
                unsure("killed before the sync")
            }
            Some(Fault::KilledUnanswered) => {
                self.happened.push(Kind::KilledUnanswered);
                self.keep(changes, now, evidence);
                unsure("killed after the sync")
            }
        }
    }
}

/// The storage that a daemon has in hand.
#[derive(Debug)]
pub(crate) struct SimStore {
    disk: Rc<RefCell<Disk>>,
    unsettled: Option<String>,
}

impl SimStore {
    pub(crate) fn open(disk: &Rc<RefCell<Disk>>) -> Self {
        let unsettled = (disk.borrow().unsettled > 0).then(|| "input/output error of a checkpoint".to_owned());
        Self { disk: Rc::clone(disk), unsettled }
    }
}

impl Durable for SimStore {
    fn fault(&self) -> Option<&str> {
        self.unsettled.as_deref()
    }

    fn commit<'c>(
        &mut self,
        changes: impl Iterator<Item = &'c [Change]>,
        now: Now,
        evidence: &Evidence,
    ) -> Result<(), CommitFault> {
        self.disk.borrow_mut().commit(changes.flatten(), now, evidence)
    }

    fn retry(&mut self, changes: &[Change], now: Now, evidence: &Evidence) -> Result<(), CommitFault> {
        let mut disk = self.disk.borrow_mut();
        if let Some(why) = &self.unsettled {
            disk.unsettled = disk.unsettled.saturating_sub(1);
            if disk.unsettled > 0 {
                return Err(CommitFault::NotDone(why.clone()));
            }
            self.unsettled = None;
        }
        disk.commit(changes.iter(), now, evidence)
    }

    fn tidy(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn close(self) -> Result<(), String> {
        Ok(())
    }
}
