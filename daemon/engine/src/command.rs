//! Everything that can drive the engine, as one closed set. The adapters turn messages, files and signals into these; a
//! command is all that a decision depends on besides state and time.

use std::sync::Arc;

use leasehold_keys::{
    activation::{Activation, LicenseId, ProductVersion},
    digest::Sha256,
    name::{KeyName, Label, Method, PoolName},
    time::WallTime,
    trust::Verified,
};

use crate::{
    ids::{HolderId, Identity, LeaseId, RequestId, RunId, Ticket, UsageEventId},
    row::{StationKind, UsageRecordRow, UsageSegmentRow},
    standing::{Asked, Verdict},
};

/// One thing to decide.
#[derive(Clone, Debug)]
pub enum Command {
    /// An application server opens its stream (LEASE-13).
    Attach(Attach),
    /// Its stream is gone. Its waiting requests keep their places for 60 s.
    Detach(HolderId),
    /// Renews all leases of the run (LEASE-13).
    Beat(HolderId),
    /// Asks for a lease.
    Acquire(Box<Acquire>),
    /// The caller withdraws a waiting request.
    CancelWait {
        /// Who asks.
        from: Origin,
        /// Which.
        request: RequestId,
    },
    /// The caller of a waiting request is gone without a word: it gets no seat, and keeps its place for 60 s.
    Abandon(Ticket),
    /// Renews leases one by one; at most 10,000.
    Renew {
        /// Who asks.
        from: Origin,
        /// Which.
        leases: Vec<LeaseId>,
    },
    /// Gives leases back; at most 10,000.
    Release(Release),
    /// Marks leases idle or active; at most 10,000.
    SetIdle {
        /// Who asks.
        from: Origin,
        /// Which.
        leases: Vec<LeaseId>,
        /// Idle, or active.
        idle: bool,
    },
    /// Takes over leases of the previous run (LEASE-13).
    TakeOver {
        /// The new run.
        holder: HolderId,
        /// Which; empty: all.
        leases: Vec<LeaseId>,
    },
    /// These answers have arrived and need not be remembered (LEASE-3).
    AnswersReceived {
        /// Who says so.
        holder: HolderId,
        /// The requests.
        requests: Vec<RequestId>,
    },
    /// An administrator's act.
    Administer {
        /// Who acts.
        by: Identity,
        /// What is done.
        act: Act,
    },
    /// The complete, verified content of the watched folder (02, The watched folder).
    Folder(Vec<FolderFile>),
    /// All keys that the roots held revoke, each with the date from which (02, Trust). Sent at the start and whenever a
    /// newer root was taken; marks that such a key set are dropped, files that it signed lose their effect.
    Revocations(Vec<(Sha256, WallTime)>),
    /// An application server shows what this installation signed before; the signature was verified (03, Witness). Before
    /// that server's [`Command::Attach`], so that what it is granted lies above.
    Witnessed(Witnessed),
    /// What the daemon's usage room has sealed, written or delivered (04).
    Usage(UsageStep),
    /// The licensor's answer to a check-in, verified and found to answer the outstanding request (05, The exchange).
    CheckedIn(CheckedIn),
    /// A request for a check-in by file was written: its nonce is kept for 14 days, in place of an earlier one.
    Asked {
        /// For which license.
        license_id: LicenseId,
        /// What the answer must fit.
        asked: Asked,
    },
    /// Somebody reads the denials: counts of the running minute are stored now (LEASE-12).
    SettleDenials,
    /// Time has passed: `Engine::next_wakeup` asked for this.
    Tick,
}

/// How far an installation's state has come (03, Witness).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The number of the epoch.
    pub epoch: u64,
    /// The epoch's random ID.
    pub epoch_id: u64,
    /// The highest fencing number.
    pub fencing: u64,
}

/// What an application server shows of this installation's own statements.
#[derive(Clone, Debug)]
pub struct Witnessed {
    /// Who shows it.
    pub by: Identity,
    /// The machine that it runs on, as it says; may be empty.
    pub host: String,
    /// What the installation signed.
    pub shown: Reached,
    /// Random: the ID of the epoch that begins where this state is behind.
    pub fresh: u64,
}

/// A step of usage from events to delivered files. All of it, or none, becomes durable.
#[derive(Clone, Debug, Default)]
pub struct UsageStep {
    /// Records sealed.
    pub records: Vec<UsageRecordRow>,
    /// Segments as they are now.
    pub segments: Vec<UsageSegmentRow>,
    /// Segments whose files are gone for good, and whose rows go.
    pub forgotten: Vec<u32>,
    /// Events up to this one are in `records`.
    pub sealed_through: Option<UsageEventId>,
}

