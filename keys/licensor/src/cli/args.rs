//! The command line. Values that an order is made of stay texts here, so that `issue` can tell all that is wrong with
//! them at once.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

const EXIT_CODES: &str = "Exit codes: 0 done · 1 a file or the records failed · 2 wrong arguments · 3 refused (order, note, \
catalog or usage file) · 4 a private key cannot be used · 5 not found";

/// The vendor's tool of Leasehold: catalogs, keys, and the signed files that licenses are made of.
#[derive(Debug, Parser)]
#[command(name = "licensor", version, about, after_help = EXIT_CODES, max_term_width = 110)]
pub(crate) struct Arguments {
    /// The licensor's folder
    #[arg(long, global = true, env = "LICENSOR_DIR", default_value = ".", value_name = "FOLDER")]
    pub(crate) dir: PathBuf,
    /// A file whose first line is the passphrase of the private keys (else LICENSOR_PASSPHRASE, else the terminal)
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a licensor: its keys, its root note, its records
    Init(Init),
    /// Product catalogs: what can be issued
    #[command(subcommand)]
    Catalog(CatalogCommand),
    /// Issue an activation file
    Issue(Box<Issue>),
    /// Issue the file that closes a license
    Deactivate(Deactivate),
    /// Take a customer's deactivation receipt into the records
    Receipt(Receipt),
    /// Show what a signed file says, without asking who signed it
    Show {
        /// An activation file, root, host request or deactivation receipt
        file: PathBuf,
    },
    /// Verify a signed file and show what it says
    Verify {
        /// An activation file, root, host request or deactivation receipt
        file: PathBuf,
        /// Root notes to trust, the oldest first (else those of the licensor's folder)
        #[arg(long, value_name = "FILE")]
        root: Vec<PathBuf>,
    },
    /// List the files issued, the newest first
    List {
        /// Only files for this account
        #[arg(long)]
        account: Option<String>,
        /// Only the newest file of each license that is not closed and has not ended
        #[arg(long)]
        active: bool,
    },
    /// Write a file that was issued before once more
    Export {
        /// The license
        license_id: String,
        /// Which of its files (else the newest)
        #[arg(long)]
        sequence: Option<u32>,
        /// Where to
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// The licensor's root
    #[command(subcommand)]
    Root(RootCommand),
    /// Usage files: verify, open, bill, answer for them
    #[command(subcommand)]
    Usage(UsageCommand),
    /// Check-ins: who asked, who counts as a duplicate, answers by file
    #[command(subcommand)]
    CheckIn(CheckInCommand),
    /// How licenses stand: check-ins are answered by it
    #[command(subcommand)]
    Account(AccountCommand),
    /// Sign a note that tells any site the time, for one whose clock was wrong and that cannot check in
    TimeNote {
        /// Where to (else printed)
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Take usage files and answer check-ins over HTTPS, until SIGINT or SIGTERM
    Serve(Serve),
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The licensor's name, such as acme.example; key names begin with it
    #[arg(long)]
    pub(crate) name: String,
    /// How many root keys
    #[arg(long, default_value_t = 3)]
    pub(crate) root_keys: u32,
    /// How many of them sign a root
    #[arg(long, default_value_t = 2)]
    pub(crate) threshold: u32,
    /// For how many years root and keys count
    #[arg(long, default_value_t = 5)]
    pub(crate) years: u32,
    /// Require an ML-DSA-65 signature beside each Ed25519 one
    #[arg(long)]
    pub(crate) ml_dsa: bool,
    /// Keep private keys unsealed: for development only
    #[arg(long, conflicts_with = "passphrase_file")]
    pub(crate) no_passphrase: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CatalogCommand {
    /// The catalogs that are built in
    List,
    /// The parts, server items and keys of a catalog
    Show {
        /// A built-in product (CIC, "Media Server") or a catalog file
        #[arg(default_value = "CIC")]
        catalog: String,
    },
    /// Tell everything that is wrong with a catalog file
    Check {
        /// The file
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RootCommand {
    /// What the newest root says; with --note the note itself
    Show {
        /// Print the note, to be given to sites or built into a daemon
        #[arg(long)]
        note: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum UsageCommand {
    /// Open usage files with the licensor's usage key and print what they say
    Open {
        /// Usage files, bundles of them (*.tar), or folders with usage files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// How (else text, or json with --json)
        #[arg(long, value_enum)]
        format: Option<UsageFormat>,
    },
    /// Tell what is missing, damaged or changed; needs no key
    Verify {
        /// Usage files, bundles of them (*.tar), or folders with usage files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Each installation's files are all to be there, from its first
        #[arg(long)]
        whole: bool,
    },
    /// What each license used in a billing period: the 28th to the 27th, named by the month in which it ends
    Bill(UsageBill),
    /// Answer for usage files that came by other ways: keep them, and write a signed receipt beside each, as FILE.receipt
    Receipt {
        /// Usage files, bundles of them (*.tar), or folders with usage files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Take files too that no record closes: the installation key that would have signed that is lost
        #[arg(long)]
        r#final: bool,
        /// Keep the files below this folder, as `licensor serve --state` does (else the licensor's folder)
        #[arg(long, value_name = "FOLDER")]
        state: Option<PathBuf>,
    },
    /// The usage files that were received, by installation, and what to look into
    List {
        /// Only of this license
        #[arg(long, value_name = "ID")]
        license: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum CheckInCommand {
    /// The installations that checked in, and what to look into
    List {
        /// Only for this license
        #[arg(long, value_name = "ID")]
        license: Option<String>,
        /// Only duplicates and those with something to look into
        #[arg(long)]
        flagged: bool,
    },
    /// All that is known of an installation that checked in, with its last request
    Show(Which),
    /// Take an installation for the honest one: it is no duplicate any more, and its next request is believed
    Clear(Which),
    /// Forget an installation that is no more, so that another one has its place
    Forget(Which),
    /// Answer a request that came by file
    Answer {
        /// The request, as `leasehold check-in --request` wrote it
        #[arg(long, value_name = "FILE")]
        request: PathBuf,
        /// Where the answer goes, for `leasehold check-in --answer`; newer roots and files go beside it
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// An installation of a license.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The license
    pub(crate) license_id: String,
    /// The installation, by its 32 digits or the first of them (else the only one, or the only duplicate)
    pub(crate) installation: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// The licenses that are not in good standing
    List,
    /// In good standing again: check-ins are answered so
    Good {
        #[command(flatten)]
        whose: Whose,
    },
    /// On hold, as while a bill is open: check-ins are refused with the reason, and the site goes down its stages
    Hold {
        #[command(flatten)]
        whose: Whose,
        /// Why, for the customer to read
        #[arg(long, value_name = "WORDS")]
        reason: String,
        /// Who says so, for the records
        #[arg(long, env = "LICENSOR_OPERATOR", value_name = "NAME")]
        issued_by: Option<String>,
    },
    /// Withdrawn from a date: check-ins are answered so, and the site goes down to the last stage from then on
    Revoke {
        #[command(flatten)]
        whose: Whose,
        /// From when: a date or a UTC time
        #[arg(long, value_name = "DATE")]
        from: String,
        /// Why, for the customer to read
        #[arg(long, value_name = "WORDS")]
        reason: String,
        /// Who says so, for the records
        #[arg(long, env = "LICENSOR_OPERATOR", value_name = "NAME")]
        issued_by: Option<String>,
    },
}

/// Which licenses.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Whose {
    /// The license
    pub(crate) license_id: Option<String>,
    /// Every license that was issued to this account
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<String>,
}

/// How opened files are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum UsageFormat {
    /// Tables for people
    Text,
    /// One array, an element a file
    Json,
    /// One line an event, with headings
    Csv,
}

#[derive(Debug, Args)]
pub(crate) struct UsageBill {
    /// The month in which the period ends: 2026-11 is 28 October to 27 November
    #[arg(long, value_name = "YYYY-MM")]
    pub(crate) period: String,
    /// The site's time zone, by its IANA name, such as Europe/Berlin
    #[arg(long, value_name = "NAME")]
    pub(crate) time_zone: String,
    /// Only this license
    #[arg(long, value_name = "ID")]
    pub(crate) license: Option<String>,
    /// Usage files, bundles of them (*.tar), or folders with usage files (else those that were received, in the licensor's folder)
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where to listen, such as 0.0.0.0:443
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: std::net::SocketAddr,
    /// The server's certificate with its chain, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: PathBuf,
    /// The certificate's private key, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Keep what is received below this folder (else the licensor's folder)
    #[arg(long, value_name = "FOLDER")]
    pub(crate) state: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Deactivate {
    /// The license to close
    pub(crate) license_id: String,
    /// Who issues it, for the records
    #[arg(long, env = "LICENSOR_OPERATOR", value_name = "NAME")]
    pub(crate) issued_by: Option<String>,
    /// Write the file here too
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Receipt {
    /// The receipt
    pub(crate) file: PathBuf,
    /// The machine's host request, where its host ID was typed when the license was issued
    #[arg(long, value_name = "FILE")]
    pub(crate) request: Option<PathBuf>,
    /// Take it though it is from no machine of the license, as after the loss of a machine's installation key
    #[arg(long)]
    pub(crate) any_installation: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Issue {
    /// A built-in product (CIC, "Media Server") or a catalog file
    #[arg(long, default_value = "CIC")]
    pub(crate) catalog: String,
    /// The customer (a re-issue: as before)
    #[arg(long, required_unless_present = "license_id")]
    pub(crate) account: Option<String>,
    /// The customer's site (a re-issue: as before)
    #[arg(long, required_unless_present = "license_id")]
    pub(crate) site: Option<String>,
    /// Re-issue this license with its next sequence; what is not said is as before (with --level all is given anew)
    #[arg(long, value_name = "ID")]
    pub(crate) license_id: Option<String>,
    /// Another license whose place it takes: ID for all files so far, or ID=SEQUENCE
    #[arg(long, value_name = "ID")]
    pub(crate) supersedes: Vec<String>,

    /// production (the default), development-small, development-large, trial or evaluation
    #[arg(long, help_heading = "Terms")]
    pub(crate) level: Option<String>,
    /// Development: comes at no cost with this server item and lasts as the server does (else ordered: one year)
    #[arg(long, value_name = "ITEM", conflicts_with = "partner", help_heading = "Terms")]
    pub(crate) comes_with: Option<String>,
    /// Development: non-ordered, for a certified partner: 30 days
    #[arg(long, help_heading = "Terms")]
    pub(crate) partner: bool,
    /// Evaluation: the catalog's configuration, where there are several
    #[arg(long, value_name = "NAME", help_heading = "Terms")]
    pub(crate) evaluation: Option<String>,
    /// perpetual (the default), subscription or mixed
    #[arg(long, help_heading = "Terms")]
    pub(crate) model: Option<String>,
    /// base (the default) or add-on
    #[arg(long, help_heading = "Terms")]
    pub(crate) kind: Option<String>,
    /// Product versions covered, such as 4.0..2020.2 (else the catalog's)
    #[arg(long, value_name = "FROM..THROUGH", help_heading = "Terms")]
    pub(crate) versions: Option<String>,
    /// Counts from here: a date or a UTC time (else today)
    #[arg(long, value_name = "DATE", help_heading = "Terms")]
    pub(crate) not_before: Option<String>,
    /// Counts until here (else 2100-01-01 for perpetual, or what the level says)
    #[arg(long, value_name = "DATE", help_heading = "Terms")]
    pub(crate) not_after: Option<String>,
    /// The last release date that may be installed
    #[arg(long, value_name = "DATE", help_heading = "Terms")]
    pub(crate) maintenance_end: Option<String>,
    /// A date after which the site is asked to register again
    #[arg(long, value_name = "DATE", help_heading = "Terms")]
    pub(crate) re_register: Option<String>,
    /// Such as "Media Server Based"
    #[arg(long, value_name = "TYPE", help_heading = "Terms")]
    pub(crate) system_type: Option<String>,

    /// The server item: basic, intermediate or advanced
    #[arg(long, value_name = "ITEM", help_heading = "What is granted")]
    pub(crate) server: Option<String>,
    /// The server item of the switchover server
    #[arg(long, value_name = "ITEM", help_heading = "What is granted")]
    pub(crate) switchover_server: Option<String>,
    /// A part with its assigned and pooled units, such as SW-001-4.0-AL04=5,25 (repeatable)
    #[arg(long, value_name = "NUMBER=ASSIGNED,POOLED", help_heading = "What is granted")]
    pub(crate) part: Vec<String>,
    /// A pool with its units, such as I3_SESSION_CALL=100 or I3_ACCESS_CLIENT_CONCURRENT=unlimited (repeatable)
    #[arg(long, value_name = "KEY=UNITS", help_heading = "What is granted")]
    pub(crate) grant: Vec<String>,

    /// The host ID of the server, as `leasehold host-id` prints it
    #[arg(long, value_name = "HOST-ID", conflicts_with = "request", help_heading = "Servers")]
    pub(crate) host: Option<String>,
    /// What people call that machine
    #[arg(long, value_name = "NAME", help_heading = "Servers")]
    pub(crate) machine_name: Option<String>,
    /// The host request of the server, as `leasehold request` makes it
    #[arg(long, value_name = "FILE", help_heading = "Servers")]
    pub(crate) request: Option<PathBuf>,
    /// The host ID of the switchover server
    #[arg(long, value_name = "HOST-ID", conflicts_with = "switchover_request", help_heading = "Servers")]
    pub(crate) switchover_host: Option<String>,
    /// What people call that machine
    #[arg(long, value_name = "NAME", help_heading = "Servers")]
    pub(crate) switchover_machine_name: Option<String>,
    /// The host request of the switchover server
    #[arg(long, value_name = "FILE", help_heading = "Servers")]
    pub(crate) switchover_request: Option<PathBuf>,
    /// How many of the five host factors must match, for the servers named: 1 to 5 (else 3)
    #[arg(long, value_name = "N", help_heading = "Servers")]
    pub(crate) need: Option<String>,

    /// When enforcement begins
    #[arg(long, value_name = "DATE", help_heading = "Check-in and usage")]
    pub(crate) ramp: Option<String>,
    /// Days of each enforcement stage
    #[arg(long, value_name = "N", help_heading = "Check-in and usage")]
    pub(crate) grace_days: Option<String>,
    /// Where the site checks in
    #[arg(long, value_name = "URL", help_heading = "Check-in and usage")]
    pub(crate) check_in_endpoint: Option<String>,
    /// Where usage files go
    #[arg(long, value_name = "URL", help_heading = "Check-in and usage")]
    pub(crate) usage_destination: Option<String>,

    /// Who issues it, for the records
    #[arg(long, env = "LICENSOR_OPERATOR", value_name = "NAME")]
    pub(crate) issued_by: Option<String>,
    /// Write the file here too
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}
