//! What administrators are shown.

use std::collections::BTreeMap;

use leasehold_engine::{
    command::{EntityName, HostFinding, ShareName},
    decision::{Administered, AssignOutcome, Notice},
    row::{AuditRow, DenialRow},
    view::{
        AssignmentView, EntityView, ExceededView, HeldLeaseView, LicenseView, PoolView, ShareView, SiteState,
        StatusView,
    },
    words::counted,
};
use leasehold_keys::{
    activation::{Activation, FileKind, HostRole, Level, Model},
    trust::Verified,
};
use leasehold_proto::v1;

use crate::{
    clock::evidence::Standing,
    folder::Checked,
    grpc::{
        convert::{leasing, or_empty, texts, timestamp},
        status,
    },
    storage::AuditVerdict,
};

/// The engine's part of the status; the caller fills in the daemon's.
pub(crate) fn status_of(view: &StatusView) -> v1::GetStatusResponse {
    v1::GetStatusResponse {
        license_state: match view.state {
            SiteState::Licensed => "licensed",
            SiteState::Unlicensed => "unlicensed",
            SiteState::Standby => "standby",
        }
        .to_owned(),
        enforcement_stage: view.stage.number().into(),
        leases: view.leases,
        users: view.users,
        stations: view.stations,
        waiting: view.waiting,
        attached: view.attached,
        denials_today: view.denials_today,
        notices: view
            .notices
            .iter()
            .map(|(reason, message)| v1::Notice { reason: (*reason).to_owned(), message: message.clone() })
            .collect(),
        ..Default::default()
    }
}

/// How dates are known.
pub(crate) fn clock(standing: &Standing) -> v1::ClockStatus {
    let evidence = standing.evidence;
    v1::ClockStatus {
        trusted: Some(timestamp(standing.trusted)),
        wall_clock: Some(timestamp(standing.wall)),
        state: standing.state().to_owned(),
        unconfirmed_ms: evidence.unconfirmed.map_or(0, |jump| jump.ahead_ms),
        confirmed_in_ms: standing.confirmed_in_ms.unwrap_or(0),
        roll_backs: evidence.roll_backs,
        last_roll_back: evidence.last_roll_back.map(|episode| timestamp(episode.at)),
        last_roll_back_by_ms: evidence.last_roll_back.map_or(0, |episode| episode.by_ms),
        last_roll_back_over: evidence.last_roll_back.and_then(|episode| episode.over).map(timestamp),
        withdrawn: evidence.withdrawn,
    }
}

/// What became of a file, for the audit log.
pub(crate) fn loaded(checked: &Checked) -> String {
    let terms = checked.terms.as_ref();
    serde_json::json!({
        "state": checked.entry.state.as_str(),
        "license": terms.map(|terms| terms.license_id.to_string()),
        "sequence": terms.map(|terms| terms.sequence),
        "sha256": terms.map(|terms| terms.sha256().to_string()),
    })
    .to_string()
}

/// What an activation file says, as far as it is known without the engine.
pub(crate) fn terms(terms: &Verified<Activation>) -> v1::License {
    v1::License {
        license_id: terms.license_id.to_string(),
        sequence: terms.sequence,
        account: terms.account.to_string(),
        install_site: terms.install_site.to_string(),
        product: terms.product.to_string(),
        product_line: terms.product_line.to_string(),
        versions: terms.versions.to_string(),
        model: match terms.model {
            Model::Perpetual => "perpetual",
            Model::Subscription => "subscription",
            Model::Mixed => "mixed",
        }
        .to_owned(),
        level: match terms.level {
            Level::Production => "production",
            Level::Development => "development",
            Level::Trial => "trial",
            Level::Evaluation => "evaluation",
        }
        .to_owned(),
        kind: match terms.kind {
            FileKind::Base => "base",
            FileKind::AddOn => "add-on",
        }
        .to_owned(),
        issued: Some(timestamp(terms.issued)),
        not_before: Some(timestamp(terms.not_before)),
        not_after: Some(timestamp(terms.not_after)),
        maintenance_end: terms.maintenance_end.map(timestamp),
        parts: terms
            .parts
            .iter()
            .map(|part| v1::LicensePart {
                number: part.number.to_string(),
                description: part.description.to_string(),
                assigned: part.assigned,
                pooled: part.pooled,
            })
            .collect(),
        grants: terms
            .grants
            .iter()
            .map(|grant| v1::LicenseGrant { pool: grant.pool.to_string(), units: grant.units.to_string() })
            .collect(),
        sha256: terms.sha256().to_string(),
        signed_by: terms.signed_by().to_vec(),
        ..Default::default()
    }
}

/// An accepted activation file. When it ends is what counts, so a trial shows the end of its 60 days.
pub(crate) fn license(view: &LicenseView) -> v1::License {
    v1::License {
        not_after: Some(timestamp(view.ends)),
        state: view.state.to_owned(),
        message: view.message.clone(),
        file_name: view.file_name.clone(),
        host: match view.host_role {
            None => "bound to no host",
            Some(HostRole::Primary) => "this host is its primary server",
            Some(HostRole::Switchover) => "this host is its switchover server",
        }
        .to_owned(),
        ..terms(&view.terms)
    }
}

