//! Usage between its commit and its file: the events of one commit are one row, so that a logon costs no second one;
//! sealed records are kept byte by byte until their file is acknowledged (USAGE-6).

#[cfg(test)]
mod tests;

use std::sync::Arc;

use leasehold_engine::{
    ids::{KeyId, UsageEventId},
    row::{Row, UsageBefore, UsageEventRow, UsageKind, UsageRecordRow, UsageSegmentRow},
    time::WallTime,
};
use leasehold_keys::{activation::LicenseId, name::Label};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Serialize, Serializer};

use super::{
    load::{each, fault, parsed, parsed_maybe, u32_at, u64_at, wall_at},
    net::Net,
};

/// The usage events of one commit: those that are new, and up to which the old ones are sealed.
#[derive(Default)]
pub(super) struct Events<'c> {
    new: Vec<&'c UsageEventRow>,
    sealed_through: Option<UsageEventId>,
}

impl<'c> Events<'c> {
    /// Takes what is about events; false for other rows.
    pub(super) fn take(&mut self, net: &Net<'c>) -> bool {
        match (net.row, net.gone) {
            (Row::UsageEvent(event), false) => self.new.push(event),
            (Row::UsageEvents(events), true) => {
                self.sealed_through = self.sealed_through.max(events.last().map(|event| event.id));
            }
            (Row::UsageEvent(_) | Row::UsageEvents(_), _) => {}
            _ => return false,
        }
        true
    }

    pub(super) fn write(&mut self, db: &Connection) -> rusqlite::Result<()> {
        if let Some(through) = self.sealed_through {
            remove(db, through)?;
            // What came and went within this commit was never there.
            self.new.retain(|event| event.id > through);
        }
        insert(db, &self.new)
    }
}

fn insert(db: &Connection, events: &[&UsageEventRow]) -> rusqlite::Result<()> {
    let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(()) };
    let text =
        serde_json::to_string(&Texts(events)).map_err(|why| rusqlite::Error::ToSqlConversionFailure(why.into()))?;
    db.prepare_cached("INSERT INTO usage_events VALUES (?,?,?)")?
        .execute(params![first.id.0.cast_signed(), last.id.0.cast_signed(), text])
        .map(drop)
}

/// Takes away what is sealed; a row of which only the first events are gets shorter.
fn remove(db: &Connection, through: UsageEventId) -> rusqlite::Result<()> {
    let through_int = through.0.cast_signed();
    db.prepare_cached("DELETE FROM usage_events WHERE last <= ?")?.execute([through_int])?;
    let cut: Option<String> = db
        .prepare_cached("DELETE FROM usage_events WHERE first <= ? RETURNING events")?
        .query_row([through_int], |row| row.get(0))
        .optional()?;
    let Some(cut) = cut else { return Ok(()) };
    let events = read_events(&cut)?;
    insert(db, &events.iter().filter(|event| event.id > through).collect::<Vec<_>>())
}

/// Events as lists without names: they are written with every logon, and read after a restart only.
struct Texts<'e>(&'e [&'e UsageEventRow]);

impl Serialize for Texts<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(|event| {
            let before = event.before.as_ref();
            // Most often the keys are the same before and after.
            let keys_before = before.map(|before| &before.keys).filter(|keys| **keys != event.keys);
            (
                (event.id.0, event.at.as_ms(), event.what, event.user.as_str(), event.counter, event.era),
                &*event.keys,
                before.map(|before| before.since.as_ms()),
                keys_before,
            )
        }))
    }
}

fn read_events(text: &str) -> rusqlite::Result<Vec<UsageEventRow>> {
    type Keys = Arc<[KeyId]>;
    type Read = ((u64, i64, UsageKind, Label, u32, u32), Keys, Option<i64>, Option<Keys>);
    let events: Vec<Read> = serde_json::from_str(text).map_err(|why| fault(0, why))?;
    let event = |((id, at, what, user, counter, era), keys, since, keys_before): Read| {
        let (id, at) = (UsageEventId(id), WallTime::from_ms(at));
        let since = since.map(WallTime::from_ms);
        let before = since.map(|since| UsageBefore { since, keys: keys_before.unwrap_or_else(|| keys.clone()) });
        UsageEventRow { id, era, at, what, user, counter, keys, before }
    };
    Ok(events.into_iter().map(event).collect())
}

