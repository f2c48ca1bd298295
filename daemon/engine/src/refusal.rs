//! Every way in which the engine says no. The facts are here; the words are in `words.rs`; the wire codes are the
//! adapter's.

use std::borrow::Cow;

use leasehold_keys::{
    activation::{Level, LicenseId, Units, VersionRange},
    definition::{Holder, MediaLevel},
    name::{KeyName, Label, Method, PoolName},
    time::WallTime,
};
use serde::{Deserialize, Serialize};

use crate::{ids::LeaseId, standing::Stage};

/// Why a request was refused. Each variant is one stable reason; the fields are the facts that a person needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// No seat is free (ALLOC-14).
    PoolExhausted(Box<Exhausted>),
    /// The key is not given to the subject.
    NotAssigned {
        /// `user agent-001`, `station station-001`.
        subject: String,
        /// The key.
        key: KeyName,
    },
    /// Nothing at all is given to the subject, and the request names no key.
    NothingAssigned {
        /// The subject.
        subject: String,
    },
    /// No activation file in effect grants the key.
    NotLicensed {
        /// The key.
        key: KeyName,
        /// True where the site has no activation file in effect at all.
        unlicensed_site: bool,
    },
    /// The station lacks the key that it needs to be used (STATION-1, STATION-3).
    StationNotLicensed {
        /// The station.
        station: Label,
        /// The key that it lacks, or no key where it is switched off.
        key: Option<KeyName>,
    },
    /// The definition does not let this sort of subject hold the key (ALLOC-4).
    HolderNotAllowed {
        /// The key.
        key: KeyName,
        /// What asked for it.
        subject: Holder,
        /// What may hold it.
        allowed: Vec<Holder>,
    },
    /// The key exists only under the other method (ALLOC-1, ALLOC-13).
    MethodMismatch {
        /// The subject.
        subject: String,
        /// The key.
        key: KeyName,
        /// The subject's method.
        method: Method,
    },
    /// What the key requires is missing (01, `requires`).
    PrerequisiteMissing {
        /// The key.
        key: KeyName,
        /// What is missing.
        missing: Vec<KeyName>,
    },
    /// A share's cap, a counted site key, or a stated bound is reached.
    LimitReached(Limit),
    /// SITE-6.
    VersionNotCovered {
        /// The key.
        key: KeyName,
        /// The caller's version.
        version: String,
        /// What the activation files cover.
        covered: Vec<VersionRange>,
    },
    /// The user may hold only one permanent key of the application at once (01, `application`).
    ApplicationHeld {
        /// The user.
        user: Label,
        /// The key asked for.
        key: KeyName,
        /// The key held.
        held: KeyName,
        /// The application of both.
        application: Label,
    },
    /// The user has logged on at another computer since this logon began to wait (ALLOC-8).
    LoggedOnElsewhere {
        /// The user.
        user: Label,
        /// Where the user is now.
        computer: Label,
    },
    /// No such user.
    UserUnknown(String),
    /// No such station.
    StationUnknown(String),
    /// No such workgroup.
    WorkgroupUnknown(String),
    /// No such organization.
    OrganizationUnknown(String),
    /// No definition names this key.
    KeyUnknown(String),
    /// No activation file with this license ID has been accepted.
    LicenseUnknown(String),
    /// No such lease was ever granted, or it was granted too long ago to be remembered.
    LeaseUnknown(LeaseId),
    /// No lease came of this acquire request, or the answer is no longer remembered.
    RequestUnknown,
    /// The lease has ended.
    LeaseEnded {
        /// The lease.
        lease: LeaseId,
        /// How, where that is still known.
        how: Option<EndReason>,
    },
    /// The lease belongs to another identity (LEASE-9) or to another run (LEASE-13).
    NotYourLease(LeaseId),
    /// Enforcement refuses the key for want of a good check-in (05).
    Enforced {
        /// The key.
        key: KeyName,
        /// The stage, and what brought the site there.
        why: Box<Enforcement>,
    },
    /// The same request ID came with another body (LEASE-3).
    RequestIdReused,
    /// The request cannot be understood.
    Malformed {
        /// The field, as the caller writes it.
        field: Cow<'static, str>,
        /// What is wrong with it and what is allowed.
        fault: String,
    },
    /// Something of this name exists already.
    AlreadyExists {
        /// `user`, `station` …
        what: Cow<'static, str>,
        /// The name.
        name: Label,
    },
    /// Something else still refers to it.
    InUse {
        /// `organization acme`.
        what: String,
        /// What refers to it.
        by: String,
    },
    /// This server stands by for its partner.
    NotActive,
    /// More answers or waiting requests than the stated bound.
    Overloaded {
        /// What there is too much of.
        what: Cow<'static, str>,
        /// The bound.
        most: u64,
        /// When to try again, in milliseconds.
        retry_after_ms: u64,
    },
    /// Nothing may be granted: the last commit failed (LEASE-11).
    StorageUnavailable,
    /// The waiting request was withdrawn by its own caller.
    Cancelled,
}