/// True for a license whose grants are gone for good.
pub(crate) fn is_over(view: &LicenseView) -> bool {
    matches!(view.state, "ended" | "unloaded" | "superseded" | "deactivated")
}

/// How a file that is not loaded compares with this host.
pub(crate) fn host(finding: Option<&HostFinding>) -> String {
    match finding {
        None => String::new(),
        Some(HostFinding::Unbound) => "bound to no host".to_owned(),
        Some(HostFinding::Primary) => "this host is its primary server".to_owned(),
        Some(HostFinding::Switchover) => "this host is its switchover server".to_owned(),
        Some(HostFinding::Other(comparison)) => comparison.clone(),
    }
}

/// What a file's grants are beside those that its license ID has now.
pub(crate) fn effects(held: &[LicenseView], license: &v1::License) -> Vec<v1::Notice> {
    let before: BTreeMap<String, String> = held
        .iter()
        .filter(|view| view.license.to_string() == license.license_id && !is_over(view))
        .flat_map(|view| &view.grants)
        .map(|grant| (grant.pool.to_string(), grant.units.to_string()))
        .collect();
    let after: BTreeMap<&str, &str> =
        license.grants.iter().map(|grant| (grant.pool.as_str(), grant.units.as_str())).collect();
    let mut effects = Vec::new();
    let mut tell = |reason: &str, message: String| effects.push(v1::Notice { reason: reason.to_owned(), message });
    for (pool, units) in &after {
        match before.get(*pool) {
            None => tell("POOL_ADDED", format!("{pool}: {units}, which this license did not grant before.")),
            Some(had) if had != units => tell("POOL_CHANGED", format!("{pool}: {units} instead of {had}.")),
            Some(_) => {}
        }
    }
    for (pool, had) in before.iter().filter(|(pool, _)| !after.contains_key(pool.as_str())) {
        tell("POOL_REMOVED", format!("{pool}: none instead of {had}."));
    }
    effects
}

/// A pool.
pub(crate) fn pool(view: &PoolView) -> v1::Pool {
    v1::Pool {
        name: view.name.to_string(),
        key: view.name.key.to_string(),
        title: view.title.to_string(),
        method: view.name.method.to_string(),
        kind: leasing::key_kind(view.kind).to_owned(),
        group: or_empty(view.group.as_ref()),
        capacity: view.capacity.to_string(),
        set_aside: view.set_aside,
        assigned: view.assigned,
        in_use: view.in_use,
        waiting: view.waiting,
        peak_today: view.peak_today,
        denied_today: view.denied_today,
        idle_ms: view.idle_ms,
        idle_always: view.idle_always,
        message: view.message.clone(),
    }
}

/// A share with its use.
pub(crate) fn share_of(view: &ShareView) -> v1::Share {
    use v1::share::Holder;
    v1::Share {
        pool: view.pool.to_string(),
        holder: Some(match &view.holder {
            ShareName::Organization(name) => Holder::Organization(name.to_string()),
            ShareName::Application(name) => Holder::Application(name.to_string()),
        }),
        reserve: view.reserve,
        limit: view.limit,
        in_use: view.in_use,
    }
}

/// Something by its name.
pub(crate) fn entity_ref(name: &EntityName) -> v1::EntityRef {
    use v1::entity_ref::Entity;
    v1::EntityRef {
        entity: Some(match name {
            EntityName::User(name) => Entity::User(name.to_string()),
            EntityName::Station(name) => Entity::Station(name.to_string()),
            EntityName::Workgroup(name) => Entity::Workgroup(name.to_string()),
            EntityName::Organization(name) => Entity::Organization(name.to_string()),
        }),
    }
}

/// Something administered, with what it holds.
pub(crate) fn entity_of(view: &EntityView) -> v1::Entity {
    use v1::entity::Entity;
    let entity = match view {
        EntityView::User { row, organization, workgroups, assignments, leases } => Entity::User(v1::User {
            name: row.name.to_string(),
            method: Some(row.method.to_string()),
            organization: organization.as_ref().map(ToString::to_string),
            workgroups: Some(v1::StringList { values: texts(workgroups) }),
            interaction_types: Some(v1::StringList { values: texts(&row.types) }),
            display_name: row.display_name.as_ref().map(ToString::to_string),
            assignments: assignments.iter().map(assignment).collect(),
            leases: u32::try_from(*leases).unwrap_or(u32::MAX),
        }),
        EntityView::Station { row, organization, owner, assignments } => Entity::Station(v1::Station {
            name: row.name.to_string(),
            kind: Some(row.kind.as_str().to_owned()),
            enabled: Some(row.enabled),
            organization: organization.as_ref().map(ToString::to_string),
            owner: owner.as_ref().map(ToString::to_string),
            assignments: assignments.iter().map(assignment).collect(),
        }),
        EntityView::Workgroup { row, members } => Entity::Workgroup(v1::Workgroup {
            name: row.name.to_string(),
            service_id: row.service_id.as_ref().map(ToString::to_string),
            interaction_types: Some(v1::StringList { values: texts(&row.types) }),
            members: u32::try_from(*members).unwrap_or(u32::MAX),
        }),
        EntityView::Organization { row, parent, members } => Entity::Organization(v1::Organization {
            name: row.name.to_string(),
            parent: parent.as_ref().map(ToString::to_string),
            members: u32::try_from(*members).unwrap_or(u32::MAX),
        }),
    };
    v1::Entity { entity: Some(entity) }
}

