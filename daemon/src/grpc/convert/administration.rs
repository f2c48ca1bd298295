//! The messages of the `Administration` service.

use std::collections::BTreeMap;

use leasehold_engine::{
    command::{Act, Assign, Entity, EntityChange, EntityName, HostFinding, Revoked, ShareName},
    decision::{Administered, AssignOutcome},
    ids::{AssignmentId, AuditId, DenialId},
    row::{AuditRow, DenialRow, StationKind},
    view::{
        AssignmentView, EntityFilter, EntityKind, EntityView, ExceededView, HeldLeaseView, LeaseFilter, LicenseView,
        PoolView, ShareView, SiteState, StatusView,
    },
};
use leasehold_keys::{
    activation::{Activation, FileKind, HostRole, Level, Model},
    definition::KeyKind,
    name::{KeyName, Label, Method, PoolName},
    trust::Verified,
};
use leasehold_proto::v1;

use super::{
    Checked, MOST_LEASES, label, label_or_none, labels, license_id, malformed, numbered_page, or_empty, page_size,
    pool_name, reason, remark, some_lease_ids, texts, timestamp, wall_time,
};
use crate::{
    grpc::{convert::leasing, status},
    storage::{AuditQuery, AuditVerdict, DenialQuery},
};

/// The range of a pool's idle time, in milliseconds, where it has one.
pub(crate) const IDLE_MS: std::ops::RangeInclusive<u64> = 60_000..=86_400_000;
/// The most workgroups of a user, and the most interaction types of anything.
pub(crate) const MOST_MEMBERSHIPS: usize = 256;
/// The most bytes of a signed file (02).
pub(crate) const MOST_FILE_BYTES: usize = 128 * 1024;

// ---- acts ------------------------------------------------------------------------------------------------------------

fn method(field: &'static str, text: &str) -> Checked<Method> {
    [Method::Assignable, Method::Concurrent]
        .into_iter()
        .find(|method| method.to_string() == text)
        .ok_or_else(|| malformed(field, "it is neither assignable nor concurrent"))
}

fn station_kind(text: &str) -> Checked<StationKind> {
    StationKind::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
        let all: Vec<_> = StationKind::ALL.iter().map(|kind| kind.as_str()).collect();
        malformed("station.kind", format!("it is none of {}", all.join(", ")))
    })
}

/// A field that may be left as it is, cleared by an empty text, or set.
fn changed_label(field: &'static str, text: Option<&String>) -> Checked<Option<Option<Label>>> {
    text.map(|text| label_or_none(field, text)).transpose()
}

/// A list that may be left as it is or set whole.
fn changed_list(field: &'static str, list: Option<&v1::StringList>) -> Checked<Option<Vec<Label>>> {
    list.map(|list| labels(field, &list.values, MOST_MEMBERSHIPS)).transpose()
}

fn entity(message: Option<&v1::Entity>) -> Checked<&v1::entity::Entity> {
    message
        .and_then(|message| message.entity.as_ref())
        .ok_or_else(|| malformed("entity", "it is empty; one of user, station, workgroup and organization is needed"))
}

/// Something to create: what is not said takes its default.
pub(crate) fn create(message: &v1::CreateEntityRequest) -> Checked<Act> {
    let created = match change_of(entity(message.entity.as_ref())?)? {
        EntityChange::User { name, display_name, method, organization, workgroups, types } => Entity::User {
            name,
            display_name: display_name.flatten(),
            method: method.unwrap_or(Method::Assignable),
            organization: organization.flatten(),
            workgroups: workgroups.unwrap_or_default(),
            types: types.unwrap_or_default(),
        },
        EntityChange::Station { name, kind, enabled, organization, owner } => Entity::Station {
            name,
            kind: kind.unwrap_or(StationKind::Workstation),
            enabled: enabled.unwrap_or(true),
            organization: organization.flatten(),
            owner: owner.flatten(),
        },
        EntityChange::Workgroup { name, service_id, types } => {
            Entity::Workgroup { name, service_id: service_id.flatten(), types: types.unwrap_or_default() }
        }
        EntityChange::Organization { name, parent } => Entity::Organization { name, parent: parent.flatten() },
    };
    Ok(Act::Create(created))
}

