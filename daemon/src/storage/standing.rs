//! Standing to its table and back: one row for each license ID (05).

use leasehold_engine::{
    row::{Row, StandingRow},
    standing::{Answer, Asked, Stage, Verdict},
    time::{LeaseTime, WallTime},
};
use leasehold_keys::activation::LicenseId;
use rusqlite::{Connection, params};

use super::{
    load::{Columns, each, fault, parsed, time_maybe, u64_at, wall_at},
    write::{int, time_of},
};

pub(super) fn put(db: &Connection, row: &StandingRow) -> rusqlite::Result<usize> {
    let (verdict, revoked_from) = match row.verdict {
        None => (None, None),
        Some(Verdict::Good) => (Some("good"), None),
        Some(Verdict::Duplicate) => (Some("duplicate"), None),
        Some(Verdict::Revoked { from }) => (Some("revoked"), Some(from.as_ms())),
    };
    db.prepare_cached("INSERT OR REPLACE INTO standings VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)")?.execute(params![
        row.license_id.to_string(),
        row.stage.number(),
        row.reached.as_ms(),
        time_of(row.stepped_down)?,
        row.last_good.map(WallTime::as_ms),
        verdict,
        revoked_from,
        int(row.counter)?,
        row.answer.map(|answer| answer.at.as_ms()),
        row.answer.map(|answer| int(answer.counter)).transpose()?,
        row.answer.map(|answer| answer.sha256.to_string()),
        row.asked.map(|asked| asked.nonce),
        row.asked.map(|asked| asked.request.to_string()),
        row.asked.map(|asked| int(asked.counter)).transpose()?,
        row.asked.map(|asked| asked.at.as_ms()),
        row.message,
    ])
}

pub(super) fn delete(db: &Connection, row: &StandingRow) -> rusqlite::Result<usize> {
    db.prepare_cached("DELETE FROM standings WHERE license_id = ?")?.execute([row.license_id.to_string()])
}

pub(super) fn load(db: &Connection, take: &mut impl FnMut(Row)) -> rusqlite::Result<()> {
    let sql = "SELECT license_id, stage, reached_at_ms, stepped_down_ms, last_good_at_ms, verdict, revoked_from_ms, counter, \
               answered_at_ms, answered_counter, answer, asked_nonce, asked_request, asked_counter, asked_at_ms, message \
               FROM standings ORDER BY license_id";
    each(db, sql, |row| {
        take(Row::Standing(Box::new(read(row)?)));
        Ok(())
    })
}

fn read(row: Columns) -> rusqlite::Result<StandingRow> {
    let wall_maybe = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(WallTime::from_ms));
    let verdict = match row.get::<_, Option<String>>(5)?.as_deref() {
        None => None,
        Some("good") => Some(Verdict::Good),
        Some("duplicate") => Some(Verdict::Duplicate),
        Some("revoked") => Some(Verdict::Revoked { from: wall_at(row, 6)? }),
        Some(other) => return Err(fault(5, format!("`{other}` is no answer to a check-in"))),
    };
    let asked = match row.get::<_, Option<[u8; 32]>>(11)? {
        None => None,
        Some(nonce) => {
            Some(Asked { nonce, request: parsed(row, 12)?, counter: u64_at(row, 13)?, at: wall_at(row, 14)? })
        }
    };
    let answer = match wall_maybe(8)? {
        None => None,
        Some(at) => Some(Answer { at, counter: u64_at(row, 9)?, sha256: parsed(row, 10)? }),
    };
    let stepped_down: Option<LeaseTime> = time_maybe(row, 3)?;
    Ok(StandingRow {
        license_id: LicenseId(parsed(row, 0)?),
        stage: Stage::try_from(row.get::<_, u8>(1)?).map_err(|why| fault(1, why))?,
        reached: wall_at(row, 2)?,
        stepped_down,
        last_good: wall_maybe(4)?,
        verdict,
        counter: u64_at(row, 7)?,
        answer,
        asked,
        message: row.get(15)?,
    })
}
