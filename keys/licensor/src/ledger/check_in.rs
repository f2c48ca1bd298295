//! Check-ins in the records: for each license the installations that asked, the head of each one's chain of answers, and what
//! there was to remark. What makes a duplicate is `check_in`'s matter.

use std::fmt;

use leasehold_keys::{
    activation::{HostRole, LicenseId},
    check_in::CheckInStanding,
    digest::Sha256,
    installation::{InstallationId, InstallationPublicKey},
    time::WallTime,
};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior, params};

use super::{
    IssuedFile, Ledger, LedgerFault, find_file, public_key,
    standing::{self, AccountState},
    usage::{self, UsageFile, license_id, parsed},
};

pub(super) const TABLES: &str = "
CREATE TABLE check_in (
    license_id    TEXT NOT NULL,
    installation  TEXT NOT NULL,
    public_key    TEXT NOT NULL,
    admitted      INTEGER NOT NULL CHECK (admitted IN (0, 1)),
    vouched       INTEGER NOT NULL CHECK (vouched IN (0, 1)),
    judged        INTEGER NOT NULL,
    host_role     TEXT CHECK (host_role IN ('primary', 'switchover')),
    head          TEXT,
    head_counter  INTEGER NOT NULL,
    newest        INTEGER NOT NULL,
    newest_ms     INTEGER NOT NULL,
    adopt         INTEGER NOT NULL CHECK (adopt IN (0, 1)),
    duplicate     TEXT,
    duplicate_ms  INTEGER,
    first_ms      INTEGER NOT NULL,
    last_ms       INTEGER NOT NULL,
    requests      INTEGER NOT NULL,
    request       TEXT NOT NULL,
    PRIMARY KEY (license_id, installation),
    CHECK ((duplicate IS NULL) = (duplicate_ms IS NULL))
) STRICT;
CREATE TABLE check_in_answer (
    license_id    TEXT NOT NULL,
    installation  TEXT NOT NULL,
    sha256        TEXT NOT NULL,
    request       TEXT NOT NULL,
    counter       INTEGER NOT NULL,
    answered_ms   INTEGER NOT NULL,
    note          TEXT NOT NULL,
    PRIMARY KEY (license_id, installation, sha256),
    FOREIGN KEY (license_id, installation) REFERENCES check_in ON DELETE CASCADE
) STRICT;
CREATE TABLE check_in_remark (
    license_id    TEXT NOT NULL,
    installation  TEXT NOT NULL,
    what          TEXT NOT NULL CHECK (what IN ('usage', 'witness', 'clock', 'host', 'closed')),
    detail        TEXT NOT NULL,
    seen          INTEGER NOT NULL,
    first_ms      INTEGER NOT NULL,
    last_ms       INTEGER NOT NULL,
    PRIMARY KEY (license_id, installation, what),
    FOREIGN KEY (license_id, installation) REFERENCES check_in ON DELETE CASCADE
) STRICT;
";

/// Why an installation's requests are answered `duplicate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Misfit {
    /// It quotes an answer that is neither the head nor one that was given on top of it.
    Chain,
    /// It quotes no answer, though it was answered before.
    Lost,
    /// It quotes the head with a counter that is not higher than the head's.
    Counter,
    /// It quotes an answer, though it was never answered here.
    Unknown,
    /// As many installations as the license has servers checked in before it.
    Crowded,
    /// The license was issued anew, for another machine that has checked in since.
    Moved,
}

impl Misfit {
    const ALL: [Misfit; 6] =
        [Misfit::Chain, Misfit::Lost, Misfit::Counter, Misfit::Unknown, Misfit::Crowded, Misfit::Moved];

    /// A stable word for programs.
    pub const fn word(self) -> &'static str {
        match self {
            Misfit::Chain => "chain",
            Misfit::Lost => "lost",
            Misfit::Counter => "counter",
            Misfit::Unknown => "unknown",
            Misfit::Crowded => "crowded",
            Misfit::Moved => "moved",
        }
    }

    /// True where a file for its machine settles it.
    pub(crate) fn is_about_room(self) -> bool {
        matches!(self, Misfit::Crowded | Misfit::Moved)
    }
}

impl fmt::Display for Misfit {
    /// A clause about the installation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Misfit::Chain => {
                "it went on from an answer that others came after: it was restored from a copy, or is a clone"
            }
            Misfit::Lost => {
                "it knows of no answer, though it was answered before: its state was lost or restored, or it is a clone"
            }
            Misfit::Counter => "it counts its requests from an earlier one: it was restored from a copy, or is a clone",
            Misfit::Unknown => "it quotes an answer that is not in the licensor's records",
            Misfit::Crowded => "as many servers as the license is for checked in before it",
            Misfit::Moved => "the license was issued anew for another machine, which has checked in since",
        })
    }
}