/// What the licensor answered to a check-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedIn {
    /// For which license.
    pub license_id: LicenseId,
    /// The counter of the request that is answered. One below the highest known is refused: a later answer was taken.
    pub counter: u64,
    /// The answer that the request quotes. One that is not the last one taken here any more is refused: the licensor lets
    /// go of what was answered beside a line that goes on, and a site that went on from there would be taken for a copy.
    pub previous: Option<Sha256>,
    /// SHA-256 of the answer.
    pub answer: Sha256,
    /// The moment from which a good answer counts: the licensor's, as it is signed.
    pub at: WallTime,
    /// What it says.
    pub verdict: Verdict,
    /// For the administrator; what is beyond 1,000 bytes is cut off.
    pub message: String,
}

/// Where a command of an application server comes from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// Its stream.
    Stream(HolderId),
    /// A unary call.
    Unary(CallerInfo),
}

/// What a caller says of itself, and who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerInfo {
    /// Who it is, and how that is known.
    pub identity: Identity,
    /// Tells several processes of one identity apart; may be empty.
    pub instance: String,
    /// The product's name.
    pub application: Label,
    /// The product's version, where it said one (SITE-6).
    pub version: Option<ProductVersion>,
    /// The machine it runs on; may be empty.
    pub host: String,
}

/// An application server opens its stream.
#[derive(Clone, Debug)]
pub struct Attach {
    /// Who.
    pub caller: CallerInfo,
    /// Made by the process at its start.
    pub run: RunId,
}

/// A request for one lease.
#[derive(Clone, Debug)]
pub struct Acquire {
    /// Who asks.
    pub from: Origin,
    /// Made by the client (LEASE-3).
    pub request: RequestId,
    /// What for.
    pub ask: Ask,
    /// How long the lease stands without a renewal: 10,000 to 86,400,000 ms.
    pub ttl_ms: u64,
    /// How long it may wait in the queue; 0: not at all. At most 3,600,000 ms.
    pub wait_ms: u64,
    /// Its class in the queue: 0 (first) to 9.
    pub priority: u8,
    /// Where the answer goes.
    pub ticket: Ticket,
}

/// What a lease is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// A user's logon (ALLOC-6 to ALLOC-9).
    Logon {
        /// The user's name.
        user: Label,
        /// Where.
        place: Place,
        /// The user's computer: a primary logon (ALLOC-8). `None`: auxiliary.
        computer: Option<Label>,
        /// Keys without which it makes no sense.
        needed: Vec<Label>,
        /// The application that the user runs, where it is not the caller's own.
        application: Option<Label>,
    },
    /// A station's own use of its keys.
    Station {
        /// The station's name.
        station: Label,
        /// Keys without which it makes no sense.
        needed: Vec<Label>,
    },
    /// Units of a session, engine or hardware key (SITE-5).
    Units {
        /// The key.
        key: Label,
        /// How many: 1 to 1,000,000.
        units: u32,
    },
}

/// Where a user logs on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Nowhere in particular.
    None,
    /// At a configured station.
    Station(Label),
    /// From any telephone number (STATION-4).
    DynamicRemote(Label),
}

/// Gives leases back.
#[derive(Clone, Debug)]
pub struct Release {
    /// Who asks.
    pub from: Origin,
    /// Made by the client; needed for an answer that can be asked for again.
    pub request: Option<RequestId>,
    /// Leases by number.
    pub leases: Vec<LeaseId>,
    /// Leases by the request that was granted them (LEASE-14).
    pub acquired_by: Vec<RequestId>,
}

/// An administrator's act. Names are given; unknown ones are refused.
#[derive(Clone, Debug)]
pub enum Act {
    /// Creates something (ADMIN-2).
    Create(Entity),
    /// Changes the fields that are given.
    Change(EntityChange),
    /// Deletes it, and releases what it holds.
    Delete(EntityName),
    /// Gives or takes keys (ADMIN-3).
    Assign(Assign),
    /// Ends leases with a reason (ADMIN-12).
    Revoke {
        /// Which.
        what: Revoked,
        /// Why: told to the holder.
        reason: Label,
    },
    /// Sets the idle rule of a pool.
    SetPoolRule {
        /// The pool.
        pool: PoolName,
        /// 0: none.
        idle_ms: u64,
        /// End idle leases though nobody waits.
        idle_always: bool,
    },
    /// Sets a share of a pool, or takes it away.
    SetShare {
        /// The pool.
        pool: PoolName,
        /// Whose.
        holder: ShareName,
        /// Reserve and limit; `None`: no share.
        share: Option<(u32, Option<u32>)>,
    },
    /// Takes the grants of a license ID away at once.
    Unload {
        /// Which.
        license: LicenseId,
        /// Why.
        reason: String,
    },
    /// Makes a standby the active server.
    Promote {
        /// Why.
        reason: String,
    },
    /// Makes a promoted standby stand by again; live leases end.
    StandBy {
        /// Why: told to the holders of its leases.
        reason: Label,
    },
    /// Something that an adapter did and the audit log must keep: a host ID shown, a snapshot written, a file refused.
    Note {
        /// What was done.
        action: String,
        /// To what.
        subject: String,
        /// JSON of what there is now; empty where that says nothing.
        after: String,
        /// Why, where there is a reason: why a file was refused.
        reason: String,
    },
}

