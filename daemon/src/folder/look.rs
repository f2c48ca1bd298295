//! One look at the watched folder: what lies there, which of it rests, and the bytes of that. Time is an argument, and
//! nothing is judged here.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    sync::Arc,
};

use leasehold_keys::{digest::Sha256, note::NOTE_MAX_BYTES, refusal::Reason};

use super::name::{Sort, fault_of, is_ignored, is_note, sort_of};
use crate::files::{ReadFault, Room, Stamp};

/// The most files that are looked at.
pub(super) const FILES_MAX: usize = 1_000;
/// The most bytes of all files together.
pub(super) const BYTES_MAX: usize = 32 * 1_024 * 1_024;
/// The most names that are listed, files of other kinds among them.
const NAMES_MAX: usize = 20_000;
/// The most names that are told as ignored.
const IGNORED_MAX: usize = 100;
/// A file rests when it has not changed for so long.
pub(super) const REST_MS: u64 = 250;
/// A file that has changed at every look for so long is refused until it rests.
const RESTLESS_MS: u64 = 60_000;

/// What lies under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// It rests: these bytes.
    Bytes(Arc<[u8]>),
    /// It is still being written, for all that can be seen.
    Waiting,
    /// It is not to be read: a stable reason, what is wrong, what to do.
    Refused(&'static str, String),
}

/// One name that is looked at.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) name: OsString,
    pub(super) sort: Sort,
    pub(super) content: Content,
}

/// All that one look shows.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// By name.
    pub(super) candidates: Vec<Candidate>,
    /// Names that are not looked at and no temporary files, the first of them.
    pub(super) ignored: BTreeSet<OsString>,
    /// Names of notes that lie there.
    pub(super) notes: BTreeSet<OsString>,
    /// Why the folder, or part of it, cannot be seen.
    pub(super) fault: Option<String>,
    /// True where something differs from the look before.
    pub(super) changed: bool,
    /// Something waits: look again after so long.
    pub(super) again_ms: Option<u64>,
}

/// What was accepted before: those files need not rest again, and come first where the folder is too full.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownFiles {
    pub(super) names: BTreeSet<OsString>,
    pub(super) digests: BTreeSet<Sha256>,
}

/// A name as the last look saw it.
#[derive(Debug)]
struct Seen {
    stamp: Stamp,
    /// When it was first seen in this state.
    since_ms: u64,
    /// Since when it has not rested.
    restless_since_ms: u64,
    /// What it is, once it rests.
    settled: Option<Content>,
}

/// Looks at one folder, again and again.
#[derive(Debug)]
pub(super) struct Scanner {
    folder: PathBuf,
    seen: BTreeMap<OsString, Seen>,
    /// The outcome of the last look, to tell whether anything changed.
    last: Vec<(OsString, Content)>,
    last_fault: Option<String>,
    last_ignored: BTreeSet<OsString>,
}