/// An installation that checked in for a license.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The license.
    pub license_id: LicenseId,
    /// Who asks.
    pub installation: InstallationPublicKey,
    /// True where it is one of those that the license is for.
    pub admitted: bool,
    /// True where an operator cleared it, so that no count of servers speaks against it.
    pub vouched: bool,
    /// The sequence of the license's newest file when that was judged.
    pub judged: u32,
    /// The server that it is in the file, where its host ID says so.
    pub host_role: Option<HostRole>,
    /// The last answer that it quoted.
    pub head: Option<Sha256>,
    /// The counter of the request that the head answered; 0 before the first.
    pub head_counter: u64,
    /// The highest counter of a request that was answered and fitted.
    pub newest: u64,
    /// When the newest of those was made, by its own time.
    pub newest_made: WallTime,
    /// True after an operator cleared it: what it quotes next is believed.
    pub adopt: bool,
    /// Why its requests are answered `duplicate`, and since when.
    pub duplicate: Option<(Misfit, WallTime)>,
    /// When it asked first.
    pub first: WallTime,
    /// When it asked last.
    pub last: WallTime,
    /// How often it asked.
    pub requests: u64,
    /// Its last request.
    pub request: String,
}

/// An answer that was given on top of a head, or is the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) sha256: Sha256,
    pub(crate) request: Sha256,
    pub(crate) counter: u64,
    pub(crate) note: String,
}

/// What there is to look into that makes no duplicate by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckInRemark {
    /// The license.
    pub license_id: LicenseId,
    /// Whose request showed it.
    pub installation: InstallationId,
    /// `usage`, `witness`, `clock`, `host`, `closed`.
    pub what: String,
    /// In words, as the last request showed it.
    pub detail: String,
    /// How often.
    pub seen: u64,
    /// When first.
    pub first: WallTime,
    /// When last.
    pub last: WallTime,
}

impl Ledger {
    /// Begins to answer a check-in; other programs wait.
    pub(crate) fn check_in_desk(&mut self) -> Result<CheckInDesk<'_>, LedgerFault> {
        Ok(CheckInDesk { transaction: self.db.transaction_with_behavior(TransactionBehavior::Immediate)? })
    }

    /// The installations that checked in, by license and first contact.
    ///
    /// # Errors
    ///
    /// See [`LedgerFault`].
    pub fn check_ins(&self) -> Result<Vec<Installed>, LedgerFault> {
        installed(&self.db, "ORDER BY license_id, first_ms, installation", [])
    }

    /// What there is to look into, the newest first.
    ///
    /// # Errors
    ///
    /// See [`LedgerFault`].
    pub fn check_in_remarks(&self) -> Result<Vec<CheckInRemark>, LedgerFault> {
        let mut query = self.db.prepare(
            "SELECT license_id, installation, what, detail, seen, first_ms, last_ms FROM check_in_remark
             ORDER BY last_ms DESC, license_id, installation, what",
        )?;
        let mut rows = query.query([])?;
        let mut remarks = Vec::new();
        while let Some(row) = rows.next()? {
            remarks.push(CheckInRemark {
                license_id: license_id(row, 0)?,
                installation: parsed(row, 1, "an installation")?,
                what: row.get(2)?,
                detail: row.get(3)?,
                seen: unsigned(row.get(4)?),
                first: WallTime::from_ms(row.get(5)?),
                last: WallTime::from_ms(row.get(6)?),
            });
        }
        Ok(remarks)
    }

    /// The standing that the last answer to an installation told.
    ///
    /// # Errors
    ///
    /// See [`LedgerFault`].
    pub fn last_answer(
        &self,
        license: LicenseId,
        installation: InstallationId,
    ) -> Result<Option<(CheckInStanding, WallTime)>, LedgerFault> {
        let note: Option<String> = self
            .db
            .query_row(
                "SELECT note FROM check_in_answer WHERE license_id = ?1 AND installation = ?2
                 ORDER BY answered_ms DESC, counter DESC LIMIT 1",
                params![license.to_string(), installation.to_string()],
                |row| row.get(0),
            )
            .optional()?;
        let Some(note) = note else {
            return Ok(None);
        };
        let damaged = || LedgerFault::Damaged { what: "an answer to a check-in" };
        let (text, _) = note.rsplit_once("\n\n").ok_or_else(damaged)?;
        let answer = leasehold_keys::check_in::CheckInAnswer::parse(&format!("{text}\n")).map_err(|_| damaged())?;
        Ok(Some((answer.standing, answer.time)))
    }
}

/// The records while one check-in is answered: dropped without [`CheckInDesk::commit`], nothing changed.
pub(crate) struct CheckInDesk<'l> {
    transaction: Transaction<'l>,
}

