//! The state directory: whose it is, that nobody else reads it, and that one daemon at a time uses it. What lies in it is
//! its rooms' business.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, ErrorKind, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, flock},
    process::{getegid, geteuid},
};

/// Why the state directory cannot be used; the message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StateDirFault {
    /// It is not there and cannot be made.
    #[error(
        "the state directory {path} does not exist and cannot be made: {fault}. Make it, as root: install -d -m 0700 -o {own} -g {group} {path}"
    )]
    Missing {
        /// Which.
        path: String,
        /// Who we are.
        own: u32,
        /// Our group.
        group: u32,
        /// What the system says.
        fault: io::Error,
    },
    /// It is something else.
    #[error("{0} is not a directory; state_dir must name one")]
    NotADirectory(String),
    /// It belongs to another user.
    #[error(
        "the state directory {path} belongs to user ID {owner}, and the daemon runs as {own}. Run it as that user, or: chown -R {own} {path}"
    )]
    WrongOwner {
        /// Which.
        path: String,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        own: u32,
    },
    /// Others can read it, and that cannot be changed.
    #[error(
        "the state directory {path} has mode {mode:04o} and cannot be closed to others: {fault}. Run: chmod 0700 {path}"
    )]
    Open {
        /// Which.
        path: String,
        /// Its mode.
        mode: u32,
        /// What the system says.
        fault: io::Error,
    },
    /// Nothing can be written there.
    #[error(
        "the state directory {path} cannot be written: {fault}. Make it writable for user ID {own}, or mount it read-write"
    )]
    ReadOnly {
        /// Which.
        path: String,
        /// Who we are.
        own: u32,
        /// What the system says.
        fault: io::Error,
    },
    /// Another daemon uses it.
    #[error(
        "the state directory {path} is in use by another leaseholdd, process {pid}. Stop that one first, or give this one a state_dir of its own"
    )]
    Locked {
        /// Which.
        path: String,
        /// The other's process ID, as it wrote it.
        pid: String,
    },
}

/// A state directory that is ours alone while this value lives.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Takes the directory: makes it where it is not there, closes it to others, and locks it.
    ///
    /// # Errors
    /// See [`StateDirFault`].
    pub fn open(path: &Path) -> Result<Self, StateDirFault> {
        let shown = || path.display().to_string();
        let own = geteuid().as_raw();
        let found = match fs::metadata(path) {
            Err(fault) if fault.kind() == ErrorKind::NotFound => {
                DirBuilder::new().mode(0o700).create(path).map_err(|fault| StateDirFault::Missing {
                    path: shown(),
                    own,
                    group: getegid().as_raw(),
                    fault,
                })?;
                fs::metadata(path)
            }
            other => other,
        };
        let found = found.map_err(|fault| StateDirFault::ReadOnly { path: shown(), own, fault })?;
        if !found.is_dir() {
            return Err(StateDirFault::NotADirectory(shown()));
        }
        if found.uid() != own {
            return Err(StateDirFault::WrongOwner { path: shown(), owner: found.uid(), own });
        }
        let mode = found.mode() & 0o7777;
        if mode & 0o077 != 0 {
            fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(|fault| StateDirFault::Open {
                path: shown(),
                mode,
                fault,
            })?;
            tracing::warn!(
                "the state directory {} was open to others (mode {mode:04o}); it is 0700 now",
                path.display()
            );
        }
        let lock = Self::lock(path, own)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    fn lock(path: &Path, own: u32) -> Result<File, StateDirFault> {
        let shown = || path.display().to_string();
        let read_only = |fault| StateDirFault::ReadOnly { path: shown(), own, fault };
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(read_only)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                // Whoever holds the lock writes its number at once; an empty file is a daemon that starts this moment.
                let _ = Read::by_ref(&mut lock).take(20).read_to_string(&mut pid);
                let pid = pid.trim();
                let pid = if pid.is_empty() { "(starting just now)" } else { pid };
                return Err(StateDirFault::Locked { path: shown(), pid: pid.to_owned() });
            }
            Err(fault) => return Err(read_only(fault.into())),
        }
        let written =
            lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| writeln!(lock, "{}", std::process::id()));
        written.map_err(read_only)?;
        Ok(lock)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.path.join("leasehold.db")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(path: &Path) -> StateDirFault {
        StateDir::open(path).unwrap_err()
    }

    #[test]
    fn a_second_daemon_is_told_which_process_has_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let held = StateDir::open(&path).unwrap();
        let message = fault(&path).to_string();
        assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
        drop(held);
        StateDir::open(&path).unwrap();
    }

    #[test]
    fn a_directory_that_others_can_read_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let _state = StateDir::open(dir.path()).unwrap();
        assert_eq!(fs::metadata(dir.path()).unwrap().mode() & 0o7777, 0o700);
    }

    #[test]
    fn what_is_no_directory_is_refused_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(fault(&file).to_string().contains("is not a directory"));
        let missing = fault(&dir.path().join("a/b"));
        assert!(missing.to_string().contains(&format!("install -d -m 0700 -o {}", geteuid().as_raw())), "{missing}");
    }
}