pub(super) fn put_record(db: &Connection, row: &UsageRecordRow) -> rusqlite::Result<usize> {
    db.prepare_cached("INSERT INTO usage_records VALUES (?,?,?)")?.execute(params![
        row.segment,
        row.place.cast_signed(),
        &*row.bytes
    ])
}

/// Puts a segment in its place; where its records are not to be kept any more, they go.
pub(super) fn put_segment(db: &Connection, row: &UsageSegmentRow) -> rusqlite::Result<usize> {
    if !row.stored {
        delete_records(db, row.number)?;
    }
    let at = |time: Option<WallTime>| time.map(|time| time.as_ms());
    db.prepare_cached("INSERT OR REPLACE INTO usage_segments VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)")?.execute(params![
        row.number,
        row.file,
        row.license.to_string(),
        row.began.as_ms(),
        row.because,
        row.records.cast_signed(),
        row.records_before.cast_signed(),
        row.events.cast_signed(),
        row.bytes.cast_signed(),
        row.head.to_string(),
        at(row.closed),
        row.sha256.map(|sha256| sha256.to_string()),
        at(row.uploaded),
        at(row.acknowledged),
        row.stored,
    ])
}

pub(super) fn delete_segment(db: &Connection, row: &UsageSegmentRow) -> rusqlite::Result<usize> {
    delete_records(db, row.number)?;
    db.prepare_cached("DELETE FROM usage_segments WHERE number = ?")?.execute([row.number])
}

fn delete_records(db: &Connection, segment: u32) -> rusqlite::Result<usize> {
    db.prepare_cached("DELETE FROM usage_records WHERE segment = ?")?.execute([segment])
}

/// Reads events and segments; records stay where they are until a file is copied again.
pub(super) fn load(db: &Connection, take: &mut impl FnMut(Row)) -> rusqlite::Result<()> {
    each(db, "SELECT events FROM usage_events ORDER BY first", |row| {
        let text: String = row.get(0)?;
        read_events(&text)?.into_iter().for_each(|event| take(Row::UsageEvent(event)));
        Ok(())
    })?;
    each(db, "SELECT * FROM usage_segments ORDER BY number", |row| {
        let at = |column| row.get::<_, Option<i64>>(column).map(|ms| ms.map(WallTime::from_ms));
        take(Row::UsageSegment(Box::new(UsageSegmentRow {
            number: u32_at(row, 0)?,
            file: row.get(1)?,
            license: LicenseId(parsed(row, 2)?),
            began: wall_at(row, 3)?,
            because: row.get(4)?,
            records: u64_at(row, 5)?,
            records_before: u64_at(row, 6)?,
            events: u64_at(row, 7)?,
            bytes: u64_at(row, 8)?,
            head: parsed(row, 9)?,
            closed: at(10)?,
            sha256: parsed_maybe(row, 11)?,
            uploaded: at(12)?,
            acknowledged: at(13)?,
            stored: row.get(14)?,
        })));
        Ok(())
    })
}

/// The bytes of a segment's file as they were sealed, header first; for copying a torn or lost file again.
///
/// # Errors
/// What SQLite says.
pub(super) fn records(db: &Connection, segment: u32, mut take: impl FnMut(&[u8])) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached("SELECT bytes FROM usage_records WHERE segment = ? ORDER BY place")?;
    let mut rows = statement.query([segment])?;
    while let Some(row) = rows.next()? {
        take(row.get_ref(0)?.as_blob().map_err(|why| fault(0, why))?);
    }
    Ok(())
}
