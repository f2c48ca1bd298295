//! From the wire's messages to this crate's values, and nothing else.

use std::time::{Duration, SystemTime};

use leasehold_proto::v1;
use tonic::Code;

use crate::{
    event::Standing,
    lease::{HeldKey, KeySource, Lease, LeaseId, MissingKey, SiteKey, Warning},
    refusal::Refusal,
};

impl From<v1::Refusal> for Refusal {
    fn from(refusal: v1::Refusal) -> Self {
        Self {
            code: Code::from_i32(refusal.code),
            reason: refusal.reason,
            message: refusal.message,
            facts: refusal.facts.into_iter().collect(),
            retry_after: duration_unless_zero(refusal.retry_after_ms),
        }
    }
}

impl From<v1::Lease> for Lease {
    fn from(lease: v1::Lease) -> Self {
        Self {
            id: LeaseId::new(lease.lease_id),
            user: lease.user,
            station: lease.station,
            remote_number: lease.remote_number,
            computer: lease.computer,
            application: lease.application,
            keys: lease.keys.into_iter().map(HeldKey::from).collect(),
            missing: lease.missing.into_iter().map(MissingKey::from).collect(),
            warnings: lease.warnings.into_iter().map(Warning::from).collect(),
            interaction_types: lease.interaction_types,
            ttl: Duration::from_millis(lease.ttl_ms),
            ends_in: duration_unless_zero(lease.ends_in_ms),
            end_reason: lease.end_reason,
            granted_at: lease.granted_at.and_then(|at| SystemTime::try_from(at).ok()),
            idle: lease.idle,
            token: (!lease.token.is_empty()).then_some(lease.token),
        }
    }
}

impl From<v1::HeldKey> for HeldKey {
    fn from(held: v1::HeldKey) -> Self {
        let source = match held.source() {
            v1::KeySource::User => KeySource::User,
            v1::KeySource::Station => KeySource::Station,
            v1::KeySource::Included => KeySource::Included,
            v1::KeySource::Logon => KeySource::Logon,
            v1::KeySource::Units => KeySource::Units,
            v1::KeySource::Unspecified => KeySource::Other,
        };
        Self { key: held.key, source, pool: held.pool, units: held.units, via: held.via }
    }
}

impl From<v1::MissingKey> for MissingKey {
    fn from(missing: v1::MissingKey) -> Self {
        Self { key: missing.key, refusal: missing.refusal.unwrap_or_default().into() }
    }
}

impl From<v1::Warning> for Warning {
    fn from(warning: v1::Warning) -> Self {
        Self { reason: warning.reason, message: warning.message, facts: warning.facts.into_iter().collect() }
    }
}

impl From<v1::StandingChanged> for Standing {
    fn from(changed: v1::StandingChanged) -> Self {
        // A stage that does not fit is worse than any that is known.
        let stage = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
        let next_at = changed.next_at.and_then(|at| SystemTime::try_from(at).ok());
        Self {
            before: stage(changed.before),
            stage: stage(changed.stage),
            name: changed.name.into(),
            reason: changed.reason.into(),
            message: changed.message.into(),
            next: next_at.filter(|_| changed.next_stage > 0).map(|at| (stage(changed.next_stage), at)),
            leases_end_in: duration_unless_zero(changed.leases_end_in_ms),
        }
    }
}

/// The wire's key with its name, which is its place in the map.
pub(crate) fn site_key(key: v1::SiteKey) -> (String, SiteKey) {
    (key.key, SiteKey { licensed: key.licensed, units: key.units, reason: key.reason, kind: key.kind })
}

pub(crate) fn duration_unless_zero(ms: u64) -> Option<Duration> {
    (ms > 0).then(|| Duration::from_millis(ms))
}
