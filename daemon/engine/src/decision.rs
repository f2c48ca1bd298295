//! What comes of a command: an answer, changes to make durable, events for holders, notices for the log.

use leasehold_keys::{
    activation::LicenseId,
    name::{KeyName, Label, Method, PoolName},
    time::WallTime,
};

use crate::{
    ids::{HolderId, LeaseId, RequestId, Ticket},
    refusal::{EndReason, Enforcement, FileRefusal, Refusal},
    row::{Change, Warning},
    standing::{Stage, StageAhead},
};

/// All that comes of one command. Nothing of it may be seen by anyone before `changes` are durable, but for an answer
/// that is a refusal (LEASE-2, LEASE-12).
#[derive(Debug, Default)]
pub struct Outcome {
    /// Answers, by ticket: of this command, and of waiting requests that it satisfied.
    pub answers: Vec<(Ticket, Result<LeaseView, Refusal>)>,
    /// What is to be made durable, in order.
    pub changes: Vec<Change>,
    /// What holders are told, in order.
    pub events: Vec<Event>,
    /// What the log is told, in order.
    pub notices: Vec<Notice>,
}

/// The answer of every command but an acquire, whose answers come by ticket.
#[derive(Debug, PartialEq)]
pub enum Reply {
    /// Done; nothing more to say.
    Done,
    /// An acquire was decided, or waits: see [`Outcome::answers`].
    Ticketed {
        /// Set where it waits: place in the queue from 1, and the pools it waits for.
        waiting: Option<(u32, Vec<PoolName>)>,
    },
    /// An answer to [`crate::command::Command::Attach`].
    Attached {
        /// The run's number.
        holder: HolderId,
        /// Its live leases.
        leases: Vec<LeaseId>,
        /// Live leases of its predecessor, kept for 10 s.
        predecessor: Vec<LeaseId>,
        /// The predecessor's number, whose stream is to be cut.
        displaced: Option<HolderId>,
    },
    /// Leases renewed by a beat.
    Beaten(u64),
    /// An outcome for each lease asked for, in the order asked.
    Leases(Vec<(LeaseId, Result<(), Refusal>)>),
    /// An outcome for each lease and request asked for, in the order asked.
    Released(Vec<ReleaseOutcome>),
    /// An administrator's act is done.
    Administered(Administered),
    /// A verdict for each file, in the order given.
    Folder(Vec<FileVerdict>),
}

/// What became of one lease that was to be released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseOutcome {
    /// The lease, where it is known.
    pub lease: Option<LeaseId>,
    /// The request, where it was asked for by request.
    pub acquired_by: Option<RequestId>,
    /// Released, now or before; or why not.
    pub result: Result<(), Refusal>,
}

/// What an administrator's act came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Administered {
    /// One sentence for people.
    pub message: String,
    /// What does not stand in the way, but should be known.
    pub warnings: Vec<Warning>,
    /// For assignments: an outcome for each pair, in the order asked.
    pub assignments: Vec<AssignOutcome>,
    /// For revocations: an outcome for each lease.
    pub leases: Vec<(LeaseId, Result<(), Refusal>)>,
    /// False for a dry run and for an act that was refused as a whole.
    pub applied: bool,
}

/// What became of one pair of subject and key.
#[derive(Clone, Debug, PartialEq)]
pub struct AssignOutcome {
    /// `user agent-001`.
    pub subject: crate::command::EntityName,
    /// The key, as it was asked for.
    pub key: Label,
    /// The method of the subject, and so of the pool; `None` where the subject is unknown.
    pub method: Option<Method>,
    /// True where something changed; or why not.
    pub result: Result<bool, Refusal>,
    /// What it means, for people: `5 of 30 taken`.
    pub message: String,
}

/// What became of one file of the folder.
#[derive(Clone, Debug, PartialEq)]
pub struct FileVerdict {
    /// Its name.
    pub name: String,
    /// What became of it.
    pub verdict: Result<Taken, FileRefusal>,
}

/// How a file was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Accepted now.
    Accepted,
    /// Accepted before.
    Known,
    /// A newer one of its license ID, or one that supersedes it, rules.
    Superseded,
    /// It closed its license ID now: a deactivation receipt is due.
    Deactivated,
}

