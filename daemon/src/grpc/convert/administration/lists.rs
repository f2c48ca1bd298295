//! Which rows of a list are asked for.

use leasehold_engine::{
    command::EntityName,
    ids::{AssignmentId, AuditId, DenialId},
    view::{EntityFilter, EntityKind, LeaseFilter},
};
use leasehold_keys::name::{KeyName, PoolName};
use leasehold_proto::v1;

use super::acts::entity_name;
use crate::{
    grpc::convert::{
        Checked, key_name, label_or_none, malformed, numbered_page, page_size, pool_name, remark, wall_time,
    },
    storage::{AuditQuery, DenialQuery},
};

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
    if text.is_empty() { Ok(None) } else { key_name(field, text).map(Some) }
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
