//! The licensor's records: roots published, files issued, installations known, receipts taken, usage files received,
//! check-ins answered. One SQLite file that any SQLite tool reads; every change is on disk before it is told to anyone.
//! Accounts and orders are not kept here.

mod check_in;
mod standing;
mod usage;

use std::{collections::BTreeMap, fs::OpenOptions, io, path::Path};

use leasehold_keys::{
    activation::LicenseId,
    digest::Sha256,
    installation::{InstallationId, InstallationPublicKey},
    time::WallTime,
};
use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params};

pub(crate) use self::check_in::{CheckInDesk, Given};
pub use self::{
    check_in::{CheckInRemark, Installed, Misfit},
    standing::{AccountState, Remarked},
    usage::{UsageFile, UsageFlag},
};

/// "LHlc": tells the file from other SQLite databases.
const APPLICATION_ID: i32 = 0x4c48_6c63;
/// How long to wait for another `licensor` at work on the same folder.
const BUSY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// The version of the tables: how many of [`MIGRATIONS`] they went through.
const SCHEMA_VERSION: i32 = 4;

/// Each takes the tables from one version to the next. Only ever added to.
const MIGRATIONS: [&str; SCHEMA_VERSION as usize] = [FIRST, usage::TABLES, check_in::TABLES, standing::TABLES];

const FIRST: &str = "
CREATE TABLE root (
    version       INTEGER PRIMARY KEY,
    made_ms       INTEGER NOT NULL,
    sha256        TEXT NOT NULL,
    note          TEXT NOT NULL
) STRICT;
CREATE TABLE issued (
    license_id    TEXT NOT NULL,
    sequence      INTEGER NOT NULL CHECK (sequence BETWEEN 1 AND 4294967295),
    closes        INTEGER NOT NULL CHECK (closes IN (0, 1)),
    account       TEXT NOT NULL,
    install_site  TEXT NOT NULL,
    product       TEXT NOT NULL,
    level         TEXT NOT NULL,
    kind          TEXT NOT NULL,
    not_after_ms  INTEGER NOT NULL,
    issued_ms     INTEGER NOT NULL,
    issued_by     TEXT NOT NULL,
    sha256        TEXT NOT NULL,
    note          TEXT NOT NULL,
    PRIMARY KEY (license_id, sequence)
) STRICT;
CREATE TABLE installation (
    id            TEXT PRIMARY KEY,
    public_key    TEXT NOT NULL,
    machine_name  TEXT NOT NULL,
    first_seen_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE receipt (
    license_id    TEXT NOT NULL,
    sequence      INTEGER NOT NULL,
    installation  TEXT NOT NULL,
    closed_ms     INTEGER NOT NULL,
    taken_ms      INTEGER NOT NULL,
    note          TEXT NOT NULL,
    PRIMARY KEY (license_id, sequence, installation),
    FOREIGN KEY (license_id, sequence) REFERENCES issued
) STRICT;
";

/// Why the records cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerFault {
    /// What SQLite says.
    #[error("the records cannot be used: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// No new file.
    #[error("the records cannot be made: {0}")]
    NotMade(io::Error),
    /// Not a licensor's database.
    #[error("the records are not those of a licensor; restore licensor.db from your backup")]
    Foreign,
    /// Made by a newer program.
    #[error("the records are of version {found}; this program knows version {SCHEMA_VERSION}; use the newer one")]
    Newer {
        /// Its version.
        found: i32,
    },
    /// A value that no licensor writes.
    #[error("the records are damaged ({what}); restore licensor.db from your backup")]
    Damaged {
        /// Where.
        what: &'static str,
    },
    /// The license's sequences are used up.
    #[error("license {0} has no sequence left; issue a new license that supersedes it")]
    NoSequence(LicenseId),
}

/// One file as it was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedFile {
    /// The license.
    pub license_id: LicenseId,
    /// Its sequence.
    pub sequence: u32,
    /// True for a file that closes its license.
    pub closes: bool,
    /// The customer.
    pub account: String,
    /// The customer's site.
    pub install_site: String,
    /// The product.
    pub product: String,
    /// The level's word.
    pub level: String,
    /// The kind's word.
    pub kind: String,
    /// Its end.
    pub not_after: WallTime,
    /// When.
    pub issued: WallTime,
    /// By whom.
    pub issued_by: String,
    /// Of the whole note.
    pub sha256: Sha256,
    /// The whole note.
    pub note: String,
    /// When the last receipt for it came, for a closing file.
    pub receipt_taken: Option<WallTime>,
    /// How many machines sent a receipt for it.
    pub receipts: u32,
}

/// The records, open.
#[derive(Debug)]
pub struct Ledger {
    db: Connection,
}

