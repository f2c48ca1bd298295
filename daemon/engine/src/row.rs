//! What is durable: rows, and changes of rows. Every effect of a decision on lasting state is a [`Change`], and state is
//! changed by nothing else; so what is live, what is replayed and what is undone go through one piece of code.

use std::{collections::BTreeSet, sync::Arc};

use leasehold_keys::{
    activation::{Activation, HostRole, LicenseId, ProductVersion},
    digest::Sha256,
    marks::Mark,
    name::{KeyName, Label, Method},
    time::WallTime,
    trust::Verified,
};
use serde::{Deserialize, Serialize};

pub use crate::standing::StandingRow;
use crate::{
    ids::{
        AssignmentId, AuditId, DenialId, HolderId, Identity, KeyId, LeaseId, OrganizationId, PoolId, RequestId, RunId,
        ShareHolder, StationId, Subject, UsageEventId, UserId, WorkgroupId,
    },
    refusal::{EndReason, Holding, Refusal},
    time::LeaseTime,
};

/// One row before and after. Neither: nothing; both: the same key in both.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The row as it was; `None` where there was none.
    pub before: Option<Row>,
    /// The row as it is; `None` where it is gone.
    pub after: Option<Row>,
}

impl Change {
    /// What takes this change back.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self { before: self.after, after: self.before }
    }
}

/// One row of lasting state. Storage maps each kind to a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Row {
    /// A key's number.
    Key(KeyRow),
    /// An organization.
    Organization(OrganizationRow),
    /// A workgroup.
    Workgroup(WorkgroupRow),
    /// A user.
    User(UserRow),
    /// A station.
    Station(StationRow),
    /// A key given to a user or station.
    Assignment(AssignmentRow),
    /// An organization's or application's part of a pool.
    Share(ShareRow),
    /// An administrator's rule for a pool.
    PoolRule(PoolRuleRow),
    /// What a pool remembers of its past.
    PoolState(PoolStateRow),
    /// A run of an application server.
    Holder(HolderRow),
    /// A lease.
    Lease(Box<LeaseRow>),
    /// An accepted activation file.
    File(FileRow),
    /// A roll-back mark.
    Mark(Mark),
    /// A folded denial.
    Denial(Box<DenialRow>),
    /// An entry of the audit log. Only ever added.
    Audit(Box<AuditRow>),
    /// A usage event that is not sealed yet (USAGE-6). Comes with the lease change that it reports.
    UsageEvent(UsageEventRow),
    /// Usage events that were sealed, the oldest ones up to the last of these. Only ever go, all in one: there are many.
    UsageEvents(Arc<[UsageEventRow]>),
    /// A sealed record of a usage segment. Only ever added; all of a segment go when its row says so.
    UsageRecord(UsageRecordRow),
    /// A segment of usage: one file.
    UsageSegment(Box<UsageSegmentRow>),
    /// A license ID's standing (05).
    Standing(Box<StandingRow>),
    /// The one row of the site's own state.
    Site(SiteRow),
    /// An epoch of this state (03, Witness).
    Epoch(EpochRow),
    /// Evidence that this state was behind (03, Witness).
    Witness(Box<WitnessRow>),
}

/// A key's number; kept for ever, so that old rows stay readable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// Its number.
    pub id: KeyId,
    /// Its name.
    pub name: KeyName,
}

/// An organization (ADMIN-2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrganizationRow {
    /// Its number.
    pub id: OrganizationId,
    /// Its name, unique.
    pub name: Label,
    /// The organization above it.
    pub parent: Option<OrganizationId>,
}

