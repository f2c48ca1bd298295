//! Rows to tables: one statement for each kind of row that is put, and one for each that goes. Reading them back is in
//! `load.rs`; both follow the migrations.

use std::{collections::HashMap, sync::Arc};

use leasehold_engine::{
    ids::{ShareHolder, Subject},
    row::{LeaseRow, LeaseSubject, Row, Terms},
    time::{LeaseTime, Now, WallTime},
};
use leasehold_keys::{activation::HostRole, name::Method};
use rusqlite::{Connection, params};
use serde::Serialize;

use super::{standing, usage, witness};
use crate::clock::evidence::Evidence;

/// Texts of the terms of leases that were written last. Equal leases share their terms, so most need no new text.
pub(super) struct TermsTexts {
    /// The terms are kept beside their text, so that no other terms can have their address.
    texts: HashMap<usize, (Arc<Terms>, Arc<str>)>,
}

/// Terms whose text is kept; beyond, all are forgotten.
const MOST_TEXTS: usize = 4_096;

impl TermsTexts {
    pub(super) fn new() -> Self {
        Self { texts: HashMap::new() }
    }

    fn of(&mut self, terms: &Arc<Terms>) -> Result<Arc<str>, serde_json::Error> {
        let address = Arc::as_ptr(terms) as usize;
        if let Some((_, text)) = self.texts.get(&address) {
            return Ok(text.clone());
        }
        let text: Arc<str> = serde_json::to_string(&**terms)?.into();
        if self.texts.len() >= MOST_TEXTS {
            self.texts.clear();
        }
        self.texts.insert(address, (terms.clone(), text.clone()));
        Ok(text)
    }
}

fn json<T: Serialize + ?Sized>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|fault| rusqlite::Error::ToSqlConversionFailure(fault.into()))
}

/// Ids and times to the integers of SQLite; a number beyond them is a fault of ours and refuses the commit.
pub(super) fn int(value: u64) -> rusqlite::Result<i64> {
    i64::try_from(value).map_err(|fault| rusqlite::Error::ToSqlConversionFailure(fault.into()))
}

pub(super) fn time(value: LeaseTime) -> rusqlite::Result<i64> {
    int(value.as_ms())
}

pub(super) fn time_of(value: Option<LeaseTime>) -> rusqlite::Result<Option<i64>> {
    value.map(time).transpose()
}

pub(super) const fn method(method: Method) -> &'static str {
    match method {
        Method::Assignable => "assignable",
        Method::Concurrent => "concurrent",
    }
}

pub(super) const fn host_role(role: HostRole) -> &'static str {
    match role {
        HostRole::Primary => "primary",
        HostRole::Switchover => "switchover",
    }
}

fn share_columns(holder: &ShareHolder) -> (u32, &str) {
    match holder {
        ShareHolder::Organization(id) => (id.0, ""),
        ShareHolder::Application(name) => (0, name.as_str()),
    }
}

