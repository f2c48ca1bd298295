//! What can be typed: the commands, their arguments and the help that describes them. Nothing here talks to a daemon.

use std::{path::PathBuf, time::Duration};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use leasehold_client::Endpoint;

pub mod check_in;
pub mod subjects;
pub mod usage;
pub mod values;

use crate::exit::ExitCode;
use check_in::{CheckInArgs, StandingArgs};
use subjects::{
    AssignArgs, AssignmentsArgs, OrganizationCommand, StationCommand, UnassignArgs, UserCommand, WorkgroupCommand,
};
use usage::UsageCommand;
use values::{IdleTime, Limit, Moment, Name, Reason, parse_wait};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "leasehold",
    version,
    about = "Administers a Leasehold license server",
    long_about = "Administers a Leasehold license server: its license files, pools, users, stations, assignments, leases, \
                  usage files, check-ins and audit log.\n\nIt talks to the daemon over its Unix socket. Every change takes effect at once and \
                  is in the audit log.",
    after_help = ExitCode::help_text(),
    arg_required_else_help = true,
    max_term_width = 100,
)]
pub struct Cli {
    /// What applies to every command.
    #[command(flatten)]
    pub globals: Globals,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The parser, for completions and man pages.
    #[must_use]
    pub fn parser() -> clap::Command {
        Self::command()
    }
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Globals {
    /// Where the daemon listens: unix:///path/leasehold.sock or http://127.0.0.1:PORT
    #[arg(
        long,
        global = true,
        env = "LEASEHOLD_SERVER",
        value_name = "ADDRESS",
        default_value = "unix:///run/leasehold/leasehold.sock",
        hide_env_values = true,
        help_heading = "Global options"
    )]
    pub server: Endpoint,

    /// Print one JSON document instead of text (errors too, on stderr)
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,

    /// Color the output: auto (on a terminal, unless NO_COLOR is set), always or never
    #[arg(long, global = true, value_enum, hide_possible_values = true, default_value_t = Color::Auto, value_name = "WHEN", help_heading = "Global options")]
    pub color: Color,

    /// How long to wait for an answer, such as 30s or 5m
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = parse_wait, help_heading = "Global options")]
    pub timeout: Duration,
}

/// When to color the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show how the server stands: what wants attention, license, leases, files
    Status,
    /// Show the host ID of the server and the facts that it rests on
    HostId,
    /// Write a request note, which the licensor needs to issue a file for this host
    Request(RequestArgs),
    /// Check a signed file and load it
    Load(LoadArgs),
    /// List the activation files, or show one of them with its parts and grants
    Licenses(LicensesArgs),
    /// Take the grants of a license away at once
    Unload(UnloadArgs),
    /// Make a standby server the active one
    Promote(PromoteArgs),
    /// Make a promoted standby stand by again; its leases end
    StandBy(StandByArgs),

    /// List the pools: bought, in use, waiting, denied
    Pools(PoolsArgs),
    /// Change the rules of a pool
    #[command(subcommand)]
    Pool(PoolCommand),
    /// Reserve and limit what organizations and applications hold of a pool
    #[command(subcommand)]
    Share(ShareCommand),

    /// Add, change, remove, list and show users
    #[command(subcommand)]
    User(UserCommand),
    /// Add, change, remove, list and show stations
    #[command(subcommand)]
    Station(StationCommand),
    /// Add, change, remove, list and show workgroups
    #[command(subcommand)]
    Workgroup(WorkgroupCommand),
    /// Add, change, remove, list and show organizations
    #[command(subcommand)]
    Org(OrganizationCommand),

    /// Give keys to users and stations
    #[command(after_help = "Examples:\n  leasehold assign I3_ACCESS_CLIENT --user agent-001 agent-002\n  \
                            leasehold assign I3_ACCESS_CLIENT --users-from team.txt --best-effort\n  \
                            leasehold assign I3_ACCESS_RECORDER --user agent-001 --until 2026-12-31 --dry-run")]
    Assign(AssignArgs),
    /// Take keys from users and stations
    Unassign(UnassignArgs),
    /// List who was given which keys
    Assignments(AssignmentsArgs),

    /// List the live leases
    Leases(LeasesArgs),
    /// End leases at once; their holders are told why
    Revoke(RevokeArgs),
    /// Show, step by step, what would happen if a user logged on now
    #[command(after_help = "Examples:\n  leasehold explain agent-001 --station station-7\n  \
                            leasehold explain agent-001 --remote +49-421-5550 --keys I3_ACCESS_CLIENT\n  \
                            leasehold explain --for-station wallboard-1")]
    Explain(ExplainArgs),
    /// List what was refused, and who held the seats then
    Denials(DenialsArgs),
    /// Check that no pool is above what is licensed (exit code 7 where one is)
    Compliance,

    /// Usage files: list, verify, bundle for a billing period, take receipts
    #[command(subcommand)]
    Usage(UsageCommand),
    /// Test the way out of usage files and check-ins, step by step (exit code 13 where a step fails)
    Doctor,
    /// Show the enforcement stage: since when, why, and what comes next without a check-in
    #[command(after_help = check_in::STANDING_HELP)]
    Standing(StandingArgs),
    /// Check in with the licensor now, or by file (exit code 14 where it is not answered with good standing)
    #[command(after_help = check_in::CHECK_IN_HELP)]
    CheckIn(CheckInArgs),

    /// List what was changed, by whom, or verify the log
    Audit(AuditArgs),
    /// Work with the daemon's database
    #[command(subcommand)]
    Db(DbCommand),

    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the man page, or write all of them into a folder
    #[command(hide = true)]
    Man(ManArgs),
}