impl CheckInDesk<'_> {
    pub(crate) fn file(&self, license: LicenseId, sequence: Option<u32>) -> Result<Option<IssuedFile>, LedgerFault> {
        find_file(&self.transaction, license, sequence)
    }

    pub(crate) fn account_state(&self, license: LicenseId) -> Result<AccountState, LedgerFault> {
        standing::state(&self.transaction, license)
    }

    /// Every installation that asked for a license.
    pub(crate) fn installed(&self, license: LicenseId) -> Result<Vec<Installed>, LedgerFault> {
        let order = "WHERE license_id = ?1 ORDER BY first_ms, installation";
        installed(&self.transaction, order, [license.to_string()])
    }

    /// The head's answer and those given on top of it, the oldest first.
    pub(crate) fn given(&self, license: LicenseId, by: InstallationId) -> Result<Vec<Given>, LedgerFault> {
        let mut query = self.transaction.prepare(
            "SELECT sha256, request, counter, note FROM check_in_answer
             WHERE license_id = ?1 AND installation = ?2 ORDER BY rowid",
        )?;
        let mut rows = query.query(params![license.to_string(), by.to_string()])?;
        let mut given = Vec::new();
        while let Some(row) = rows.next()? {
            given.push(Given {
                sha256: parsed(row, 0, "a digest")?,
                request: parsed(row, 1, "a digest")?,
                counter: unsigned(row.get(2)?),
                note: row.get(3)?,
            });
        }
        Ok(given)
    }

    pub(crate) fn put(&self, row: &Installed) -> Result<(), LedgerFault> {
        self.transaction.execute(
            "INSERT INTO check_in (license_id, installation, public_key, admitted, vouched, judged, host_role, head,
                 head_counter, newest, newest_ms, adopt, duplicate, duplicate_ms, first_ms, last_ms, requests, request)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)
             ON CONFLICT (license_id, installation) DO UPDATE SET admitted = excluded.admitted,
                 vouched = excluded.vouched, judged = excluded.judged, host_role = excluded.host_role,
                 head = excluded.head, head_counter = excluded.head_counter, newest = excluded.newest, newest_ms = excluded.newest_ms,
                 adopt = excluded.adopt, duplicate = excluded.duplicate, duplicate_ms = excluded.duplicate_ms,
                 last_ms = excluded.last_ms, requests = excluded.requests, request = excluded.request",
            params![
                row.license_id.to_string(),
                row.installation.id().to_string(),
                row.installation.to_string(),
                row.admitted,
                row.vouched,
                row.judged,
                row.host_role.map(role_word),
                row.head.map(|head| head.to_string()),
                signed(row.head_counter),
                signed(row.newest),
                row.newest_made.as_ms(),
                row.adopt,
                row.duplicate.map(|(misfit, _)| misfit.word()),
                row.duplicate.map(|(_, since)| since.as_ms()),
                row.first.as_ms(),
                row.last.as_ms(),
                signed(row.requests),
                row.request,
            ],
        )?;
        Ok(())
    }

    /// Forgets an installation with its answers and remarks; false where it is not there.
    pub(crate) fn forget(&self, license: LicenseId, by: InstallationId) -> Result<bool, LedgerFault> {
        let key = params![license.to_string(), by.to_string()];
        Ok(self.transaction.execute("DELETE FROM check_in WHERE license_id = ?1 AND installation = ?2", key)? > 0)
    }

    /// Forgets every answer to an installation but the one that it quoted.
    pub(crate) fn keep_answer(
        &self,
        license: LicenseId,
        by: InstallationId,
        head: Option<Sha256>,
    ) -> Result<(), LedgerFault> {
        self.transaction.execute(
            "DELETE FROM check_in_answer WHERE license_id = ?1 AND installation = ?2 AND sha256 IS NOT ?3",
            params![license.to_string(), by.to_string(), head.map(|head| head.to_string())],
        )?;
        Ok(())
    }

    /// Records an answer; of those on top of the head, the newest `most` stay.
    pub(crate) fn give(&self, row: &Installed, given: &Given, now: WallTime, most: u32) -> Result<(), LedgerFault> {
        let (license, by) = (row.license_id.to_string(), row.installation.id().to_string());
        self.transaction.execute(
            "INSERT INTO check_in_answer (license_id, installation, sha256, request, counter, answered_ms, note)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
            params![
                license,
                by,
                given.sha256.to_string(),
                given.request.to_string(),
                signed(given.counter),
                now.as_ms(),
                given.note,
            ],
        )?;
        self.transaction.execute(
            "DELETE FROM check_in_answer WHERE license_id = ?1 AND installation = ?2 AND sha256 IS NOT ?3
               AND rowid NOT IN (SELECT rowid FROM check_in_answer WHERE license_id = ?1 AND installation = ?2
                                   AND sha256 IS NOT ?3 ORDER BY rowid DESC LIMIT ?4)",
            params![license, by, row.head.map(|head| head.to_string()), most],
        )?;
        Ok(())
    }

    pub(crate) fn remark(&self, row: &Installed, what: &str, detail: &str, now: WallTime) -> Result<(), LedgerFault> {
        self.transaction.execute(
            "INSERT INTO check_in_remark (license_id, installation, what, detail, seen, first_ms, last_ms)
             VALUES (?1, ?2, ?3, ?4, 1, ?5, ?5)
             ON CONFLICT DO UPDATE SET detail = excluded.detail, seen = seen + 1, last_ms = excluded.last_ms",
            params![row.license_id.to_string(), row.installation.id().to_string(), what, detail, now.as_ms()],
        )?;
        Ok(())
    }

    /// Forgets what was remarked of an installation.
    pub(crate) fn forget_remarks(&self, license: LicenseId, by: InstallationId) -> Result<(), LedgerFault> {
        self.transaction.execute(
            "DELETE FROM check_in_remark WHERE license_id = ?1 AND installation = ?2",
            params![license.to_string(), by.to_string()],
        )?;
        Ok(())
    }

    pub(crate) fn usage_file(&self, by: InstallationId, segment: u32) -> Result<Option<UsageFile>, LedgerFault> {
        usage::find(&self.transaction, by, segment)
    }

    /// The last segment of an installation that was received and begun before `before`.
    pub(crate) fn last_segment(&self, by: InstallationId, before: WallTime) -> Result<Option<u32>, LedgerFault> {
        let sql = "SELECT max(segment) FROM usage_file WHERE installation = ?1 AND start_ms < ?2";
        Ok(self.transaction.query_row(sql, params![by.to_string(), before.as_ms()], |row| row.get(0))?)
    }

    /// When the newest usage file of a license ends.
    pub(crate) fn usage_until(&self, license: LicenseId) -> Result<Option<WallTime>, LedgerFault> {
        let sql = "SELECT max(end_ms) FROM usage_file WHERE license_id = ?1";
        let end: Option<i64> = self.transaction.query_row(sql, [license.to_string()], |row| row.get(0))?;
        Ok(end.map(WallTime::from_ms))
    }

    /// Makes it last.
    pub(crate) fn commit(self) -> Result<(), LedgerFault> {
        Ok(self.transaction.commit()?)
    }
}

