//! Arguments about subjects: users, stations, workgroups and organizations, and the keys they are given.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::values::{Name, NameOrNone, Names, Until};

/// How a user's keys are allocated (ALLOC-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// A seat of its own for each key, logged on or not.
    Assignable,
    /// Seats are shared: one is taken at logon.
    Concurrent,
}

impl Method {
    /// As it is on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Assignable => "assignable",
            Self::Concurrent => "concurrent",
        }
    }
}

/// What a station is (STATION).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names are those of the specification")]
pub enum StationKind {
    Workstation,
    ManagedWorkstation,
    StandaloneFax,
    StandalonePhone,
    Remote,
    DynamicRemote,
    Device,
}

impl StationKind {
    /// As it is on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Workstation => "workstation",
            Self::ManagedWorkstation => "managed-workstation",
            Self::StandaloneFax => "standalone-fax",
            Self::StandalonePhone => "standalone-phone",
            Self::Remote => "remote",
            Self::DynamicRemote => "dynamic-remote",
            Self::Device => "device",
        }
    }
}

/// What a user has; when changing, what is not given keeps its value.
#[derive(Debug, Args)]
pub struct UserFields {
    /// How keys are allocated (assignable unless given); changing it converts all keys of the user
    #[arg(long, value_enum)]
    pub method: Option<Method>,
    /// The organization, or none
    #[arg(long, value_name = "NAME")]
    pub organization: Option<NameOrNone>,
    /// All workgroups of the user, separated by commas, or none
    #[arg(long, value_name = "NAMES")]
    pub workgroups: Option<Names>,
    /// Configured interaction types in order of preference, such as call,chat, or none
    #[arg(long, value_name = "TYPES")]
    pub interaction_types: Option<Names>,
    /// The name shown to people
    #[arg(long, value_name = "TEXT")]
    pub display_name: Option<Name>,
}

/// `leasehold user`.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user
    Add {
        /// The user's name
        name: Name,
        /// The fields
        #[command(flatten)]
        fields: UserFields,
    },
    /// Change a user; what is not given keeps its value
    Set {
        /// The user's name
        name: Name,
        /// The fields
        #[command(flatten)]
        fields: UserFields,
    },
    /// Remove users: their seats go back and their leases end
    Rm(RemoveArgs),
    /// List users
    List(ListArgs),
    /// Show a user with keys and leases
    Show(ShowArgs),
}

/// What a station has; when changing, what is not given keeps its value.
#[derive(Debug, Args)]
pub struct StationFields {
    /// What it is (workstation unless given)
    #[arg(long, value_enum)]
    pub kind: Option<StationKind>,
    /// Whether it may be used (true unless given)
    #[arg(long, value_name = "true|false")]
    pub enabled: Option<bool>,
    /// The organization, or none
    #[arg(long, value_name = "NAME")]
    pub organization: Option<NameOrNone>,
    /// The user that a device belongs to, or none
    #[arg(long, value_name = "USER")]
    pub owner: Option<NameOrNone>,
}

/// `leasehold station`.
#[derive(Debug, Subcommand)]
pub enum StationCommand {
    /// Add a station
    Add {
        /// The station's name
        name: Name,
        /// The fields
        #[command(flatten)]
        fields: StationFields,
    },
    /// Change a station; what is not given keeps its value
    Set {
        /// The station's name
        name: Name,
        /// The fields
        #[command(flatten)]
        fields: StationFields,
    },
    /// Remove stations: their seats go back and their leases end
    Rm(RemoveArgs),
    /// List stations
    List(ListArgs),
    /// Show a station with keys and leases
    Show(ShowArgs),
}

/// What a workgroup has; when changing, what is not given keeps its value.
#[derive(Debug, Args)]
pub struct WorkgroupFields {
    /// The ID by which the contact center knows it
    #[arg(long, value_name = "ID")]
    pub service_id: Option<Name>,
    /// The interaction types that it routes, such as call,chat, or none
    #[arg(long, value_name = "TYPES")]
    pub interaction_types: Option<Names>,
}