/// Something to change: what is not said stays as it is.
pub(crate) fn change(message: &v1::ChangeEntityRequest) -> Checked<Act> {
    change_of(entity(message.entity.as_ref())?).map(Act::Change)
}

fn change_of(entity: &v1::entity::Entity) -> Checked<EntityChange> {
    use v1::entity::Entity;
    Ok(match entity {
        Entity::User(user) => EntityChange::User {
            name: label("user.name", &user.name)?,
            display_name: changed_label("user.display_name", user.display_name.as_ref())?,
            method: user.method.as_deref().map(|text| method("user.method", text)).transpose()?,
            organization: changed_label("user.organization", user.organization.as_ref())?,
            workgroups: changed_list("user.workgroups", user.workgroups.as_ref())?,
            types: changed_list("user.interaction_types", user.interaction_types.as_ref())?,
        },
        Entity::Station(station) => EntityChange::Station {
            name: label("station.name", &station.name)?,
            kind: station.kind.as_deref().map(station_kind).transpose()?,
            enabled: station.enabled,
            organization: changed_label("station.organization", station.organization.as_ref())?,
            owner: changed_label("station.owner", station.owner.as_ref())?,
        },
        Entity::Workgroup(workgroup) => EntityChange::Workgroup {
            name: label("workgroup.name", &workgroup.name)?,
            service_id: changed_label("workgroup.service_id", workgroup.service_id.as_ref())?,
            types: changed_list("workgroup.interaction_types", workgroup.interaction_types.as_ref())?,
        },
        Entity::Organization(organization) => EntityChange::Organization {
            name: label("organization.name", &organization.name)?,
            parent: changed_label("organization.parent", organization.parent.as_ref())?,
        },
    })
}

/// The name that an act of creating or changing is about, to show it afterwards.
pub(crate) fn subject_of(act: &Act) -> Option<EntityName> {
    match act {
        Act::Create(Entity::User { name, .. }) | Act::Change(EntityChange::User { name, .. }) => {
            Some(EntityName::User(name.clone()))
        }
        Act::Create(Entity::Station { name, .. }) | Act::Change(EntityChange::Station { name, .. }) => {
            Some(EntityName::Station(name.clone()))
        }
        Act::Create(Entity::Workgroup { name, .. }) | Act::Change(EntityChange::Workgroup { name, .. }) => {
            Some(EntityName::Workgroup(name.clone()))
        }
        Act::Create(Entity::Organization { name, .. }) | Act::Change(EntityChange::Organization { name, .. }) => {
            Some(EntityName::Organization(name.clone()))
        }
        Act::Delete(_)
        | Act::Assign(_)
        | Act::Revoke { .. }
        | Act::SetPoolRule { .. }
        | Act::SetShare { .. }
        | Act::Unload { .. }
        | Act::Promote { .. }
        | Act::Note { .. } => None,
    }
}

/// Something by its name.
pub(crate) fn entity_name(field: &str, message: Option<&v1::EntityRef>) -> Checked<EntityName> {
    use v1::entity_ref::Entity;
    let part = |kind: &str| format!("{field}.{kind}");
    match message.and_then(|message| message.entity.as_ref()) {
        None => {
            Err(malformed(field.to_owned(), "it is empty; one of user, station, workgroup and organization is needed"))
        }
        Some(Entity::User(name)) => label(part("user"), name).map(EntityName::User),
        Some(Entity::Station(name)) => label(part("station"), name).map(EntityName::Station),
        Some(Entity::Workgroup(name)) => label(part("workgroup"), name).map(EntityName::Workgroup),
        Some(Entity::Organization(name)) => label(part("organization"), name).map(EntityName::Organization),
    }
}

