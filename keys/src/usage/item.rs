//! What the records of a usage file say, once opened: who logged on and off, with which keys.

use std::{fmt, sync::Arc};

use super::pseudonym::Pseudonym;
use crate::{
    name::{KeyName, Label},
    time::WallTime,
};

/// The most bytes of a remark's text.
pub const REMARK_MAX_BYTES: usize = 512;

/// A user, by name or under a pseudonym (USAGE-8). A file has users of one sort only: its header says which.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum User {
    /// As the application server named them.
    Plain(Label),
    /// As only the customer can turn back.
    Pseudonym(Pseudonym),
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            User::Plain(name) => write!(f, "{name}"),
            User::Pseudonym(pseudonym) => write!(f, "{pseudonym}"),
        }
    }
}

/// The keys that are applied to a user, over all of the user's sessions: each once, in order. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct KeySet(Arc<[KeyName]>);

impl KeySet {
    /// The keys in order.
    pub fn iter(&self) -> impl Iterator<Item = &KeyName> {
        self.0.iter()
    }

    /// True where `key` is among them.
    pub fn contains(&self, key: &str) -> bool {
        self.0.binary_search_by(|held| held.as_str().cmp(key)).is_ok()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True where there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<KeyName> for KeySet {
    fn from_iter<I: IntoIterator<Item = KeyName>>(keys: I) -> Self {
        let mut keys: Vec<KeyName> = keys.into_iter().collect();
        keys.sort();
        keys.dedup();
        Self(keys.into())
    }
}

/// What a remark is about. Codes are stable; readers show those that they do not know by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RemarkCode(pub u32);

impl RemarkCode {
    /// The wall clock lay more than 10 minutes behind the high-water mark.
    pub const CLOCK_ROLLED_BACK: RemarkCode = RemarkCode(1);
    /// At a start the wall clock lay more than 24 h ahead of the mark, and is not confirmed.
    pub const CLOCK_UNCONFIRMED: RemarkCode = RemarkCode(2);
    /// A signed answer or time note set the trusted clock.
    pub const CLOCK_SET: RemarkCode = RemarkCode(3);
    /// The state directory was restored from an older copy, as far as that can be told.
    pub const STATE_RESTORED: RemarkCode = RemarkCode(4);
}

impl fmt::Display for RemarkCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            RemarkCode::CLOCK_ROLLED_BACK => f.write_str("clock-rolled-back"),
            RemarkCode::CLOCK_UNCONFIRMED => f.write_str("clock-unconfirmed"),
            RemarkCode::CLOCK_SET => f.write_str("clock-set"),
            RemarkCode::STATE_RESTORED => f.write_str("state-restored"),
            RemarkCode(other) => write!(f, "remark-{other}"),
        }
    }
}

/// What is said of the server itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Remark {
    /// When, trusted UTC.
    pub at: WallTime,
    /// What it is about.
    pub code: RemarkCode,
    /// For people: at most [`REMARK_MAX_BYTES`], no control character.
    pub text: String,
}

/// One thing that a record says. Times are trusted UTC, and may go back from one item to the next: the logoff of a
/// lease that expired carries its last renewal (USAGE-9).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Item {
    /// The user is logged on as the file begins. All of these come before the first item of another sort, remarks
    /// aside (USAGE-5).
    Present {
        /// Active since.
        since: WallTime,
        /// Who.
        user: User,
        /// Sessions, above 0.
        counter: u32,
        /// Applied keys.
        keys: KeySet,
    },
    /// A session began.
    Logon {
        /// When.
        at: WallTime,
        /// Who.
        user: User,
        /// Sessions after it, above 0.
        counter: u32,
        /// Keys applied from now on.
        keys: KeySet,
    },
    /// A session ended.
    Logoff {
        /// When.
        at: WallTime,
        /// Who.
        user: User,
        /// Sessions after it.
        counter: u32,
        /// Keys applied from now on; with a counter of 0, those applied until now.
        keys: KeySet,
    },
    /// Other keys are applied within a session.
    KeysChanged {
        /// When.
        at: WallTime,
        /// Who.
        user: User,
        /// Sessions, as before.
        counter: u32,
        /// Keys applied from now on.
        keys: KeySet,
    },
    /// Something about the server.
    Remark(Remark),
}

impl Item {
    /// When; of those present, since when.
    pub fn at(&self) -> WallTime {
        match self {
            Item::Present { since, .. } => *since,
            Item::Logon { at, .. } | Item::Logoff { at, .. } | Item::KeysChanged { at, .. } => *at,
            Item::Remark(remark) => remark.at,
        }
    }

    /// Who, where it is about a user.
    pub fn user(&self) -> Option<&User> {
        match self {
            Item::Present { user, .. }
            | Item::Logon { user, .. }
            | Item::Logoff { user, .. }
            | Item::KeysChanged { user, .. } => Some(user),
            Item::Remark(_) => None,
        }
    }

    /// Sessions after it, where it is about a user.
    pub fn counter(&self) -> Option<u32> {
        match self {
            Item::Present { counter, .. }
            | Item::Logon { counter, .. }
            | Item::Logoff { counter, .. }
            | Item::KeysChanged { counter, .. } => Some(*counter),
            Item::Remark(_) => None,
        }
    }

    /// Applied keys, where it is about a user.
    pub fn keys(&self) -> Option<&KeySet> {
        match self {
            Item::Present { keys, .. }
            | Item::Logon { keys, .. }
            | Item::Logoff { keys, .. }
            | Item::KeysChanged { keys, .. } => Some(keys),
            Item::Remark(_) => None,
        }
    }

    /// `present`, `logon`, `logoff`, `keys-changed` or `remark`.
    pub fn kind(&self) -> &'static str {
        match self {
            Item::Present { .. } => "present",
            Item::Logon { .. } => "logon",
            Item::Logoff { .. } => "logoff",
            Item::KeysChanged { .. } => "keys-changed",
            Item::Remark(_) => "remark",
        }
    }
}