impl Ledger {
    /// New records at `path`.
    ///
    /// # Errors
    ///
    /// [`LedgerFault::NotMade`], [`LedgerFault::Sqlite`].
    pub fn create(path: &Path) -> Result<Self, LedgerFault> {
        // SQLite gives its side files the same mode.
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(path).map_err(LedgerFault::NotMade)?;
        let ledger = Self::connect(path)?;
        ledger.db.pragma_update(None, "application_id", APPLICATION_ID)?;
        ledger.migrate()?;
        Ok(ledger)
    }

    /// Brings the tables to this program's version.
    fn migrate(&self) -> Result<(), LedgerFault> {
        // Of two programs that begin at once, the second finds it done.
        self.db.execute_batch("BEGIN IMMEDIATE")?;
        let version: i32 = self.db.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let done = usize::try_from(version).unwrap_or(usize::MAX);
        let migrated = MIGRATIONS
            .iter()
            .skip(done)
            .try_for_each(|migration| self.db.execute_batch(migration))
            .and_then(|()| self.db.pragma_update(None, "user_version", version.max(SCHEMA_VERSION)))
            .and_then(|()| self.db.execute_batch("COMMIT"));
        if migrated.is_err() {
            // Told is what went wrong, not that nothing is left to take back.
            let _ = self.db.execute_batch("ROLLBACK");
        }
        Ok(migrated?)
    }

    /// The records at `path`.
    ///
    /// # Errors
    ///
    /// See [`LedgerFault`].
    pub fn open(path: &Path) -> Result<Self, LedgerFault> {
        let ledger = Self::connect(path)?;
        let pragma = |name| ledger.db.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        if pragma("application_id")? != APPLICATION_ID {
            return Err(LedgerFault::Foreign);
        }
        match pragma("user_version")? {
            SCHEMA_VERSION => Ok(ledger),
            found if found > SCHEMA_VERSION => Err(LedgerFault::Newer { found }),
            1.. => ledger.migrate().map(|()| ledger),
            _ => Err(LedgerFault::Foreign),
        }
    }

    fn connect(path: &Path) -> Result<Self, LedgerFault> {
        let db = Connection::open(path)?;
        db.busy_timeout(BUSY_TIMEOUT)?;
        // Issuing is rare and each file must stay known: every commit is synced.
        db.pragma_update(None, "synchronous", "FULL")?;
        db.pragma_update(None, "foreign_keys", true)?;
        Ok(Self { db })
    }

    /// Records a root.
    pub(crate) fn add_root(&self, version: u32, made: WallTime, note: &str) -> Result<(), LedgerFault> {
        let sha256 = Sha256::of(note.as_bytes()).to_string();
        let row = params![version, made.as_ms(), sha256, note];
        self.db.execute("INSERT INTO root (version, made_ms, sha256, note) VALUES (?1, ?2, ?3, ?4)", row)?;
        Ok(())
    }

    /// The root notes by version, the oldest first.
    ///
    /// # Errors
    ///
    /// [`LedgerFault::Sqlite`].
    pub fn roots(&self) -> Result<Vec<String>, LedgerFault> {
        let mut query = self.db.prepare("SELECT note FROM root ORDER BY version")?;
        let notes = query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(notes)
    }

