//! The notes of refusal: `NAME.rejected.txt` beside a refused file, in plain words. They are made anew and renamed into
//! place, never written through; where the folder cannot be written they go to the state directory.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
};

use super::{entry::FolderEntry, name::is_note};
use crate::files::{self, Room};

/// The folder of notes in the state directory.
const FOLDER: &str = "rejected";

/// What every note begins with: what does not is somebody else's, and is not removed.
const FIRST_WORDS: &str = "Leasehold refused ";

/// The most bytes of a note that are read to see whether it says the same.
const MAX_BYTES: u64 = 64 * 1_024;

/// Names that are looked at in the state directory's folder.
const NAMES_MAX: usize = 20_000;

/// Where notes are written.
#[derive(Debug)]
pub(super) struct Notes {
    folder: PathBuf,
    fallback: PathBuf,
    /// The folder could not be written at the last attempt: said once.
    said: bool,
}

impl Notes {
    pub(super) fn new(folder: PathBuf, state_directory: &Path) -> Self {
        Self { folder, fallback: state_directory.join(FOLDER), said: false }
    }

    /// Makes the notes say what they must: one for each refused file by its note's name, none for any other. `there`
    /// are the notes that the folder holds.
    pub(super) fn put(&mut self, refused: &BTreeMap<OsString, &FolderEntry>, there: &BTreeSet<OsString>) {
        let beside = self.beside(refused, there);
        if let Err(fault) = self.instead(refused, &beside) {
            tracing::error!(folder = %self.fallback.display(), "Notes of refused files cannot be written: {fault}");
        }
    }

    /// Writes beside the files; gives the names of those notes that stand there now.
    fn beside(&mut self, refused: &BTreeMap<OsString, &FolderEntry>, there: &BTreeSet<OsString>) -> BTreeSet<OsString> {
        // A folder that is gone has no files either.
        let Ok(room) = Room::open(&self.folder) else {
            return BTreeSet::new();
        };
        let mut written = BTreeSet::new();
        let mut fault = None;
        for (name, entry) in refused {
            match say(&room, name, entry) {
                Ok(()) => {
                    written.insert(name.clone());
                }
                Err(error) => fault = Some(error),
            }
        }
        for name in there.iter().filter(|name| !refused.contains_key(*name)) {
            if let Err(error) = unsay(&room, name) {
                fault = fault.or(Some(error));
            }
        }
        if let Some(fault) = &fault
            && !self.said
        {
            tracing::warn!(
                folder = %self.folder.display(), instead = %self.fallback.display(),
                "Notes cannot be written beside refused files: {fault}. They are in the state directory instead"
            );
        }
        self.said = fault.is_some();
        written
    }

    /// Writes into the state directory what could not be written beside the files, and nothing else.
    fn instead(&self, refused: &BTreeMap<OsString, &FolderEntry>, beside: &BTreeSet<OsString>) -> io::Result<()> {
        let missing = refused.iter().filter(|(name, _)| !beside.contains(*name));
        let room = match Room::open(&self.fallback) {
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => {
                if missing.clone().next().is_none() {
                    return Ok(());
                }
                files::make_private_folder(&self.fallback)?;
                Room::open(&self.fallback)?
            }
            other => other?,
        };
        for name in room.names(NAMES_MAX)?.0 {
            if is_note(&name) && (beside.contains(&name) || !refused.contains_key(&name)) {
                unsay(&room, &name)?;
            }
        }
        for (name, entry) in missing {
            say(&room, name, entry)?;
        }
        Ok(())
    }
}

/// Writes one note, unless it says the same already: each rewriting would wake whoever watches the folder.
fn say(room: &Room, name: &OsStr, entry: &FolderEntry) -> io::Result<()> {
    let text = text_of(entry);
    match room.read(name, MAX_BYTES) {
        Ok((there, _)) if there == text.as_bytes() => Ok(()),
        _ => room.replace(name, text.as_bytes(), 0o644),
    }
}

/// Removes a note of ours.
fn unsay(room: &Room, name: &OsStr) -> io::Result<()> {
    match room.read(name, MAX_BYTES) {
        Ok((there, _)) if there.starts_with(FIRST_WORDS.as_bytes()) => room.remove(name),
        _ => Ok(()),
    }
}

/// The note's text. It holds no time: it is to change only when what it says does.
fn text_of(entry: &FolderEntry) -> String {
    let FolderEntry { name, reason, message, .. } = entry;
    format!(
        "{FIRST_WORDS}{name}.\n\n{message}\n\nReason: {reason}\n\nA refused file takes nothing away from what runs. This note is removed when the \
         file is accepted or taken away.\n"
    )
}
