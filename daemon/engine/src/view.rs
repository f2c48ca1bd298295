//! What readers are shown: answers to questions that change nothing. Lists are sorted and come in pages.

use leasehold_keys::{
    activation::{Grant, HostRole, LicenseId, Part, Units},
    definition::KeyKind,
    name::{KeyName, Label, PoolName},
    time::WallTime,
};

use crate::{
    command::EntityName,
    decision::LeaseView,
    ids::Identity,
    refusal::Refusal,
    row::{OrganizationRow, StationRow, UserRow, WorkgroupRow},
    standing::Stage,
};

/// The state of the site as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SiteState {
    /// An activation file is in effect, and this server serves it.
    Licensed,
    /// No activation file is in effect: two call ports, nothing else (01, Levels).
    Unlicensed,
    /// The file's switchover server, not promoted.
    Standby,
}

/// The site at a glance.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusView {
    /// Licensed, unlicensed or standby.
    pub state: SiteState,
    /// The enforcement stage (05).
    pub stage: Stage,
    /// True where a development file is in effect (LEVEL-2).
    pub development: bool,
    /// Live leases.
    pub leases: u64,
    /// Users.
    pub users: u64,
    /// Stations.
    pub stations: u64,
    /// Waiting requests.
    pub waiting: u64,
    /// Attached application servers.
    pub attached: u64,
    /// Refused requests since midnight UTC.
    pub denials_today: u64,
    /// What wants attention, worst first, one sentence each, with its stable reason.
    pub notices: Vec<(&'static str, String)>,
}

/// One accepted activation file.
#[derive(Clone, Debug, PartialEq)]
pub struct LicenseView {
    /// Its license ID.
    pub license: LicenseId,
    /// What it says.
    pub terms: std::sync::Arc<leasehold_keys::trust::Verified<leasehold_keys::activation::Activation>>,
    /// The name that it had in the folder.
    pub file_name: String,
    /// `in effect`, `not yet`, `ended`, `missing`, `unloaded`, `deactivated`, `host lost`.
    pub state: &'static str,
    /// What that means and what to do; empty where all is well.
    pub message: String,
    /// The part that this host plays.
    pub host_role: Option<HostRole>,
    /// When its grants end: not-after, or 60 days after issue for a trial.
    pub ends: WallTime,
    /// Its parts, for people.
    pub parts: Vec<Part>,
    /// Its grants.
    pub grants: Vec<Grant>,
}

/// One pool (ADMIN-1).
#[derive(Clone, Debug, PartialEq)]
pub struct PoolView {
    /// Its name.
    pub name: PoolName,
    /// What people call its key.
    pub title: Label,
    /// What sort of right it is.
    pub kind: KeyKind,
    /// Its heading in license metrics.
    pub group: Option<Label>,
    /// Bought and in effect.
    pub capacity: Units,
    /// Reserved for shares and not in use by them.
    pub set_aside: u64,
    /// Assignments; for a concurrent pool the users who may take a seat.
    pub assigned: u64,
    /// Seats and units taken.
    pub in_use: u64,
    /// Waiting requests.
    pub waiting: u64,
    /// The most seats taken since midnight UTC, or since the start.
    pub peak_today: u64,
    /// Refused requests since midnight UTC, or since the start.
    pub denied_today: u64,
    /// The idle rule; 0: none.
    pub idle_ms: u64,
    /// End idle leases though nobody waits.
    pub idle_always: bool,
    /// What is out of order, and what follows; empty where nothing is.
    pub message: String,
}

/// A share with its use.
#[derive(Clone, Debug, PartialEq)]
pub struct ShareView {
    /// The pool.
    pub pool: PoolName,
    /// Whose.
    pub holder: crate::command::ShareName,
    /// Seats set aside.
    pub reserve: u32,
    /// Seats at most.
    pub limit: Option<u32>,
    /// Seats that it holds.
    pub in_use: u64,
}

/// Something administered, with what it holds.
#[derive(Clone, Debug, PartialEq)]
pub enum EntityView {
    /// A user.
    User {
        /// The user.
        row: UserRow,
        /// The organization's name.
        organization: Option<Label>,
        /// The workgroups' names.
        workgroups: Vec<Label>,
        /// Keys given.
        assignments: Vec<AssignmentView>,
        /// Live leases.
        leases: u64,
    },
    /// A station.
    Station {
        /// The station.
        row: StationRow,
        /// The organization's name.
        organization: Option<Label>,
        /// The owner's name.
        owner: Option<Label>,
        /// Keys given.
        assignments: Vec<AssignmentView>,
    },
    /// A workgroup.
    Workgroup {
        /// The workgroup.
        row: WorkgroupRow,
        /// Users in it.
        members: u64,
    },
    /// An organization.
    Organization {
        /// The organization.
        row: OrganizationRow,
        /// The name of the one above it.
        parent: Option<Label>,
        /// Users and stations in it.
        members: u64,
    },
}

