//! The files of the segments: copies of what the database holds, brought up to it after whatever befell them. A disk that
//! is full, or a folder that is gone, stops the copies and nothing else; they go on by themselves. Of a file that its
//! installation signed and that says more than the database, which is then an older one, nothing is taken: it is set aside.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
};

use leasehold_engine::{
    row::UsageSegmentRow,
    time::{DAY_MS, LeaseTime, Now},
};
use leasehold_keys::usage::{FILE_MAX_BYTES, salvage};
use ring::digest;

use super::{
    disk::Disk,
    draft::{Stored, Write, named},
};
use crate::storage::{ReadFault, Reader};

/// After a fault the disk is tried again so often.
const RETRY_MS: u64 = 15_000;
/// Records stay in the database so long after their segment was closed, unless its file is acknowledged before.
const STORED_FOR_MS: i64 = 7 * DAY_MS;
/// How often segments are looked through for records that may leave the database.
const LEAVING_EVERY_MS: u64 = 3_600_000;

/// Why a file is not as it should be.
#[derive(Debug, thiserror::Error)]
enum CopyFault {
    #[error(transparent)]
    Disk(#[from] io::Error),
    #[error(transparent)]
    Database(#[from] ReadFault),
}

/// What to do with the files next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// Every byte.
    Whole,
    /// That it is there, with its length.
    Length,
}

/// See the module.
pub(super) struct Copies {
    disk: Disk,
    reader: Reader,
    /// Files that may lack something that the database holds.
    behind: BTreeSet<u32>,
    /// Why the disk does not take them, and when it is tried again.
    fault: Option<(String, LeaseTime)>,
    checks: VecDeque<(u32, Check)>,
    /// Files that are gone and that the database does not hold either.
    missing: BTreeMap<u32, String>,
    /// Closed segments whose records may leave the database when their file is found whole.
    leaving: VecDeque<u32>,
    /// Names of files in the folder that were set aside, by this process or an earlier one.
    aside: Vec<String>,
    /// What is to be said of them in the next usage record.
    untold: Vec<String>,
    looked_for_leaving: Option<LeaseTime>,
}

/// What came of a piece of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Worked {
    /// There is nothing to do now.
    Idle,
    /// There is more.
    On,
    /// This segment's file is whole and synced since long, so that its records may leave the database.
    MayLeave(u32),
}

impl Copies {
    pub(super) fn new(disk: Disk, reader: Reader) -> Self {
        Self {
            disk,
            reader,
            behind: BTreeSet::new(),
            fault: None,
            checks: VecDeque::new(),
            missing: BTreeMap::new(),
            leaving: VecDeque::new(),
            aside: Vec::new(),
            untold: Vec::new(),
            looked_for_leaving: None,
        }
    }

    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Why files cannot be written, for people.
    pub(super) fn fault(&self) -> Option<&str> {
        self.fault.as_ref().map(|(why, _)| why.as_str())
    }

    /// Files that lack something.
    pub(super) fn behind(&self) -> usize {
        self.behind.len()
    }

    /// True where this file may lack something.
    pub(super) fn is_behind(&self, segment: u32) -> bool {
        self.behind.contains(&segment)
    }

    /// Files that nobody has any more, unless in a backup.
    pub(super) fn missing(&self) -> impl Iterator<Item = &str> {
        self.missing.values().map(String::as_str)
    }

    /// Files in the folder that were set aside.
    pub(super) fn aside(&self) -> &[String] {
        &self.aside
    }

    /// What is to be said in a usage record of files that were set aside since this was asked last.
    pub(super) fn take_untold(&mut self) -> Vec<String> {
        std::mem::take(&mut self.untold)
    }

    /// At a start: what was written last is to be compared byte by byte, of the rest that it is there.
    pub(super) fn start(&mut self, rows: &[UsageSegmentRow]) {
        if let Err(fault) = self.disk.prepare() {
            tracing::debug!("the folder of usage files is not ready: {fault}");
        }
        self.look_aside();
        // A process that ended before its record was sealed has not told it.
        if let [first, others @ ..] = &self.aside[..] {
            self.untold
                .push(format!("usage files that a database was behind lie here: {first} and {} others", others.len()));
        }
        let last = rows.last().map(|row| row.number);
        for row in rows.iter().rev() {
            let whole = row.closed.is_none() || Some(row.number) == last;
            self.checks.push_back((row.number, if whole { Check::Whole } else { Check::Length }));
        }
    }

    /// Looks at a file again, every byte.
    pub(super) fn check(&mut self, segment: u32) {
        self.checks.push_back((segment, Check::Whole));
    }

    /// Takes a file away whose segment is to be forgotten.
    pub(super) fn remove(&mut self, row: &UsageSegmentRow) -> io::Result<()> {
        self.behind.remove(&row.number);
        self.missing.remove(&row.number);
        self.disk.remove(&row.file)
    }