/// The name by which a list of entities goes on after this one.
pub(crate) fn entity_page(view: &EntityView) -> String {
    match view {
        EntityView::User { row, .. } => row.name.to_string(),
        EntityView::Station { row, .. } => row.name.to_string(),
        EntityView::Workgroup { row, .. } => row.name.to_string(),
        EntityView::Organization { row, .. } => row.name.to_string(),
    }
}

/// A key given to a user or station.
pub(crate) fn assignment(view: &AssignmentView) -> v1::Assignment {
    v1::Assignment {
        subject: Some(entity_ref(&view.subject)),
        key: view.key.to_string(),
        pool: view.pool.to_string(),
        since: Some(timestamp(view.since)),
        until: view.until.map(timestamp),
        active: view.inactive.is_none(),
        message: view.inactive.clone().unwrap_or_default(),
    }
}

/// What an act of assigning came to.
pub(crate) fn assigned(done: &Administered) -> v1::AssignResponse {
    v1::AssignResponse { outcomes: done.assignments.iter().map(assign_outcome).collect(), applied: done.applied }
}

fn assign_outcome(outcome: &AssignOutcome) -> v1::AssignOutcome {
    v1::AssignOutcome {
        subject: Some(entity_ref(&outcome.subject)),
        key: outcome.key.to_string(),
        changed: outcome.result == Ok(true),
        refusal: outcome.result.as_ref().err().map(status::wire),
        message: outcome.message.clone(),
        method: outcome.method.map_or_else(String::new, |method| method.to_string()),
    }
}

/// A lease and who holds it.
pub(crate) fn held_lease(view: &HeldLeaseView) -> v1::HeldLease {
    v1::HeldLease {
        lease: Some(leasing::lease(&view.lease)),
        identity: view.identity.to_string(),
        instance: view.instance.clone(),
        host: view.host.clone(),
        attached: view.attached,
        last_renewed_ms_ago: view.lease.renewed_ms_ago,
    }
}

/// A folded denial.
pub(crate) fn denial(row: &DenialRow) -> v1::Denial {
    v1::Denial {
        at: Some(timestamp(row.at)),
        identity: row.identity.to_string(),
        application: row.application.to_string(),
        subject: row.subject.clone(),
        key: row.key.clone(),
        reason: row.reason.clone(),
        message: row.message.clone(),
        count: row.count,
        capacity: row.capacity.clone().unwrap_or_default(),
        in_use: row.held,
        holders_by_application: row.holders.by_application.iter().cloned().collect(),
        oldest_holders: row.holders.oldest.iter().map(|line| format!("{} since {}", line.who, line.since)).collect(),
    }
}

/// An entry of the audit log.
pub(crate) fn audit_entry(row: &AuditRow) -> v1::AuditEntry {
    v1::AuditEntry {
        number: row.id.0,
        at: Some(timestamp(row.at)),
        identity: row.identity.to_string(),
        action: row.action.clone(),
        subject: row.subject.clone(),
        before: row.before.clone(),
        after: row.after.clone(),
        reason: row.reason.clone(),
    }
}

/// A pool used beyond its capacity (COMPLY-1).
pub(crate) fn exceeded(view: &ExceededView) -> v1::Exceeded {
    v1::Exceeded {
        pool: view.pool.to_string(),
        title: view.title.to_string(),
        licensed: view.licensed,
        used: view.used,
        message: Notice::Exceeded {
            pool: view.pool.clone(),
            title: view.title.clone(),
            licensed: view.licensed,
            used: view.used,
        }
        .message(),
    }
}

/// What the check of the audit log found, and where the chain ends now.
pub(crate) fn audit_verdict(verdict: &AuditVerdict) -> v1::VerifyAuditResponse {
    let entries = verdict.entries;
    match &verdict.first_bad {
        None => v1::VerifyAuditResponse {
            entries,
            intact: true,
            first_bad: 0,
            head: verdict.head.map_or_else(String::new, |head| head.to_string()),
            message: match entries {
                1 => "The one entry is as it was written.".to_owned(),
                _ => format!("All {entries} entries are as they were written."),
            },
        },
        Some((id, why)) => v1::VerifyAuditResponse {
            entries,
            intact: false,
            first_bad: id.0,
            head: String::new(),
            message: format!(
                "Entry {id} is not as it was written: {why}. {} read up to it.",
                counted(entries, "entry was", "entries were")
            ),
        },
    }
}