/// Something to create, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entity {
    /// A user.
    User {
        /// The name.
        name: Label,
        /// What people call them.
        display_name: Option<Label>,
        /// ALLOC-1.
        method: Method,
        /// The organization's name.
        organization: Option<Label>,
        /// Workgroups' names.
        workgroups: Vec<Label>,
        /// Configured interaction types, in order.
        types: Vec<Label>,
    },
    /// A station.
    Station {
        /// The name.
        name: Label,
        /// What it is.
        kind: StationKind,
        /// False: nobody logs on there.
        enabled: bool,
        /// The organization's name.
        organization: Option<Label>,
        /// The owner's name, for a device.
        owner: Option<Label>,
    },
    /// A workgroup.
    Workgroup {
        /// The name.
        name: Label,
        /// The platform's service ID.
        service_id: Option<Label>,
        /// Interaction types that it routes.
        types: Vec<Label>,
    },
    /// An organization.
    Organization {
        /// The name.
        name: Label,
        /// The name of the one above it.
        parent: Option<Label>,
    },
}

/// Changes: a field that is `None` stays as it is; an inner `None` clears it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntityChange {
    /// A user.
    User {
        /// Whose.
        name: Label,
        /// What people call them.
        display_name: Option<Option<Label>>,
        /// ALLOC-1: converts all keys, or is refused.
        method: Option<Method>,
        /// The organization's name.
        organization: Option<Option<Label>>,
        /// Workgroups' names.
        workgroups: Option<Vec<Label>>,
        /// Configured interaction types, in order.
        types: Option<Vec<Label>>,
    },
    /// A station.
    Station {
        /// Which.
        name: Label,
        /// What it is.
        kind: Option<StationKind>,
        /// False: nobody logs on there.
        enabled: Option<bool>,
        /// The organization's name.
        organization: Option<Option<Label>>,
        /// The owner's name, for a device.
        owner: Option<Option<Label>>,
    },
    /// A workgroup.
    Workgroup {
        /// Which.
        name: Label,
        /// The platform's service ID.
        service_id: Option<Option<Label>>,
        /// Interaction types that it routes.
        types: Option<Vec<Label>>,
    },
    /// An organization.
    Organization {
        /// Which.
        name: Label,
        /// The name of the one above it.
        parent: Option<Option<Label>>,
    },
}

/// Something by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntityName {
    /// A user.
    User(Label),
    /// A station.
    Station(Label),
    /// A workgroup.
    Workgroup(Label),
    /// An organization.
    Organization(Label),
}

/// Gives or takes keys: each of `keys` for each of `subjects`; at most 10,000 pairs.
#[derive(Clone, Debug)]
pub struct Assign {
    /// Users and stations.
    pub subjects: Vec<EntityName>,
    /// Keys, by name or alias.
    pub keys: Vec<Label>,
    /// False: takes them away.
    pub give: bool,
    /// True: do what can be done; false: all or nothing.
    pub best_effort: bool,
    /// True: say what would happen, change nothing.
    pub dry_run: bool,
    /// The end of a timed assignment.
    pub until: Option<WallTime>,
}

/// Which leases an administrator ends.
#[derive(Clone, Debug)]
pub enum Revoked {
    /// These; at most 10,000.
    Leases(Vec<LeaseId>),
    /// All of a user.
    User(Label),
    /// All at a station.
    Station(Label),
}

/// Whose share, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShareName {
    /// An organization.
    Organization(Label),
    /// An application.
    Application(Label),
}

/// One file of the watched folder, verified and compared with this host.
#[derive(Clone, Debug)]
pub struct FolderFile {
    /// Its name in the folder.
    pub name: String,
    /// What it says, with the bytes that say it.
    pub terms: Arc<Verified<Activation>>,
    /// Whether it is for this host.
    pub host: HostFinding,
}

/// How a file's host lines compare with this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostFinding {
    /// It names no host.
    Unbound,
    /// This host is its primary.
    Primary,
    /// This host is its switchover server.
    Switchover,
    /// It is for other hosts; the comparison in words.
    Other(String),
}

/// A query's subject: who holds what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntitlementQuery {
    /// Users, stations, workgroups, organizations.
    pub subjects: Vec<EntityName>,
    /// Keys, by name or alias.
    pub keys: Vec<KeyName>,
}