    /// Writes what a durable step brought. What cannot be written is copied from the database later.
    pub(super) fn write(&mut self, writes: Vec<Write>) {
        let mut writes = writes.into_iter().peekable();
        while let Some(Write { segment, file, offset, bytes, mut closes }) = writes.next() {
            // One write for all that goes to one file.
            let mut joined: Option<Vec<u8>> = None;
            while let Some(more) = writes.next_if(|next| next.segment == segment) {
                joined.get_or_insert_with(|| bytes.to_vec()).extend_from_slice(&more.bytes);
                closes = more.closes;
            }
            if self.behind.contains(&segment) {
                continue;
            }
            let bytes = joined.as_deref().unwrap_or(&bytes);
            let written = self.disk.append(&file, offset, bytes);
            let written = written.and_then(|()| if closes { self.disk.sync(&file) } else { Ok(()) });
            if let Err(fault) = written {
                tracing::debug!(file = &*file, "a usage file is behind: {fault}");
                self.behind.insert(segment);
            }
        }
    }

    /// True where [`Copies::work`] would find something to do.
    pub(super) fn has_work(&self, now: Now) -> bool {
        let due = self.looked_for_leaving.is_none_or(|at| now.lease.ms_since(at) >= LEAVING_EVERY_MS);
        let tries = self.fault.as_ref().is_none_or(|(_, at)| *at <= now.lease);
        due || !self.checks.is_empty() || !self.leaving.is_empty() || (tries && !self.behind.is_empty())
    }

    /// Does one piece of what is to be done, on the segments as they are now.
    pub(super) fn work(&mut self, rows: &[UsageSegmentRow], now: Now) -> Worked {
        let find = |segment: u32| rows.iter().find(|row| row.number == segment);
        let tries = self.fault.as_ref().is_none_or(|(_, at)| *at <= now.lease);
        if tries && !self.behind.is_empty() {
            self.mend_first(rows, now);
            return Worked::On;
        }
        if let Some((segment, check)) = self.checks.pop_front() {
            if let Some(row) = find(segment) {
                self.look_at(row, check, now);
            }
            return Worked::On;
        }
        if let Some(segment) = self.leaving.pop_front() {
            if let Some(row) = find(segment).filter(|row| may_leave(row, now)) {
                match self.is_whole(row) {
                    Ok(true) => match self.disk.sync(&row.file) {
                        Ok(()) => return Worked::MayLeave(segment),
                        Err(fault) => self.failed(&fault.into(), now),
                    },
                    Ok(false) => {
                        self.behind.insert(segment);
                    }
                    Err(fault) => self.failed(&fault, now),
                }
            }
            return Worked::On;
        }
        if self.looked_for_leaving.is_none_or(|at| now.lease.ms_since(at) >= LEAVING_EVERY_MS) {
            self.looked_for_leaving = Some(now.lease);
            self.look_aside();
            self.leaving = rows.iter().filter(|row| may_leave(row, now)).map(|row| row.number).collect();
            return Worked::On;
        }
        Worked::Idle
    }

    /// Whoever has taken care of files that were set aside takes them away.
    fn look_aside(&mut self) {
        match self.disk.aside() {
            Ok(aside) => self.aside = aside,
            Err(fault) => tracing::debug!("the folder of usage files cannot be listed: {fault}"),
        }
    }

    fn look_at(&mut self, row: &UsageSegmentRow, check: Check, now: Now) {
        let found = match check {
            Check::Whole if row.stored => Ok(false),
            Check::Whole => self.is_whole(row),
            Check::Length => self.disk.length(&row.file).map(|found| found == Some(row.bytes)).map_err(Into::into),
        };
        match found {
            Ok(true) => {
                self.missing.remove(&row.number);
            }
            Ok(false) if row.stored => {
                self.behind.insert(row.number);
            }
            // Acknowledged files may be taken away.
            Ok(false) if row.acknowledged.is_some() => {}
            Ok(false) => {
                tracing::error!(
                    file = row.file,
                    "a usage file that nobody has acknowledged is gone or is not what was written, and the database does not \
                     hold it any more; bring it back from a backup into {}",
                    self.disk.path().display()
                );
                self.missing.insert(row.number, row.file.clone());
            }
            Err(fault) => {
                self.checks.push_back((row.number, check));
                self.failed(&fault, now);
            }
        }
    }

    /// True where the file is what the row says.
    fn is_whole(&self, row: &UsageSegmentRow) -> Result<bool, CopyFault> {
        let found = self.disk.hash(&row.file, FILE_MAX_BYTES as u64 + 1)?;
        let whole = |found: super::disk::Found| {
            found.bytes == row.bytes && row.sha256.is_some_and(|sha256| found.sha256.as_ref() == sha256.0)
        };
        Ok(found.is_some_and(whole))
    }