/// `leasehold request`.
#[derive(Debug, Args)]
pub struct RequestArgs {
    /// Write the note to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Overwrite the file if it exists
    #[arg(long, requires = "output")]
    pub force: bool,
    /// The product that a license is asked for
    #[arg(long, value_name = "NAME")]
    pub product: Option<Name>,
    /// The name of this machine in the note (the host's name unless given)
    #[arg(long, value_name = "NAME")]
    pub machine_name: Option<Name>,
}

/// `leasehold load`.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// The signed file (at most 128 KiB)
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only check it: say what loading it would do, and change nothing
    #[arg(long)]
    pub check: bool,
}

/// `leasehold licenses`.
#[derive(Debug, Args)]
pub struct LicensesArgs {
    /// Show only this license, in full
    #[arg(value_name = "LICENSE-ID")]
    pub license_id: Option<Name>,
    /// Include those that have ended, were superseded or unloaded
    #[arg(long)]
    pub all: bool,
}

/// `leasehold unload`.
#[derive(Debug, Args)]
pub struct UnloadArgs {
    /// The license, as `leasehold licenses` shows it
    #[arg(value_name = "LICENSE-ID")]
    pub license_id: Name,
    /// Why: kept in the audit log
    #[arg(long, value_name = "TEXT")]
    pub reason: Reason,
}

/// `leasehold promote`.
#[derive(Debug, Args)]
pub struct PromoteArgs {
    /// Why: kept in the audit log
    #[arg(long, value_name = "TEXT")]
    pub reason: Reason,
}

/// `leasehold stand-by`.
#[derive(Debug, Args)]
pub struct StandByArgs {
    /// Why: told to the holders of its leases, and kept in the audit log
    #[arg(long, value_name = "TEXT")]
    pub reason: Reason,
}

/// `leasehold pools`.
#[derive(Debug, Args)]
pub struct PoolsArgs {
    /// Only the pools of this key
    #[arg(value_name = "KEY")]
    pub key: Option<Name>,
    /// As seen by this organization
    #[arg(long, value_name = "NAME")]
    pub organization: Option<Name>,
}

/// `leasehold pool`.
#[derive(Debug, Subcommand)]
pub enum PoolCommand {
    /// Set the idle time of a pool, after which idle leases end
    Set {
        /// The pool
        #[arg(value_name = "POOL")]
        pool: Name,
        /// The idle time (1m to 24h, such as 15m), or none
        #[arg(long, value_name = "TIME")]
        idle: IdleTime,
        /// End idle leases though nobody waits for their seats
        #[arg(long)]
        always: bool,
    },
}

/// Whose share of a pool it is.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct ShareHolder {
    /// The organization
    #[arg(long, value_name = "NAME")]
    pub organization: Option<Name>,
    /// The application
    #[arg(long, value_name = "NAME")]
    pub application: Option<Name>,
}

