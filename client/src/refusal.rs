//! Refusals and failures, as an application meets them.
//!
//! A refusal is the server's answer: asking again at once gives it again. A failure to reach a server is no answer, and
//! the library tries again by itself until the caller's deadline.

use std::{collections::BTreeMap, fmt, time::Duration};

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::endpoint::Unreachable;

/// Reasons that programs act upon, as they stand in [`Refusal::reason`] and [`Ended::reason`].
///
/// The server may know more than these: match those that matter and show the message of the others.
pub mod reason {
    /// No seat of the pool is free.
    pub const POOL_EXHAUSTED: &str = "POOL_EXHAUSTED";
    /// The key is given to users by name, and this user has not got it.
    pub const NOT_ASSIGNED: &str = "NOT_ASSIGNED";
    /// The site has no license for the key.
    pub const NOT_LICENSED: &str = "NOT_LICENSED";
    /// The site's enforcement stage refuses it, or has ended the lease: the licensor was not heard of for too long.
    pub const ENFORCED: &str = "ENFORCED";
    /// The lease has ended; the facts say how.
    pub const LEASE_ENDED: &str = "LEASE_ENDED";
    /// No such lease was ever granted here.
    pub const LEASE_UNKNOWN: &str = "LEASE_UNKNOWN";
    /// The server is starting; asked again by the library.
    pub const STARTING: &str = "STARTING";
    /// The server is stopping; asked again by the library, elsewhere where there is an elsewhere.
    pub const DRAINING: &str = "DRAINING";
    /// The server is the standby; asked again by the library at the next server.
    pub const NOT_ACTIVE: &str = "NOT_ACTIVE";
    /// The server cannot store grants now; asked again by the library.
    pub const STORAGE_UNAVAILABLE: &str = "STORAGE_UNAVAILABLE";
    /// The server sheds load; asked again by the library, not before the server's advice.
    pub const OVERLOADED: &str = "OVERLOADED";
    /// Another client of the same name and instance has attached in place of this one.
    pub const DISPLACED: &str = "DISPLACED";
    /// The user logged on at another computer (ALLOC-8). Never asked again by the library.
    pub const LOGGED_ON_ELSEWHERE: &str = "LOGGED_ON_ELSEWHERE";
    /// An administrator ended the lease.
    pub const REVOKED: &str = "REVOKED";
    /// The lease was not renewed in time.
    pub const EXPIRED: &str = "EXPIRED";
    /// The lease was idle for too long.
    pub const IDLE: &str = "IDLE";
    /// Said by the library: the server holds the lease no longer and could not say why.
    pub const GONE: &str = "GONE";
    /// Its holder gave it back.
    pub const RELEASED: &str = "RELEASED";
    /// Said by the library: the client was shut down, which released the lease.
    pub const SHUTDOWN: &str = "SHUTDOWN";
}

/// What a server refused: in words for a person and in facts for a program.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The gRPC status code of the refusal.
    pub code: Code,
    /// Stable, in capitals, such as `POOL_EXHAUSTED`.
    pub reason: String,
    /// One plain sentence: what was refused, why, who holds it, what to do.
    pub message: String,
    /// What the sentence says, by name.
    pub facts: BTreeMap<String, String>,
    /// The server's advice when to ask again.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// Whether nothing was decided, so that the library asks again by itself until the deadline.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(
            self.reason.as_str(),
            reason::STARTING | reason::DRAINING | reason::NOT_ACTIVE | reason::STORAGE_UNAVAILABLE | reason::OVERLOADED
        )
    }

    /// Decodes the refusal in a unary call's status; nothing where the status is not the daemon's own.
    pub(crate) fn from_status(status: &Status) -> Option<Self> {
        let info = status.get_details_error_info()?;
        if info.domain != leasehold_proto::ERROR_DOMAIN {
            return None;
        }
        Some(Self {
            code: status.code(),
            reason: info.reason,
            message: status.message().to_owned(),
            facts: info.metadata.into_iter().collect(),
            retry_after: status.get_details_retry_info().and_then(|retry| retry.retry_delay),
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            write!(f, "the license server refused: {}", self.reason)
        } else {
            write!(f, "{} ({})", self.message, self.reason)
        }
    }
}

impl std::error::Error for Refusal {}

/// Why a lease has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// Stable, in capitals, such as `LOGGED_ON_ELSEWHERE` or `REVOKED`.
    pub reason: String,
    /// One plain sentence for a person.
    pub message: String,
}