    /// Records the next file of a license: `make` is told its sequence and gives the row, all in one transaction, so
    /// that no sequence serves two files whoever else is at work.
    pub(crate) fn issue<T, E: From<LedgerFault>>(
        &mut self,
        license_id: LicenseId,
        make: impl FnOnce(u32) -> Result<(IssuedFile, T), E>,
    ) -> Result<T, E> {
        let transaction =
            self.db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(LedgerFault::from)?;
        let last: Option<u32> = transaction
            .query_row("SELECT max(sequence) FROM issued WHERE license_id = ?1", [license_id.to_string()], |row| {
                row.get(0)
            })
            .map_err(LedgerFault::from)?;
        let sequence = last.unwrap_or(0).checked_add(1).ok_or(LedgerFault::NoSequence(license_id))?;
        let (file, made) = make(sequence)?;
        transaction
            .execute(
                "INSERT INTO issued (license_id, sequence, closes, account, install_site, product, level, kind,
                     not_after_ms, issued_ms, issued_by, sha256, note)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
                params![
                    file.license_id.to_string(),
                    file.sequence,
                    file.closes,
                    file.account,
                    file.install_site,
                    file.product,
                    file.level,
                    file.kind,
                    file.not_after.as_ms(),
                    file.issued.as_ms(),
                    file.issued_by,
                    file.sha256.to_string(),
                    file.note,
                ],
            )
            .map_err(LedgerFault::from)?;
        transaction.commit().map_err(LedgerFault::from)?;
        Ok(made)
    }

    /// Every file issued, the newest first.
    ///
    /// # Errors
    ///
    /// See [`LedgerFault`].
    pub fn issued(&self) -> Result<Vec<IssuedFile>, LedgerFault> {
        let mut query =
            self.db.prepare(&format!("{SELECT_ISSUED} ORDER BY issued_ms DESC, license_id, sequence DESC"))?;
        let mut rows = query.query([])?;
        let mut files = Vec::new();
        while let Some(row) = rows.next()? {
            files.push(issued_file(row)?);
        }
        Ok(files)
    }

    /// The file of a license with this sequence, or its newest.
    ///
    /// # Errors
    ///
    /// See [`LedgerFault`].
    pub fn file(&self, license_id: LicenseId, sequence: Option<u32>) -> Result<Option<IssuedFile>, LedgerFault> {
        find_file(&self.db, license_id, sequence)
    }

    /// Records an installation that a host request named.
    pub(crate) fn add_installation(
        &self,
        key: &InstallationPublicKey,
        machine_name: &str,
        now: WallTime,
    ) -> Result<(), LedgerFault> {
        self.db.execute(
            "INSERT INTO installation (id, public_key, machine_name, first_seen_ms) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO UPDATE SET machine_name = excluded.machine_name",
            params![key.id().to_string(), key.to_string(), machine_name, now.as_ms()],
        )?;
        Ok(())
    }

    /// The key of an installation that some host request named.
    pub(crate) fn installation(&self, id: InstallationId) -> Result<Option<InstallationPublicKey>, LedgerFault> {
        let text: Option<String> = self
            .db
            .query_row("SELECT public_key FROM installation WHERE id = ?1", [id.to_string()], |row| row.get(0))
            .optional()?;
        text.map(|text| public_key(&text)).transpose()
    }

    /// The machine names of known installations.
    ///
    /// # Errors
    ///
    /// [`LedgerFault::Sqlite`].
    pub fn machine_names(&self) -> Result<BTreeMap<String, String>, LedgerFault> {
        let mut query = self.db.prepare("SELECT id, machine_name FROM installation")?;
        let names = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        Ok(names)
    }

    /// Records a receipt; false where it is there already.
    pub(crate) fn add_receipt(
        &self,
        receipt: &leasehold_keys::receipt::DeactivationReceipt,
        taken: WallTime,
        note: &str,
    ) -> Result<bool, LedgerFault> {
        let added = self.db.execute(
            "INSERT INTO receipt (license_id, sequence, installation, closed_ms, taken_ms, note)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
            params![
                receipt.license_id.to_string(),
                receipt.sequence,
                receipt.installation_id.to_string(),
                receipt.closed.as_ms(),
                taken.as_ms(),
                note,
            ],
        )?;
        Ok(added == 1)
    }
}

const SELECT_ISSUED: &str = "SELECT license_id, sequence, closes, account, install_site, product, level, kind,
    not_after_ms, issued_ms, issued_by, sha256, note,
    (SELECT max(taken_ms) FROM receipt
      WHERE receipt.license_id = issued.license_id AND receipt.sequence = issued.sequence),
    (SELECT count(*) FROM receipt
      WHERE receipt.license_id = issued.license_id AND receipt.sequence = issued.sequence) FROM issued";

fn find_file(db: &Connection, license_id: LicenseId, sequence: Option<u32>) -> Result<Option<IssuedFile>, LedgerFault> {
    let sql = format!(
        "{SELECT_ISSUED} WHERE license_id = ?1 AND (?2 IS NULL OR sequence = ?2) ORDER BY sequence DESC LIMIT 1"
    );
    let mut query = db.prepare(&sql)?;
    let mut rows = query.query(params![license_id.to_string(), sequence])?;
    rows.next()?.map(issued_file).transpose()
}

fn issued_file(row: &Row<'_>) -> Result<IssuedFile, LedgerFault> {
    let license_id: String = row.get(0)?;
    let sha256: String = row.get(11)?;
    let time = |index| Ok::<_, rusqlite::Error>(WallTime::from_ms(row.get(index)?));
    let license_id = uuid::Uuid::parse_str(&license_id).map_err(|_| LedgerFault::Damaged { what: "a license ID" })?;
    Ok(IssuedFile {
        license_id: LicenseId(license_id),
        sequence: row.get(1)?,
        closes: row.get(2)?,
        account: row.get(3)?,
        install_site: row.get(4)?,
        product: row.get(5)?,
        level: row.get(6)?,
        kind: row.get(7)?,
        not_after: time(8)?,
        issued: time(9)?,
        issued_by: row.get(10)?,
        sha256: sha256.parse().map_err(|_| LedgerFault::Damaged { what: "a digest" })?,
        note: row.get(12)?,
        receipt_taken: row.get::<_, Option<i64>>(13)?.map(WallTime::from_ms),
        receipts: row.get(14)?,
    })
}

fn public_key(hex: &str) -> Result<InstallationPublicKey, LedgerFault> {
    let damaged = || LedgerFault::Damaged { what: "an installation key" };
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return Err(damaged());
    }
    for (byte, index) in bytes.iter_mut().zip((0..64).step_by(2)) {
        let digits = hex.get(index..index + 2).ok_or_else(damaged)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| damaged())?;
    }
    InstallationPublicKey::new(bytes).map_err(|_| damaged())
}
