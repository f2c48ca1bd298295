//! Acts of administrators, checked field by field.

use leasehold_engine::{
    command::{Act, Assign, Entity, EntityChange, EntityName, Revoked, ShareName},
    row::StationKind,
};
use leasehold_keys::name::{Label, Method, PoolName};
use leasehold_proto::v1;

use crate::grpc::convert::{
    Checked, MOST_LEASES, label, label_or_none, labels, license_id, malformed, pool_name, reason, some_lease_ids,
    wall_time,
};

/// The range of a pool's idle time, in milliseconds, where it has one.
pub(crate) const IDLE_MS: std::ops::RangeInclusive<u64> = 60_000..=86_400_000;
/// The most workgroups of a user, and the most interaction types of anything.
pub(crate) const MOST_MEMBERSHIPS: usize = 256;
/// The most bytes of a signed file (02).
pub(crate) const MOST_FILE_BYTES: usize = 128 * 1024;

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
        | Act::StandBy { .. }
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

/// A promoted standby that is to stand by again, and why.
pub(crate) fn stand_by(message: &v1::StandByRequest) -> Checked<Act> {
    Ok(Act::StandBy { reason: label("reason", &message.reason)? })
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
