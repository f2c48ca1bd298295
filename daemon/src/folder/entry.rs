//! What the watched folder holds and what became of it, as status, lists and logs show it.

use std::borrow::Cow;

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryState {
    /// It counts, or has done what it was for.
    Accepted,
    /// It does not count; the entry says why.
    Refused,
    /// A newer one counts in its place; nothing is wrong.
    Superseded,
    /// It is still being written.
    Waiting,
    /// Its name is none that is looked at.
    Ignored,
}

impl EntryState {
    /// The stable name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            EntryState::Accepted => "accepted",
            EntryState::Refused => "refused",
            EntryState::Superseded => "superseded",
            EntryState::Waiting => "waiting",
            EntryState::Ignored => "ignored",
        }
    }
}

/// One file of the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderEntry {
    /// Its name, fit to be shown.
    pub name: String,
    /// What became of it.
    pub state: EntryState,
    /// The stable reason of a refusal; empty otherwise.
    pub reason: Cow<'static, str>,
    /// What happened and, for a refusal, what to do.
    pub message: String,
}

impl FolderEntry {
    pub(super) fn new(name: impl Into<String>, state: EntryState, message: impl Into<String>) -> Self {
        Self { name: name.into(), state, reason: Cow::Borrowed(""), message: message.into() }
    }

    pub(super) fn refused(name: impl Into<String>, reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason: Cow::Borrowed(reason), ..Self::new(name, EntryState::Refused, message) }
    }
}

/// The folder at its last look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FolderView {
    /// Its files, by name.
    pub entries: Vec<FolderEntry>,
    /// Why the folder, or part of it, could not be seen; for people.
    pub fault: Option<String>,
    /// How often the folder was judged as a whole; 0: not yet.
    pub judged: u64,
    /// Why the last look could not be decided, so that all this is older than it; for people. `None` where it was.
    pub undecided: Option<String>,
}
