//! What was asked of the daemon, as its askers know it.

use leasehold_engine::ids::{Identity, RequestId};

use super::vendor::Key;

/// A request for a lease.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Whose.
    pub(crate) app: usize,
    pub(crate) identity: u8,
    /// By a call of its own, not by the stream.
    pub(crate) unary: bool,
    pub(crate) what: What,
    pub(crate) needed: Vec<Key>,
    pub(crate) ttl_ms: u64,
    pub(crate) wait_ms: u64,
    pub(crate) priority: u8,
    /// Its ID was used again with another TTL.
    pub(crate) reused: bool,
    /// Its answer was acknowledged, so that it may be forgotten.
    pub(crate) received: bool,
    /// A release by the request was asked for.
    pub(crate) release_asked: bool,
    /// When it was first given to the daemon, in the order of all that was; 0: never.
    pub(crate) first_submitted: u64,
    /// It waits: since when in that order, and until when in lease time at least.
    pub(crate) waits: Option<(u64, u64)>,
    /// It may wait still, though nobody is known to wait for it.
    pub(crate) perhaps_waits: bool,
    pub(crate) cancelled: bool,
    /// The last of its repetitions that was refused, in the order of all that was given.
    pub(crate) last_refused: u64,
    /// The lease that it came to.
    pub(crate) lease: Option<u64>,
    /// When that was forgotten, in lease time, where it was.
    pub(crate) forgotten: bool,
}

/// What for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Logon { user: usize, at: At, computer: Option<usize> },
    Station(usize),
    Units { key: Key, units: u32 },
}

/// Where a user logs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Nowhere,
    Station(usize),
    Number,
}

/// The request ID of a request by its place.
pub(crate) fn request_id(ask: usize) -> RequestId {
    RequestId((ask as u128 + 1).to_be_bytes())
}

/// The place of a request by its ID.
pub(crate) fn ask_of(request: RequestId) -> usize {
    usize::try_from(u128::from_be_bytes(request.0).saturating_sub(1)).unwrap_or(usize::MAX)
}

/// The identity of an application server.
pub(crate) fn identity(number: u8) -> Identity {
    Identity::Name(format!("app-{number}").parse().expect("a label"))
}

pub(crate) fn identity_number(identity: &Identity) -> u8 {
    number_of(&identity.to_string())
}

/// The number at the end of a name.
pub(crate) fn number_of(name: &str) -> u8 {
    let digits = name.rfind(|c: char| !c.is_ascii_digit()).map_or(0, |at| at + 1);
    name.get(digits..).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}