impl Ended {
    pub(crate) fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into() }
    }

    /// What a refusal to renew says of the lease.
    pub(crate) fn from_refusal(refusal: Refusal) -> Self {
        match refusal.facts.get("how") {
            Some(how) if refusal.reason == reason::LEASE_ENDED => Self::new(how, refusal.message),
            _ => Self::new(reason::GONE, refusal.message),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            write!(f, "the lease has ended: {}", self.reason)
        } else {
            write!(f, "{} ({})", self.message, self.reason)
        }
    }
}

/// What last stood in the way of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle {
    /// No server could be reached.
    Unreachable(Unreachable),
    /// A server was reached and refused for the time being.
    Refused(Refusal),
    /// A connection failed in the middle.
    Broken(String),
    /// A server was reached and did not answer in time.
    Silence,
    /// As many requests as are allowed at once were in flight all the time.
    Crowded,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(unreachable) => unreachable.fmt(f),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Broken(cause) => write!(f, "the connection to the license server broke: {cause}"),
            Self::Silence => f.write_str("the license server did not answer"),
            Self::Crowded => {
                f.write_str("too many requests are in flight at once; allow more, or ask for less at a time")
            }
        }
    }
}

/// Why no lease was acquired.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// The server refused. Nothing was taken.
    #[error("{0}")]
    Refused(Refusal),
    /// The lease was granted, but it had ended before its answer arrived, such as by the user's logon elsewhere.
    #[error("the lease ended before its answer arrived: {0}")]
    Ended(Ended),
    /// There was no answer by the deadline. Should the lease have been granted all the same, the library gives it
    /// back.
    #[error("no lease within {} ms: {obstacle}", waited.as_millis())]
    NoAnswer {
        /// How long was tried.
        waited: Duration,
        /// What last stood in the way.
        obstacle: Obstacle,
    },
    /// The request is not one that a server would take.
    #[error("the request was not sent: {0}")]
    Invalid(#[from] Invalid),
    /// The client was shut down.
    #[error("no lease: this client has been shut down")]
    Closed,
}

/// Why a request about a lease, or a question, has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The server refused.
    #[error("{0}")]
    Refused(Refusal),
    /// There was no answer by the deadline.
    #[error("no answer within {} ms: {obstacle}", waited.as_millis())]
    NoAnswer {
        /// How long was tried.
        waited: Duration,
        /// What last stood in the way.
        obstacle: Obstacle,
    },
    /// The request is not one that a server would take.
    #[error("the request was not sent: {0}")]
    Invalid(#[from] Invalid),
    /// The client was shut down.
    #[error("not asked: this client has been shut down")]
    Closed,
}

impl From<RequestError> for AcquireError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Refused(refusal) => Self::Refused(refusal),
            RequestError::NoAnswer { waited, obstacle } => Self::NoAnswer { waited, obstacle },
            RequestError::Invalid(invalid) => Self::Invalid(invalid),
            RequestError::Closed => Self::Closed,
        }
    }
}

/// Why a client did not come about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Something that it was built with is not allowed.
    #[error("the client cannot be built: {0}")]
    Invalid(#[from] Invalid),
    /// The file that keeps what installations said could not be read.
    #[error("witness statements cannot be read from {path}: {cause}; correct or remove the file")]
    Witnesses {
        /// The file.
        path: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A server answered, and refused this application for good.
    #[error("{0}")]
    Refused(Refusal),
    /// No server accepted the client by the deadline.
    #[error("no license server within {} ms: {obstacle}", waited.as_millis())]
    NoServer {
        /// How long was tried.
        waited: Duration,
        /// What last stood in the way.
        obstacle: Obstacle,
    },
}

/// Leases could not be given back before the bound of [`Client::shutdown`](crate::Client::shutdown); they end by their TTL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{leases} lease(s) could not be released before the client shut down; they end by their TTL")]
pub struct Unreleased {
    /// How many.
    pub leases: usize,
}

/// A value that is outside what a server takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct Invalid {
    /// What it was given for, such as `ttl`.
    pub field: &'static str,
    /// What is wrong, and what is allowed.
    pub problem: &'static str,
}

impl Invalid {
    pub(crate) const fn new(field: &'static str, problem: &'static str) -> Self {
        Self { field, problem }
    }
}
