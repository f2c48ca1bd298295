//! Tables to rows: what `write.rs` wrote. A row that cannot be read is a damaged database, said in words; an activation
//! file that no longer verifies is left out and told.

use std::{
    collections::HashMap,
    sync::{Arc, mpsc},
    thread,
};

use leasehold_engine::{
    ids::{
        AssignmentId, AuditId, DenialId, HolderId, KeyId, LeaseId, OrganizationId, PoolId, RequestId, RunId,
        ShareHolder, StationId, Subject, UserId, WorkgroupId,
    },
    refusal::EndReason,
    row::{
        AssignmentRow, AuditRow, DenialRow, FileRow, HolderRow, KeyRow, LeaseRow, LeaseSubject, OrganizationRow,
        PoolRuleRow, PoolStateRow, Row, ShareRow, SiteRow, StationKind, StationRow, Terms, UserRow, WorkgroupRow,
    },
    time::{LeaseTime, WallTime},
};
use leasehold_keys::{
    activation::{HostRole, LicenseId},
    marks::Mark,
    name::{Label, Method},
    trust::Trust,
};
use rusqlite::{Connection, OpenFlags, OptionalExtension, types::Type};
use serde::de::DeserializeOwned;

use crate::clock::{
    TimeMark,
    evidence::{Evidence, RollBack, Unconfirmed},
};

/// A stored activation file that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its license ID, as text.
    pub license_id: String,
    /// The name that it had in the folder.
    pub name: String,
    /// Why it no longer verifies.
    pub why: String,
}

/// Leases that are handed from the reading thread at once, and how many such pieces it may be ahead.
const PIECE: usize = 1_024;
const PIECES_AHEAD: usize = 16;

pub(super) type Columns<'r> = &'r rusqlite::Row<'r>;

/// What a column holds is not what was written.
pub(super) fn fault(column: usize, why: impl ToString) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Null, why.to_string().into())
}

pub(super) fn u64_at(row: Columns, column: usize) -> rusqlite::Result<u64> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|why| fault(column, why))
}

pub(super) fn u32_at(row: Columns, column: usize) -> rusqlite::Result<u32> {
    row.get(column)
}

pub(super) fn time_at(row: Columns, column: usize) -> rusqlite::Result<LeaseTime> {
    u64_at(row, column).map(LeaseTime::from_ms)
}

pub(super) fn time_maybe(row: Columns, column: usize) -> rusqlite::Result<Option<LeaseTime>> {
    match row.get_ref(column)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => time_at(row, column).map(Some),
    }
}

pub(super) fn wall_at(row: Columns, column: usize) -> rusqlite::Result<WallTime> {
    row.get(column).map(WallTime::from_ms)
}

fn text_at<'r>(row: Columns<'r>, column: usize) -> rusqlite::Result<&'r str> {
    row.get_ref(column)?.as_str().map_err(|why| fault(column, why))
}

pub(super) fn parsed<T: std::str::FromStr<Err: ToString>>(row: Columns, column: usize) -> rusqlite::Result<T> {
    text_at(row, column)?.parse().map_err(|why: T::Err| fault(column, why.to_string()))
}

pub(super) fn parsed_maybe<T: std::str::FromStr<Err: ToString>>(
    row: Columns,
    column: usize,
) -> rusqlite::Result<Option<T>> {
    match row.get_ref(column)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => parsed(row, column).map(Some),
    }
}

fn json_at<T: DeserializeOwned>(row: Columns, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(text_at(row, column)?).map_err(|why| fault(column, why))
}

fn bytes_16(row: Columns, column: usize) -> rusqlite::Result<Option<[u8; 16]>> {
    row.get(column)
}

fn method(row: Columns, column: usize) -> rusqlite::Result<Method> {
    match text_at(row, column)? {
        "assignable" => Ok(Method::Assignable),
        "concurrent" => Ok(Method::Concurrent),
        other => Err(fault(column, format!("`{other}` is no method"))),
    }
}

