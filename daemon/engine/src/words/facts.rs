//! Refusals for programs: their stable names, and their facts by stable names.

use crate::refusal::{Limit, Refusal};

use super::Facts;

impl Refusal {
    /// The stable reason in capitals (03, Services).
    pub const fn reason(&self) -> &'static str {
        match self {
            Refusal::PoolExhausted(_) => "POOL_EXHAUSTED",
            Refusal::NotAssigned { .. } => "NOT_ASSIGNED",
            Refusal::NothingAssigned { .. } => "NOT_ASSIGNED",
            Refusal::NotLicensed { .. } => "NOT_LICENSED",
            Refusal::StationNotLicensed { .. } => "STATION_NOT_LICENSED",
            Refusal::HolderNotAllowed { .. } => "HOLDER_NOT_ALLOWED",
            Refusal::MethodMismatch { .. } => "METHOD_MISMATCH",
            Refusal::PrerequisiteMissing { .. } => "PREREQUISITE_MISSING",
            Refusal::LimitReached(_) => "LIMIT_REACHED",
            Refusal::VersionNotCovered { .. } => "VERSION_NOT_COVERED",
            Refusal::ApplicationHeld { .. } => "APPLICATION_HELD",
            Refusal::LoggedOnElsewhere { .. } => "LOGGED_ON_ELSEWHERE",
            Refusal::UserUnknown(_) => "USER_UNKNOWN",
            Refusal::StationUnknown(_) => "STATION_UNKNOWN",
            Refusal::WorkgroupUnknown(_) => "WORKGROUP_UNKNOWN",
            Refusal::OrganizationUnknown(_) => "ORGANIZATION_UNKNOWN",
            Refusal::KeyUnknown(_) => "KEY_UNKNOWN",
            Refusal::LicenseUnknown(_) => "LICENSE_UNKNOWN",
            Refusal::LeaseUnknown(_) => "LEASE_UNKNOWN",
            Refusal::RequestUnknown => "REQUEST_UNKNOWN",
            Refusal::LeaseEnded { .. } => "LEASE_ENDED",
            Refusal::NotYourLease(_) => "NOT_YOUR_LEASE",
            Refusal::Enforced { .. } => "ENFORCED",
            Refusal::RequestIdReused => "REQUEST_ID_REUSED",
            Refusal::Malformed { .. } => "MALFORMED",
            Refusal::AlreadyExists { .. } => "ALREADY_EXISTS",
            Refusal::InUse { .. } => "IN_USE",
            Refusal::NotActive => "NOT_ACTIVE",
            Refusal::Overloaded { .. } => "OVERLOADED",
            Refusal::StorageUnavailable => "STORAGE_UNAVAILABLE",
            Refusal::Cancelled => "CANCELLED",
        }
    }

    /// When it is worth trying again, in milliseconds, where that is known.
    pub fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Refusal::PoolExhausted(full) => full.frees_in_ms,
            Refusal::Overloaded { retry_after_ms, .. } => Some(*retry_after_ms),
            Refusal::StorageUnavailable => Some(1_000),
            _ => None,
        }
    }

    /// The facts, by stable names.
    pub fn facts(&self) -> Facts {
        match self {
            Refusal::PoolExhausted(full) => {
                let mut facts = vec![
                    ("pool", full.pool.to_string()),
                    ("key", full.pool.key.to_string()),
                    ("capacity", full.capacity.to_string()),
                    ("in_use", full.held.to_string()),
                    ("wanted", full.wanted.to_string()),
                    ("set_aside", full.set_aside.to_string()),
                    ("waiting", full.waiting.to_string()),
                ];
                if let Some(oldest) = full.holders.oldest.first() {
                    facts.push(("oldest_holder", oldest.who.clone()));
                }
                if let Some((granted, why)) = &full.cut {
                    facts.push(("granted", granted.to_string()));
                    facts.push(("stage", why.stage.number().to_string()));
                }
                if let Some(ms) = full.frees_in_ms {
                    facts.push(("frees_in_ms", ms.to_string()));
                }
                facts
            }
            Refusal::NotAssigned { subject, key } => {
                vec![("subject", subject.clone()), ("key", key.to_string())]
            }
            Refusal::NothingAssigned { subject } => vec![("subject", subject.clone())],
            Refusal::NotLicensed { key, unlicensed_site } => {
                vec![("key", key.to_string()), ("unlicensed_site", unlicensed_site.to_string())]
            }
            Refusal::StationNotLicensed { station, key } => {
                let mut facts = vec![("station", station.to_string())];
                facts.extend(key.as_ref().map(|key| ("key", key.to_string())));
                facts
            }
            Refusal::HolderNotAllowed { key, subject, .. } => {
                vec![("key", key.to_string()), ("subject_kind", format!("{subject:?}").to_lowercase())]
            }
            Refusal::MethodMismatch { subject, key, method } => {
                vec![("subject", subject.clone()), ("key", key.to_string()), ("method", method.to_string())]
            }
            Refusal::PrerequisiteMissing { key, missing } => {
                vec![
                    ("key", key.to_string()),
                    ("missing", missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
                ]
            }
            Refusal::LimitReached(limit) => limit.facts(),
            Refusal::VersionNotCovered { key, version, covered } => vec![
                ("key", key.to_string()),
                ("version", version.clone()),
                ("covered", covered.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
            ],
            Refusal::ApplicationHeld { user, key, held, application } => vec![
                ("user", user.to_string()),
                ("key", key.to_string()),
                ("held", held.to_string()),
                ("application", application.to_string()),
            ],
            Refusal::LoggedOnElsewhere { user, computer } => {
                vec![("user", user.to_string()), ("computer", computer.to_string())]
            }
            Refusal::UserUnknown(name) => vec![("user", name.clone())],
            Refusal::StationUnknown(name) => vec![("station", name.clone())],
            Refusal::WorkgroupUnknown(name) => vec![("workgroup", name.clone())],
            Refusal::OrganizationUnknown(name) => vec![("organization", name.clone())],
            Refusal::KeyUnknown(name) => vec![("key", name.clone())],
            Refusal::LicenseUnknown(id) => vec![("license_id", id.clone())],
            Refusal::LeaseUnknown(lease) | Refusal::NotYourLease(lease) => {
                vec![("lease_id", lease.to_string())]
            }
            Refusal::LeaseEnded { lease, how } => {
                let mut facts = vec![("lease_id", lease.to_string())];
                facts.extend(how.map(|how| ("how", how.as_str().to_string())));
                facts
            }
            Refusal::Enforced { key, why } => {
                let mut facts = vec![("key", key.to_string())];
                facts.extend(why.facts());
                facts
            }
            Refusal::Malformed { field, fault } => {
                vec![("field", field.to_string()), ("fault", fault.clone())]
            }
            Refusal::AlreadyExists { what, name } => {
                vec![("what", what.to_string()), ("name", name.to_string())]
            }
            Refusal::InUse { what, by } => vec![("what", what.clone()), ("by", by.clone())],
            Refusal::Overloaded { what, most, .. } => {
                vec![("what", what.to_string()), ("most", most.to_string())]
            }
            Refusal::RequestUnknown
            | Refusal::RequestIdReused
            | Refusal::NotActive
            | Refusal::StorageUnavailable
            | Refusal::Cancelled => Vec::new(),
        }
    }
}

impl Limit {
    fn facts(&self) -> Facts {
        match self {
            Limit::Share { holder, pool, used, limit } => vec![
                ("holder", holder.clone()),
                ("pool", pool.to_string()),
                ("in_use", used.to_string()),
                ("limit", limit.to_string()),
            ],
            Limit::Organizations { key, licensed, configured } => {
                vec![("key", key.to_string()), ("limit", licensed.to_string()), ("in_use", configured.to_string())]
            }
            Limit::InteractionTypes { user, wanted, .. } => {
                vec![("user", user.to_string()), ("wanted", wanted.to_string())]
            }
            Limit::Reservations { pool, .. } => vec![("pool", pool.to_string())],
            Limit::Stored { what, most } => {
                vec![("what", what.to_string()), ("limit", most.to_string())]
            }
        }
    }
}
