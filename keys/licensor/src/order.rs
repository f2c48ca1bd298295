//! What the vendor orders, and why an order can be refused. What becomes of it is in `terms`. Nothing here signs or writes.

mod before;
mod terms;

use std::collections::BTreeSet;

use leasehold_keys::{
    activation::{FileKind, Grant, HostRole, Level, LicenseId, Model, Superseded, VersionRange},
    host::HostId,
    installation::InstallationPublicKey,
    name::Label,
    request::HostRequest,
    time::WallTime,
};

pub(crate) use self::{
    before::as_before,
    terms::{Frame, terms},
};
use crate::catalog::{DevelopmentSize, OrderFault, PartUnits};

/// Days that a trial lasts (LEVEL-3).
pub const TRIAL_DAYS: u32 = 60;
/// Days that a non-ordered development license for partners lasts (LEVEL-2).
pub const PARTNER_DAYS: u32 = 30;
/// How many of the five host factors must match where the order does not say (02, Host IDs).
pub const DEFAULT_NEED: u8 = 3;

/// How a development license came about, and with it how long it lasts (LEVEL-2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DevelopmentTerms {
    /// Ordered: one year.
    Ordered,
    /// At no cost with this server item, whose catalog entry says of which size. Lasts as the server does.
    WithServer(Label),
    /// For a certified partner: 30 days.
    Partner,
}

/// The level that is ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderLevel {
    /// LEVEL-1.
    Production,
    /// LEVEL-2. The size says what is granted.
    Development {
        /// 8 or 30 of each.
        size: DevelopmentSize,
        /// How long.
        terms: DevelopmentTerms,
    },
    /// LEVEL-3.
    Trial,
    /// LEVEL-4: a fixed configuration of the catalog, which must be named where there are several.
    Evaluation {
        /// Its name.
        configuration: Option<Label>,
    },
}

impl OrderLevel {
    /// The level as the file says it.
    pub const fn level(&self) -> Level {
        match self {
            OrderLevel::Production => Level::Production,
            OrderLevel::Development { .. } => Level::Development,
            OrderLevel::Trial => Level::Trial,
            OrderLevel::Evaluation { .. } => Level::Evaluation,
        }
    }
}

/// A server to bind the file to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostOrder {
    /// Its part.
    pub role: HostRole,
    /// Its host ID.
    pub id: HostId,
    /// How many of the five factors must match: 1 to 5.
    pub need: u8,
    /// What people call the machine.
    pub machine_name: Option<Label>,
    /// Its installation key, where a host request named it: receipts from that machine can then be verified.
    pub installation: Option<InstallationPublicKey>,
    /// The product that its host request asked for.
    pub product: Option<Label>,
}

impl HostOrder {
    /// A host whose ID was typed.
    pub fn typed(role: HostRole, id: HostId) -> Self {
        Self { role, id, need: DEFAULT_NEED, machine_name: None, installation: None, product: None }
    }

    /// A host that sent a request note.
    pub fn requested(role: HostRole, request: &HostRequest) -> Self {
        let installation =
            request.installation.key().try_into().ok().and_then(|key| InstallationPublicKey::new(key).ok());
        Self {
            machine_name: Some(request.machine_name.clone()),
            installation,
            product: request.product.clone(),
            ..Self::typed(role, request.host_id.clone())
        }
    }
}

/// Everything that an order says. [`IssueOrder::new`] gives the usual values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueOrder {
    /// The license to re-issue; a new one where none is named.
    pub license_id: Option<LicenseId>,
    /// The customer.
    pub account: Label,
    /// The customer's site.
    pub install_site: Label,
    /// The level.
    pub level: OrderLevel,
    /// How it is paid for.
    pub model: Model,
    /// Base or add-on.
    pub kind: FileKind,
    /// Product versions; the catalog's where none are named.
    pub versions: Option<VersionRange>,
    /// The server item selected.
    pub server: Option<Label>,
    /// The server item of the switchover server.
    pub switchover_server: Option<Label>,
    /// Parts ordered.
    pub parts: Vec<PartUnits>,
    /// Single grants besides, by the keys' names or aliases.
    pub grants: Vec<Grant>,
    /// Servers to bind to.
    pub hosts: Vec<HostOrder>,
    /// Grants count from here; midnight UTC of the day of issue where none is named.
    pub not_before: Option<WallTime>,
    /// Grants count until here; what the level and the model say where none is named.
    pub not_after: Option<WallTime>,
    /// The last release date that may be installed (SITE-4).
    pub maintenance_end: Option<WallTime>,
    /// Passing it warns (LEVEL-1).
    pub re_register: Option<WallTime>,
    /// Enforcement begins here; midnight UTC.
    pub ramp: Option<WallTime>,
    /// Days of an enforcement stage.
    pub grace_days: Option<u32>,
    /// Where the site checks in.
    pub check_in_endpoint: Option<String>,
    /// Where usage files go.
    pub usage_destination: Option<String>,
    /// Such as `Media Server Based`.
    pub system_type: Option<Label>,
    /// Files whose place it takes.
    pub supersedes: BTreeSet<Superseded>,
    /// Who issues it, for the records.
    pub issued_by: Label,
}