/// Puts a row in its place, whether or not there was one.
pub(super) fn put(db: &Connection, row: &Row, texts: &mut TermsTexts) -> rusqlite::Result<()> {
    let sql = |sql| db.prepare_cached(sql);
    let done = match row {
        Row::Lease(lease) => return put_lease(db, lease, texts),
        Row::Holder(row) => sql("INSERT OR REPLACE INTO holders VALUES (?,?,?,?,?,?,?,?,?)")?.execute(params![
            row.id.0,
            row.identity.to_string(),
            row.instance,
            row.run.map(|run| run.0),
            row.application.as_str(),
            row.version.map(|version| version.to_string()),
            row.host,
            time(row.contact)?,
            time(row.graced)?,
        ]),
        Row::Site(row) => sql("INSERT OR REPLACE INTO site VALUES (1,?,?,?,?,?,?,?,?,?,?)")?.execute(params![
            int(row.last_lease)?,
            int(row.last_assignment)?,
            row.last_entity,
            int(row.last_denial)?,
            int(row.last_audit)?,
            row.promoted,
            row.compliance_day,
            int(row.last_usage_event)?,
            row.usage_collecting,
            row.usage_era,
        ]),
        Row::Denial(row) => sql("INSERT OR REPLACE INTO denials VALUES (?,?,?,?,?,?,?,?,?,?,?,?)")?.execute(params![
            int(row.id.0)?,
            row.at.as_ms(),
            row.identity.to_string(),
            row.application.as_str(),
            row.subject,
            row.key,
            row.reason,
            row.message,
            int(row.count)?,
            row.capacity,
            int(row.held)?,
            json(&row.holders)?,
        ]),
        // Only ever added: an entry that is there already is a fault, never a correction.
        Row::Audit(row) => sql("INSERT INTO audit VALUES (?,?,?,?,?,?,?,?)")?.execute(params![
            int(row.id.0)?,
            row.at.as_ms(),
            row.identity.to_string(),
            row.action,
            row.subject,
            row.before,
            row.after,
            row.reason,
        ]),
        Row::Assignment(row) => {
            let (user, station) = match row.subject {
                Subject::User(id) => (Some(id.0), None),
                Subject::Station(id) => (None, Some(id.0)),
            };
            sql("INSERT OR REPLACE INTO assignments VALUES (?,?,?,?,?,?,?)")?.execute(params![
                int(row.id.0)?,
                user,
                station,
                row.key.0,
                method(row.method),
                row.since.as_ms(),
                row.until.map(|until| until.as_ms()),
            ])
        }
        Row::PoolState(row) => sql("INSERT OR REPLACE INTO pool_states VALUES (?,?,?)")?.execute(params![
            int(row.pool.into())?,
            time_of(row.over_since)?,
            time_of(row.closes)?,
        ]),
        Row::PoolRule(row) => sql("INSERT OR REPLACE INTO pool_rules VALUES (?,?,?)")?.execute(params![
            int(row.pool.into())?,
            int(row.idle_ms)?,
            row.idle_always,
        ]),
        Row::Share(row) => {
            let (organization, application) = share_columns(&row.holder);
            sql("INSERT OR REPLACE INTO shares VALUES (?,?,?,?,?)")?.execute(params![
                int(row.pool.into())?,
                organization,
                application,
                row.reserve,
                row.limit,
            ])
        }
        Row::User(row) => sql("INSERT OR REPLACE INTO users VALUES (?,?,?,?,?,?,?)")?.execute(params![
            row.id.0,
            row.name.as_str(),
            row.display_name.as_ref().map(|name| name.as_str()),
            method(row.method),
            row.organization.map(|id| id.0),
            json(&row.workgroups)?,
            json(&row.types)?,
        ]),
        Row::Station(row) => sql("INSERT OR REPLACE INTO stations VALUES (?,?,?,?,?,?)")?.execute(params![
            row.id.0,
            row.name.as_str(),
            row.kind.as_str(),
            row.enabled,
            row.organization.map(|id| id.0),
            row.owner.map(|id| id.0),
        ]),
        Row::Workgroup(row) => sql("INSERT OR REPLACE INTO workgroups VALUES (?,?,?,?)")?.execute(params![
            row.id.0,
            row.name.as_str(),
            row.service_id.as_ref().map(|id| id.as_str()),
            json(&row.types)?,
        ]),
        Row::Organization(row) => sql("INSERT OR REPLACE INTO organizations VALUES (?,?,?)")?.execute(params![
            row.id.0,
            row.name.as_str(),
            row.parent.map(|id| id.0),
        ]),
        Row::Key(row) => sql("INSERT OR REPLACE INTO keys VALUES (?,?)")?.execute(params![row.id.0, row.name.as_str()]),
        Row::File(row) => sql("INSERT OR REPLACE INTO files VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)")?.execute(params![
            row.terms.license_id.to_string(),
            row.terms.sequence,
            row.name,
            row.terms.account.as_str(),
            row.terms.product.as_str(),
            row.terms.sha256().to_string(),
            row.accepted.as_ms(),
            row.host_role.map(host_role),
            time_of(row.absent_since)?,
            time_of(row.host_lost_since)?,
            row.unloaded,
            json(&row.earlier)?,
            row.terms.bytes(),
        ]),
        Row::Mark(mark) => sql("INSERT OR REPLACE INTO marks VALUES (?,?,?,?,?)")?.execute(params![
            mark.license_id.to_string(),
            mark.key_epoch,
            mark.sequence,
            mark.sha256.to_string(),
            mark.key_sha256.to_string(),
        ]),
        Row::UsageRecord(row) => usage::put_record(db, row),
        Row::UsageSegment(row) => usage::put_segment(db, row),
        Row::Standing(row) => standing::put(db, row),
        Row::Epoch(row) => witness::put_epoch(db, row),
        Row::Witness(row) => witness::put_witness(db, row),
        // All of a commit are one row of the table: see `usage::Events`.
        Row::UsageEvent(_) | Row::UsageEvents(_) => Ok(0),
    };
    done.map(drop)
}

