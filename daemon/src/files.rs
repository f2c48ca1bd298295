//! How the daemon touches files that others can touch too: read once, bounded, never through a link or a pipe; written
//! whole under a temporary name and renamed into place. Nothing here knows what the files mean.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::Path,
};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, fstat, openat, renameat, renameat_with, statat, unlinkat,
};

/// The prefix of temporary files. It begins with a dot, so that the watched folder ignores them.
pub(crate) const TEMPORARY_PREFIX: &str = ".leasehold-";

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(file: &File) -> io::Result<Self> {
        let facts = file.metadata()?;
        Ok(Self {
            device: facts.dev(),
            inode: facts.ino(),
            size: facts.size(),
            modified: (facts.mtime(), facts.mtime_nsec()),
            changed: (facts.ctime(), facts.ctime_nsec()),
        })
    }
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadFault {
    /// It is not there.
    #[error("it is not there")]
    Missing,
    /// Something other than a file stands there.
    #[error("it is a {0}, not a regular file")]
    NotRegular(&'static str),
    /// More bytes than allowed.
    #[error("it has {bytes} bytes; at most {most} are allowed")]
    TooLarge {
        /// Bytes found.
        bytes: u64,
        /// Bytes allowed.
        most: u64,
        /// The state it was in.
        stamp: Stamp,
    },
    /// The operating system's refusal.
    #[error("it cannot be read: {0}")]
    Io(io::Error),
}

impl From<io::Error> for ReadFault {
    fn from(fault: io::Error) -> Self {
        match fault.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
            Some(rustix::io::Errno::NOENT) => ReadFault::Missing,
            Some(rustix::io::Errno::LOOP) => ReadFault::NotRegular("link"),
            Some(rustix::io::Errno::NXIO) => ReadFault::NotRegular("socket or device"),
            _ => ReadFault::Io(fault),
        }
    }
}

impl From<rustix::io::Errno> for ReadFault {
    fn from(fault: rustix::io::Errno) -> Self {
        io::Error::from(fault).into()
    }
}

/// A folder, held open: names are looked up in it and nowhere else, whatever becomes of its path.
#[derive(Debug)]
pub(crate) struct Room(OwnedFd);

impl Room {
    /// Opens a folder.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// Device and inode: another folder under the same path, as after a mount, is another room.
    pub(crate) fn place(&self) -> io::Result<(u64, u64)> {
        let facts = File::from(self.0.try_clone()?).metadata()?;
        Ok((facts.dev(), facts.ino()))
    }

