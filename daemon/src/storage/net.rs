//! The net effect of many changes: one entry per row, so that a row that came and went within a commit costs nothing,
//! and one that changed a thousand times is written once.

use std::collections::{HashMap, hash_map::Entry};

use leasehold_engine::{
    ids::ShareHolder,
    row::{Change, Row},
};
use uuid::Uuid;

/// Which row: its table and its key there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum RowKey {
    Key(u32),
    Organization(u32),
    Workgroup(u32),
    User(u32),
    Station(u32),
    Assignment(u64),
    Share(u64, ShareHolder),
    PoolRule(u64),
    PoolState(u64),
    Holder(u32),
    Lease(u64),
    File(Uuid),
    Mark(Uuid),
    Denial(u64),
    Audit(u64),
    UsageEvent(u64),
    /// By the last of them.
    UsageEvents(u64),
    UsageRecord(u32, u64),
    UsageSegment(u32),
    Standing(Uuid),
    Site,
}

impl RowKey {
    fn of(row: &Row) -> Self {
        match row {
            Row::Key(row) => RowKey::Key(row.id.0),
            Row::Organization(row) => RowKey::Organization(row.id.0),
            Row::Workgroup(row) => RowKey::Workgroup(row.id.0),
            Row::User(row) => RowKey::User(row.id.0),
            Row::Station(row) => RowKey::Station(row.id.0),
            Row::Assignment(row) => RowKey::Assignment(row.id.0),
            Row::Share(row) => RowKey::Share(row.pool.into(), row.holder.clone()),
            Row::PoolRule(row) => RowKey::PoolRule(row.pool.into()),
            Row::PoolState(row) => RowKey::PoolState(row.pool.into()),
            Row::Holder(row) => RowKey::Holder(row.id.0),
            Row::Lease(row) => RowKey::Lease(row.id.0),
            Row::File(row) => RowKey::File(row.terms.license_id.0),
            Row::Mark(mark) => RowKey::Mark(mark.license_id.0),
            Row::Denial(row) => RowKey::Denial(row.id.0),
            Row::Audit(row) => RowKey::Audit(row.id.0),
            Row::UsageEvent(row) => RowKey::UsageEvent(row.id.0),
            Row::UsageEvents(rows) => RowKey::UsageEvents(rows.last().map_or(0, |row| row.id.0)),
            Row::UsageRecord(row) => RowKey::UsageRecord(row.segment, row.place),
            Row::UsageSegment(row) => RowKey::UsageSegment(row.number),
            Row::Standing(row) => RowKey::Standing(row.license_id.0),
            Row::Site(_) => RowKey::Site,
        }
    }
}

/// One row and what becomes of it.
pub(super) struct Net<'c> {
    /// The row was there before.
    pub(super) existed: bool,
    /// The row as it was where it goes, else as it is.
    pub(super) row: &'c Row,
    /// It goes.
    pub(super) gone: bool,
}

/// The net effect, in the order in which rows were first touched.
pub(super) fn net_of<'c>(changes: impl Iterator<Item = &'c Change>) -> Vec<Net<'c>> {
    let mut at: HashMap<RowKey, usize> = HashMap::new();
    let mut all: Vec<Net<'c>> = Vec::new();
    for change in changes {
        let (row, gone) = match (&change.before, &change.after) {
            (_, Some(after)) => (after, false),
            (Some(before), None) => (before, true),
            (None, None) => continue,
        };
        if let Row::UsageEvent(_) | Row::UsageEvents(_) = row {
            // There are many, and each comes once and goes once: `usage::Events` puts them together.
            all.push(Net { existed: change.before.is_some(), row, gone });
            continue;
        }
        match at.entry(RowKey::of(row)) {
            Entry::Occupied(found) => {
                if let Some(net) = all.get_mut(*found.get()) {
                    net.row = row;
                    net.gone = gone;
                }
            }
            Entry::Vacant(free) => {
                free.insert(all.len());
                all.push(Net { existed: change.before.is_some(), row, gone });
            }
        }
    }
    all.retain(|net| net.existed || !net.gone);
    all
}

/// The net effect as changes, for keeping; what each row was before is the first state that was given.
pub fn net(changes: Vec<Change>) -> Vec<Change> {
    let mut at: HashMap<RowKey, usize> = HashMap::new();
    let mut all: Vec<Change> = Vec::new();
    for change in changes {
        let Some(row) = change.after.as_ref().or(change.before.as_ref()) else { continue };
        match at.entry(RowKey::of(row)) {
            Entry::Occupied(found) => {
                if let Some(held) = all.get_mut(*found.get()) {
                    held.after = change.after;
                }
            }
            Entry::Vacant(free) => {
                free.insert(all.len());
                all.push(change);
            }
        }
    }
    all.retain(|change| change.before.is_some() || change.after.is_some());
    all
}
