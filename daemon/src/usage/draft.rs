//! One segment as it is written: its row, its records and the hash of its file go together, step by step.

use std::{collections::BTreeMap, sync::Arc};

use leasehold_engine::{
    command::UsageStep,
    ids::UsageEventId,
    row::{UsageRecordRow, UsageSegmentRow},
    time::{HOUR_MS, LeaseTime, Now},
};
use leasehold_keys::{
    activation::{HostRole, LicenseId},
    digest::Sha256,
    installation::{InstallationId, InstallationKey},
    time::DAY_MS,
    usage::{Begun, Clocks, Head, Item, Names, Opening, SealFault, Sealed, Segment, SegmentName, Tail, UsagePublicKey},
};
use ring::digest;

use super::naming::Naming;

/// Where something was sealed, the chain is signed so often, so that an open file can be relied on up to there.
const SIGNED_EVERY_MS: u64 = HOUR_MS.unsigned_abs();

/// What sealing needs besides the engine.
pub(super) struct Outside<'a> {
    pub(super) installation: &'a InstallationKey,
    /// The licensor's usage key, and the customer's own where one is named.
    pub(super) recipients: &'a [UsagePublicKey],
    pub(super) naming: &'a Naming,
    pub(super) clocks: Clocks,
}

/// What a header says that may change while the daemon runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) license: LicenseId,
    pub(super) role: Option<HostRole>,
    pub(super) names: Names,
    pub(super) recipients: Vec<UsagePublicKey>,
}

/// Bytes to append to a file, once the step that they came with is durable.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) segment: u32,
    pub(super) file: Arc<str>,
    /// How long the file is before.
    pub(super) offset: u64,
    pub(super) bytes: Arc<[u8]>,
    /// The file is whole with it.
    pub(super) closes: bool,
}

/// A step that is being composed.
#[derive(Debug, Default)]
pub(super) struct Step {
    records: Vec<UsageRecordRow>,
    rows: BTreeMap<u32, UsageSegmentRow>,
    pub(super) sealed_through: Option<UsageEventId>,
    pub(super) writes: Vec<Write>,
}

impl Step {
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.rows.is_empty()
    }

    /// For the core, and what is to be written when it is durable.
    pub(super) fn into_parts(self) -> (UsageStep, Vec<Write>) {
        let step = UsageStep {
            records: self.records,
            segments: self.rows.into_values().collect(),
            forgotten: Vec::new(),
            sealed_through: self.sealed_through,
        };
        (step, self.writes)
    }

    fn put(&mut self, row: &UsageSegmentRow, place: u64, offset: u64, bytes: Vec<u8>) {
        let bytes: Arc<[u8]> = bytes.into();
        self.records.push(UsageRecordRow { segment: row.number, place, bytes: bytes.clone() });
        let (file, closes) = (row.file.as_str().into(), row.closed.is_some());
        self.writes.push(Write { segment: row.number, file, offset, bytes, closes });
        self.rows.insert(row.number, row.clone());
    }
}

/// The installation and the number that a segment's file names.
pub(super) fn named(row: &UsageSegmentRow) -> Option<SegmentName> {
    row.file.parse().ok()
}

/// The end of a stored segment, which the next one of the same installation continues.
pub(super) fn tail_of(row: &UsageSegmentRow, installation: InstallationId) -> Option<Tail> {
    let name = named(row).filter(|name| name.installation == installation)?;
    Some(Tail {
        installation,
        head: Head { segment: name.segment, records: row.records, chain: row.head },
        records_before: row.records_before,
        bytes: row.bytes,
        closed: row.closed.is_some(),
    })
}

/// The hash of what is stored of a segment's file.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) segment: u32,
    pub(super) bytes: u64,
    pub(super) sha256: digest::Context,
}

impl Stored {
    pub(super) fn of(segment: u32) -> Self {
        Self { segment, bytes: 0, sha256: digest::Context::new(&digest::SHA256) }
    }

    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.sha256.update(bytes);
    }
}

pub(super) fn finished(context: digest::Context) -> Sha256 {
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(context.finish().as_ref());
    Sha256(sha256)
}

/// Closes a segment whose key is gone: found open after a stop, or abandoned. The installation signs its end; of a
/// segment of another installation, whose key was lost, there is no more to be had than what is stored.
pub(super) fn settle(
    step: &mut Step,
    mut row: UsageSegmentRow,
    stored: Option<Stored>,
    outside: &Outside<'_>,
) -> Result<UsageSegmentRow, SealFault> {
    let closing = tail_of(&row, outside.installation.id())
        .map(|tail| tail.close(outside.installation, outside.clocks))
        .transpose()?;
    let offset = row.bytes;
    row.closed = Some(outside.clocks.trusted);
    let mut stored = stored.filter(|stored| stored.segment == row.number).unwrap_or_else(|| Stored::of(row.number));
    match closing {
        Some(Sealed { record, tail, .. }) => {
            stored.take(&record);
            row.sha256 = Some(finished(stored.sha256));
            take_over(&mut row, &tail);
            step.put(&row, tail.head.records, offset, record);
        }
        None => {
            row.sha256 = Some(finished(stored.sha256));
            step.rows.insert(row.number, row.clone());
        }
    }
    Ok(row)
}