/// A workgroup and the interaction types that it routes (MEDIA-1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkgroupRow {
    /// Its number.
    pub id: WorkgroupId,
    /// Its name, unique.
    pub name: Label,
    /// The service ID by which the platform knows it (000 §2.5).
    pub service_id: Option<Label>,
    /// The interaction types that it routes.
    pub types: BTreeSet<Label>,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRow {
    /// Their number.
    pub id: UserId,
    /// Their name, unique.
    pub name: Label,
    /// What people call them.
    pub display_name: Option<Label>,
    /// ALLOC-1: one for all of the user's keys.
    pub method: Method,
    /// Their organization.
    pub organization: Option<OrganizationId>,
    /// Their workgroups.
    pub workgroups: BTreeSet<WorkgroupId>,
    /// Configured interaction types, in order of preference (MEDIA-1).
    pub types: Vec<Label>,
}

/// The kinds of station (01, Stations).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StationKind {
    /// A computer with a phone.
    Workstation,
    /// One whose settings come from the server.
    ManagedWorkstation,
    /// A fax machine.
    StandaloneFax,
    /// A phone.
    StandalonePhone,
    /// One fixed outside number for all of a user's calls (STATION-3).
    Remote,
    /// Any outside number, named at logon (STATION-4).
    DynamicRemote,
    /// A wallboard or the like (STATION-5).
    Device,
}

impl StationKind {
    /// All kinds, in the order of the specification.
    pub const ALL: [StationKind; 7] = [
        StationKind::Workstation,
        StationKind::ManagedWorkstation,
        StationKind::StandaloneFax,
        StationKind::StandalonePhone,
        StationKind::Remote,
        StationKind::DynamicRemote,
        StationKind::Device,
    ];

    /// The name in configuration, in the database and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            StationKind::Workstation => "workstation",
            StationKind::ManagedWorkstation => "managed-workstation",
            StationKind::StandaloneFax => "standalone-fax",
            StationKind::StandalonePhone => "standalone-phone",
            StationKind::Remote => "remote",
            StationKind::DynamicRemote => "dynamic-remote",
            StationKind::Device => "device",
        }
    }
}

/// A station.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StationRow {
    /// Its number.
    pub id: StationId,
    /// Its name, unique.
    pub name: Label,
    /// What it is.
    pub kind: StationKind,
    /// False: nobody logs on there.
    pub enabled: bool,
    /// Its organization.
    pub organization: Option<OrganizationId>,
    /// The user that a device belongs to (STATION-5).
    pub owner: Option<UserId>,
}

/// A key given to a user or station.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignmentRow {
    /// Its number, which tells the order of assignments (ALLOC-11).
    pub id: AssignmentId,
    /// Who holds it.
    pub subject: Subject,
    /// The key.
    pub key: KeyId,
    /// The pool it belongs to: the subject's method, since it was given.
    pub method: Method,
    /// When it was given.
    pub since: WallTime,
    /// When it ends, for timed keys.
    pub until: Option<WallTime>,
}

impl AssignmentRow {
    /// The pool that it counts in.
    pub const fn pool(&self) -> PoolId {
        PoolId { key: self.key, method: self.method }
    }
}

/// An organization's or application's part of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareRow {
    /// The pool.
    pub pool: PoolId,
    /// Whose part.
    pub holder: ShareHolder,
    /// Seats set aside for it.
    pub reserve: u32,
    /// Seats that it may hold at most.
    pub limit: Option<u32>,
}

/// An administrator's rule for a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolRuleRow {
    /// The pool.
    pub pool: PoolId,
    /// A lease that stands idle for so long is warned, then ended; 0: never.
    pub idle_ms: u64,
    /// End idle leases though nobody waits.
    pub idle_always: bool,
}

/// What a pool remembers of its past, so that a restart forgives nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolStateRow {
    /// The pool.
    pub pool: PoolId,
    /// Since when more is held than the capacity (ALLOC-11).
    pub over_since: Option<LeaseTime>,
    /// When the leases on it end, since its capacity has fallen or will fall to nothing (LEVEL-5).
    pub closes: Option<LeaseTime>,
}

