//! What the vendor orders, checked against the catalog and the rules, and turned into the terms of an activation file.
//! All faults come at once. Nothing here signs or writes.

use std::collections::BTreeSet;

use jiff::{Span, Timestamp, tz::TimeZone};
use leasehold_keys::{
    activation::{
        Activation, FileKind, Grant, HostLine, HostRole, Level, LicenseId, Model, Part, Superseded,
        Units, VersionRange,
    },
    definition::{KeyDefinition, KeyKind, Role},
    host::{Factor, HostId},
    installation::InstallationPublicKey,
    name::{Label, PoolName},
    request::HostRequest,
    time::{DAY_MS, SECOND_MS, WallTime},
};

use crate::catalog::{Catalog, DevelopmentSize, OrderFault, PartUnits, Sum};

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
        Self {
            role,
            id,
            need: DEFAULT_NEED,
            machine_name: None,
            installation: None,
            product: None,
        }
    }

    /// A host that sent a request note.
    pub fn requested(role: HostRole, request: &HostRequest) -> Self {
        let installation = request
            .installation
            .key()
            .try_into()
            .ok()
            .and_then(|key| InstallationPublicKey::new(key).ok());
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
    #[error(
        "a {size} development license holds a fixed number of {what} already; leave {what} out"
    )]
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
    #[error(
        "no primary host is named; give --host or --request (only a file with the virtual cloud key needs none)"
    )]
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
    #[error(
        "not-after {not_after} does not lie after not-before {not_before}; correct one of them"
    )]
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
    #[error(
        "the order supersedes the license that it re-issues; lower sequences of one license are superseded anyway"
    )]
    SupersedesItself,
}