impl Refusal {
    /// The same without the names of a moment, to be kept with a lease that was granted without the key.
    pub(crate) fn for_the_record(self) -> Self {
        match self {
            Refusal::PoolExhausted(full) => {
                Refusal::PoolExhausted(Box::new(Exhausted { holders: Holding::default(), frees_in_ms: None, ..*full }))
            }
            other => other,
        }
    }
}

/// A full pool, who holds it, and when a seat comes free.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exhausted {
    /// The pool.
    pub pool: PoolName,
    /// Its capacity.
    pub capacity: Units,
    /// Seats or units that are held.
    pub held: u64,
    /// Units that were asked for.
    pub wanted: u32,
    /// Free units that are set aside for others: shares, or waiters that came first.
    pub set_aside: u64,
    /// Requests waiting for this pool.
    pub waiting: u64,
    /// Who holds it.
    pub holders: Holding,
    /// The soonest moment at which a held seat ends by itself, in milliseconds from now, where one is known.
    pub frees_in_ms: Option<u64>,
    /// Set where enforcement makes the capacity less than what is granted: that, and why (05, stages 5 and 6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<(Units, Box<Enforcement>)>,
}

/// The stage of the site, and the license that brought it there (05).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enforcement {
    /// The stage.
    pub stage: Stage,
    /// The license.
    pub license: LicenseId,
    /// Its product.
    pub product: Label,
    /// What is wrong.
    pub cause: Cause,
    /// Since when: the ramp, the last good check-in, or the date of the revocation.
    pub since: WallTime,
}

/// What a license's good standing lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// No good check-in is known since enforcement began with the ramp.
    Never,
    /// The last good check-in is too long ago.
    Silent,
    /// The licensor answers that this installation is a duplicate of another one, or was rolled back.
    Duplicate,
    /// The licensor has taken the license back.
    Revoked,
}

/// Who holds the seats of a pool (LEASE-12).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// Seats by application, most first; assignments count as `assigned`.
    pub by_application: Vec<(String, u64)>,
    /// The eight oldest, oldest first.
    pub oldest: Vec<HolderLine>,
}

/// One holder of a seat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderLine {
    /// `user agent-001`, `station station-001`, `name:acd`.
    pub who: String,
    /// Since when.
    pub since: WallTime,
    /// The lease, where it is one and not an assignment.
    pub lease: Option<LeaseId>,
}

/// Which limit is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// A share's cap (STATION-6; 03, Shares).
    Share {
        /// `organization acme`, `application Dialer`.
        holder: String,
        /// The pool.
        pool: PoolName,
        /// Seats that it holds.
        used: u64,
        /// Its cap.
        limit: u32,
    },
    /// One organization more than is licensed (SITE-3).
    Organizations {
        /// The key that counts them.
        key: KeyName,
        /// Licensed.
        licensed: Units,
        /// Configured.
        configured: u64,
    },
    /// More configured interaction types than the user's level covers (MEDIA-1).
    InteractionTypes {
        /// The user.
        user: Label,
        /// The user's level.
        level: MediaLevel,
        /// Types asked for.
        wanted: u64,
    },
    /// The reservations of a pool would exceed it, or a cap would lie below its own reservation.
    Reservations {
        /// The pool.
        pool: PoolName,
        /// What is wrong.
        fault: String,
    },
    /// A bound on what may be stored.
    Stored {
        /// What.
        what: Cow<'static, str>,
        /// The bound.
        most: u64,
    },
}

