//! Epochs and evidence of witnesses: two tables, one row for each.

use leasehold_engine::row::{EpochRow, Row, WitnessKind, WitnessRow};
use rusqlite::{Connection, params};

use super::{
    load::{each, fault, parsed, time_at, u64_at, wall_at},
    write::{int, time},
};

pub(super) fn put_epoch(db: &Connection, row: &EpochRow) -> rusqlite::Result<usize> {
    db.prepare_cached("INSERT OR REPLACE INTO epochs VALUES (?,?,?,?,?)")?.execute(params![
        int(row.number)?,
        row.id.cast_signed(),
        row.began.as_ms(),
        int(row.after)?,
        row.last.map(int).transpose()?,
    ])
}

pub(super) fn delete_epoch(db: &Connection, row: &EpochRow) -> rusqlite::Result<usize> {
    db.prepare_cached("DELETE FROM epochs WHERE number = ?")?.execute([int(row.number)?])
}

pub(super) fn put_witness(db: &Connection, row: &WitnessRow) -> rusqlite::Result<usize> {
    db.prepare_cached("INSERT OR REPLACE INTO witnesses VALUES (?,?,?,?,?,?,?,?,?,?,?,?)")?.execute(params![
        int(row.number)?,
        row.kind.as_str(),
        int(row.epoch)?,
        row.epoch_id.cast_signed(),
        int(row.fencing)?,
        int(row.own_epoch)?,
        int(row.own_fencing)?,
        row.by.to_string(),
        row.host,
        row.first.as_ms(),
        time(row.first_lease)?,
        row.last.as_ms(),
    ])
}

pub(super) fn delete_witness(db: &Connection, row: &WitnessRow) -> rusqlite::Result<usize> {
    db.prepare_cached("DELETE FROM witnesses WHERE number = ?")?.execute([int(row.number)?])
}

/// Gives every row to `take`.
pub(super) fn load(db: &Connection, take: &mut impl FnMut(Row)) -> rusqlite::Result<()> {
    each(db, "SELECT number, id, began_at_ms, after, last FROM epochs ORDER BY number", |row| {
        let last = match row.get::<_, Option<i64>>(4)? {
            Some(_) => Some(u64_at(row, 4)?),
            None => None,
        };
        take(Row::Epoch(EpochRow {
            number: u64_at(row, 0)?,
            id: row.get::<_, i64>(1)?.cast_unsigned(),
            began: wall_at(row, 2)?,
            after: u64_at(row, 3)?,
            last,
        }));
        Ok(())
    })?;
    let witnesses = "SELECT number, kind, epoch, epoch_id, fencing, own_epoch, own_fencing, by, host, first_at_ms, first_ms, \
                     last_at_ms FROM witnesses ORDER BY number";
    each(db, witnesses, |row| {
        let kind: String = row.get(1)?;
        take(Row::Witness(Box::new(WitnessRow {
            number: u64_at(row, 0)?,
            kind: WitnessKind::from_name(&kind).ok_or_else(|| fault(1, format!("`{kind}` is no kind of evidence")))?,
            epoch: u64_at(row, 2)?,
            epoch_id: row.get::<_, i64>(3)?.cast_unsigned(),
            fencing: u64_at(row, 4)?,
            own_epoch: u64_at(row, 5)?,
            own_fencing: u64_at(row, 6)?,
            by: parsed(row, 7)?,
            host: row.get(8)?,
            first: wall_at(row, 9)?,
            first_lease: time_at(row, 10)?,
            last: wall_at(row, 11)?,
        })));
        Ok(())
    })
}
