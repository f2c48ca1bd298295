//! Reading what the engine does not keep: denials, the audit log, a whole copy. Each call has a connection of its own
//! that is closed at its end, so that no reader stops checkpoints for long. Blocks: call it where blocking is allowed.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use leasehold_engine::{
    ids::{AuditId, DenialId},
    row::{AuditRow, DenialRow},
    time::WallTime,
};
use rusqlite::{Connection, OpenFlags, named_params};

use super::{AuditVerdict, audit, load, usage};

/// The most rows of one page.
pub const MOST_ROWS: usize = 1_000;

/// Why something could not be read or copied.
#[derive(Debug, thiserror::Error)]
pub enum ReadFault {
    /// The database does not give it.
    #[error("the database cannot be read: {0}")]
    Database(#[from] rusqlite::Error),
    /// A snapshot's name that is no name.
    #[error("`{0}` is not a name for a snapshot: 1 to 64 of a-z A-Z 0-9 . _ -, beginning with a letter or digit")]
    Name(String),
    /// There is a snapshot of that name.
    #[error("there is a snapshot {0} already; give another name, or remove it")]
    Exists(String),
    /// The copy could not be written.
    #[error("the snapshot {path} could not be written: {fault}")]
    Copy {
        /// Where.
        path: String,
        /// What the system says.
        fault: String,
    },
}

/// Which denials.
#[derive(Clone, Debug, Default)]
pub struct DenialQuery {
    /// Not before this moment.
    pub since: Option<WallTime>,
    /// For this key or pool.
    pub key: Option<String>,
    /// For whom: `user agent-001`.
    pub subject: Option<String>,
    /// Older than this one: the last of the page before.
    pub before: Option<DenialId>,
    /// At most so many: 1 to [`MOST_ROWS`].
    pub limit: usize,
}

/// Which audit entries.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Not before this moment.
    pub since: Option<WallTime>,
    /// Older than this one: the last of the page before.
    pub before: Option<AuditId>,
    /// At most so many: 1 to [`MOST_ROWS`].
    pub limit: usize,
}

/// Reads the database beside the writer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reader {
    database: PathBuf,
}

impl Reader {
    /// A reader of this database, which the store has open.
    pub fn new(database: PathBuf) -> Self {
        Self { database }
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        Connection::open_with_flags(&self.database, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
    }

    /// Denials, newest first.
    ///
    /// # Errors
    /// [`ReadFault::Database`].
    pub fn denials(&self, query: &DenialQuery) -> Result<Vec<DenialRow>, ReadFault> {
        let db = self.connect()?;
        let sql = "SELECT * FROM denials WHERE id < :before AND (:since IS NULL OR at_ms >= :since) \
                   AND (:key IS NULL OR key = :key) AND (:subject IS NULL OR subject = :subject) ORDER BY id DESC LIMIT :limit";
        let mut statement = db.prepare(sql)?;
        let rows = statement.query_map(
            named_params! {
                ":before": query.before.map_or(i64::MAX, |id| id.0.cast_signed()),
                ":since": query.since.map(|since| since.as_ms()),
                ":key": query.key,
                ":subject": query.subject,
                ":limit": limit(query.limit),
            },
            load::denial,
        )?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Audit entries, newest first.
    ///
    /// # Errors
    /// [`ReadFault::Database`].
    pub fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRow>, ReadFault> {
        let db = self.connect()?;
        let sql = "SELECT * FROM audit WHERE id < :before AND (:since IS NULL OR at_ms >= :since) ORDER BY id DESC LIMIT :limit";
        let mut statement = db.prepare(sql)?;
        let rows = statement.query_map(
            named_params! {
                ":before": query.before.map_or(i64::MAX, |id| id.0.cast_signed()),
                ":since": query.since.map(|since| since.as_ms()),
                ":limit": limit(query.limit),
            },
            load::audit,
        )?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Checks the whole audit log against its chain.
    ///
    /// # Errors
    /// [`ReadFault::Database`].
    pub fn verify_audit(&self) -> Result<AuditVerdict, ReadFault> {
        let mut db = self.connect()?;
        // One state for both tables.
        let state = db.transaction()?;
        Ok(audit::verify(&state)?)
    }

    /// The bytes of a usage segment's file as they were sealed, header first: for copying a file that is torn or lost
    /// again (USAGE-6).
    ///
    /// # Errors
    /// [`ReadFault::Database`].
    pub fn usage_file(&self, segment: u32, take: impl FnMut(&[u8])) -> Result<(), ReadFault> {
        Ok(usage::records(&self.connect()?, segment, take)?)
    }

    /// Writes a consistent copy into `snapshots/NAME.db` beside the database, for looking at and for restoring.
    ///
    /// # Errors
    /// See [`ReadFault`].
    pub fn snapshot(&self, name: &str) -> Result<PathBuf, ReadFault> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let fits = (1..=64).contains(&name.len())
            && name.chars().all(plain)
            && name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !fits {
            return Err(ReadFault::Name(name.chars().take(80).collect()));
        }
        // Whoever names the file as it will be named means that file.
        let name = name.strip_suffix(".db").unwrap_or(name);
        let folder = self.database.with_file_name("snapshots");
        let copy = folder.join(format!("{name}.db"));
        let part = folder.join(format!(".{name}.part"));
        let failed = |fault: &dyn std::fmt::Display| ReadFault::Copy {
            path: copy.display().to_string(),
            fault: fault.to_string(),
        };
        if !folder.is_dir() {
            fs::DirBuilder::new().mode(0o700).create(&folder).map_err(|fault| failed(&fault))?;
        }
        if copy.exists() {
            return Err(ReadFault::Exists(name.to_owned()));
        }
        // What an earlier attempt left is no copy.
        let _ = fs::remove_file(&part);
        let written = self.copy_to(&part).map_err(|fault| failed(&fault)).and_then(|()| {
            fs::hard_link(&part, &copy).map_err(|fault| match fault.kind() {
                std::io::ErrorKind::AlreadyExists => ReadFault::Exists(name.to_owned()),
                _ => failed(&fault),
            })
        });
        let _ = fs::remove_file(&part);
        written.map(|()| copy)
    }

    fn copy_to(&self, part: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let Some(name) = part.to_str() else { return Err("its path is not UTF-8".into()) };
        self.connect()?.execute("VACUUM INTO ?", [name])?;
        fs::set_permissions(part, fs::Permissions::from_mode(0o600))?;
        fs::File::open(part)?.sync_all()?;
        Ok(())
    }
}

fn limit(asked: usize) -> i64 {
    i64::try_from(asked.clamp(1, MOST_ROWS)).unwrap_or(1)
}
