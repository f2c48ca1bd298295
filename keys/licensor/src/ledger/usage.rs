//! Usage files in the records: what was received and answered for, and what there was to remark on it.

use leasehold_keys::{
    activation::LicenseId,
    digest::Sha256,
    installation::InstallationId,
    time::WallTime,
    usage::{Acknowledged, SegmentName},
};
use rusqlite::{OptionalExtension as _, Row, TransactionBehavior, params};

use super::{Ledger, LedgerFault};

pub(super) const TABLES: &str = "
CREATE TABLE usage_file (
    installation  TEXT NOT NULL,
    segment       INTEGER NOT NULL CHECK (segment BETWEEN 1 AND 99999999),
    license_id    TEXT NOT NULL,
    name          TEXT NOT NULL,
    sha256        TEXT NOT NULL,
    size          INTEGER NOT NULL,
    records       INTEGER NOT NULL,
    start_ms      INTEGER NOT NULL,
    end_ms        INTEGER NOT NULL,
    previous_end  TEXT NOT NULL,
    end_chain     TEXT NOT NULL,
    received_ms   INTEGER NOT NULL,
    receipt       TEXT NOT NULL,
    PRIMARY KEY (installation, segment)
) STRICT;
CREATE INDEX usage_file_by_license ON usage_file (license_id, start_ms);
CREATE TABLE usage_flag (
    installation  TEXT NOT NULL,
    segment       INTEGER NOT NULL,
    sha256        TEXT NOT NULL,
    license_id    TEXT NOT NULL,
    what          TEXT NOT NULL CHECK (what IN ('fork', 'chain')),
    seen_ms       INTEGER NOT NULL,
    PRIMARY KEY (installation, segment, sha256, what)
) STRICT;
";

/// A usage file that the licensor has and answered for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageFile {
    /// The license that it reports on.
    pub license_id: LicenseId,
    /// Installation, segment and day.
    pub name: SegmentName,
    /// Of the whole file.
    pub sha256: Sha256,
    /// Its bytes.
    pub size: u32,
    /// Its records.
    pub records: u64,
    /// When it begins, by the server's trusted time.
    pub start: WallTime,
    /// When it was closed.
    pub end: WallTime,
    /// The chain value that it continues.
    pub previous_end: Sha256,
    /// The chain value at its end.
    pub end_chain: Sha256,
    /// When the licensor had all of it.
    pub received: WallTime,
    /// The signed receipt.
    pub receipt: String,
}

/// Something to look into: the server was cloned or restored from a copy, or a file was forged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageFlag {
    /// Whose file.
    pub installation: InstallationId,
    /// Which.
    pub segment: u32,
    /// Of its bytes.
    pub sha256: Sha256,
    /// The license that it reports on.
    pub license_id: LicenseId,
    /// True: another file of this segment was there before, and this one was refused and set aside. False: it was taken,
    /// though a neighbor's chain does not fit to it.
    pub refused: bool,
    /// When it came first.
    pub seen: WallTime,
}

const FORK: &str = "fork";
const CHAIN: &str = "chain";

/// A place in the records that nobody else can take meanwhile: dropped without [`UsageIntake::commit`], nothing changed.
pub(crate) struct UsageIntake<'l> {
    transaction: rusqlite::Transaction<'l>,
}

