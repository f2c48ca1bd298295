//! Opening the database: whose file it is, which version, whether it is whole, and what a stop in the middle left.

use std::{fs, os::unix::fs::OpenOptionsExt, path::Path};

use leasehold_engine::{row::Row, time::WallTime};
use leasehold_keys::trust::Trust;
use rusqlite::{Connection, DEFAULT_NAME, ErrorCode, OpenFlags, wal::CheckpointMode};

use super::{StateDir, Store, load, load::LeftOut};
use crate::clock::TimeMark;

/// "LSHD": which program's database this is (`PRAGMA application_id`).
const APPLICATION_ID: i32 = 0x4c53_4844;

/// Every schema that was ever released, in order; `PRAGMA user_version` counts them. Only ever added to.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001-first.sql"),
    include_str!("migrations/0002-trusted-time.sql"),
    include_str!("migrations/0003-grace-of-a-lease.sql"),
    include_str!("migrations/0004-older-part-of-a-jump.sql"),
    include_str!("migrations/0005-usage.sql"),
    include_str!("migrations/0006-standing.sql"),
];

/// The mark of a new database: lease time begins, and trusted time was never stored.
const FIRST_MARK: &str = "INSERT INTO meta (id, lease_time_ms) VALUES (1, 0);";

/// After a stop in the middle a database up to this size is checked as a whole before it is used; of a larger one, what
/// is read is.
const CHECKED_WHOLE_BYTES: u64 = 64 << 20;

/// How long a lock of another program is waited for.
const BUSY_MS: u64 = 2_000;

/// Why the database cannot be used; the message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenFault {
    /// It was written by a newer version.
    #[error(
        "the database {path} has schema {found}, and this program knows up to {known}: a newer version has written it. \
         Install that version again, or restore a copy from before the upgrade"
    )]
    Newer {
        /// Which.
        path: String,
        /// Its schema.
        found: i64,
        /// The newest known.
        known: usize,
    },
    /// It is another program's.
    #[error("{path} is not a database of leaseholdd; move it away, or use another state_dir")]
    Foreign {
        /// Which.
        path: String,
    },
    /// It is damaged.
    #[error("the database {path} is damaged: {what}. {remedy}")]
    Damaged {
        /// Which.
        path: String,
        /// What was found.
        what: String,
        /// How to go on.
        remedy: String,
    },
    /// The system or another program stands in the way.
    #[error(
        "the database {path} cannot be opened: {fault}. See that the file and its directory can be written, and that no other program has it open"
    )]
    Unusable {
        /// Which.
        path: String,
        /// What SQLite says.
        fault: rusqlite::Error,
    },
}

/// A database that was opened and not yet written to.
pub struct Database {
    db: Connection,
    path: std::path::PathBuf,
    /// The daemon before did not stop in order.
    unclean: bool,
    mark: TimeMark,
}

/// The settings of every connection that writes.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(std::time::Duration::from_millis(BUSY_MS))?;
    db.set_prepared_statement_cache_capacity(128);
    let _: String = db.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    // A sync at each commit (LEASE-2). Checkpoints are ours: SQLite's own hides it when their sync fails.
    for (pragma, value) in
        [("synchronous", 2), ("foreign_keys", 0), ("wal_autocheckpoint", 0), ("cache_size", -65_536), ("temp_store", 2)]
    {
        match db.pragma_update(None, pragma, value) {
            // Some answer with their new value.
            Ok(()) | Err(rusqlite::Error::ExecuteReturnedResults) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(db)
}

impl Database {
    /// Opens the database of a state directory, makes it where it is not there, and brings an older one up to date.
    ///
    /// # Errors
    /// See [`OpenFault`].
    pub fn open(dir: &StateDir) -> Result<Self, OpenFault> {
        let path = dir.database();
        let fault = |fault| describe(&path, fault);
        let log = path.with_extension("db-wal");
        // The files beside it are given its mode.
        let made = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        made.map_err(|fault| OpenFault::Unusable {
            path: path.display().to_string(),
            fault: rusqlite::Error::ToSqlConversionFailure(fault.into()),
        })?;
        let unclean = fs::metadata(log).is_ok_and(|log| log.len() > 0);
        let db = connect(&path).map_err(fault)?;
        migrate(&db, &path)?;
        let size = fs::metadata(&path).map_or(0, |file| file.len());
        if unclean && size <= CHECKED_WHOLE_BYTES {
            let found: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(fault)?;
            if found != "ok" {
                return Err(damaged(&path, found));
            }
        }
        let Some(mark) = load::mark(&db).map_err(fault)? else {
            return Err(damaged(&path, "the lease-time mark is missing".to_owned()));
        };
        Ok(Self { db, path: path.clone(), unclean, mark })
    }

    /// The stored mark, from which lease time (LEASE-7) and trusted time (05) go on.
    pub fn mark(&self) -> TimeMark {
        self.mark
    }

    /// True where the daemon before did not stop in order.
    pub fn was_unclean(&self) -> bool {
        self.unclean
    }

    /// Reads every row that the engine keeps. Activation files are verified again; those that no longer verify are left
    /// out and returned.
    ///
    /// # Errors
    /// [`OpenFault::Damaged`] where a row cannot be read.
    pub fn load(&self, trust: Option<&Trust>, now: WallTime, take: impl FnMut(Row)) -> Result<Vec<LeftOut>, OpenFault> {
        load::all(&self.db, trust, now, take).map_err(|fault| describe(&self.path, fault))
    }

    /// Makes it ready for writing, after everything was read. What a stop in the middle left in the write-ahead log is
    /// brought into the database and synced first; where that fails, the store says so and nothing is granted
    /// (LEASE-11).
    ///
    /// # Errors
    /// See [`OpenFault`].
    pub fn into_store(self) -> Result<Store, OpenFault> {
        let path = self.path.clone();
        Store::new(self.db, self.path, self.unclean).map_err(|fault| describe(&path, fault))
    }
}

/// Moves everything from the log into the database, and syncs both.
pub(super) fn settle(db: &Connection) -> Result<(), String> {
    match db.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::TRUNCATE) {
        Ok((0, _)) => Ok(()),
        Ok(_) => Err("another program reads the database, so that its log cannot be emptied".to_owned()),
        Err(fault) => Err(fault.to_string()),
    }
}