fn end_reason(row: Columns, time: usize, reason: usize) -> rusqlite::Result<Option<(LeaseTime, EndReason)>> {
    let Some(at) = time_maybe(row, time)? else { return Ok(None) };
    let name = text_at(row, reason)?;
    let why = EndReason::from_name(name).ok_or_else(|| fault(reason, format!("`{name}` is no reason of an end")))?;
    Ok(Some((at, why)))
}

/// The marks of time; `None` only in a database that has lost them.
pub(super) fn mark(db: &Connection) -> rusqlite::Result<Option<TimeMark>> {
    let evidence =
        db.query_row("SELECT * FROM clock_evidence WHERE id = 1", [], evidence).optional()?.unwrap_or_default();
    db.query_row("SELECT lease_time_ms, trusted_at_ms FROM meta WHERE id = 1", [], |row| {
        let trusted = row.get::<_, Option<i64>>(1)?.map(WallTime::from_ms);
        Ok(TimeMark { lease: time_at(row, 0)?, trusted, evidence })
    })
    .optional()
}

fn evidence(row: &rusqlite::Row<'_>) -> rusqlite::Result<Evidence> {
    let part = |ahead, since| match time_maybe(row, since)? {
        Some(since) => Ok(Some(Unconfirmed { ahead_ms: u64_at(row, ahead)?, since })),
        None => Ok::<_, rusqlite::Error>(None),
    };
    let (unconfirmed, older) = (part(1, 2)?, part(8, 9)?);
    let last_roll_back = match row.get::<_, Option<i64>>(5)? {
        Some(at) => Some(RollBack {
            at: WallTime::from_ms(at),
            by_ms: u64_at(row, 6)?,
            over: row.get::<_, Option<i64>>(7)?.map(WallTime::from_ms),
        }),
        None => None,
    };
    Ok(Evidence { unconfirmed, older, withdrawn: u64_at(row, 3)?, roll_backs: u64_at(row, 4)?, last_roll_back })
}

pub(super) fn denial(row: &rusqlite::Row<'_>) -> rusqlite::Result<DenialRow> {
    Ok(DenialRow {
        id: DenialId(u64_at(row, 0)?),
        at: wall_at(row, 1)?,
        identity: parsed(row, 2)?,
        application: parsed(row, 3)?,
        subject: row.get(4)?,
        key: row.get(5)?,
        reason: row.get(6)?,
        message: row.get(7)?,
        count: u64_at(row, 8)?,
        capacity: row.get(9)?,
        held: u64_at(row, 10)?,
        holders: json_at(row, 11)?,
    })
}

pub(super) fn audit(row: &rusqlite::Row<'_>) -> rusqlite::Result<AuditRow> {
    Ok(AuditRow {
        id: AuditId(u64_at(row, 0)?),
        at: wall_at(row, 1)?,
        identity: parsed(row, 2)?,
        action: row.get(3)?,
        subject: row.get(4)?,
        before: row.get(5)?,
        after: row.get(6)?,
        reason: row.get(7)?,
    })
}

/// Values that many rows share are read once.
struct Shared<T> {
    by_text: HashMap<Box<str>, T>,
}

/// Texts that are kept; beyond, all are forgotten.
const MOST_SHARED: usize = 65_536;

impl<T: Clone> Shared<T> {
    fn new() -> Self {
        Self { by_text: HashMap::new() }
    }

    fn get<E>(&mut self, text: &str, read: impl FnOnce(&str) -> Result<T, E>) -> Result<T, E> {
        if let Some(value) = self.by_text.get(text) {
            return Ok(value.clone());
        }
        let value = read(text)?;
        if self.by_text.len() >= MOST_SHARED {
            self.by_text.clear();
        }
        self.by_text.insert(text.into(), value.clone());
        Ok(value)
    }
}

