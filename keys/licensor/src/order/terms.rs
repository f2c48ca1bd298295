//! From an order to the terms of an activation file: what is granted, from when to when, for which hosts. All faults come
//! at once.

use leasehold_keys::{
    activation::{Activation, FileKind, Grant, HostLine, HostRole, LicenseId, Model, Part, Units},
    definition::{KeyDefinition, KeyKind, Role},
    host::Factor,
    name::{Label, PoolName},
    time::{DAY_MS, WallTime},
};

use super::{DevelopmentTerms, HostOrder, IssueOrder, OrderLevel, PARTNER_DAYS, TRIAL_DAYS, TermsFault, level_word};
use crate::{
    calendar::{midnight, plus_years},
    catalog::{Catalog, DevelopmentSize, Evaluation, Sum},
};

/// What the licensor adds to an order.
pub(crate) struct Frame {
    pub(crate) license_id: LicenseId,
    pub(crate) sequence: u32,
    pub(crate) issued: WallTime,
    pub(crate) root_version: u32,
}

/// The terms of the file, or every fault of the order.
pub(crate) fn terms(catalog: &Catalog, order: &IssueOrder, frame: &Frame) -> Result<Activation, Vec<TermsFault>> {
    let mut faults = Vec::new();
    if !catalog.levels().contains(&order.level.level()) {
        let allowed: Vec<_> = catalog.levels().iter().map(|level| level_word(*level)).collect();
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
    if order.supersedes.iter().any(|superseded| superseded.license_id == frame.license_id) {
        faults.push(TermsFault::SupersedesItself);
    }
    let parts = order.parts.iter().filter_map(|part| {
        let description = catalog.parts().get(&part.number)?.description.clone();
        Some(Part { number: part.number.clone(), description, assigned: part.assigned, pooled: part.pooled })
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
            faults.extend(catalog.add_parts(&mut sum, &order.parts).into_iter().map(TermsFault::from));
            faults.extend(catalog.add_grants(&mut sum, &order.grants).into_iter().map(TermsFault::from));
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
            None => faults.extend(catalog.add_server_item(&mut Sum::default(), item, false).map(TermsFault::from)),
            Some(definition) if definition.development != Some(size) => {
                let brings =
                    definition.development.map_or("no development license".to_owned(), |size| format!("a {size} one"));
                faults.push(TermsFault::DevelopmentSizeMismatch { item: item.clone(), brings, size });
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
                items().find(|item| item.development == Some(size)).or_else(|| items().next())
            }
        };
        if let Some(item) = brought {
            sum.add_all(&item.grants, 1);
        }
    }
    catalog.add_development(sum, size);
    for part in &order.parts {
        faults.push(TermsFault::DevelopmentIsFixed { size, what: format!("part {}", part.number) });
    }
    // What the bundle leaves open may be added: engines, hardware, and how use is paid for.
    let (open, fixed): (Vec<Grant>, Vec<Grant>) = order.grants.iter().cloned().partition(|grant| {
        catalog.key(&grant.pool.key).is_none_or(|key| {
            let pool = PoolName { key: key.name.clone(), method: grant.pool.method };
            !sum.contains(&pool)
        })
    });
    for grant in fixed {
        faults.push(TermsFault::DevelopmentIsFixed { size, what: grant.pool.to_string() });
    }
    faults.extend(catalog.add_grants(sum, &open).into_iter().map(TermsFault::from));
}

fn evaluation(
    catalog: &Catalog,
    order: &IssueOrder,
    name: Option<&Label>,
    sum: &mut Sum,
    faults: &mut Vec<TermsFault>,
) {
    let additions = [
        (order.server.is_some() || order.switchover_server.is_some(), "server items"),
        (!order.parts.is_empty(), "parts"),
        (!order.grants.is_empty(), "grants"),
    ];
    faults
        .extend(additions.into_iter().filter(|(added, _)| *added).map(|(_, what)| TermsFault::EvaluationIsFixed(what)));
    if order.kind == FileKind::AddOn {
        faults.push(TermsFault::EvaluationAddOn);
    }
    match evaluation_named(catalog, name) {
        Some(evaluation) => sum.add_all(&evaluation.grants, 1),
        None if catalog.evaluations().is_empty() => {}
        None => {
            let choices: Vec<_> = catalog.evaluations().keys().map(Label::as_str).collect();
            faults.push(TermsFault::WhichEvaluation { choices: choices.join(", ") });
        }
    }
}

/// The configuration of this name, or the only one there is.
fn evaluation_named<'c>(catalog: &'c Catalog, name: Option<&Label>) -> Option<&'c Evaluation> {
    match name {
        Some(name) => catalog.evaluations().get(name),
        None => catalog.evaluations().values().next().filter(|_| catalog.evaluations().len() == 1),
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
        OrderLevel::Development { terms: DevelopmentTerms::Ordered, .. } => {
            Some(("an ordered development license", plus_years(issued, 1)))
        }
        OrderLevel::Development { terms: DevelopmentTerms::Partner, .. } => {
            Some(("a partner's development license", days(PARTNER_DAYS)))
        }
        OrderLevel::Evaluation { configuration } => evaluation_named(catalog, configuration.as_ref())
            .map(|evaluation| ("this evaluation", days(evaluation.days))),
        OrderLevel::Production | OrderLevel::Development { terms: DevelopmentTerms::WithServer(_), .. } => None,
    };
    let not_after = match (order.not_after, latest, order.model) {
        (Some(given), Some((level, latest)), _) if given > latest => {
            faults.push(TermsFault::EndTooLate { given, level, latest });
            latest
        }
        (Some(given), ..) => given,
        (None, Some((_, latest)), _) => latest,
        (None, None, Model::Perpetual) => WallTime::PERPETUAL_END,
        (None, None, model) => {
            faults.push(TermsFault::EndNeeded(if model == Model::Mixed { "mixed" } else { "subscription" }));
            WallTime::PERPETUAL_END
        }
    };
    if not_after <= not_before {
        faults.push(TermsFault::DatesReversed { not_before, not_after });
    }
    (not_before, not_after)
}