    /// Brings the first file that is behind up to what the database holds.
    fn mend_first(&mut self, rows: &[UsageSegmentRow], now: Now) {
        let Some(segment) = self.behind.first().copied() else { return };
        let mended = rows.iter().find(|row| row.number == segment).cloned().map_or(Ok(()), |row| self.mend(&row));
        match mended {
            Ok(()) => {
                self.behind.remove(&segment);
                if self.fault.take().is_some() {
                    tracing::info!("usage files can be written again, and are made up for");
                }
            }
            Err(fault) => self.failed(&fault, now),
        }
    }

    /// Copies what the file lacks; all of it, where it holds something else.
    fn mend(&mut self, row: &UsageSegmentRow) -> Result<(), CopyFault> {
        let mut bytes = Vec::new();
        self.reader.usage_file(row.number, |record| bytes.extend_from_slice(record))?;
        let (file, whole) = (row.file.as_str(), bytes.len() as u64);
        if whole != row.bytes {
            tracing::error!(
                file,
                "the database holds {whole} bytes of a usage file of {}; the file is left as it is",
                row.bytes
            );
            return Ok(());
        }
        let found = self.disk.hash(file, whole + 1)?;
        let kept = match &found {
            Some(found) => bytes.get(..usize::try_from(found.bytes).unwrap_or(usize::MAX)).filter(|known| {
                !known.is_empty() && found.sha256.as_ref() == digest::digest(&digest::SHA256, known).as_ref()
            }),
            None => None,
        };
        let Some(kept) = kept.map(<[u8]>::len) else {
            if found.is_some_and(|found| found.bytes > 0) {
                self.clear_the_way(row, &bytes)?;
            }
            return Ok(self.disk.replace(file, &bytes)?);
        };
        let lacking = bytes.get(kept..).unwrap_or_default();
        if !lacking.is_empty() {
            self.disk.append(file, kept as u64, lacking)?;
        }
        if row.closed.is_some() {
            self.disk.sync(file)?;
        }
        Ok(())
    }

    /// Sets aside what must not be replaced by `stored`.
    fn clear_the_way(&mut self, row: &UsageSegmentRow, stored: &[u8]) -> Result<(), CopyFault> {
        let file = row.file.as_str();
        let there = self.disk.read(file, FILE_MAX_BYTES as u64)?;
        if !there.is_some_and(|there| says_more(row, &there, stored)) {
            tracing::warn!(file, "a usage file held something else than was written, and is written again");
            return Ok(());
        }
        let aside = self.disk.set_aside(file)?;
        tracing::warn!(
            file,
            aside = &*aside,
            "a usage file of this server holds records that the database does not: the database is an older one. The file is \
             kept beside the new one in {}; send it to the licensor",
            self.disk.path().display()
        );
        self.look_aside();
        self.untold.push(format!("the database was behind the usage file {file}, which is kept as {aside}"));
        Ok(())
    }

    fn failed(&mut self, fault: &CopyFault, now: Now) {
        let said = format!(
            "usage files cannot be written in {}: {fault}. Make room there, and see that the folder belongs to the daemon's \
             user. Nothing is lost: what they lack is in the database, and they go on by themselves",
            self.disk.path().display()
        );
        if self.fault.is_none() {
            tracing::error!("{said}");
        }
        self.fault = Some((said, now.lease.plus_ms(RETRY_MS)));
    }
}

/// True where a file is of the installation that its name tells and holds, before any damage, a header or a record that is
/// not in `stored`. Those after its last signature count too: a kill leaves them unsigned.
fn says_more(row: &UsageSegmentRow, there: &[u8], stored: &[u8]) -> bool {
    let Ok(there) = salvage(there) else { return false };
    if named(row).is_none_or(|name| name.installation != there.header().installation.id()) {
        return false;
    }
    // Each value of the chain stands for all that is before it.
    let known = salvage(stored).ok().and_then(|stored| stored.chain_after(there.records()));
    known != Some(there.head().chain)
}

fn may_leave(row: &UsageSegmentRow, now: Now) -> bool {
    let since = row.closed.map(|closed| now.wall.as_ms().saturating_sub(closed.as_ms()));
    row.stored && row.sha256.is_some() && since.is_some_and(|since| since >= STORED_FOR_MS)
}

/// Hashes what the database holds of a segment's file.
pub(super) fn stored(reader: &Reader, segment: u32) -> Result<Stored, ReadFault> {
    let mut stored = Stored::of(segment);
    reader.usage_file(segment, |record| stored.take(record))?;
    Ok(stored)
}