impl Ledger {
    /// Begins to record a usage file; other programs wait.
    pub(crate) fn usage_intake(&mut self) -> Result<UsageIntake<'_>, LedgerFault> {
        Ok(UsageIntake { transaction: self.db.transaction_with_behavior(TransactionBehavior::Immediate)? })
    }

    /// A usage file that was received.
    ///
    /// # Errors
    ///
    /// See [`LedgerFault`].
    pub fn usage_file(&self, installation: InstallationId, segment: u32) -> Result<Option<UsageFile>, LedgerFault> {
        find(&self.db, installation, segment)
    }

    /// The usage files of an installation that were answered for.
    ///
    /// # Errors
    ///
    /// See [`LedgerFault`].
    pub fn usage_acknowledged(&self, installation: InstallationId) -> Result<Vec<Acknowledged>, LedgerFault> {
        let mut query =
            self.db.prepare("SELECT segment, sha256 FROM usage_file WHERE installation = ?1 ORDER BY segment")?;
        let mut rows = query.query([installation.to_string()])?;
        let mut acknowledged = Vec::new();
        while let Some(row) = rows.next()? {
            acknowledged.push(Acknowledged { installation, segment: row.get(0)?, sha256: parsed(row, 1, "a digest")? });
        }
        Ok(acknowledged)
    }

    /// The usage files that were received, by license, installation and segment.
    ///
    /// # Errors
    ///
    /// See [`LedgerFault`].
    pub fn usage_files(&self) -> Result<Vec<UsageFile>, LedgerFault> {
        let mut query = self.db.prepare(&format!("{SELECT} ORDER BY license_id, installation, segment"))?;
        let mut rows = query.query([])?;
        let mut files = Vec::new();
        while let Some(row) = rows.next()? {
            files.push(usage_file(row)?);
        }
        Ok(files)
    }

    /// What there is to look into, the newest first.
    ///
    /// # Errors
    ///
    /// See [`LedgerFault`].
    pub fn usage_flags(&self) -> Result<Vec<UsageFlag>, LedgerFault> {
        let mut query = self.db.prepare(
            "SELECT installation, segment, sha256, license_id, what, seen_ms FROM usage_flag
             ORDER BY seen_ms DESC, installation, segment, sha256",
        )?;
        let mut rows = query.query([])?;
        let mut flags = Vec::new();
        while let Some(row) = rows.next()? {
            flags.push(UsageFlag {
                installation: parsed(row, 0, "an installation")?,
                segment: row.get(1)?,
                sha256: parsed(row, 2, "a digest")?,
                license_id: license_id(row, 3)?,
                refused: row.get::<_, String>(4)? == FORK,
                seen: WallTime::from_ms(row.get(5)?),
            });
        }
        Ok(flags)
    }
}

impl UsageIntake<'_> {
    /// The file of this segment, where one was received.
    pub(crate) fn find(&self, installation: InstallationId, segment: u32) -> Result<Option<UsageFile>, LedgerFault> {
        find(&self.transaction, installation, segment)
    }

    /// Records a file.
    pub(crate) fn add(&self, file: &UsageFile) -> Result<(), LedgerFault> {
        self.transaction.execute(
            "INSERT INTO usage_file (installation, segment, license_id, name, sha256, size, records, start_ms, end_ms,
                 previous_end, end_chain, received_ms, receipt)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
             ON CONFLICT (installation, segment) DO UPDATE SET receipt = excluded.receipt
             WHERE sha256 = excluded.sha256",
            params![
                file.name.installation.to_string(),
                file.name.segment,
                file.license_id.to_string(),
                file.name.to_string(),
                file.sha256.to_string(),
                file.size,
                i64::try_from(file.records).unwrap_or(i64::MAX),
                file.start.as_ms(),
                file.end.as_ms(),
                file.previous_end.to_string(),
                file.end_chain.to_string(),
                file.received.as_ms(),
                file.receipt,
            ],
        )?;
        Ok(())
    }

    /// Records something to look into; known, it stays as it is.
    pub(crate) fn flag(&self, flag: &UsageFlag) -> Result<(), LedgerFault> {
        self.transaction.execute(
            "INSERT INTO usage_flag (installation, segment, sha256, license_id, what, seen_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
            params![
                flag.installation.to_string(),
                flag.segment,
                flag.sha256.to_string(),
                flag.license_id.to_string(),
                if flag.refused { FORK } else { CHAIN },
                flag.seen.as_ms(),
            ],
        )?;
        Ok(())
    }

    /// Makes it last.
    pub(crate) fn commit(self) -> Result<(), LedgerFault> {
        Ok(self.transaction.commit()?)
    }
}

const SELECT: &str = "SELECT license_id, name, sha256, size, records, start_ms, end_ms, previous_end, end_chain,
    received_ms, receipt FROM usage_file";