/// One run of an application server, or all unary calls of one identity and instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderRow {
    /// Its number.
    pub id: HolderId,
    /// Who it is.
    pub identity: Identity,
    /// Tells several processes of one identity apart; may be empty.
    pub instance: String,
    /// The run; `None` for unary calls.
    pub run: Option<RunId>,
    /// The product's name.
    pub application: Label,
    /// The product's version, where it said one.
    pub version: Option<ProductVersion>,
    /// The machine it runs on, as it says.
    pub host: String,
    /// Its last contact, stored once a minute (LEASE-7).
    pub contact: LeaseTime,
    /// When its leases last got a full TTL because the daemon had been down (LEASE-7).
    pub graced: LeaseTime,
}

/// What a lease is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeaseSubject {
    /// A user's logon.
    Logon {
        /// The user.
        user: UserId,
        /// The station, where one was named.
        station: Option<StationId>,
        /// The number of a dynamic remote logon (STATION-4).
        remote_number: Option<Label>,
        /// The user's computer: a primary logon (ALLOC-8).
        computer: Option<Label>,
    },
    /// A station's own use.
    Station(StationId),
    /// Units for the application server itself (SITE-5).
    Units,
}

/// Seats or units of one pool that a lease uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Seat {
    /// The pool.
    pub pool: PoolId,
    /// How many units.
    pub units: u32,
    /// True: shared by all leases of the user (ALLOC-7); false: this lease's own.
    pub shared: bool,
}

/// Where a key that a lease holds comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Given to the user.
    User,
    /// Given to the station.
    Station,
    /// Comes with another key.
    Included(KeyId),
    /// Brought by the way of logging on (STATION-4).
    Logon,
    /// Taken in units (SITE-5).
    Units,
}

/// A key that a lease holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HeldKey {
    /// The key.
    pub key: KeyId,
    /// Where it comes from.
    pub source: Source,
}

/// What a lease grants: decided once, shared by equal leases, changed only as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Keys without which the lease makes no sense, sorted.
    pub needed: Vec<KeyId>,
    /// Keys that it holds, sorted by number.
    pub keys: Vec<HeldKey>,
    /// Seats that it uses, sorted by pool.
    pub seats: Vec<Seat>,
    /// Keys that could not be had, with the reason.
    pub missing: Vec<(KeyId, Refusal)>,
    /// What the holder should know.
    pub warnings: Vec<Warning>,
    /// Interaction types that the user may receive (MEDIA-3).
    pub types: Vec<Label>,
}

/// Something that does not stand in the way, but should be known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Warning {
    /// MEDIA-2.
    MediaLimited {
        /// The workgroup.
        workgroup: Label,
        /// Types that it routes and the user will not receive.
        types: Vec<Label>,
        /// What would cover them.
        remedy: String,
    },
    /// STATION-2.
    StationWithoutKey {
        /// The station.
        station: Label,
        /// The key that it lacks.
        key: KeyName,
    },
    /// LEVEL-2.
    NotForProduction,
}

/// A lease. Its keys are names of rules; its times are lease time.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaseRow {
    /// Its number, which is the fencing number.
    pub id: LeaseId,
    /// Whose it is.
    pub holder: HolderId,
    /// What it is for.
    pub subject: LeaseSubject,
    /// The application that the user runs.
    pub application: Label,
    /// What it grants.
    pub terms: Arc<Terms>,
    /// How long it stands without a renewal, in milliseconds: 10 s to 24 h.
    pub ttl_ms: u64,
    /// When it was granted, for people.
    pub granted_wall: WallTime,
    /// When it was granted.
    pub granted: LeaseTime,
    /// Since when its holder calls it idle.
    pub idle_since: Option<LeaseTime>,
    /// It ends then whatever is renewed, and why.
    pub ends: Option<(LeaseTime, EndReason)>,
    /// The request that it answered, and the hash of that request's body, while that is remembered (LEASE-3).
    pub request: Option<(RequestId, u64)>,
    /// Set when it has ended and its answer is still remembered.
    pub ended: Option<(LeaseTime, EndReason)>,
    /// The grace that it got after a restart, until it is renewed (LEASE-7): it gets no second one in between. Only of
    /// leases of unary calls, which are renewed one by one; those of a run go by [`HolderRow::graced`].
    pub graced: Option<LeaseTime>,
}

