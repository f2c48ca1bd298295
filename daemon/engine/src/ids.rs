//! The engine's identities: small integers for what is stored by the million, names only where people give them.

use std::fmt;

use leasehold_keys::name::{Label, Method};
use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A lease, and its fencing number: it rises with every grant for ever, over restarts (LEASE-4). From 1.
    LeaseId(u64)
}
number! {
    /// A user. Never used again after a deletion.
    UserId(u32)
}
number! {
    /// A station. Never used again after a deletion.
    StationId(u32)
}
number! {
    /// A workgroup. Never used again after a deletion.
    WorkgroupId(u32)
}
number! {
    /// An organization. Never used again after a deletion.
    OrganizationId(u32)
}
number! {
    /// An assignment; rises with each, so that it tells their order (ALLOC-11).
    AssignmentId(u64)
}
number! {
    /// One run of an application server, or all unary calls of one identity and instance.
    HolderId(u32)
}
number! {
    /// A key that some definition has named, for ever.
    KeyId(u32)
}
number! {
    /// A folded denial (LEASE-12).
    DenialId(u64)
}
number! {
    /// An entry of the audit log.
    AuditId(u64)
}
number! {
    /// A usage event; rises with each for ever.
    UsageEventId(u64)
}
number! {
    /// The core loop's own number for a caller that waits for an answer. Not stored.
    Ticket(u64)
}

/// One pool: a key under a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub struct PoolId {
    /// The key whose units these are.
    pub key: KeyId,
    /// How they are taken.
    pub method: Method,
}

impl From<u64> for PoolId {
    /// The stored form: twice the key's number, plus 1 for the concurrent pool.
    fn from(stored: u64) -> Self {
        let method = if stored.is_multiple_of(2) { Method::Assignable } else { Method::Concurrent };
        Self { key: KeyId(u32::try_from(stored / 2).unwrap_or(u32::MAX)), method }
    }
}

impl From<PoolId> for u64 {
    fn from(pool: PoolId) -> Self {
        u64::from(pool.key.0) * 2 + u64::from(pool.method == Method::Concurrent)
    }
}

/// A request's identity, made by the client (LEASE-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub [u8; 16]);

/// One run of an application server's process, made by it at its start (LEASE-13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub [u8; 16]);

/// Who a caller is, and how that is known (LEASE-9). Written `uid:1000`, `cert:acd`, `name:acd`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    /// The user ID of a Unix socket's peer, as the kernel says.
    Uid(u32),
    /// The subject of a verified client certificate.
    Cert(Label),
    /// A name claimed on loopback: believed, and worth no more than that.
    Name(Label),
    /// The daemon by itself: what the watched folder or time brought about. Only in the audit log; no caller is this.
    Daemon,
}

impl Identity {
    /// LEASE-9: administration by `uid:` and `cert:` only. Which of them is the adapter's configuration.
    pub const fn may_administer(&self) -> bool {
        match self {
            Identity::Uid(_) | Identity::Cert(_) => true,
            Identity::Name(_) | Identity::Daemon => false,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Uid(uid) => write!(f, "uid:{uid}"),
            Identity::Cert(name) => write!(f, "cert:{name}"),
            Identity::Name(name) => write!(f, "name:{name}"),
            Identity::Daemon => f.write_str("daemon"),
        }
    }
}

impl std::str::FromStr for Identity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{text}` is not an identity like uid:1000 or name:acd");
        if text == "daemon" {
            return Ok(Identity::Daemon);
        }
        match text.split_once(':').ok_or_else(refuse)? {
            ("uid", uid) => Ok(Identity::Uid(uid.parse().map_err(|_| refuse())?)),
            ("cert", name) => Ok(Identity::Cert(name.parse().map_err(|_| refuse())?)),
            ("name", name) => Ok(Identity::Name(name.parse().map_err(|_| refuse())?)),
            _ => Err(refuse()),
        }
    }
}

/// A user or a station: what keys are given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// A user.
    User(UserId),
    /// A station.
    Station(StationId),
}

/// Whose part of a pool a share is (03, Queue and shares; STATION-6).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShareHolder {
    /// Users and stations of one organization and of those below it.
    Organization(OrganizationId),
    /// Leases of one application.
    Application(Label),
}