/// What the licensor adds to an order.
pub(crate) struct Frame {
    pub(crate) license_id: LicenseId,
    pub(crate) sequence: u32,
    pub(crate) issued: WallTime,
    pub(crate) root_version: u32,
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

/// `time` without its fraction of a second, which signed files do not have.
pub(crate) fn whole_second(time: WallTime) -> WallTime {
    WallTime::from_ms(time.as_ms().div_euclid(SECOND_MS) * SECOND_MS)
}

/// Midnight UTC at or before `time`.
pub(crate) fn midnight(time: WallTime) -> WallTime {
    WallTime::from_ms(time.as_ms().div_euclid(DAY_MS) * DAY_MS)
}

/// The same moment in a later year of the UTC calendar; the last of February where the day is missing there.
pub(crate) fn plus_years(time: WallTime, years: i64) -> WallTime {
    let later = Timestamp::from_millisecond(time.as_ms())
        .and_then(|time| {
            time.to_zoned(TimeZone::UTC)
                .checked_add(Span::new().try_years(years)?)
        })
        .map(|later| later.timestamp().as_millisecond());
    WallTime::from_ms(later.unwrap_or(i64::MAX))
}

/// The terms of the file, or every fault of the order.
pub(crate) fn terms(
    catalog: &Catalog,
    order: &IssueOrder,
    frame: &Frame,
) -> Result<Activation, Vec<TermsFault>> {
    let mut faults = Vec::new();
    if !catalog.levels().contains(&order.level.level()) {
        let allowed: Vec<_> = catalog
            .levels()
            .iter()
            .map(|level| level_word(*level))
            .collect();
        faults.push(TermsFault::LevelNotAllowed {
            product: catalog.product().clone(),
            level: level_word(order.level.level()),
            allowed: allowed.join(", "),
        });
    }
    let grants = grants(catalog, order, &mut faults);
    let (not_before, not_after) = window(catalog, order, frame.issued, &mut faults);
    let hosts = hosts(order, catalog, &grants, &mut faults);
    virtual_cloud(catalog, order, &grants, &mut faults);
    if let Some(ramp) = order.ramp.filter(|ramp| midnight(*ramp) != *ramp) {
        faults.push(TermsFault::RampNotMidnight(ramp));
    }
    if order.grace_days == Some(0) {
        faults.push(TermsFault::GraceZero);
    }
    let versions = order.versions.unwrap_or(catalog.versions());
    if versions.from > versions.through {
        faults.push(TermsFault::VersionsReversed(versions));
    }
    if order
        .supersedes
        .iter()
        .any(|superseded| superseded.license_id == frame.license_id)
    {
        faults.push(TermsFault::SupersedesItself);
    }
    let parts = order.parts.iter().filter_map(|part| {
        let description = catalog.parts().get(&part.number)?.description.clone();
        Some(Part {
            number: part.number.clone(),
            description,
            assigned: part.assigned,
            pooled: part.pooled,
        })
    });
    let parts = parts.collect();
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(Activation {
        license_id: frame.license_id,
        sequence: frame.sequence,
        supersedes: order.supersedes.clone(),
        issued: frame.issued,
        account: order.account.clone(),
        install_site: order.install_site.clone(),
        product: catalog.product().clone(),
        product_line: catalog.product_line().clone(),
        versions,
        model: order.model,
        level: order.level.level(),
        kind: order.kind,
        system_type: order.system_type.clone(),
        companion_of: catalog.companion_of().cloned(),
        not_before,
        not_after,
        maintenance_end: order.maintenance_end,
        re_register: order.re_register,
        ramp: order.ramp,
        grace_days: order.grace_days,
        check_in_endpoint: order.check_in_endpoint.clone(),
        usage_destination: order.usage_destination.clone(),
        hosts,
        parts,
        definitions: catalog.definitions_for(&grants),
        grants,
        catalog_version: catalog.version(),
        root_version: frame.root_version,
    })
}

fn grants(catalog: &Catalog, order: &IssueOrder, faults: &mut Vec<TermsFault>) -> Vec<Grant> {
    let mut sum = Sum::default();
    match &order.level {
        OrderLevel::Production | OrderLevel::Trial => {
            faults.extend(servers(catalog, order, &mut sum));
            faults.extend(
                catalog
                    .add_parts(&mut sum, &order.parts)
                    .into_iter()
                    .map(TermsFault::from),
            );
            faults.extend(
                catalog
                    .add_grants(&mut sum, &order.grants)
                    .into_iter()
                    .map(TermsFault::from),
            );
        }
        OrderLevel::Development { size, terms } => {
            faults.extend(servers(catalog, order, &mut sum));
            development(catalog, order, *size, terms, &mut sum, faults);
        }
        OrderLevel::Evaluation { configuration } => {
            evaluation(catalog, order, configuration.as_ref(), &mut sum, faults)
        }
    }
    let (grants, overflow) = sum.finish();
    faults.extend(overflow.into_iter().map(TermsFault::from));
    if grants.is_empty() && faults.is_empty() {
        faults.push(TermsFault::NoGrants);
    }
    grants
}

fn servers(catalog: &Catalog, order: &IssueOrder, sum: &mut Sum) -> Vec<TermsFault> {
    let chosen = [(&order.server, false), (&order.switchover_server, true)];
    chosen
        .into_iter()
        .filter_map(|(item, switchover)| catalog.add_server_item(sum, item.as_ref()?, switchover))
        .map(TermsFault::from)
        .collect()
}

fn development(
    catalog: &Catalog,
    order: &IssueOrder,
    size: DevelopmentSize,
    terms: &DevelopmentTerms,
    sum: &mut Sum,
    faults: &mut Vec<TermsFault>,
) {
    if let DevelopmentTerms::WithServer(item) = terms {
        match catalog.server_items().get(item) {
            None => faults.extend(
                catalog
                    .add_server_item(&mut Sum::default(), item, false)
                    .map(TermsFault::from),
            ),
            Some(definition) if definition.development != Some(size) => {
                let brings = definition
                    .development
                    .map_or("no development license".to_owned(), |size| {
                        format!("a {size} one")
                    });
                faults.push(TermsFault::DevelopmentSizeMismatch {
                    item: item.clone(),
                    brings,
                    size,
                });
            }
            Some(_) => {}
        }
    }
    // A development system is a server too: without its server key it would not start (SITE-2).
    if order.server.is_none() {
        let brought = match terms {
            DevelopmentTerms::WithServer(item) => catalog.server_items().get(item),
            DevelopmentTerms::Ordered | DevelopmentTerms::Partner => {
                let items = || catalog.server_items().values();
                items()
                    .find(|item| item.development == Some(size))
                    .or_else(|| items().next())
            }
        };
        if let Some(item) = brought {
            sum.add_all(&item.grants, 1);
        }
    }
    catalog.add_development(sum, size);
    for part in &order.parts {
        faults.push(TermsFault::DevelopmentIsFixed {
            size,
            what: format!("part {}", part.number),
        });
    }
    // What the bundle leaves open may be added: engines, hardware, and how use is paid for.
    let (open, fixed): (Vec<Grant>, Vec<Grant>) = order.grants.iter().cloned().partition(|grant| {
        catalog.key(&grant.pool.key).is_none_or(|key| {
            let pool = PoolName {
                key: key.name.clone(),
                method: grant.pool.method,
            };
            !sum.contains(&pool)
        })
    });
    for grant in fixed {
        faults.push(TermsFault::DevelopmentIsFixed {
            size,
            what: grant.pool.to_string(),
        });
    }
    faults.extend(
        catalog
            .add_grants(sum, &open)
            .into_iter()
            .map(TermsFault::from),
    );
}

fn evaluation(
    catalog: &Catalog,
    order: &IssueOrder,
    name: Option<&Label>,
    sum: &mut Sum,
    faults: &mut Vec<TermsFault>,
) {
    let additions = [
        (
            order.server.is_some() || order.switchover_server.is_some(),
            "server items",
        ),
        (!order.parts.is_empty(), "parts"),
        (!order.grants.is_empty(), "grants"),
    ];
    faults.extend(
        additions
            .into_iter()
            .filter(|(added, _)| *added)
            .map(|(_, what)| TermsFault::EvaluationIsFixed(what)),
    );
    if order.kind == FileKind::AddOn {
        faults.push(TermsFault::EvaluationAddOn);
    }
    match evaluation_named(catalog, name) {
        Some(evaluation) => sum.add_all(&evaluation.grants, 1),
        None if catalog.evaluations().is_empty() => {}
        None => {
            let choices: Vec<_> = catalog.evaluations().keys().map(Label::as_str).collect();
            faults.push(TermsFault::WhichEvaluation {
                choices: choices.join(", "),
            });
        }
    }
}

/// The configuration of this name, or the only one there is.
fn evaluation_named<'c>(
    catalog: &'c Catalog,
    name: Option<&Label>,
) -> Option<&'c crate::catalog::Evaluation> {
    match name {
        Some(name) => catalog.evaluations().get(name),
        None => catalog
            .evaluations()
            .values()
            .next()
            .filter(|_| catalog.evaluations().len() == 1),
    }
}