fn take_over(row: &mut UsageSegmentRow, tail: &Tail) {
    row.records = tail.head.records;
    row.records_before = tail.records_before;
    row.bytes = tail.bytes;
    row.head = tail.head.chain;
}

/// A segment that is being written, as it will be when the step in hand is durable.
pub(super) struct Draft {
    segment: Segment,
    /// It tells of no other.
    era: u32,
    row: UsageSegmentRow,
    sha256: digest::Context,
    facts: Facts,
    /// When its chain was signed last, and up to which record.
    signed: (LeaseTime, u64),
}

impl Draft {
    /// Begins a segment; its header goes into the step. `(number, era)`: the number of its row, and the era that it tells of.
    pub(super) fn begin(
        step: &mut Step,
        (number, era): (u32, u32),
        begun: Begun,
        previous: Option<&Tail>,
        facts: Facts,
        now: Now,
        outside: &Outside<'_>,
    ) -> Result<Self, SealFault> {
        let begun = if previous.is_none() { Begun::First } else { begun };
        let opening = Opening {
            license: facts.license,
            role: facts.role,
            begun,
            start: outside.clocks,
            names: facts.names,
            recipients: &facts.recipients,
        };
        let (segment, header) = Segment::begin(outside.installation, &opening, previous)?;
        let tail = *segment.tail();
        let mut row = UsageSegmentRow {
            number,
            file: SegmentName::of(tail.installation, tail.head.segment, outside.clocks.trusted).to_string(),
            license: facts.license,
            began: outside.clocks.trusted,
            because: begun.to_string(),
            records: 0,
            records_before: 0,
            events: 0,
            bytes: 0,
            head: tail.head.chain,
            closed: None,
            sha256: None,
            uploaded: None,
            acknowledged: None,
            stored: true,
        };
        take_over(&mut row, &tail);
        let mut sha256 = digest::Context::new(&digest::SHA256);
        sha256.update(&header);
        step.put(&row, 0, 0, header);
        Ok(Self { segment, era, row, sha256, facts, signed: (now.lease, 0) })
    }

    pub(super) fn era(&self) -> u32 {
        self.era
    }

    pub(super) fn row(&self) -> &UsageSegmentRow {
        &self.row
    }

    /// Why it is to be closed and another begun, where it is.
    pub(super) fn is_over(&self, facts: Option<&Facts>, now: Now) -> Option<Begun> {
        let day = |ms: i64| ms.div_euclid(DAY_MS);
        if day(now.wall.as_ms()) != day(self.row.began.as_ms()) {
            Some(Begun::Midnight)
        } else if self.segment.is_large() {
            Some(Begun::Size)
        } else {
            facts.filter(|facts| **facts != self.facts).map(|_| Begun::Changed)
        }
    }

    /// Seals the first of `items` into one record; tells how many.
    ///
    /// # Errors
    /// [`SealFault::Full`]: another segment is to take them. Otherwise the segment is to be dropped.
    pub(super) fn seal(&mut self, step: &mut Step, items: &[Item]) -> Result<usize, SealFault> {
        let sealed = self.segment.seal(items)?;
        let taken = items.get(..sealed.taken).unwrap_or(items);
        let told = taken.iter().filter(|item| !matches!(item, Item::Present { .. } | Item::Remark(_)));
        self.row.events += told.count() as u64;
        self.put(step, sealed)
    }

    fn put(&mut self, step: &mut Step, sealed: Sealed) -> Result<usize, SealFault> {
        let offset = self.row.bytes;
        take_over(&mut self.row, &sealed.tail);
        self.sha256.update(&sealed.record);
        step.put(&self.row, sealed.tail.head.records, offset, sealed.record);
        Ok(sealed.taken)
    }

    /// True where its chain is to be signed.
    pub(super) fn wants_signing(&self, now: Now) -> bool {
        let (at, records) = self.signed;
        self.row.records > records && now.lease.ms_since(at) >= SIGNED_EVERY_MS
    }

    pub(super) fn sign(&mut self, step: &mut Step, now: Now, outside: &Outside<'_>) -> Result<(), SealFault> {
        match self.segment.checkpoint(outside.installation, outside.clocks) {
            Ok(sealed) => {
                self.put(step, sealed)?;
                self.signed = (now.lease, self.row.records);
                Ok(())
            }
            // It is about to be closed, and signed by that.
            Err(SealFault::Full) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// Closes it.
    pub(super) fn close(self, step: &mut Step, outside: &Outside<'_>) -> Result<(), SealFault> {
        let Self { segment, mut row, mut sha256, .. } = self;
        let Sealed { record, tail, .. } = segment.close(outside.installation, outside.clocks)?;
        let offset = row.bytes;
        sha256.update(&record);
        take_over(&mut row, &tail);
        row.closed = Some(outside.clocks.trusted);
        row.sha256 = Some(finished(sha256));
        step.put(&row, tail.head.records, offset, record);
        Ok(())
    }
}