/// An accepted activation file: the highest sequence of its license ID.
#[derive(Clone, Debug, PartialEq)]
pub struct FileRow {
    /// What it says, with the bytes that say it.
    pub terms: Arc<Verified<Activation>>,
    /// The name that it had in the folder.
    pub name: String,
    /// When it was accepted.
    pub accepted: WallTime,
    /// The part that this host plays in it; `None` for a file without hosts.
    pub host_role: Option<HostRole>,
    /// Since when it is gone from the folder; its grants leave 72 hours later.
    pub absent_since: Option<LeaseTime>,
    /// Since when this host no longer matches it; it runs on for 72 hours, once per sequence.
    pub host_lost_since: Option<LeaseTime>,
    /// Taken away by an administrator.
    pub unloaded: bool,
    /// SHA-256 of lower sequences that were accepted before, newest last, at most 64: found again in the folder they
    /// are superseded, not refused.
    pub earlier: Vec<Sha256>,
}

/// Refused requests, folded per caller, key, reason and minute (LEASE-12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DenialRow {
    /// Its number.
    pub id: DenialId,
    /// The first of them.
    pub at: WallTime,
    /// Who asked.
    pub identity: Identity,
    /// For which application.
    pub application: Label,
    /// For whom: `user agent-001`.
    pub subject: String,
    /// For what; empty where no key is to blame.
    pub key: String,
    /// The stable reason.
    pub reason: String,
    /// The sentence that the first of them got.
    pub message: String,
    /// How many.
    pub count: u64,
    /// The pool's capacity, where a pool was full.
    pub capacity: Option<String>,
    /// What was held of it.
    pub held: u64,
    /// Who held it.
    pub holders: Holding,
}

/// An administrator's act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// Its number, without gaps.
    pub id: AuditId,
    /// When.
    pub at: WallTime,
    /// Who, and how that is known.
    pub identity: Identity,
    /// What was done: `assign`, `revoke`, `user add` …
    pub action: String,
    /// To what.
    pub subject: String,
    /// JSON of what it was; empty where it was not.
    pub before: String,
    /// JSON of what it is; empty where it is no more.
    pub after: String,
    /// Why, where a reason was given.
    pub reason: String,
}

/// The site's own state: counters that never go back, and whether a standby was promoted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteRow {
    /// The highest lease ID ever granted (LEASE-4).
    pub last_lease: u64,
    /// The highest number of an assignment.
    pub last_assignment: u64,
    /// The highest number of a user, station, workgroup, organization or holder.
    pub last_entity: u32,
    /// The highest number of a denial.
    pub last_denial: u64,
    /// The highest number of an audit entry.
    pub last_audit: u64,
    /// An administrator promoted this standby.
    pub promoted: bool,
    /// The wall-clock day (days since 1970) of the last daily compliance check (COMPLY-1).
    pub compliance_day: i64,
    /// The highest number of a usage event that is sealed; those that wait are higher.
    pub last_usage_event: u64,
    /// USAGE-1: usage events are collected. Follows the effective grants, in the same step.
    pub usage_collecting: bool,
    /// How often collecting has begun. What happens between one era and the next is told by nobody, so that no usage file
    /// goes from one into the other.
    pub usage_era: u32,
}

/// What happened to a user's session (USAGE-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UsageKind {
    /// It began.
    Logon,
    /// It ended.
    Logoff,
    /// It went on with other keys (USAGE-9).
    KeysChanged,
}

/// A usage event that is not sealed yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageEventRow {
    /// Its number.
    pub id: UsageEventId,
    /// The era in which it was collected: [`SiteRow::usage_era`].
    pub era: u32,
    /// When: for the logoff of an expired lease, its last renewal (USAGE-9).
    pub at: WallTime,
    /// What.
    pub what: UsageKind,
    /// The user's name at that moment.
    pub user: Label,
    /// The user's sessions after it; active while it is above 0 (USAGE-3).
    pub counter: u32,
    /// The keys applied to the user after it, by number; at counter 0 those that were applied until then.
    pub keys: Arc<[KeyId]>,
    /// The sessions that the user had until then; `None` where there were none. A segment that begins with this event opens
    /// with them.
    pub before: Option<UsageBefore>,
}