/// How a lease ended, or will end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EndReason {
    /// Given back by its holder.
    Released,
    /// Not renewed in time (LEASE-5).
    Expired,
    /// The user logged on at another computer (ALLOC-8).
    LoggedOnElsewhere,
    /// A key that it needs was taken from its subject (ALLOC-16).
    Unassigned,
    /// The user or station was deleted (ADMIN-2).
    SubjectDeleted,
    /// An administrator ended it, with a reason.
    Revoked,
    /// It stood idle while others waited (03, Idle).
    Idle,
    /// The hour of a development license is over (LEVEL-2).
    DevelopmentHourlyDisconnect,
    /// The activation file that granted its keys has ended (LEVEL-5).
    LicenseEnded,
    /// The pool was lowered below what is held, more than 24 hours ago (ALLOC-11).
    CapacityLowered,
    /// A new run of the same application server did not take it over (LEASE-13).
    HolderRestarted,
    /// The station was switched off or lost the key that it needs.
    StationNotLicensed,
    /// Enforcement took a key that it needs, or ended all but call ports (05, stages 4 and 6).
    Enforced,
}

impl EndReason {
    /// The stable name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            EndReason::Released => "RELEASED",
            EndReason::Expired => "EXPIRED",
            EndReason::LoggedOnElsewhere => "LOGGED_ON_ELSEWHERE",
            EndReason::Unassigned => "UNASSIGNED",
            EndReason::SubjectDeleted => "SUBJECT_DELETED",
            EndReason::Revoked => "REVOKED",
            EndReason::Idle => "IDLE",
            EndReason::DevelopmentHourlyDisconnect => "DEVELOPMENT_HOURLY_DISCONNECT",
            EndReason::LicenseEnded => "LICENSE_ENDED",
            EndReason::CapacityLowered => "CAPACITY_LOWERED",
            EndReason::HolderRestarted => "HOLDER_RESTARTED",
            EndReason::StationNotLicensed => "STATION_NOT_LICENSED",
            EndReason::Enforced => "ENFORCED",
        }
    }
}

/// Why a set of activation files cannot take one of them (02; LEVEL-4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileRefusal {
    /// A lower (key epoch, sequence) than the one that was accepted (02, Roll-back).
    RolledBack {
        /// The sequence offered.
        offered: u32,
        /// The sequence accepted before.
        accepted: u32,
    },
    /// The accepted sequence again, with other bytes.
    SameSequenceOtherBytes {
        /// The sequence.
        sequence: u32,
    },
    /// The file is bound to other hosts.
    OtherHost {
        /// How each factor compares, in words.
        comparison: String,
    },
    /// Another base file of the product is in effect.
    SecondBase {
        /// The product.
        product: Label,
        /// The account and license ID of the other, for people.
        other: String,
    },
    /// An add-on without a base file of its product.
    NoBase {
        /// The product.
        product: Label,
    },
    /// An add-on beside an evaluation base (LEVEL-4).
    EvaluationTakesNoAddOns {
        /// The product.
        product: Label,
    },
    /// A companion's file is virtual cloud, and the file of the server that it serves is not.
    CompanionWithoutCloud {
        /// The product whose base file would have to be virtual cloud.
        product: Label,
    },
    /// The file's time is over.
    Ended {
        /// When it ended.
        not_after: WallTime,
        /// Its level, since a trial ends 60 days after issue.
        level: Level,
    },
    /// It was unloaded by an administrator; a newer sequence is needed.
    Unloaded,
}