/// The dates between which the grants count.
fn window(
    catalog: &Catalog,
    order: &IssueOrder,
    issued: WallTime,
    faults: &mut Vec<TermsFault>,
) -> (WallTime, WallTime) {
    // Valid at once after the download (004), on a server whose clock is some hours behind, too.
    let not_before = order.not_before.unwrap_or_else(|| midnight(issued));
    let days = |days: u32| issued.plus_ms(i64::from(days) * DAY_MS);
    let latest = match &order.level {
        OrderLevel::Trial => Some(("a trial", days(TRIAL_DAYS))),
        OrderLevel::Development {
            terms: DevelopmentTerms::Ordered,
            ..
        } => Some(("an ordered development license", plus_years(issued, 1))),
        OrderLevel::Development {
            terms: DevelopmentTerms::Partner,
            ..
        } => Some(("a partner's development license", days(PARTNER_DAYS))),
        OrderLevel::Evaluation { configuration } => {
            evaluation_named(catalog, configuration.as_ref())
                .map(|evaluation| ("this evaluation", days(evaluation.days)))
        }
        OrderLevel::Production
        | OrderLevel::Development {
            terms: DevelopmentTerms::WithServer(_),
            ..
        } => None,
    };
    let not_after = match (order.not_after, latest, order.model) {
        (Some(given), Some((level, latest)), _) if given > latest => {
            faults.push(TermsFault::EndTooLate {
                given,
                level,
                latest,
            });
            latest
        }
        (Some(given), ..) => given,
        (None, Some((_, latest)), _) => latest,
        (None, None, Model::Perpetual) => WallTime::PERPETUAL_END,
        (None, None, model) => {
            faults.push(TermsFault::EndNeeded(if model == Model::Mixed {
                "mixed"
            } else {
                "subscription"
            }));
            WallTime::PERPETUAL_END
        }
    };
    if not_after <= not_before {
        faults.push(TermsFault::DatesReversed {
            not_before,
            not_after,
        });
    }
    (not_before, not_after)
}