struct LeaseReader {
    terms: Shared<Arc<Terms>>,
    labels: Shared<Label>,
}

impl LeaseReader {
    fn label(&mut self, row: Columns, column: usize) -> rusqlite::Result<Label> {
        self.labels.get(text_at(row, column)?, |text| text.parse().map_err(|why| fault(column, why)))
    }

    fn read(&mut self, row: Columns) -> rusqlite::Result<LeaseRow> {
        let user: Option<u32> = row.get(2)?;
        let station = row.get::<_, Option<u32>>(3)?.map(StationId);
        let subject = match (user, station) {
            (Some(user), station) => LeaseSubject::Logon {
                user: UserId(user),
                station,
                remote_number: parsed_maybe(row, 4)?,
                computer: parsed_maybe(row, 5)?,
            },
            (None, Some(station)) => LeaseSubject::Station(station),
            (None, None) => LeaseSubject::Units,
        };
        let request = match bytes_16(row, 14)? {
            Some(request) => Some((RequestId(request), row.get::<_, i64>(15)?.cast_unsigned())),
            None => None,
        };
        Ok(LeaseRow {
            id: LeaseId(u64_at(row, 0)?),
            holder: HolderId(u32_at(row, 1)?),
            subject,
            application: self.label(row, 6)?,
            terms: self
                .terms
                .get(text_at(row, 7)?, |text| serde_json::from_str(text).map(Arc::new).map_err(|why| fault(7, why)))?,
            ttl_ms: u64_at(row, 8)?,
            granted_wall: wall_at(row, 9)?,
            granted: time_at(row, 10)?,
            idle_since: time_maybe(row, 11)?,
            ends: end_reason(row, 12, 13)?,
            request,
            ended: end_reason(row, 16, 17)?,
            graced: time_maybe(row, 18)?,
        })
    }
}

/// Gives every row of a table to `take`.
pub(super) fn each(
    db: &Connection,
    sql: &str,
    mut take: impl FnMut(Columns) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut statement = db.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        take(row)?;
    }
    Ok(())
}

/// Reads everything that the engine needs, kind by kind in the order of [`Row`]: all but denials and the audit log. Files
/// are verified again.
pub(super) fn all(
    db: &Connection,
    trust: Option<&Trust>,
    now: WallTime,
    mut take: impl FnMut(Row),
) -> rusqlite::Result<Vec<LeftOut>> {
    each(db, "SELECT id, name FROM keys ORDER BY id", |row| {
        take(Row::Key(KeyRow { id: KeyId(u32_at(row, 0)?), name: parsed(row, 1)? }));
        Ok(())
    })?;
    entities(db, &mut take)?;
    leases(db, &mut take)?;
    let left_out = files(db, trust, now, &mut take)?;
    each(db, "SELECT license_id, key_epoch, sequence, sha256, key_sha256 FROM marks ORDER BY license_id", |row| {
        take(Row::Mark(Mark {
            license_id: LicenseId(parsed(row, 0)?),
            key_epoch: u32_at(row, 1)?,
            sequence: u32_at(row, 2)?,
            sha256: parsed(row, 3)?,
            key_sha256: parsed(row, 4)?,
        }));
        Ok(())
    })?;
    super::usage::load(db, &mut take)?;
    super::standing::load(db, &mut take)?;
    let site = "SELECT last_lease, last_assignment, last_entity, last_denial, last_audit, promoted, compliance_day, \
                last_usage_event, usage_collecting, usage_era FROM site";
    each(db, site, |row| {
        take(Row::Site(SiteRow {
            last_lease: u64_at(row, 0)?,
            last_assignment: u64_at(row, 1)?,
            last_entity: u32_at(row, 2)?,
            last_denial: u64_at(row, 3)?,
            last_audit: u64_at(row, 4)?,
            promoted: row.get(5)?,
            compliance_day: row.get(6)?,
            last_usage_event: u64_at(row, 7)?,
            usage_collecting: row.get(8)?,
            usage_era: u32_at(row, 9)?,
        }));
        Ok(())
    })?;
    super::witness::load(db, &mut take)?;
    Ok(left_out)
}