impl Scanner {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, seen: BTreeMap::new(), last: Vec::new(), last_fault: None, last_ignored: BTreeSet::new() }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Looks at the folder at `now_ms`, on any clock that only rises.
    pub(super) fn look(&mut self, now_ms: u64, known: &KnownFiles) -> Look {
        let mut look = Look::default();
        match Room::open(&self.folder).and_then(|room| Ok((room.names(NAMES_MAX)?, room))) {
            Ok(((names, more), room)) => {
                look.notes = names.iter().filter(|name| is_note(name)).cloned().collect();
                let ignored: BTreeSet<OsString> = names.iter().filter(|name| is_ignored(name)).cloned().collect();
                look.ignored = ignored.into_iter().take(IGNORED_MAX).collect();
                let mut names: BTreeSet<OsString> = names.into_iter().filter(|name| sort_of(name).is_some()).collect();
                if more {
                    look.fault = Some(format!(
                        "The folder holds more than {NAMES_MAX} names; not all were looked at. Remove what does not belong there."
                    ));
                    // Which names a full folder shows is chance; those of accepted files are asked for.
                    names.extend(known.names.iter().filter(|name| sort_of(name).is_some()).cloned());
                }
                self.read_all(&room, names, now_ms, known, &mut look);
            }
            Err(fault) => {
                self.seen.clear();
                look.fault = Some(format!(
                    "The folder {} cannot be read: {fault}. Files accepted before go on for 72 hours; check that it is there, mounted, and \
                     readable for the daemon.",
                    self.folder.display()
                ));
            }
        }
        let outcome: Vec<(OsString, Content)> =
            look.candidates.iter().map(|found| (found.name.clone(), found.content.clone())).collect();
        look.changed = outcome != self.last || look.fault != self.last_fault || look.ignored != self.last_ignored;
        self.last = outcome;
        self.last_ignored.clone_from(&look.ignored);
        self.last_fault.clone_from(&look.fault);
        look
    }

    fn read_all(&mut self, room: &Room, names: BTreeSet<OsString>, now_ms: u64, known: &KnownFiles, look: &mut Look) {
        self.seen.retain(|name, _| names.contains(name));
        let (first, rest): (Vec<&OsString>, Vec<&OsString>) =
            names.iter().partition(|name| known.names.contains(*name));
        let mut bytes_left = BYTES_MAX;
        for (index, name) in first.into_iter().chain(rest).enumerate() {
            let Some(sort) = sort_of(name) else { continue };
            let content = if index < FILES_MAX { self.read_one(room, name, now_ms, known) } else { Some(too_many()) };
            let content = match content {
                Some(Content::Bytes(bytes)) if bytes.len() > bytes_left => too_many(),
                Some(content) => content,
                // It went away between the listing and now.
                None => continue,
            };
            match &content {
                Content::Bytes(bytes) => bytes_left -= bytes.len(),
                Content::Waiting => look.again_ms = Some(REST_MS),
                Content::Refused(..) => {}
            }
            if self.seen.get(name).is_some_and(|seen| seen.settled.is_none()) {
                look.again_ms = Some(REST_MS);
            }
            look.candidates.push(Candidate { name: name.clone(), sort, content });
        }
        look.candidates.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// What lies under a name now; `None` where nothing does.
    fn read_one(&mut self, room: &Room, name: &OsStr, now_ms: u64, known: &KnownFiles) -> Option<Content> {
        if let Some(fault) = fault_of(name) {
            return Some(Content::Refused("bad-name", format!("{fault}. Rename the file.")));
        }
        let stamp = match room.stamp(name) {
            Ok(stamp) => stamp,
            Err(fault) => {
                self.seen.remove(name);
                return refused(fault);
            }
        };
        let before = self.seen.get(name);
        if let Some(settled) = before.filter(|seen| seen.stamp == stamp).and_then(|seen| seen.settled.clone()) {
            return Some(settled);
        }
        let since_ms = before.filter(|seen| seen.stamp == stamp).map_or(now_ms, |seen| seen.since_ms);
        let restless_since_ms =
            before.filter(|seen| seen.settled.is_none()).map_or(now_ms, |seen| seen.restless_since_ms);
        let rests = now_ms.saturating_sub(since_ms) >= REST_MS;
        let (settled, after) = match room.read(name, NOTE_MAX_BYTES as u64) {
            Ok((bytes, after)) => {
                let settled = (after == stamp && rests) || known.digests.contains(&Sha256::of(&bytes));
                (settled.then(|| Content::Bytes(bytes.into())), after)
            }
            Err(fault) => {
                let after = if let ReadFault::TooLarge { stamp, .. } = fault { stamp } else { stamp };
                // Someone who copies a file may give it its mode, or cut it to its length, at the end.
                (if rests && after == stamp { Some(refused(fault)?) } else { None }, after)
            }
        };
        let content = settled.clone().unwrap_or_else(|| {
            if now_ms.saturating_sub(restless_since_ms) >= RESTLESS_MS {
                Content::Refused("still-changing", "The file has kept changing for a minute. Copy it under another name and rename it when it is whole.".to_owned())
            } else {
                Content::Waiting
            }
        });
        let since_ms = if after == stamp { since_ms } else { now_ms };
        self.seen.insert(name.to_owned(), Seen { stamp: after, since_ms, restless_since_ms, settled });
        Some(content)
    }
}

fn too_many() -> Content {
    Content::Refused(
        "folder-full",
        format!(
            "The folder holds more than {FILES_MAX} files or {} MiB. Remove files that are no longer needed; those accepted before are looked at first.",
            BYTES_MAX / 1_024 / 1_024
        ),
    )
}

/// A fault in the words of an administrator; `None` where the file is gone.
fn refused(fault: ReadFault) -> Option<Content> {
    let (reason, what) = match &fault {
        ReadFault::Missing => return None,
        ReadFault::NotRegular(kind) => (Reason::NotARegularFile, format!("This is a {kind}, not a regular file")),
        ReadFault::TooLarge { bytes, most, .. } => {
            (Reason::TooLarge, format!("The file has {bytes} bytes; a signed file has at most {most}"))
        }
        ReadFault::Io(fault) => (Reason::Unreadable, format!("The file cannot be read: {fault}")),
    };
    Some(Content::Refused(reason.code(), format!("{what}. {}", reason.remedy())))
}