/// Makes what is missing of the schema. A stop at any moment leaves a database that the next start takes up.
fn migrate(db: &Connection, path: &Path) -> Result<(), OpenFault> {
    migrate_by(db, path, MIGRATIONS)
}

/// The same by so many of the schemas.
pub(super) fn migrate_by(db: &Connection, path: &Path, schemas: &[&str]) -> Result<(), OpenFault> {
    let fault = |fault| describe(path, fault);
    let number = |sql| db.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(fault);
    let (version, application, tables) = (
        number("PRAGMA user_version")?,
        number("PRAGMA application_id")?,
        number("SELECT count(*) FROM sqlite_schema")?,
    );
    if application != i64::from(APPLICATION_ID) && tables > 0 {
        return Err(OpenFault::Foreign { path: path.display().to_string() });
    }
    let Some(missing) = usize::try_from(version).ok().and_then(|version| schemas.get(version..)) else {
        return Err(OpenFault::Newer { path: path.display().to_string(), found: version, known: schemas.len() });
    };
    for (migration, to) in missing.iter().zip(version + 1..) {
        // With the tables, so that a database without the mark is damaged, and not one that was made a moment ago.
        let first = if to == 1 { FIRST_MARK } else { "" };
        let sql = format!(
            "BEGIN IMMEDIATE;\n{migration}\n{first}\nPRAGMA application_id = {APPLICATION_ID};\nPRAGMA user_version = {to};\nCOMMIT;"
        );
        db.execute_batch(&sql).map_err(fault)?;
        if version > 0 {
            tracing::info!("the database was brought from schema {} to {to}", to - 1);
        }
    }
    Ok(())
}

/// A fault of SQLite in words.
pub(super) fn describe(path: &Path, fault: rusqlite::Error) -> OpenFault {
    match &fault {
        rusqlite::Error::SqliteFailure(code, _)
            if matches!(code.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) =>
        {
            damaged(path, fault.to_string())
        }
        rusqlite::Error::FromSqlConversionFailure(column, _, why) => {
            damaged(path, format!("column {column} of a row: {why}"))
        }
        rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::IntegralValueOutOfRange(..) => {
            damaged(path, fault.to_string())
        }
        _ => OpenFault::Unusable { path: path.display().to_string(), fault },
    }
}

fn damaged(path: &Path, what: String) -> OpenFault {
    let snapshots = path.with_file_name("snapshots");
    let newest = fs::read_dir(&snapshots).ok().and_then(|entries| {
        let copies = entries.flatten().filter(|entry| entry.path().extension().is_some_and(|ext| ext == "db"));
        copies.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).max()
    });
    let shown = path.display();
    let (database, folder) = (quoted(path), quoted(path.parent().unwrap_or(path)));
    // The log and its index are there or not: the pattern takes what is, and a new folder each time keeps what was kept.
    let keep = format!("kept=$(mktemp -d {folder}/damaged-XXXXXX) && mv {database}* \"$kept\"/");
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let remedy = match newest {
        Some((_, copy)) => format!(
            "To go on with the newest copy, keep the damaged files and put it in their place: {keep} && \
             install -o {user} -g {group} -m 600 {} {database} . Leases and changes made after that copy are lost",
            quoted(&copy)
        ),
        None => format!(
            "There is no copy in {}. Bring {shown} back from a backup (install -o {user} -g {group} -m 600 BACKUP {database}) \
             once the damaged files are away: {keep} . Without a backup, that alone begins anew with the activation files of \
             the watched folder: users, assignments and leases are lost then",
            snapshots.display()
        ),
    };
    OpenFault::Damaged { path: shown.to_string(), what, remedy }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%:,=".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