/// `leasehold share`.
#[derive(Debug, Subcommand)]
pub enum ShareCommand {
    /// Set what is reserved for a holder and how much it may hold; what is not given keeps its value
    Set {
        /// The pool
        #[arg(value_name = "POOL")]
        pool: Name,
        /// The holder
        #[command(flatten)]
        holder: ShareHolder,
        /// Seats kept free for the holder
        #[arg(long, value_name = "SEATS", required_unless_present = "limit")]
        reserve: Option<u32>,
        /// The most that the holder may have, or none
        #[arg(long, value_name = "SEATS")]
        limit: Option<Limit>,
    },
    /// Remove the reservation and limit of a holder
    Rm {
        /// The pool
        #[arg(value_name = "POOL")]
        pool: Name,
        /// The holder
        #[command(flatten)]
        holder: ShareHolder,
    },
    /// List reservations and limits
    List {
        /// Only of this pool
        #[arg(value_name = "POOL")]
        pool: Option<Name>,
    },
}

/// `leasehold leases`.
#[derive(Debug, Args)]
pub struct LeasesArgs {
    /// Only leases of this user
    #[arg(long, value_name = "NAME")]
    pub user: Option<Name>,
    /// Only leases at this station
    #[arg(long, value_name = "NAME")]
    pub station: Option<Name>,
    /// Only leases that have a seat in this pool
    #[arg(long, value_name = "POOL")]
    pub pool: Option<Name>,
    /// Only leases of this application
    #[arg(long, value_name = "NAME")]
    pub application: Option<Name>,
    /// Only leases held by this application server, such as name:acd-2
    #[arg(long, value_name = "IDENTITY")]
    pub holder: Option<Name>,
}

/// `leasehold revoke`.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// The leases, by number
    #[arg(value_name = "LEASE", required_unless_present_any = ["user", "station"], conflicts_with_all = ["user", "station"],
          value_parser = clap::value_parser!(u64).range(1..))]
    pub leases: Vec<u64>,
    /// All leases of this user
    #[arg(long, value_name = "NAME", conflicts_with = "station")]
    pub user: Option<Name>,
    /// All leases at this station
    #[arg(long, value_name = "NAME")]
    pub station: Option<Name>,
    /// Why: told to the holder and kept in the audit log
    #[arg(long, value_name = "TEXT")]
    pub reason: Reason,
}

/// `leasehold explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The user who would log on
    #[arg(value_name = "USER", required_unless_present = "for_station")]
    pub user: Option<Name>,
    /// The station at which the user logs on
    #[arg(long, value_name = "NAME", conflicts_with = "remote")]
    pub station: Option<Name>,
    /// The telephone number of a dynamic remote station
    #[arg(long, value_name = "NUMBER")]
    pub remote: Option<Name>,
    /// The user's computer: makes it a primary logon, which ends those on other computers
    #[arg(long, value_name = "NAME")]
    pub computer: Option<Name>,
    /// Keys without which the logon makes no sense, separated by commas
    #[arg(long, value_name = "KEY", value_delimiter = ',')]
    pub keys: Vec<Name>,
    /// The application that asks
    #[arg(long, value_name = "NAME")]
    pub application: Option<Name>,
    /// The version of that application, checked against what the license covers
    #[arg(long, value_name = "VERSION")]
    pub application_version: Option<Name>,
    /// Explain a station's own use, such as a wallboard's, instead of a logon
    #[arg(long, value_name = "NAME", conflicts_with_all = ["user", "station", "remote", "computer"])]
    pub for_station: Option<Name>,
}

/// `leasehold denials`.
#[derive(Debug, Args)]
pub struct DenialsArgs {
    /// From when on: a time ago (2h, 3d) or a local date or time
    #[arg(long, value_name = "TIME", default_value = "24h")]
    pub since: Moment,
    /// Only denials of this pool's key: they are recorded by key, so that its other pools' are among them
    #[arg(long, value_name = "POOL")]
    pub pool: Option<Name>,
    /// Only denials of this user
    #[arg(long, value_name = "NAME")]
    pub user: Option<Name>,
}

/// `leasehold audit`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct AuditArgs {
    /// From when on: a time ago (2h, 3d) or a local date or time
    #[arg(long, value_name = "TIME", default_value = "7d")]
    pub since: Moment,
    /// What else to do with the log.
    #[command(subcommand)]
    pub command: Option<AuditCommand>,
}

/// `leasehold audit …`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Check the hash chain of the whole log (exit code 8 where it is broken)
    Verify,
}

/// `leasehold db`.
#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Write a consistent copy of the database, to look at with any SQLite tool
    Snapshot {
        /// A plain file name: the copy is made in snapshots/ of the state directory
        #[arg(value_name = "NAME")]
        name: Name,
    },
}

/// `leasehold completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// `leasehold man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write a page for each command into this folder instead
    #[arg(long, value_name = "FOLDER")]
    pub output: Option<PathBuf>,
}