/// A user's sessions until an event; their number follows from the event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageBefore {
    /// When the oldest of them began.
    pub since: WallTime,
    /// The keys applied to the user, by number.
    pub keys: Arc<[KeyId]>,
}

/// One sealed record, exactly as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRecordRow {
    /// The segment.
    pub segment: u32,
    /// Its place in the segment; 0 is the header.
    pub place: u64,
    /// The bytes.
    pub bytes: Arc<[u8]>,
}

/// A segment of usage and how far its file has come (04).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageSegmentRow {
    /// Its number here, from 1. The number that its installation gave it stands in the file's name; they differ where the
    /// installation's key was lost and another installation went on with this database.
    pub number: u32,
    /// Its file's name in `usage/`.
    pub file: String,
    /// The license ID that it names.
    pub license: LicenseId,
    /// When it began, by trusted time.
    pub began: WallTime,
    /// Why it began: `first`, `midnight`, `restart`, `size`, `abandoned`, `changed`.
    pub because: String,
    /// Records after the header.
    pub records: u64,
    /// Records of all earlier segments of the installation.
    pub records_before: u64,
    /// Events in them.
    pub events: u64,
    /// Bytes of the whole file.
    pub bytes: u64,
    /// The chain value after its last record; the next segment's header quotes that of the last.
    pub head: Sha256,
    /// When its closing record was sealed, or when it was found without one after a stop. `None`: it is being written.
    pub closed: Option<WallTime>,
    /// SHA-256 of the file, once it is closed.
    pub sha256: Option<Sha256>,
    /// When it was first uploaded whole.
    pub uploaded: Option<WallTime>,
    /// When a receipt of the licensor for its very bytes was taken.
    pub acknowledged: Option<WallTime>,
    /// Its records are still in the database; they go when the file has been acknowledged, or was found whole a week after
    /// it was closed.
    pub stored: bool,
}

/// An epoch: the grants between one start of the daemon and the next, or until this state was found behind (03, Witness).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochRow {
    /// Its number; each has the next, or a higher one.
    pub number: u64,
    /// Random, so that two epochs of one number are told apart.
    pub id: u64,
    /// When it began.
    pub began: WallTime,
    /// The highest fencing number before it.
    pub after: u64,
    /// The highest fencing number in it, once it is over.
    pub last: Option<u64>,
}

/// In which way this state was behind what the installation had signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WitnessKind {
    /// It knew nothing of it: this state is older.
    Behind,
    /// It knew another epoch under that number: both went on from one state.
    Forked,
}

impl WitnessKind {
    /// The name in the database, in the audit log and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            WitnessKind::Behind => "behind",
            WitnessKind::Forked => "forked",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [WitnessKind::Behind, WitnessKind::Forked].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Something that this installation had signed and this state did not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessRow {
    /// Its number, from 1, without gaps.
    pub number: u64,
    /// In which way it was behind.
    pub kind: WitnessKind,
    /// The epoch that was shown …
    pub epoch: u64,
    /// … its ID …
    pub epoch_id: u64,
    /// … and the highest fencing number in it that was shown so far.
    pub fencing: u64,
    /// The epoch of this state then …
    pub own_epoch: u64,
    /// … and its highest fencing number.
    pub own_fencing: u64,
    /// Which application server showed it first …
    pub by: Identity,
    /// … and the machine that it runs on, as it says.
    pub host: String,
    /// When it was shown first …
    pub first: WallTime,
    /// … by lease time too …
    pub first_lease: LeaseTime,
    /// … and when more of it was shown last.
    pub last: WallTime,
}