fn hosts(
    order: &IssueOrder,
    catalog: &Catalog,
    grants: &[Grant],
    faults: &mut Vec<TermsFault>,
) -> Vec<HostLine> {
    let of = |role| {
        order
            .hosts
            .iter()
            .filter(move |host| host.role == role)
            .count()
    };
    for (role, name) in [
        (HostRole::Primary, "primary"),
        (HostRole::Switchover, "switchover"),
    ] {
        if of(role) > 1 {
            faults.push(TermsFault::HostTwice(name));
        }
    }
    let unbound = granted(catalog, grants, |key| key.role == Some(Role::VirtualCloud)).is_some();
    if of(HostRole::Primary) == 0 {
        if of(HostRole::Switchover) > 0 {
            faults.push(TermsFault::SwitchoverAlone);
        } else if !unbound {
            faults.push(TermsFault::NoHost);
        }
    }
    for host in order
        .hosts
        .iter()
        .filter(|host| !(1..=5).contains(&host.need))
    {
        faults.push(TermsFault::Need(host.need));
    }
    for host in order
        .hosts
        .iter()
        .filter(|host| (1..=5).contains(&host.need))
    {
        let held = Factor::ALL
            .into_iter()
            .filter(|factor| host.id.records(*factor))
            .count();
        let anchored = host.id.records(Factor::Platform) || host.id.records(Factor::Network);
        if held < usize::from(host.need) || !anchored {
            let role = if host.role == HostRole::Primary {
                "primary"
            } else {
                "switchover"
            };
            faults.push(TermsFault::HostNeverMatches {
                role,
                held,
                need: host.need,
            });
        }
    }
    let asked = order.hosts.iter().filter_map(|host| host.product.as_ref());
    for asked in asked.filter(|asked| *asked != catalog.product()) {
        faults.push(TermsFault::RequestForOther {
            asked: asked.clone(),
            product: catalog.product().clone(),
        });
    }
    let line = |host: &HostOrder| HostLine {
        role: host.role,
        id: host.id.clone(),
        need: host.need,
        machine_name: host.machine_name.clone(),
    };
    let mut lines: Vec<_> = order.hosts.iter().map(line).collect();
    lines.sort_by_key(|line| line.role);
    lines
}

/// The first granted key that `wanted` is true of.
fn granted<'c>(
    catalog: &'c Catalog,
    grants: &[Grant],
    wanted: impl Fn(&KeyDefinition) -> bool,
) -> Option<&'c KeyDefinition> {
    grants
        .iter()
        .filter_map(|grant| catalog.key(&grant.pool.key))
        .find(|key| wanted(key))
}

/// What the virtual cloud key excludes and needs (02, 05).
fn virtual_cloud(
    catalog: &Catalog,
    order: &IssueOrder,
    grants: &[Grant],
    faults: &mut Vec<TermsFault>,
) {
    let has = |role| granted(catalog, grants, |key| key.role == Some(role)).is_some();
    if !has(Role::VirtualCloud) {
        return;
    }
    if order.model == Model::Perpetual {
        faults.push(TermsFault::VirtualCloud(
            "needs a subscription; give --model subscription or mixed",
        ));
    }
    if has(Role::UsageLocal) {
        faults.push(TermsFault::VirtualCloud("cannot stand beside local usage tracking, since it needs the automated upload; leave one of them out"));
    }
    let unlimited_ports = grants.iter().any(|grant| {
        grant.units == Units::Unlimited
            && catalog
                .key(&grant.pool.key)
                .is_some_and(|key| key.call_port && key.kind != KeyKind::Access)
    });
    if unlimited_ports {
        faults.push(TermsFault::VirtualCloud("needs a count of call ports, of which enforcement takes a fifth; give one instead of unlimited"));
    }
    // Those of the base file count; an add-on has none of its own.
    if order.kind == FileKind::Base {
        let missing = [
            (order.ramp.is_none(), "a ramp date; give --ramp"),
            (order.grace_days.is_none(), "grace days; give --grace-days"),
            (
                order.check_in_endpoint.is_none(),
                "a check-in endpoint; give --check-in-endpoint",
            ),
        ];
        faults.extend(
            missing
                .into_iter()
                .filter(|(missing, _)| *missing)
                .map(|(_, what)| TermsFault::EnforcementNeeds(what)),
        );
    }
}