pub(super) fn find(
    db: &rusqlite::Connection,
    installation: InstallationId,
    segment: u32,
) -> Result<Option<UsageFile>, LedgerFault> {
    let sql = format!("{SELECT} WHERE installation = ?1 AND segment = ?2");
    let row = db.query_row(&sql, params![installation.to_string(), segment], |row| Ok(usage_file(row))).optional()?;
    row.transpose()
}

fn usage_file(row: &Row<'_>) -> Result<UsageFile, LedgerFault> {
    let time = |index| Ok::<_, rusqlite::Error>(WallTime::from_ms(row.get(index)?));
    Ok(UsageFile {
        license_id: license_id(row, 0)?,
        name: parsed(row, 1, "the name of a usage file")?,
        sha256: parsed(row, 2, "a digest")?,
        size: row.get(3)?,
        records: u64::try_from(row.get::<_, i64>(4)?).unwrap_or(0),
        start: time(5)?,
        end: time(6)?,
        previous_end: parsed(row, 7, "a chain value")?,
        end_chain: parsed(row, 8, "a chain value")?,
        received: time(9)?,
        receipt: row.get(10)?,
    })
}

pub(super) fn parsed<T: std::str::FromStr>(row: &Row<'_>, index: usize, what: &'static str) -> Result<T, LedgerFault> {
    row.get::<_, String>(index)?.parse().map_err(|_| LedgerFault::Damaged { what })
}

pub(super) fn license_id(row: &Row<'_>, index: usize) -> Result<LicenseId, LedgerFault> {
    let text: String = row.get(index)?;
    uuid::Uuid::parse_str(&text).map(LicenseId).map_err(|_| LedgerFault::Damaged { what: "a license ID" })
}

#[cfg(test)]
mod tests {
    use super::super::*;

    /// What version 1 of the program left behind.
    fn first_version(path: &Path) {
        let db = Connection::open(path).unwrap();
        db.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        db.pragma_update(None, "user_version", 1).unwrap();
        db.execute_batch(FIRST).unwrap();
        db.execute("INSERT INTO root (version, made_ms, sha256, note) VALUES (1, 0, 'x', 'the root')", []).unwrap();
    }

    #[test]
    fn records_of_the_first_version_are_brought_up_and_keep_what_they_held() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("licensor.db");
        first_version(&path);
        for _ in 0..2 {
            let ledger = Ledger::open(&path).unwrap();
            assert_eq!(ledger.roots().unwrap(), ["the root"]);
            assert!(ledger.usage_files().unwrap().is_empty() && ledger.usage_flags().unwrap().is_empty());
        }
        // The same tables as in new records.
        let tables = |path: &Path| -> Vec<String> {
            let db = Connection::open(path).unwrap();
            let mut query = db.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").unwrap();
            query.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
        };
        let new = dir.path().join("new.db");
        drop(Ledger::create(&new).unwrap());
        assert_eq!(tables(&path), tables(&new));
    }

    #[test]
    fn records_of_a_later_version_and_of_others_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("licensor.db");
        drop(Ledger::create(&path).unwrap());
        let set = |pragma: &str, value: i32| {
            Connection::open(&path).unwrap().pragma_update(None, pragma, value).unwrap();
        };
        set("user_version", SCHEMA_VERSION + 1);
        assert!(matches!(Ledger::open(&path), Err(LedgerFault::Newer { found }) if found == SCHEMA_VERSION + 1));
        set("user_version", 0);
        assert!(matches!(Ledger::open(&path), Err(LedgerFault::Foreign)));
        set("user_version", SCHEMA_VERSION);
        set("application_id", 1);
        assert!(matches!(Ledger::open(&path), Err(LedgerFault::Foreign)));
    }

    #[test]
    fn two_programs_that_begin_at_once_bring_them_up_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("licensor.db");
        first_version(&path);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| Ledger::open(&path).map(|_| ()))).collect();
            for thread in threads {
                thread.join().unwrap().unwrap();
            }
        });
    }
}