    /// Its names, at most `most` of them, in no order; and whether there are more.
    pub(crate) fn names(&self, most: usize) -> io::Result<(Vec<std::ffi::OsString>, bool)> {
        use std::os::unix::ffi::OsStrExt as _;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.0)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            if names.len() == most {
                return Ok((names, true));
            }
            names.push(OsStr::from_bytes(name).to_owned());
        }
        Ok((names, false))
    }

    /// Reads a regular file of at most `most` bytes, once, with the state in which it was read. Nothing is followed, and
    /// nothing blocks on a pipe.
    pub(crate) fn read(&self, name: &OsStr, most: u64) -> Result<(Vec<u8>, Stamp), ReadFault> {
        let (file, stamp) = self.open_regular(name)?;
        if stamp.size > most {
            return Err(ReadFault::TooLarge { bytes: stamp.size, most, stamp });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(stamp.size).unwrap_or(0));
        (&file).take(most + 1).read_to_end(&mut bytes)?;
        // A file that grew under our eyes has another stamp at the next look; the bytes are judged by their own number.
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if length > most {
            return Err(ReadFault::TooLarge { bytes: length, most, stamp });
        }
        let after = Stamp::of(&file)?;
        Ok((bytes, after))
    }

    /// As [`Self::read`], with the owner and mode of the very file that was read.
    pub(crate) fn read_with_facts(&self, name: &OsStr, most: u64) -> Result<(Vec<u8>, std::fs::Metadata), ReadFault> {
        let (file, stamp) = self.open_regular(name)?;
        let mut bytes = Vec::new();
        (&file).take(most + 1).read_to_end(&mut bytes)?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if length > most {
            return Err(ReadFault::TooLarge { bytes: length, most, stamp });
        }
        Ok((bytes, file.metadata()?))
    }

    /// The state of a regular file, without its bytes.
    pub(crate) fn stamp(&self, name: &OsStr) -> Result<Stamp, ReadFault> {
        let facts = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if let Some(other) = not_regular(FileType::from_raw_mode(facts.st_mode)) {
            return Err(ReadFault::NotRegular(other));
        }
        let wide = |seconds, nanoseconds| (seconds, i64::try_from(nanoseconds).unwrap_or(0));
        Ok(Stamp {
            device: facts.st_dev,
            inode: facts.st_ino,
            size: u64::try_from(facts.st_size).unwrap_or(u64::MAX),
            modified: wide(facts.st_mtime, facts.st_mtime_nsec),
            changed: wide(facts.st_ctime, facts.st_ctime_nsec),
        })
    }

    fn open_regular(&self, name: &OsStr) -> Result<(File, Stamp), ReadFault> {
        // Looked at before it is opened, since opening a device can do things; and again when it is open, since what
        // stands there may have been exchanged in between.
        self.stamp(name)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(&self.0, name, flags, Mode::empty())?;
        if let Some(other) = not_regular(FileType::from_raw_mode(fstat(&file)?.st_mode)) {
            return Err(ReadFault::NotRegular(other));
        }
        let file = File::from(file);
        let stamp = Stamp::of(&file)?;
        Ok((file, stamp))
    }

    /// Puts `bytes` under `name`: a new file of `mode`, renamed into place when it is on disk. A link that stands there
    /// is replaced, not followed; what stood there before stays whole if anything fails.
    pub(crate) fn replace(&self, name: &OsStr, bytes: &[u8], mode: u32) -> io::Result<()> {
        let temporary = format!("{TEMPORARY_PREFIX}{}.tmp", uuid::Uuid::new_v4().simple());
        let written = self.write_new(OsStr::new(&temporary), bytes, mode).and_then(|()| {
            renameat(&self.0, temporary.as_str(), &self.0, name)?;
            // Without this the rename may be lost with the power.
            Ok(rustix::fs::fsync(&self.0)?)
        });
        if written.is_err() {
            // It may never have been made, or have been renamed already; there is nothing else to undo.
            let _ = unlinkat(&self.0, temporary.as_str(), AtFlags::empty());
        }
        written
    }

    /// As [`Self::replace`], but only where nothing stands under `name`; false where something does.
    pub(crate) fn add(&self, name: &OsStr, bytes: &[u8], mode: u32) -> io::Result<bool> {
        if statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return Ok(false);
        }
        let temporary = format!("{TEMPORARY_PREFIX}{}.tmp", uuid::Uuid::new_v4().simple());
        let added = self.write_new(OsStr::new(&temporary), bytes, mode).and_then(|()| {
            let renamed = renameat_with(&self.0, temporary.as_str(), &self.0, name, RenameFlags::NOREPLACE);
            match renamed {
                Err(rustix::io::Errno::EXIST) => return Ok(false),
                // Some file systems cannot; what appeared since the look above would be replaced.
                Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                    renameat(&self.0, temporary.as_str(), &self.0, name)?;
                }
                renamed => renamed?,
            }
            rustix::fs::fsync(&self.0)?;
            Ok(true)
        });
        if !matches!(added, Ok(true)) {
            let _ = unlinkat(&self.0, temporary.as_str(), AtFlags::empty());
        }
        added
    }

    fn write_new(&self, name: &OsStr, bytes: &[u8], mode: u32) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.0, name, flags, Mode::from_raw_mode(mode))?);
        file.write_all(bytes)?;
        file.sync_all()
    }

    /// Takes a name away; a name that is gone already is no error.
    pub(crate) fn remove(&self, name: &OsStr) -> io::Result<()> {
        match unlinkat(&self.0, name, AtFlags::empty()) {
            Err(rustix::io::Errno::NOENT) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Gives a file of this room to the room's owner.
    pub(crate) fn give_to_owner(&self, name: &OsStr) -> io::Result<()> {
        let facts = fstat(&self.0)?;
        let (uid, gid) = (rustix::fs::Uid::from_raw(facts.st_uid), rustix::fs::Gid::from_raw(facts.st_gid));
        Ok(rustix::fs::chownat(&self.0, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

impl AsFd for Room {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Reads one regular file by its path; see [`Room::read`].
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>, ReadFault> {
    let (room, name) = room_of(path)?;
    Ok(room.read(name, most)?.0)
}

/// Replaces one file by its path; see [`Room::replace`].
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (room, name) = room_of(path)?;
    room.replace(name, bytes, mode)
}

/// The folder of a path, opened, and the name in it.
pub(crate) fn room_of(path: &Path) -> io::Result<(Room, &OsStr)> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((Room::open(folder)?, name))
}

/// Makes a folder of mode 0700 where none is.
pub(crate) fn make_private_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// What people call a thing that is no regular file; `None` for one that is.
fn not_regular(kind: FileType) -> Option<&'static str> {
    match kind {
        FileType::RegularFile => None,
        FileType::Directory => Some("folder"),
        FileType::Symlink => Some("link"),
        FileType::Fifo => Some("FIFO"),
        FileType::Socket => Some("socket"),
        FileType::CharacterDevice | FileType::BlockDevice => Some("device"),
        FileType::Unknown => Some("thing of unknown kind"),
    }
}