/// Something to delete.
pub(crate) fn delete(message: &v1::DeleteEntityRequest) -> Checked<Act> {
    entity_name("entity", message.entity.as_ref()).map(Act::Delete)
}

/// Keys to give.
pub(crate) fn assign(message: &v1::AssignRequest) -> Checked<Act> {
    let until = message.until.as_ref().map(|at| wall_time("until", at)).transpose()?;
    let (subjects, keys) = pairs(&message.subjects, &message.keys)?;
    Ok(Act::Assign(Assign {
        subjects,
        keys,
        give: true,
        best_effort: message.best_effort,
        dry_run: message.dry_run,
        until,
    }))
}

/// Keys to take away.
pub(crate) fn unassign(message: &v1::UnassignRequest) -> Checked<Act> {
    let (subjects, keys) = pairs(&message.subjects, &message.keys)?;
    Ok(Act::Assign(Assign {
        subjects,
        keys,
        give: false,
        best_effort: message.best_effort,
        dry_run: message.dry_run,
        until: None,
    }))
}

fn pairs(subjects: &[v1::EntityRef], keys: &[String]) -> Checked<(Vec<EntityName>, Vec<Label>)> {
    if subjects.is_empty() {
        return Err(malformed("subjects", "it is empty; name the users and stations"));
    }
    if keys.is_empty() {
        return Err(malformed("keys", "it is empty; name the keys"));
    }
    let pairs = subjects.len().saturating_mul(keys.len());
    if pairs > MOST_LEASES {
        return Err(malformed(
            "subjects",
            format!(
                "{} subjects and {} keys make {pairs} pairs; at most {MOST_LEASES} are allowed",
                subjects.len(),
                keys.len()
            ),
        ));
    }
    let names = subjects
        .iter()
        .enumerate()
        .map(|(at, subject)| {
            let field = format!("subjects[{at}]");
            match entity_name(&field, Some(subject))? {
                name @ (EntityName::User(_) | EntityName::Station(_)) => Ok(name),
                EntityName::Workgroup(_) | EntityName::Organization(_) => {
                    Err(malformed(field, "keys are given to users and stations only"))
                }
            }
        })
        .collect::<Checked<_>>()?;
    Ok((names, labels("keys", keys, MOST_LEASES)?))
}

/// Leases to end, and why.
pub(crate) fn revoke(message: &v1::RevokeLeasesRequest) -> Checked<Act> {
    // The holder is told it: it is a name in length.
    let reason = label("reason", &message.reason)?;
    let what = match (message.lease_ids.is_empty(), message.user.as_str(), message.station.as_str()) {
        (false, "", "") => Revoked::Leases(some_lease_ids("lease_ids", &message.lease_ids)?),
        (true, user, "") if !user.is_empty() => Revoked::User(label("user", user)?),
        (true, "", station) if !station.is_empty() => Revoked::Station(label("station", station)?),
        _ => return Err(malformed("lease_ids", "exactly one of lease_ids, user and station is needed")),
    };
    Ok(Act::Revoke { what, reason })
}

/// The idle rule of a pool.
pub(crate) fn pool_rule(message: &v1::SetPoolRuleRequest) -> Checked<(Act, PoolName)> {
    let pool = pool_name("pool", &message.pool)?;
    if message.idle_ms != 0 && !IDLE_MS.contains(&message.idle_ms) {
        return Err(malformed(
            "idle_ms",
            format!(
                "it is {}; {} to {} ms are allowed, and 0 for none",
                message.idle_ms,
                IDLE_MS.start(),
                IDLE_MS.end()
            ),
        ));
    }
    let act = Act::SetPoolRule { pool: pool.clone(), idle_ms: message.idle_ms, idle_always: message.idle_always };
    Ok((act, pool))
}