fn hosts(order: &IssueOrder, catalog: &Catalog, grants: &[Grant], faults: &mut Vec<TermsFault>) -> Vec<HostLine> {
    let of = |role| order.hosts.iter().filter(move |host| host.role == role).count();
    for (role, name) in [(HostRole::Primary, "primary"), (HostRole::Switchover, "switchover")] {
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
    for host in order.hosts.iter().filter(|host| !(1..=5).contains(&host.need)) {
        faults.push(TermsFault::Need(host.need));
    }
    for host in order.hosts.iter().filter(|host| (1..=5).contains(&host.need)) {
        let held = Factor::ALL.into_iter().filter(|factor| host.id.records(*factor)).count();
        let anchored = host.id.records(Factor::Platform) || host.id.records(Factor::Network);
        if held < usize::from(host.need) || !anchored {
            let role = if host.role == HostRole::Primary { "primary" } else { "switchover" };
            faults.push(TermsFault::HostNeverMatches { role, held, need: host.need });
        }
    }
    let asked = order.hosts.iter().filter_map(|host| host.product.as_ref());
    for asked in asked.filter(|asked| *asked != catalog.product()) {
        faults.push(TermsFault::RequestForOther { asked: asked.clone(), product: catalog.product().clone() });
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
    grants.iter().filter_map(|grant| catalog.key(&grant.pool.key)).find(|key| wanted(key))
}

/// What the virtual cloud key excludes and needs (02, 05).
fn virtual_cloud(catalog: &Catalog, order: &IssueOrder, grants: &[Grant], faults: &mut Vec<TermsFault>) {
    let has = |role| granted(catalog, grants, |key| key.role == Some(role)).is_some();
    if !has(Role::VirtualCloud) {
        return;
    }
    if order.model == Model::Perpetual {
        faults.push(TermsFault::VirtualCloud("needs a subscription; give --model subscription or mixed"));
    }
    if has(Role::UsageLocal) {
        faults.push(TermsFault::VirtualCloud(
            "cannot stand beside local usage tracking, since it needs the automated upload; leave one of them out",
        ));
    }
    let unlimited_ports = grants.iter().any(|grant| {
        grant.units == Units::Unlimited
            && catalog.key(&grant.pool.key).is_some_and(|key| key.call_port && key.kind != KeyKind::Access)
    });
    if unlimited_ports {
        faults.push(TermsFault::VirtualCloud(
            "needs a count of call ports, of which enforcement takes a fifth; give one instead of unlimited",
        ));
    }
    // Those of the base file count; an add-on has none of its own.
    if order.kind == FileKind::Base {
        let missing = [
            (order.ramp.is_none(), "a ramp date; give --ramp"),
            (order.grace_days.is_none(), "grace days; give --grace-days"),
            (order.check_in_endpoint.is_none(), "a check-in endpoint; give --check-in-endpoint"),
        ];
        faults.extend(
            missing.into_iter().filter(|(missing, _)| *missing).map(|(_, what)| TermsFault::EnforcementNeeds(what)),
        );
    }
}