impl IssueOrder {
    /// A perpetual production base file for this account and site, without grants or hosts yet.
    pub fn new(account: Label, install_site: Label, issued_by: Label) -> Self {
        Self {
            license_id: None,
            account,
            install_site,
            level: OrderLevel::Production,
            model: Model::Perpetual,
            kind: FileKind::Base,
            versions: None,
            server: None,
            switchover_server: None,
            parts: Vec::new(),
            grants: Vec::new(),
            hosts: Vec::new(),
            not_before: None,
            not_after: None,
            maintenance_end: None,
            re_register: None,
            ramp: None,
            grace_days: None,
            check_in_endpoint: None,
            usage_destination: None,
            system_type: None,
            supersedes: BTreeSet::new(),
            issued_by,
        }
    }
}

/// Why an order is refused. Each says what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TermsFault {
    /// It does not fit the catalog.
    #[error(transparent)]
    Catalog(#[from] OrderFault),
    /// The catalog does not allow the level (VENDOR-2).
    #[error("{product} is not issued at the level {level}; its catalog allows {allowed}")]
    LevelNotAllowed {
        /// The product.
        product: Label,
        /// The level.
        level: &'static str,
        /// Those that are allowed.
        allowed: String,
    },
    /// LEVEL-4.
    #[error("an evaluation is a fixed configuration: nothing can be added; leave out {0}")]
    EvaluationIsFixed(&'static str),
    /// LEVEL-4.
    #[error("an evaluation cannot be an add-on file; issue it as a base file")]
    EvaluationAddOn,
    /// No such evaluation configuration, or one must be chosen.
    #[error("name the evaluation configuration: one of {choices}")]
    WhichEvaluation {
        /// What there is.
        choices: String,
    },
    /// LEVEL-2.
    #[error("a {size} development license holds a fixed number of {what} already; leave {what} out")]
    DevelopmentIsFixed {
        /// The size.
        size: DevelopmentSize,
        /// What was added.
        what: String,
    },
    /// LEVEL-2: the server item brings another size, or none.
    #[error("server item `{item}` comes with {brings}, not with a {size} development license")]
    DevelopmentSizeMismatch {
        /// The server item.
        item: Label,
        /// What it brings.
        brings: String,
        /// What was ordered.
        size: DevelopmentSize,
    },
    /// Nothing would be granted.
    #[error(
        "the order grants nothing; name a server item, parts or grants (to close a license, use `licensor deactivate`)"
    )]
    NoGrants,
    /// 02: a file needs a primary host.
    #[error("no primary host is named; give --host or --request (only a file with the virtual cloud key needs none)")]
    NoHost,
    /// A switchover host without a primary.
    #[error("a switchover host stands beside a primary one; name the primary host too")]
    SwitchoverAlone,
    /// Two hosts of one role.
    #[error("two {0} hosts are named; a file has at most one of each")]
    HostTwice(&'static str),
    /// The machine asked for something else.
    #[error(
        "the host request asks for {asked}, and the catalog is that of {product}; choose the other catalog, or give the host ID by --host"
    )]
    RequestForOther {
        /// The product asked for.
        asked: Label,
        /// The catalog's product.
        product: Label,
    },
    /// Out of range.
    #[error("{0} of 5 host factors cannot be needed; give 1 to 5")]
    Need(u8),
    /// 02, Host IDs: the machine has told too few facts of itself.
    #[error(
        "the {role} host ID holds {held} of the 5 factors, and {need} must match, platform or network among them; it would be refused on its own machine: lower --need, or let `leasehold host-id` run with more rights there"
    )]
    HostNeverMatches {
        /// `primary` or `switchover`.
        role: &'static str,
        /// Factors that the ID records.
        held: usize,
        /// Factors that must match.
        need: u8,
    },
    /// A subscription has an end of its own.
    #[error("a {0} file has no end of its own; give --not-after")]
    EndNeeded(&'static str),
    /// Too late for the level.
    #[error("not-after {given} is too late: {level} ends {latest} at the latest")]
    EndTooLate {
        /// As ordered.
        given: WallTime,
        /// The level in words.
        level: &'static str,
        /// The latest end.
        latest: WallTime,
    },
    /// The window is empty.
    #[error("not-after {not_after} does not lie after not-before {not_before}; correct one of them")]
    DatesReversed {
        /// The start.
        not_before: WallTime,
        /// The end.
        not_after: WallTime,
    },
    /// 02: what virtual cloud excludes.
    #[error("the virtual cloud key {0}")]
    VirtualCloud(&'static str),
    /// 05: enforcement cannot start.
    #[error("the virtual cloud key needs {0}")]
    EnforcementNeeds(&'static str),
    /// 05.
    #[error("the ramp date {0} is not midnight UTC; give a date like 2027-01-31")]
    RampNotMidnight(WallTime),
    /// 05.
    #[error("grace days must be 1 or more; 0 would disable a site at once")]
    GraceZero,
    /// The versions are reversed.
    #[error("the versions {0} are reversed; give the oldest first")]
    VersionsReversed(VersionRange),
    /// A file cannot take its own place.
    #[error("the order supersedes the license that it re-issues; lower sequences of one license are superseded anyway")]
    SupersedesItself,
}

/// The word for a level, as in activation files.
pub const fn level_word(level: Level) -> &'static str {
    match level {
        Level::Production => "production",
        Level::Development => "development",
        Level::Trial => "trial",
        Level::Evaluation => "evaluation",
    }
}

/// The word for a file's kind, as in activation files.
pub const fn kind_word(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Base => "base",
        FileKind::AddOn => "add-on",
    }
}
