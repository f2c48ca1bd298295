//! What a lease is, as its holder sees it: plain values, with nothing behind them.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, SystemTime},
};

use crate::refusal::{Ended, Refusal};

/// The number of a grant. It rises with every grant for ever, over restarts, and so serves as a fencing number
/// (LEASE-4): whoever holds the higher one came later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(u64);

impl LeaseId {
    pub(crate) const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A lease in its present details. Fields that do not apply are empty.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Lease {
    /// The grant's number.
    pub id: LeaseId,
    /// The user that logged on.
    pub user: String,
    /// The station used.
    pub station: String,
    /// The telephone number of a dynamic remote logon (STATION-4).
    pub remote_number: String,
    /// The computer of a primary logon (ALLOC-8).
    pub computer: String,
    /// The application that the lease serves.
    pub application: String,
    /// The keys held, and where each comes from.
    pub keys: Vec<HeldKey>,
    /// Keys given to the subject that could not be had (ALLOC-6).
    pub missing: Vec<MissingKey>,
    /// What the holder should know though the lease was granted.
    pub warnings: Vec<Warning>,
    /// Interaction types that the user may receive.
    pub interaction_types: Vec<String>,
    /// How long the lease lives without a renewal; 10 s to 24 h.
    pub ttl: Duration,
    /// The lease ends after this, counted from its grant or last change, whatever is renewed.
    pub ends_in: Option<Duration>,
    /// Why it ends then.
    pub end_reason: String,
    /// When it was granted, by the server's wall clock.
    pub granted_at: Option<SystemTime>,
    /// Whether it is marked idle.
    pub idle: bool,
    /// The lease as a token that the server's installation signed, where the request asked for it
    /// ([`signed`](crate::Logon::signed)). It shows the lease as it was granted: once keys have joined or left it, have it
    /// [signed](crate::Client::sign) anew.
    pub token: Option<Vec<u8>>,
}

impl Lease {
    /// Whether this key is held.
    #[must_use]
    pub fn holds(&self, key: &str) -> bool {
        self.keys.iter().any(|held| held.key == key)
    }
}

/// A key that a lease holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldKey {
    /// The key.
    pub key: String,
    /// Where it comes from.
    pub source: KeySource,
    /// The pool in which the key counts: where the lease itself has a seat or units, or where the assignment counts upon
    /// which it rests. Empty for keys that come with another one.
    pub pool: String,
    /// Seats or units that the lease itself takes of the pool; 0 where the key rests upon an assignment.
    pub units: u32,
    /// The key that it comes with, for [`KeySource::Included`].
    pub via: String,
}

/// Where a held key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeySource {
    /// Given to the user.
    User,
    /// Given to the station.
    Station,
    /// Comes with another key.
    Included,
    /// Brought by the way of logging on.
    Logon,
    /// Taken in units by the application server itself.
    Units,
    /// A source that this version of the library does not know.
    Other,
}

/// A key that could not be had, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MissingKey {
    /// The key.
    pub key: String,
    /// Why not.
    pub refusal: Refusal,
}

/// Something that the holder of a lease should know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// Stable, in capitals, such as `MEDIA_LIMITED`.
    pub reason: String,
    /// One plain sentence.
    pub message: String,
    /// What the sentence says, by name.
    pub facts: BTreeMap<String, String>,
}

/// Whether a lease may be relied upon (LEASE-5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseState {
    /// Renewed lately: begin what you like.
    Confirmed,
    /// No renewal was answered since 0.8 × TTL. What runs (a call) goes on; nothing new starts. The next renewal
    /// restores it.
    Unconfirmed,
    /// Over, for this reason.
    Ended(Ended),
}

/// What becomes of a lease while it is held.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum LeaseEvent {
    /// It will end unless something is done.
    Warned {
        /// Stable, in capitals, such as `IDLE`.
        reason: String,
        /// One plain sentence.
        message: String,
        /// How long until then, where it is known.
        ends_in: Option<Duration>,
    },
    /// Keys joined or left it.
    Changed {
        /// Keys that it holds now and did not before.
        added: Vec<String>,
        /// Keys that it held before and does not now.
        removed: Vec<String>,
    },
    /// It has ended. Nothing follows.
    Ended(Ended),
}

/// The site-wide and counted keys, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SiteKeys {
    /// Whether a server has told them yet.
    pub known: bool,
    /// The keys.
    pub keys: BTreeMap<String, SiteKey>,
}

impl SiteKeys {
    /// Whether this key is licensed, as far as is known.
    #[must_use]
    pub fn licensed(&self, key: &str) -> bool {
        self.keys.get(key).is_some_and(|key| key.licensed)
    }
}

/// A site-wide or counted key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SiteKey {
    /// Granted, and all that it requires.
    pub licensed: bool,
    /// A count, or `unlimited`.
    pub units: String,
    /// Why it is not licensed, naming what is missing.
    pub reason: String,
    /// `server`, `feature`, `engine`, `session` or `hardware`; empty for a key that the site's files do not define.
    pub kind: String,
}