/// A kind of thing that is administered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntityKind {
    /// Users.
    User,
    /// Stations.
    Station,
    /// Workgroups.
    Workgroup,
    /// Organizations.
    Organization,
}

/// A page of a list of entities, by name.
#[derive(Clone, Debug)]
pub struct EntityFilter {
    /// Which kind.
    pub kind: EntityKind,
    /// Part of the name; empty: all.
    pub name_contains: String,
    /// Members of this organization only.
    pub organization: Option<Label>,
    /// Names after this one.
    pub after: Option<Label>,
    /// At most so many: 1 to 1,000.
    pub limit: usize,
}

/// A key given to a user or station.
#[derive(Clone, Debug, PartialEq)]
pub struct AssignmentView {
    /// Its number, for paging.
    pub id: crate::ids::AssignmentId,
    /// Who holds it.
    pub subject: EntityName,
    /// The key.
    pub key: KeyName,
    /// The pool it counts in.
    pub pool: PoolName,
    /// When it was given.
    pub since: WallTime,
    /// When it ends.
    pub until: Option<WallTime>,
    /// Why it has no effect now, if it has none: the site is not licensed for it, or the pool is over its capacity.
    pub inactive: Option<String>,
}

/// A lease and who holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldLeaseView {
    /// The lease.
    pub lease: LeaseView,
    /// Whose it is.
    pub identity: Identity,
    /// The instance.
    pub instance: String,
    /// The machine, as it says.
    pub host: String,
    /// True while its stream is open.
    pub attached: bool,
}

/// A page of leases, by number.
#[derive(Clone, Debug, Default)]
pub struct LeaseFilter {
    /// Of this user.
    pub user: Option<Label>,
    /// At this station.
    pub station: Option<Label>,
    /// With a seat in this pool.
    pub pool: Option<PoolName>,
    /// Of this application.
    pub application: Option<Label>,
    /// Of this identity, as text.
    pub holder: Option<String>,
    /// Leases after this one.
    pub after: u64,
    /// At most so many: 1 to 1,000.
    pub limit: usize,
}

/// Whether a site-wide or counted key is licensed (SITE-1, SITE-2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteKeyView {
    /// The key.
    pub key: KeyName,
    /// What sort of right it is.
    pub kind: KeyKind,
    /// Granted, with all that it requires.
    pub licensed: bool,
    /// Units granted.
    pub units: Units,
    /// Why it is not licensed; empty where it is.
    pub reason: String,
}

/// An answer to SITE-4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallView {
    /// True where a version of the release date asked for may be installed.
    pub may_install: bool,
    /// Why, or why not.
    pub reason: String,
    /// The last release date that may be installed.
    pub maintenance_end: Option<WallTime>,
}

/// Which keys one subject effectively holds.
#[derive(Clone, Debug, PartialEq)]
pub struct EntitlementView {
    /// Who.
    pub subject: EntityName,
    /// For each key asked for, in order; or why the subject cannot be judged.
    pub keys: Result<Vec<KeyEntitlementView>, Refusal>,
}

/// Whether one key is held.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyEntitlementView {
    /// The key, as it was asked for.
    pub key: KeyName,
    /// Members counted: 1 for a user or station.
    pub members: u32,
    /// Of them, those that hold it.
    pub holding: u32,
    /// Why it is not held; empty where it is.
    pub reason: String,
}

/// A decision told step by step (ADMIN-13).
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// What would be granted, or why it would be refused.
    pub decision: Result<LeaseView, Refusal>,
}

/// One step of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The rule, such as `ALLOC-6`.
    pub rule: &'static str,
    /// Whether it speaks for the request.
    pub passed: bool,
    /// What was found.
    pub message: String,
}

/// A pool that is used beyond its capacity (COMPLY-1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExceededView {
    /// The pool.
    pub pool: PoolName,
    /// What people call its key.
    pub title: Label,
    /// Licensed.
    pub licensed: u64,
    /// Counted.
    pub used: u64,
}