fn put_lease(db: &Connection, lease: &LeaseRow, texts: &mut TermsTexts) -> rusqlite::Result<()> {
    let (user, station, remote_number, computer) = match &lease.subject {
        LeaseSubject::Logon { user, station, remote_number, computer } => {
            (Some(user.0), station.map(|id| id.0), remote_number.as_ref(), computer.as_ref())
        }
        LeaseSubject::Station(id) => (None, Some(id.0), None, None),
        LeaseSubject::Units => (None, None, None, None),
    };
    let terms = texts.of(&lease.terms).map_err(|fault| rusqlite::Error::ToSqlConversionFailure(fault.into()))?;
    db.prepare_cached("INSERT OR REPLACE INTO leases VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)")?
        .execute(params![
            int(lease.id.0)?,
            lease.holder.0,
            user,
            station,
            remote_number.map(|name| name.as_str()),
            computer.map(|name| name.as_str()),
            lease.application.as_str(),
            &*terms,
            int(lease.ttl_ms)?,
            lease.granted_wall.as_ms(),
            time(lease.granted)?,
            time_of(lease.idle_since)?,
            time_of(lease.ends.map(|(at, _)| at))?,
            lease.ends.map(|(_, why)| why.as_str()),
            lease.request.map(|(request, _)| request.0),
            lease.request.map(|(_, hash)| hash.cast_signed()),
            time_of(lease.ended.map(|(at, _)| at))?,
            lease.ended.map(|(_, why)| why.as_str()),
            time_of(lease.graced)?,
        ])
        .map(drop)
}

/// Both marks of time.
pub(super) fn mark(db: &Connection, now: Now) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO meta (id, lease_time_ms, trusted_at_ms) VALUES (1,?,?)";
    db.prepare_cached(sql)?.execute(params![time(now.lease)?, now.wall.as_ms()]).map(drop)
}

/// What is known of the wall clock.
pub(super) fn evidence(db: &Connection, evidence: &Evidence) -> rusqlite::Result<()> {
    let (unconfirmed, older, last) = (evidence.unconfirmed, evidence.older, evidence.last_roll_back);
    db.prepare_cached("INSERT OR REPLACE INTO clock_evidence VALUES (1,?,?,?,?,?,?,?,?,?)")?
        .execute(params![
            unconfirmed.map(|jump| int(jump.ahead_ms)).transpose()?,
            time_of(unconfirmed.map(|jump| jump.since))?,
            int(evidence.withdrawn)?,
            int(evidence.roll_backs)?,
            last.map(|episode| episode.at.as_ms()),
            last.map(|episode| int(episode.by_ms)).transpose()?,
            last.and_then(|episode| episode.over).map(WallTime::as_ms),
            older.map(|jump| int(jump.ahead_ms)).transpose()?,
            time_of(older.map(|jump| jump.since))?,
        ])
        .map(drop)
}

/// Takes a row away.
pub(super) fn delete(db: &Connection, row: &Row) -> rusqlite::Result<()> {
    let by_id = |sql, id: u64| db.prepare_cached(sql)?.execute([int(id)?]);
    let done = match row {
        Row::Lease(row) => by_id("DELETE FROM leases WHERE id = ?", row.id.0),
        Row::Holder(row) => by_id("DELETE FROM holders WHERE id = ?", row.id.0.into()),
        Row::Denial(row) => by_id("DELETE FROM denials WHERE id = ?", row.id.0),
        Row::Assignment(row) => by_id("DELETE FROM assignments WHERE id = ?", row.id.0),
        Row::PoolState(row) => by_id("DELETE FROM pool_states WHERE pool = ?", row.pool.into()),
        Row::PoolRule(row) => by_id("DELETE FROM pool_rules WHERE pool = ?", row.pool.into()),
        Row::User(row) => by_id("DELETE FROM users WHERE id = ?", row.id.0.into()),
        Row::Station(row) => by_id("DELETE FROM stations WHERE id = ?", row.id.0.into()),
        Row::Workgroup(row) => by_id("DELETE FROM workgroups WHERE id = ?", row.id.0.into()),
        Row::Organization(row) => by_id("DELETE FROM organizations WHERE id = ?", row.id.0.into()),
        Row::Key(row) => by_id("DELETE FROM keys WHERE id = ?", row.id.0.into()),
        Row::Share(row) => {
            let (organization, application) = share_columns(&row.holder);
            db.prepare_cached("DELETE FROM shares WHERE pool = ? AND organization = ? AND application = ?")?
                .execute(params![int(row.pool.into())?, organization, application])
        }
        Row::File(row) => {
            db.prepare_cached("DELETE FROM files WHERE license_id = ?")?.execute([row.terms.license_id.to_string()])
        }
        Row::Mark(mark) => {
            db.prepare_cached("DELETE FROM marks WHERE license_id = ?")?.execute([mark.license_id.to_string()])
        }
        Row::UsageSegment(row) => usage::delete_segment(db, row),
        Row::Standing(row) => standing::delete(db, row),
        Row::Epoch(row) => witness::delete_epoch(db, row),
        Row::Witness(row) => witness::delete_witness(db, row),
        // Events go together, records with their segment: see `usage`.
        Row::UsageEvent(_) | Row::UsageEvents(_) | Row::UsageRecord(_) => Ok(0),
        // Neither ever goes; what the engine asks for here would be a fault, and the entry stays.
        Row::Audit(_) | Row::Site(_) => Ok(0),
    };
    done.map(drop)
}