/// A share to set or to take away, and whose it is.
pub(crate) fn share(message: &v1::SetShareRequest) -> Checked<(Act, PoolName, ShareName)> {
    use v1::share::Holder;
    let share = message.share.as_ref().ok_or_else(|| malformed("share", "it is missing"))?;
    let pool = pool_name("share.pool", &share.pool)?;
    let holder = match &share.holder {
        None => return Err(malformed("share.holder", "it is missing; one of organization and application is needed")),
        Some(Holder::Organization(name)) => ShareName::Organization(label("share.organization", name)?),
        Some(Holder::Application(name)) => ShareName::Application(label("share.application", name)?),
    };
    let set = if message.remove {
        None
    } else if let Some(limit) = share.limit.filter(|limit| *limit < share.reserve) {
        return Err(malformed("share.limit", format!("it is {limit}, below the {} that are reserved", share.reserve)));
    } else {
        Some((share.reserve, share.limit))
    };
    Ok((Act::SetShare { pool: pool.clone(), holder: holder.clone(), share: set }, pool, holder))
}

/// A license to unload, and why.
pub(crate) fn unload(message: &v1::UnloadRequest) -> Checked<Act> {
    Ok(Act::Unload { license: license_id("license_id", &message.license_id)?, reason: reason(&message.reason)? })
}

/// A standby to promote, and why.
pub(crate) fn promote(message: &v1::PromoteRequest) -> Checked<Act> {
    Ok(Act::Promote { reason: reason(&message.reason)? })
}

/// A file to check or load: a plain name ending in `.i3lic`, or the name of a root, and at most 128 KiB.
pub(crate) fn file(message: &v1::LoadFileRequest) -> Checked<Label> {
    let name = plain_name("name", &message.name)?;
    if message.content.is_empty() {
        return Err(malformed("content", "it is empty"));
    }
    if message.content.len() > MOST_FILE_BYTES {
        return Err(malformed(
            "content",
            format!("it has {} bytes; a signed file has at most {MOST_FILE_BYTES}", message.content.len()),
        ));
    }
    Ok(name)
}

/// The name of a file and of nothing else: no folder in it, no leading dot.
pub(crate) fn plain_name(field: &'static str, text: &str) -> Checked<Label> {
    let name = label(field, text)?;
    if text.contains(['/', '\\']) || text.starts_with('.') {
        return Err(malformed(field, "it is not a plain file name: it must not begin with a dot, nor contain / or \\"));
    }
    Ok(name)
}

/// What is asked about a request note.
pub(crate) fn request_note(message: &v1::GetHostIdRequest) -> Checked<(Option<Label>, Option<Label>)> {
    Ok((label_or_none("product", &message.product)?, label_or_none("machine_name", &message.machine_name)?))
}

// ---- lists -----------------------------------------------------------------------------------------------------------

/// A page of entities.
pub(crate) fn entity_filter(message: &v1::ListEntitiesRequest) -> Checked<EntityFilter> {
    Ok(EntityFilter {
        kind: match v1::EntityKind::try_from(message.kind) {
            Ok(v1::EntityKind::User) => EntityKind::User,
            Ok(v1::EntityKind::Station) => EntityKind::Station,
            Ok(v1::EntityKind::Workgroup) => EntityKind::Workgroup,
            Ok(v1::EntityKind::Organization) => EntityKind::Organization,
            Ok(v1::EntityKind::Unspecified) | Err(_) => {
                return Err(malformed("kind", "it is none of user, station, workgroup and organization"));
            }
        },
        name_contains: remark("name_contains", &message.name_contains)?,
        organization: label_or_none("organization", &message.organization)?,
        after: label_or_none("page_token", &message.page_token)?,
        limit: page_size(message.page_size)?,
    })
}

/// A page of assignments.
pub(crate) struct AssignmentFilter {
    /// Of this key.
    pub(crate) key: Option<KeyName>,
    /// Of this user or station.
    pub(crate) subject: Option<EntityName>,
    /// Those after this one.
    pub(crate) after: AssignmentId,
    /// At most so many.
    pub(crate) limit: usize,
}

