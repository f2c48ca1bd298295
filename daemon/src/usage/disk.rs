//! The folder of usage files, through one narrow seam: every change of it is counted here, so that a test can let the
//! process die, or the disk be full, at any of them. Nothing here knows what the files say.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use ring::digest;
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, openat, renameat, renameat_with, statat, unlinkat},
    io::Errno,
};

use crate::files::{Room, TEMPORARY_PREFIX, make_private_folder};

/// Between the name that a file had and the number under which it was set aside.
const ASIDE: &str = ".aside-";
/// So many names are tried for a file that is set aside.
const ASIDE_MAX: u32 = 10_000;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 64 * 1_024;

/// What stands under a name.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) bytes: u64,
    pub(super) sha256: digest::Digest,
}

/// The name that a file had which was set aside as `name`.
pub(super) fn before_aside(name: &str) -> Option<&str> {
    let (before, number) = name.rsplit_once(ASIDE)?;
    number.parse::<u32>().ok().map(|_| before)
}

/// The folder `usage/` of a state directory.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    #[cfg(test)]
    pub(super) fate: std::sync::Arc<fate::Fate>,
}

impl Disk {
    pub(super) fn new(state_directory: &Path) -> Self {
        Self {
            path: state_directory.join("usage"),
            #[cfg(test)]
            fate: std::sync::Arc::default(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opened anew each time: it may have been moved away and back, or mounted over.
    fn room(&self) -> io::Result<Room> {
        Room::open(&self.path)
    }

    /// How many bytes `bytes` may be written of at this moment: all of them, but in tests.
    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests ask their fate here")]
    fn may_write(&self, bytes: usize) -> (usize, io::Result<()>) {
        (bytes, Ok(()))
    }

    #[cfg(test)]
    fn may_write(&self, bytes: usize) -> (usize, io::Result<()>) {
        self.fate.decide(bytes)
    }

    /// The same for what is done whole or not at all.
    fn may(&self) -> io::Result<()> {
        self.may_write(0).1
    }

    /// Makes the folder where it is not there, and removes what an interrupted replacement left in it.
    pub(super) fn prepare(&self) -> io::Result<()> {
        self.may()?;
        make_private_folder(&self.path)?;
        let room = self.room()?;
        let (names, _) = room.names(usize::MAX)?;
        for name in names {
            if name.to_str().is_some_and(|name| name.starts_with(TEMPORARY_PREFIX)) {
                room.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Appends to a file that is `offset` bytes long; at 0 it must not be there.
    pub(super) fn append(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (most, verdict) = match self.may_write(bytes.len()) {
            (0, Err(fault)) => return Err(fault),
            other => other,
        };
        if offset == 0 {
            make_private_folder(&self.path)?;
        }
        let room = self.room()?;
        let how = if offset == 0 { OFlags::CREATE | OFlags::EXCL } else { OFlags::APPEND };
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | how;
        let mut file = File::from(openat(&room, name, flags, Mode::from_raw_mode(0o600))?);
        let there = regular(&file)?;
        if there != offset {
            return Err(io::Error::other(format!("{name} has {there} bytes and should have {offset}")));
        }
        file.write_all(bytes.get(..most).unwrap_or(bytes))?;
        verdict
    }

    /// Puts a file in the place of whatever stands under that name: whole and synced, or not at all.
    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.may()?;
        make_private_folder(&self.path)?;
        let room = self.room()?;
        let temporary = format!("{TEMPORARY_PREFIX}{}.tmp", uuid::Uuid::new_v4().simple());
        let written = self.write_new(&room, &temporary, bytes).and_then(|()| {
            self.may()?;
            Ok(renameat(&room, temporary.as_str(), &room, name)?)
        });
        // A process that dies removes nothing.
        if written.is_err() && self.may().is_ok() {
            let _ = unlinkat(&room, temporary.as_str(), AtFlags::empty());
        }
        written?;
        self.may()?;
        Ok(rustix::fs::fsync(&room)?)
    }

    fn write_new(&self, room: &Room, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (most, verdict) = self.may_write(bytes.len());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(room, name, flags, Mode::from_raw_mode(0o600))?);
        file.write_all(bytes.get(..most).unwrap_or(bytes))?;
        verdict?;
        self.may()?;
        file.sync_all()
    }

    /// Gives whatever stands under a name another one that is free, durably; tells which.
    pub(super) fn set_aside(&self, name: &str) -> io::Result<String> {
        self.may()?;
        let room = self.room()?;
        for number in 1..=ASIDE_MAX {
            let aside = format!("{name}{ASIDE}{number}");
            if statat(&room, aside.as_str(), AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                continue;
            }
            match renameat_with(&room, name, &room, aside.as_str(), RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => continue,
                // Some file systems cannot, and nobody else gives such names.
                Err(Errno::INVAL | Errno::NOSYS) => renameat(&room, name, &room, aside.as_str())?,
                renamed => renamed?,
            }
            self.may()?;
            rustix::fs::fsync(&room)?;
            return Ok(aside);
        }
        Err(io::Error::other(format!("{name} is to be set aside, and no name is free for it")))
    }

    /// Names of files that were set aside, in order; none where there is no folder.
    pub(super) fn aside(&self) -> io::Result<Vec<String>> {
        let names = match self.room() {
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            room => room?.names(usize::MAX)?.0,
        };
        let mut names: Vec<String> = names.into_iter().filter_map(|name| name.into_string().ok()).collect();
        names.retain(|name| before_aside(name).is_some());
        names.sort_unstable();
        Ok(names)
    }

    /// Makes a file and its name durable.
    pub(super) fn sync(&self, name: &str) -> io::Result<()> {
        self.may()?;
        let room = self.room()?;
        let file = open(&room, name)?;
        file.sync_all()?;
        self.may()?;
        Ok(rustix::fs::fsync(&room)?)
    }

    /// Takes a file away; one that is gone already is no error.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        self.may()?;
        match self.room() {
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(()),
            room => room?.remove(OsStr::new(name)),
        }
    }

    /// How long a file is; `None` where there is none.
    pub(super) fn length(&self, name: &str) -> io::Result<Option<u64>> {
        match self.room().and_then(|room| regular(&open(&room, name)?)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// The first `most` bytes of a file; `None` where there is none.
    pub(super) fn read(&self, name: &str, most: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match self.room().and_then(|room| open(&room, name)) {
            Ok(file) => file,
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(fault) => return Err(fault),
        };
        regular(&file)?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Reads the first `most` bytes of a file and hashes them; `None` where there is no file.
    pub(super) fn hash(&self, name: &str, most: u64) -> io::Result<Option<Found>> {
        let file = match self.room().and_then(|room| open(&room, name)) {
            Ok(file) => file,
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(fault) => return Err(fault),
        };
        regular(&file)?;
        let mut context = digest::Context::new(&digest::SHA256);
        let (mut bytes, mut from) = (0, file.take(most));
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = from.read(&mut piece)?;
            if read == 0 {
                return Ok(Some(Found { bytes, sha256: context.finish() }));
            }
            bytes += read as u64;
            context.update(piece.get(..read).unwrap_or_default());
        }
    }
}

fn open(room: &Room, name: &str) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(File::from(openat(room, name, flags, Mode::empty())?))
}

/// The length of what must be a regular file.
fn regular(file: &File) -> io::Result<u64> {
    let facts = rustix::fs::fstat(file)?;
    if FileType::from_raw_mode(facts.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("something else than a file stands there"));
    }
    Ok(u64::try_from(facts.st_size).unwrap_or(0))
}

#[cfg(test)]
pub(super) mod fate {
    //! What befalls the disk in a test.

    use std::{
        io,
        sync::atomic::{AtomicBool, AtomicU64, Ordering},
    };

    #[derive(Debug)]
    pub(crate) struct Fate {
        /// Changes so far.
        changes: AtomicU64,
        /// The process dies at this one.
        dies_at: AtomicU64,
        /// The next process dies after so many.
        next: AtomicU64,
        dead: AtomicBool,
        full: AtomicBool,
    }

    impl Default for Fate {
        fn default() -> Self {
            Self {
                changes: AtomicU64::new(0),
                dies_at: AtomicU64::new(u64::MAX),
                next: AtomicU64::new(u64::MAX),
                dead: AtomicBool::new(false),
                full: AtomicBool::new(false),
            }
        }
    }

    impl Fate {
        /// The process dies at the change after so many more.
        pub(crate) fn die_after(&self, changes: u64) {
            self.dies_at.store(self.changes().saturating_add(changes), Ordering::Relaxed);
        }

        /// The next process dies at the change after so many.
        pub(crate) fn die_at_next_start(&self, changes: u64) {
            self.next.store(changes, Ordering::Relaxed);
        }

        /// Another process starts.
        pub(crate) fn revive(&self) {
            if self.dead.swap(false, Ordering::Relaxed) {
                self.spare();
            }
            let next = self.next.swap(u64::MAX, Ordering::Relaxed);
            if next != u64::MAX {
                self.die_after(next);
            }
        }

        /// No process dies by itself any more.
        pub(crate) fn spare(&self) {
            self.dies_at.store(u64::MAX, Ordering::Relaxed);
        }

        pub(crate) fn changes(&self) -> u64 {
            self.changes.load(Ordering::Relaxed)
        }

        pub(crate) fn is_dead(&self) -> bool {
            self.dead.load(Ordering::Relaxed)
        }

        pub(crate) fn set_full(&self, full: bool) {
            self.full.store(full, Ordering::Relaxed);
        }

        /// A change that is none of the folder's, such as a commit: true where it must not happen any more.
        pub(crate) fn dies_here(&self) -> bool {
            self.decide(0).1.is_err() && self.is_dead()
        }

        pub(super) fn decide(&self, bytes: usize) -> (usize, io::Result<()>) {
            let number = self.changes.fetch_add(1, Ordering::Relaxed);
            if self.is_dead() {
                return (0, Err(io::Error::other("the process is dead")));
            }
            if number == self.dies_at.load(Ordering::Relaxed) {
                self.dead.store(true, Ordering::Relaxed);
                // Torn in the middle.
                return (bytes / 2, Err(io::Error::other("the process dies")));
            }
            if bytes > 0 && self.full.load(Ordering::Relaxed) {
                return (bytes / 3, Err(io::ErrorKind::StorageFull.into()));
            }
            (bytes, Ok(()))
        }
    }
}