/// Leases are by far the most rows: one thread reads them while the other puts them in their places.
fn leases(db: &Connection, take: &mut impl FnMut(Row)) -> rusqlite::Result<()> {
    let Some(path) = db.path().map(str::to_owned) else { return Ok(()) };
    thread::scope(|scope| {
        let (to, pieces) = mpsc::sync_channel::<Vec<Row>>(PIECES_AHEAD);
        let reading = scope.spawn(move || {
            let db =
                Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            let mut reader = LeaseReader { terms: Shared::new(), labels: Shared::new() };
            let mut piece = Vec::with_capacity(PIECE);
            each(&db, "SELECT * FROM leases ORDER BY id", |row| {
                piece.push(Row::Lease(Box::new(reader.read(row)?)));
                if piece.len() == PIECE {
                    // Nobody takes them only where taking has panicked.
                    let _ = to.send(std::mem::replace(&mut piece, Vec::with_capacity(PIECE)));
                }
                Ok(())
            })?;
            let _ = to.send(piece);
            Ok(())
        });
        for piece in pieces {
            piece.into_iter().for_each(&mut *take);
        }
        reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn files(
    db: &Connection,
    trust: Option<&Trust>,
    now: WallTime,
    take: &mut impl FnMut(Row),
) -> rusqlite::Result<Vec<LeftOut>> {
    let mut left_out = Vec::new();
    let sql = "SELECT license_id, name, accepted_at_ms, host_role, absent_since_ms, host_lost_since_ms, unloaded, earlier, bytes \
               FROM files ORDER BY license_id";
    each(db, sql, |row| {
        let bytes = row.get_ref(8)?.as_blob().map_err(|why| fault(8, why))?;
        let judged = match trust {
            Some(trust) => trust.accepted_before(bytes, now).map_err(|refusal| refusal.to_string()),
            None => Err("this server has no root to verify it with".to_owned()),
        };
        let terms = match judged {
            Ok(terms) => Arc::new(terms),
            Err(why) => {
                left_out.push(LeftOut { license_id: row.get(0)?, name: row.get(1)?, why });
                return Ok(());
            }
        };
        let host_role = match row.get::<_, Option<String>>(3)?.as_deref() {
            None => None,
            Some("primary") => Some(HostRole::Primary),
            Some("switchover") => Some(HostRole::Switchover),
            Some(other) => return Err(fault(3, format!("`{other}` is no role of a host"))),
        };
        take(Row::File(FileRow {
            terms,
            name: row.get(1)?,
            accepted: wall_at(row, 2)?,
            host_role,
            absent_since: time_maybe(row, 4)?,
            host_lost_since: time_maybe(row, 5)?,
            unloaded: row.get(6)?,
            earlier: json_at(row, 7)?,
        }));
        Ok(())
    })?;
    Ok(left_out)
}

fn entities(db: &Connection, take: &mut impl FnMut(Row)) -> rusqlite::Result<()> {
    each(db, "SELECT id, name, parent FROM organizations ORDER BY id", |row| {
        let parent = row.get::<_, Option<u32>>(2)?.map(OrganizationId);
        take(Row::Organization(OrganizationRow { id: OrganizationId(u32_at(row, 0)?), name: parsed(row, 1)?, parent }));
        Ok(())
    })?;
    each(db, "SELECT id, name, service_id, types FROM workgroups ORDER BY id", |row| {
        take(Row::Workgroup(WorkgroupRow {
            id: WorkgroupId(u32_at(row, 0)?),
            name: parsed(row, 1)?,
            service_id: parsed_maybe(row, 2)?,
            types: json_at(row, 3)?,
        }));
        Ok(())
    })?;
    each(db, "SELECT id, name, display_name, method, organization, workgroups, types FROM users ORDER BY id", |row| {
        take(Row::User(UserRow {
            id: UserId(u32_at(row, 0)?),
            name: parsed(row, 1)?,
            display_name: parsed_maybe(row, 2)?,
            method: method(row, 3)?,
            organization: row.get::<_, Option<u32>>(4)?.map(OrganizationId),
            workgroups: json_at(row, 5)?,
            types: json_at(row, 6)?,
        }));
        Ok(())
    })?;
    each(db, "SELECT id, name, kind, enabled, organization, owner FROM stations ORDER BY id", |row| {
        let name = text_at(row, 2)?;
        let kind = StationKind::ALL.into_iter().find(|kind| kind.as_str() == name);
        take(Row::Station(StationRow {
            id: StationId(u32_at(row, 0)?),
            name: parsed(row, 1)?,
            kind: kind.ok_or_else(|| fault(2, format!("`{name}` is no kind of station")))?,
            enabled: row.get(3)?,
            organization: row.get::<_, Option<u32>>(4)?.map(OrganizationId),
            owner: row.get::<_, Option<u32>>(5)?.map(UserId),
        }));
        Ok(())
    })?;
    each(db, "SELECT id, user, station, key, method, since_at_ms, until_at_ms FROM assignments ORDER BY id", |row| {
        let subject = match (row.get::<_, Option<u32>>(1)?, row.get::<_, Option<u32>>(2)?) {
            (Some(user), None) => Subject::User(UserId(user)),
            (None, Some(station)) => Subject::Station(StationId(station)),
            _ => return Err(fault(1, "an assignment has either a user or a station")),
        };
        take(Row::Assignment(AssignmentRow {
            id: AssignmentId(u64_at(row, 0)?),
            subject,
            key: KeyId(u32_at(row, 3)?),
            method: method(row, 4)?,
            since: wall_at(row, 5)?,
            until: row.get::<_, Option<i64>>(6)?.map(WallTime::from_ms),
        }));
        Ok(())
    })?;
    each(
        db,
        "SELECT pool, organization, application, reserve, most FROM shares ORDER BY pool, organization, application",
        |row| {
            let holder = match u32_at(row, 1)? {
                0 => ShareHolder::Application(parsed(row, 2)?),
                organization => ShareHolder::Organization(OrganizationId(organization)),
            };
            let pool = PoolId::from(u64_at(row, 0)?);
            take(Row::Share(ShareRow { pool, holder, reserve: u32_at(row, 3)?, limit: row.get(4)? }));
            Ok(())
        },
    )?;
    each(db, "SELECT pool, idle_ms, idle_always FROM pool_rules ORDER BY pool", |row| {
        let pool = PoolId::from(u64_at(row, 0)?);
        take(Row::PoolRule(PoolRuleRow { pool, idle_ms: u64_at(row, 1)?, idle_always: row.get(2)? }));
        Ok(())
    })?;
    each(db, "SELECT pool, over_since_ms, closes_ms FROM pool_states ORDER BY pool", |row| {
        let pool = PoolId::from(u64_at(row, 0)?);
        take(Row::PoolState(PoolStateRow { pool, over_since: time_maybe(row, 1)?, closes: time_maybe(row, 2)? }));
        Ok(())
    })?;
    each(
        db,
        "SELECT id, identity, instance, run, application, version, host, contact_ms, graced_ms FROM holders ORDER BY id",
        |row| {
            take(Row::Holder(HolderRow {
                id: HolderId(u32_at(row, 0)?),
                identity: parsed(row, 1)?,
                instance: row.get(2)?,
                run: bytes_16(row, 3)?.map(RunId),
                application: parsed(row, 4)?,
                version: parsed_maybe(row, 5)?,
                host: row.get(6)?,
                contact: time_at(row, 7)?,
                graced: time_at(row, 8)?,
            }));
            Ok(())
        },
    )
}