/// A page of assignments.
pub(crate) fn assignment_filter(message: &v1::ListAssignmentsRequest) -> Checked<AssignmentFilter> {
    Ok(AssignmentFilter {
        key: key_or_none("key", &message.key)?,
        subject: message.subject.as_ref().map(|subject| entity_name("subject", Some(subject))).transpose()?,
        after: AssignmentId(numbered_page(&message.page_token)?.unwrap_or(0)),
        limit: page_size(message.page_size)?,
    })
}

/// A key that may be left out.
pub(crate) fn key_or_none(field: &'static str, text: &str) -> Checked<Option<KeyName>> {
    if text.is_empty() { Ok(None) } else { super::key_name(field, text).map(Some) }
}

/// A pool that may be left out.
pub(crate) fn pool_or_none(field: &'static str, text: &str) -> Checked<Option<PoolName>> {
    if text.is_empty() { Ok(None) } else { pool_name(field, text).map(Some) }
}

/// A page of leases.
pub(crate) fn lease_filter(message: &v1::ListLeasesRequest) -> Checked<LeaseFilter> {
    Ok(LeaseFilter {
        user: label_or_none("user", &message.user)?,
        station: label_or_none("station", &message.station)?,
        pool: pool_or_none("pool", &message.pool)?,
        application: label_or_none("application", &message.application)?,
        holder: label_or_none("holder", &message.holder)?.map(String::from),
        after: numbered_page(&message.page_token)?.unwrap_or(0),
        limit: page_size(message.page_size)?,
    })
}

/// A page of denials, newest first.
pub(crate) fn denial_query(message: &v1::ListDenialsRequest) -> Checked<DenialQuery> {
    Ok(DenialQuery {
        since: message.since.as_ref().map(|at| wall_time("since", at)).transpose()?,
        // Denials name the key: both of its pools are shown.
        key: pool_or_none("pool", &message.pool)?.map(|pool| pool.key.to_string()),
        subject: label_or_none("user", &message.user)?.map(|user| format!("user {user}")),
        before: numbered_page(&message.page_token)?.map(DenialId),
        limit: page_size(message.page_size)?,
    })
}

/// A page of the audit log, newest first.
pub(crate) fn audit_query(message: &v1::ListAuditRequest) -> Checked<AuditQuery> {
    Ok(AuditQuery {
        since: message.since.as_ref().map(|at| wall_time("since", at)).transpose()?,
        before: numbered_page(&message.page_token)?.map(AuditId),
        limit: page_size(message.page_size)?,
    })
}

// ---- answers ---------------------------------------------------------------------------------------------------------

/// The engine's part of the status; the caller fills in the daemon's.
pub(crate) fn status_of(view: &StatusView) -> v1::GetStatusResponse {
    v1::GetStatusResponse {
        license_state: match view.state {
            SiteState::Licensed => "licensed",
            SiteState::Unlicensed => "unlicensed",
            SiteState::Standby => "standby",
        }
        .to_owned(),
        enforcement_stage: 1,
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
        kind: match view.kind {
            KeyKind::Server => "server",
            KeyKind::Access => "access",
            KeyKind::Feature => "feature",
            KeyKind::Engine => "engine",
            KeyKind::Session => "session",
            KeyKind::Hardware => "hardware",
        }
        .to_owned(),
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
        message: leasehold_engine::decision::Notice::Exceeded {
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
            head: String::new(),
            message: format!("All {entries} entries are as they were written."),
        },
        Some((id, why)) => v1::VerifyAuditResponse {
            entries,
            intact: false,
            first_bad: id.0,
            head: String::new(),
            message: format!(
                "Entry {id} is not as it was written: {why}. {entries} entries before and with it were read."
            ),
        },
    }
}