/// A lease as its holder sees it: names, not numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaseView {
    /// Its number, which is the fencing number; 0 in an explanation.
    pub id: LeaseId,
    /// Whose it is.
    pub holder: HolderId,
    /// `None` while it is live.
    pub ended: Option<EndReason>,
    /// The user.
    pub user: Option<Label>,
    /// The station.
    pub station: Option<Label>,
    /// The dynamic remote number.
    pub remote_number: Option<Label>,
    /// The user's computer.
    pub computer: Option<Label>,
    /// The application.
    pub application: Label,
    /// Keys that it holds, by name.
    pub keys: Vec<HeldKeyView>,
    /// Keys that could not be had.
    pub missing: Vec<(KeyName, Refusal)>,
    /// What the holder should know.
    pub warnings: Vec<Warning>,
    /// Interaction types that the user may receive (MEDIA-3).
    pub types: Vec<Label>,
    /// How long it stands without a renewal, in milliseconds.
    pub ttl_ms: u64,
    /// It ends in so many milliseconds whatever is renewed, and why.
    pub ends_in_ms: Option<(u64, EndReason)>,
    /// When it was granted.
    pub granted: WallTime,
    /// Its holder calls it idle.
    pub idle: bool,
    /// Milliseconds since it was last renewed.
    pub renewed_ms_ago: u64,
}

/// A key that a lease holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldKeyView {
    /// The key.
    pub key: KeyName,
    /// Where it comes from.
    pub source: SourceView,
    /// The pool in which the lease uses a seat or units, and how many.
    pub seat: Option<(PoolName, u32)>,
    /// The pool in which the assignment counts upon which it rests, where the lease itself takes nothing.
    pub assigned: Option<PoolName>,
}

/// Where a key comes from, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceView {
    /// Given to the user.
    User,
    /// Given to the station.
    Station,
    /// Comes with this key.
    Included(KeyName),
    /// Brought by the way of logging on.
    Logon,
    /// Taken in units.
    Units,
}

/// What a holder is told without asking.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Who; `None`: everyone who is attached.
    pub to: Option<HolderId>,
    /// What.
    pub what: Told,
}

/// What holders are told.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// A lease has ended.
    Ended {
        /// Which.
        lease: LeaseId,
        /// Why.
        reason: EndReason,
        /// An administrator's own words.
        words: Option<Label>,
    },
    /// A lease will end.
    Warned {
        /// Which.
        lease: LeaseId,
        /// Why.
        reason: EndReason,
        /// When, in milliseconds from now.
        ends_in_ms: u64,
    },
    /// Keys joined or left a lease (ALLOC-16).
    Changed {
        /// As it is now.
        lease: Box<LeaseView>,
        /// Keys that joined.
        added: Vec<KeyName>,
        /// Keys that left.
        removed: Vec<KeyName>,
    },
    /// Which site-wide keys are licensed has changed (SITE-1).
    SiteKeysChanged,
    /// The site has come to another enforcement stage, or is at stage 3 or below as the holder attaches (05).
    Standing(Box<StandingTold>),
}

/// What is said of the site's standing.
#[derive(Clone, Debug, PartialEq)]
pub struct StandingTold {
    /// The stage that it was at; the same where nothing changed.
    pub before: Stage,
    /// The stage that is in effect.
    pub stage: Stage,
    /// What brought the site there; none at stage 1.
    pub why: Option<Enforcement>,
    /// The next stage for the worse; none where there is none.
    pub next: Option<StageAhead>,
    /// At stage 6: leases other than call ports end in so many milliseconds at the latest.
    pub leases_end_in_ms: Option<u64>,
}

/// What the log is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// COMPLY-1: an error in the log and the platform's event log.
    Exceeded {
        /// The pool.
        pool: PoolName,
        /// What people call its key.
        title: Label,
        /// Licensed.
        licensed: u64,
        /// Counted.
        used: u64,
    },
    /// A file ends in so many days (LEVEL-5: 30, 14, 7, 1).
    FileEndsSoon {
        /// Which.
        license: LicenseId,
        /// Its account and product, for people.
        title: String,
        /// Whole days left.
        days: i64,
    },
    /// A file has ended.
    FileEnded {
        /// Which.
        license: LicenseId,
        /// Its account and product, for people.
        title: String,
    },
    /// An accepted file is gone from the folder; its grants leave 72 hours after it was first missed.
    FileAbsent {
        /// Its name.
        name: String,
        /// Hours left.
        hours_left: u64,
    },
    /// This host no longer matches an accepted file; it runs on for so long.
    HostLost {
        /// Its name.
        name: String,
        /// Hours left.
        hours_left: u64,
        /// How each factor compares.
        comparison: String,
    },
    /// The site has come to another enforcement stage (05).
    Standing(Box<StandingTold>),
    /// The daily compliance check found nothing or was made on request; the count of pools checked.
    ComplianceChecked {
        /// Pools.
        pools: u64,
        /// Of them over their capacity.
        exceeded: u64,
    },
}