/// `leasehold workgroup`.
#[derive(Debug, Subcommand)]
pub enum WorkgroupCommand {
    /// Add a workgroup
    Add {
        /// The workgroup's name
        name: Name,
        /// The fields
        #[command(flatten)]
        fields: WorkgroupFields,
    },
    /// Change a workgroup; what is not given keeps its value
    Set {
        /// The workgroup's name
        name: Name,
        /// The fields
        #[command(flatten)]
        fields: WorkgroupFields,
    },
    /// Remove workgroups
    Rm(RemoveArgs),
    /// List workgroups
    List(ListGroupArgs),
    /// Show a workgroup
    Show(ShowArgs),
}

/// What an organization has; when changing, what is not given keeps its value.
#[derive(Debug, Args)]
pub struct OrganizationFields {
    /// The organization above it, or none
    #[arg(long, value_name = "NAME")]
    pub parent: Option<NameOrNone>,
}

/// `leasehold org`.
#[derive(Debug, Subcommand)]
pub enum OrganizationCommand {
    /// Add an organization
    Add {
        /// The organization's name
        name: Name,
        /// The fields
        #[command(flatten)]
        fields: OrganizationFields,
    },
    /// Change an organization; what is not given keeps its value
    Set {
        /// The organization's name
        name: Name,
        /// The fields
        #[command(flatten)]
        fields: OrganizationFields,
    },
    /// Remove organizations
    Rm(RemoveArgs),
    /// List organizations
    List(ListGroupArgs),
    /// Show an organization
    Show(ShowArgs),
}

/// What to remove.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// The names; each is removed by itself, and the first that fails is the last that was tried
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<Name>,
}

/// What to show.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The name
    #[arg(value_name = "NAME")]
    pub name: Name,
}

/// Filters for lists of users and stations.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only names that contain this
    #[arg(long, value_name = "TEXT")]
    pub contains: Option<Name>,
    /// Only those of this organization
    #[arg(long, value_name = "NAME")]
    pub organization: Option<Name>,
}

/// Filters for lists of workgroups and organizations.
#[derive(Debug, Args)]
pub struct ListGroupArgs {
    /// Only names that contain this
    #[arg(long, value_name = "TEXT")]
    pub contains: Option<Name>,
}

/// Keys, and the subjects that they go to or come from.
#[derive(Debug, Args)]
pub struct KeysAndSubjects {
    /// The keys
    #[arg(value_name = "KEY", required = true)]
    pub keys: Vec<Name>,
    /// The users
    #[arg(long = "user", value_name = "USER", num_args = 1.., required_unless_present_any = ["stations", "users_from", "stations_from"])]
    pub users: Vec<Name>,
    /// The stations
    #[arg(long = "station", value_name = "STATION", num_args = 1..)]
    pub stations: Vec<Name>,
    /// A file of user names, one a line; - is standard input
    #[arg(long, value_name = "FILE")]
    pub users_from: Option<PathBuf>,
    /// A file of station names, one a line; - is standard input
    #[arg(long, value_name = "FILE")]
    pub stations_from: Option<PathBuf>,
    /// Do what can be done and report the rest, instead of all or nothing
    #[arg(long)]
    pub best_effort: bool,
    /// Only show what would happen
    #[arg(long)]
    pub dry_run: bool,
}

/// `leasehold assign`.
#[derive(Debug, Args)]
pub struct AssignArgs {
    /// What and to whom.
    #[command(flatten)]
    pub pairs: KeysAndSubjects,
    /// Until when: a local date (that day included) or time, or a time from now (30d); timed keys need it
    #[arg(long, value_name = "DATE")]
    pub until: Option<Until>,
}

/// `leasehold unassign`.
#[derive(Debug, Args)]
pub struct UnassignArgs {
    /// What and from whom.
    #[command(flatten)]
    pub pairs: KeysAndSubjects,
}

/// `leasehold assignments`.
#[derive(Debug, Args)]
pub struct AssignmentsArgs {
    /// Only assignments of this key
    #[arg(long, value_name = "KEY")]
    pub key: Option<Name>,
    /// Only those of this user
    #[arg(long, value_name = "NAME", conflicts_with = "station")]
    pub user: Option<Name>,
    /// Only those of this station
    #[arg(long, value_name = "NAME")]
    pub station: Option<Name>,
}