fn installed(db: &Connection, rest: &str, key: impl rusqlite::Params) -> Result<Vec<Installed>, LedgerFault> {
    let mut query = db.prepare(&format!(
        "SELECT license_id, public_key, admitted, vouched, judged, host_role, head, head_counter, newest, newest_ms, adopt,
             duplicate, duplicate_ms, first_ms, last_ms, requests, request FROM check_in {rest}"
    ))?;
    let mut rows = query.query(key)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

fn read(row: &Row<'_>) -> Result<Installed, LedgerFault> {
    let time = |index| Ok::<_, rusqlite::Error>(WallTime::from_ms(row.get(index)?));
    let misfit: Option<String> = row.get(11)?;
    let misfit = misfit.map(|word| {
        let known = Misfit::ALL.into_iter().find(|misfit| misfit.word() == word);
        known.ok_or(LedgerFault::Damaged { what: "why an installation is a duplicate" })
    });
    let since: Option<i64> = row.get(12)?;
    let role: Option<String> = row.get(5)?;
    Ok(Installed {
        license_id: license_id(row, 0)?,
        installation: public_key(&row.get::<_, String>(1)?)?,
        admitted: row.get(2)?,
        vouched: row.get(3)?,
        judged: row.get(4)?,
        host_role: role.map(|role| if role == "primary" { HostRole::Primary } else { HostRole::Switchover }),
        head: row.get::<_, Option<String>>(6)?.map(|_| parsed(row, 6, "a digest")).transpose()?,
        head_counter: unsigned(row.get(7)?),
        newest: unsigned(row.get(8)?),
        newest_made: time(9)?,
        adopt: row.get(10)?,
        duplicate: misfit.transpose()?.zip(since.map(WallTime::from_ms)),
        first: time(13)?,
        last: time(14)?,
        requests: unsigned(row.get(15)?),
        request: row.get(16)?,
    })
}

const fn role_word(role: HostRole) -> &'static str {
    match role {
        HostRole::Primary => "primary",
        HostRole::Switchover => "switchover",
    }
}

/// SQLite's numbers are signed; those of requests are at most 2⁶³ − 1.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
