//! The table of reasons and codes (03, Services), and the sizes that clients take.

use leasehold_engine::{
    ids::LeaseId,
    refusal::{Cause, EndReason, Enforcement, Exhausted, HolderLine, Holding},
    standing::Stage,
    time::WallTime,
};
use leasehold_keys::{
    activation::{LicenseId, Units, VersionRange},
    definition::{Holder, MediaLevel},
    name::{KeyName, Label, Method, PoolName},
};

use super::*;

fn key() -> KeyName {
    "I3_ACCESS_CLIENT".parse().unwrap()
}

fn pool() -> PoolName {
    "I3_ACCESS_CLIENT_CONCURRENT".parse().unwrap()
}

fn label(text: &str) -> Label {
    text.parse().unwrap()
}

fn exhausted() -> Refusal {
    let oldest = HolderLine { who: "user agent-001".into(), since: WallTime::from_ms(0), lease: Some(LeaseId(3)) };
    Refusal::PoolExhausted(Box::new(Exhausted {
        pool: pool(),
        capacity: Units::Count(50),
        held: 50,
        wanted: 1,
        set_aside: 0,
        waiting: 2,
        holders: Holding { by_application: vec![("Interaction Desktop".into(), 50)], oldest: vec![oldest] },
        frees_in_ms: Some(30_000),
        cut: None,
    }))
}

fn enforcement(product: &str) -> Box<Enforcement> {
    Box::new(Enforcement {
        stage: Stage::PortsLimited,
        license: LicenseId(uuid::Uuid::from_u128(1)),
        product: label(product),
        cause: Cause::Duplicate,
        since: WallTime::from_ms(0),
    })
}

/// One of each. A new variant fails to compile in `code`, and then belongs here.
fn every_refusal() -> Vec<(Refusal, Code, &'static str)> {
    let versions = VersionRange { from: "4.0".parse().unwrap(), through: "4.9".parse().unwrap() };
    vec![
        (exhausted(), Code::ResourceExhausted, "POOL_EXHAUSTED"),
        (Refusal::NotAssigned { subject: "user a".into(), key: key() }, Code::FailedPrecondition, "NOT_ASSIGNED"),
        (Refusal::NothingAssigned { subject: "user a".into() }, Code::FailedPrecondition, "NOT_ASSIGNED"),
        (Refusal::NotLicensed { key: key(), unlicensed_site: false }, Code::FailedPrecondition, "NOT_LICENSED"),
        (
            Refusal::StationNotLicensed { station: label("s"), key: Some(key()) },
            Code::FailedPrecondition,
            "STATION_NOT_LICENSED",
        ),
        (
            Refusal::HolderNotAllowed { key: key(), subject: Holder::User, allowed: vec![Holder::Station] },
            Code::FailedPrecondition,
            "HOLDER_NOT_ALLOWED",
        ),
        (
            Refusal::MethodMismatch { subject: "user a".into(), key: key(), method: Method::Concurrent },
            Code::FailedPrecondition,
            "METHOD_MISMATCH",
        ),
        (
            Refusal::PrerequisiteMissing { key: key(), missing: vec![key()] },
            Code::FailedPrecondition,
            "PREREQUISITE_MISSING",
        ),
        (
            Refusal::LimitReached(Limit::Share {
                holder: "organization acme".into(),
                pool: pool(),
                used: 10,
                limit: 10,
            }),
            Code::FailedPrecondition,
            "LIMIT_REACHED",
        ),
        (
            Refusal::LimitReached(Limit::Organizations { key: key(), licensed: Units::Count(2), configured: 2 }),
            Code::FailedPrecondition,
            "LIMIT_REACHED",
        ),
        (
            Refusal::LimitReached(Limit::InteractionTypes { user: label("a"), level: MediaLevel::One, wanted: 2 }),
            Code::FailedPrecondition,
            "LIMIT_REACHED",
        ),
        (
            Refusal::LimitReached(Limit::Reservations { pool: pool(), fault: "they exceed it".into() }),
            Code::FailedPrecondition,
            "LIMIT_REACHED",
        ),
        (
            Refusal::LimitReached(Limit::Stored { what: "users".into(), most: 9 }),
            Code::FailedPrecondition,
            "LIMIT_REACHED",
        ),
        (
            Refusal::VersionNotCovered { key: key(), version: "5.0".into(), covered: vec![versions] },
            Code::FailedPrecondition,
            "VERSION_NOT_COVERED",
        ),
        (
            Refusal::ApplicationHeld { user: label("a"), key: key(), held: key(), application: label("Agent") },
            Code::FailedPrecondition,
            "APPLICATION_HELD",
        ),
        (Refusal::Enforced { key: key(), why: enforcement("CIC") }, Code::FailedPrecondition, "ENFORCED"),
        (Refusal::UserUnknown("a".into()), Code::NotFound, "USER_UNKNOWN"),
        (Refusal::StationUnknown("s".into()), Code::NotFound, "STATION_UNKNOWN"),
        (Refusal::WorkgroupUnknown("w".into()), Code::NotFound, "WORKGROUP_UNKNOWN"),
        (Refusal::OrganizationUnknown("o".into()), Code::NotFound, "ORGANIZATION_UNKNOWN"),
        (Refusal::KeyUnknown("K".into()), Code::NotFound, "KEY_UNKNOWN"),
        (Refusal::LicenseUnknown("l".into()), Code::NotFound, "LICENSE_UNKNOWN"),
        (Refusal::LeaseUnknown(LeaseId(7)), Code::NotFound, "LEASE_UNKNOWN"),
        (Refusal::RequestUnknown, Code::NotFound, "REQUEST_UNKNOWN"),
        (
            Refusal::LeaseEnded { lease: LeaseId(7), how: Some(EndReason::Expired) },
            Code::FailedPrecondition,
            "LEASE_ENDED",
        ),
        (
            Refusal::LoggedOnElsewhere { user: label("ann"), computer: label("pc2") },
            Code::FailedPrecondition,
            "LOGGED_ON_ELSEWHERE",
        ),
        (Refusal::NotYourLease(LeaseId(7)), Code::PermissionDenied, "NOT_YOUR_LEASE"),
        (Refusal::RequestIdReused, Code::InvalidArgument, "REQUEST_ID_REUSED"),
        (Refusal::Malformed { field: "ttl_ms".into(), fault: "it is 1".into() }, Code::InvalidArgument, "MALFORMED"),
        (Refusal::AlreadyExists { what: "user".into(), name: label("a") }, Code::AlreadyExists, "ALREADY_EXISTS"),
        (Refusal::InUse { what: "organization acme".into(), by: "3 users".into() }, Code::FailedPrecondition, "IN_USE"),
        (Refusal::NotActive, Code::Unavailable, "NOT_ACTIVE"),
        (
            Refusal::Overloaded { what: "waiting requests".into(), most: 10_000, retry_after_ms: 250 },
            Code::ResourceExhausted,
            "OVERLOADED",
        ),
        (Refusal::StorageUnavailable, Code::Unavailable, "STORAGE_UNAVAILABLE"),
        (Refusal::Cancelled, Code::Cancelled, "CANCELLED"),
    ]
}

#[test]
fn every_refusal_has_its_code_and_reason_in_a_status_and_in_a_message() {
    for (refusal, code, reason) in every_refusal() {
        let status = of_rule(refusal.clone());
        assert_eq!(status.code(), code, "{refusal:?}");
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.domain.as_str(), info.reason.as_str()), ("leasehold", reason), "{refusal:?}");
        assert_eq!(status.message(), refusal.message());
        let message = wire(&refusal);
        assert_eq!((message.code, message.reason.as_str()), (i32::from(code), reason));
        assert_eq!(message.message, refusal.message());
        assert_eq!(message.facts.len(), refusal.facts().len());
        assert!(info.metadata.iter().all(|(name, fact)| message.facts.get(name) == Some(fact)));
    }
}

#[test]
fn refusals_outside_the_rules_say_when_to_come_back() {
    let table = [
        (Refused::Overloaded, Code::ResourceExhausted, "OVERLOADED"),
        (Refused::StorageUnavailable("the disk is full".into()), Code::Unavailable, "STORAGE_UNAVAILABLE"),
        (Refused::Starting, Code::Unavailable, "STARTING"),
        (Refused::Draining, Code::Unavailable, "DRAINING"),
    ];
    for (refused, code, reason) in table {
        let status = status(&refused);
        assert_eq!((status.code(), status.get_details_error_info().unwrap().reason.as_str()), (code, reason));
        let delay = status.get_details_retry_info().and_then(|retry| retry.retry_delay);
        assert!(delay.is_some_and(|delay| !delay.is_zero()), "{reason}");
        assert!(wire_of(&refused).retry_after_ms > 0);
    }
    let status = status(&Refused::StorageUnavailable("the disk is full".into()));
    assert_eq!(status.get_details_error_info().unwrap().metadata["cause"], "the disk is full");
}

#[test]
fn details_that_fit_are_there() {
    let status = of_rule(exhausted());
    let quota = status.get_details_quota_failure().unwrap();
    assert_eq!(quota.violations[0].subject, "pool:I3_ACCESS_CLIENT_CONCURRENT");
    assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_secs(30)));
    assert_eq!(status.get_details_error_info().unwrap().metadata["in_use"], "50");

    let status = of_rule(Refusal::NotAssigned { subject: "user a".into(), key: key() });
    let unmet = status.get_details_precondition_failure().unwrap();
    assert_eq!(
        (unmet.violations[0].r#type.as_str(), unmet.violations[0].subject.as_str()),
        ("NOT_ASSIGNED", "user a, key I3_ACCESS_CLIENT")
    );

    let status = of_rule(Refusal::Malformed { field: "ttl_ms".into(), fault: "it is 1".into() });
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "ttl_ms");

    let status = of_rule(Refusal::UserUnknown("a".into()));
    let missing = status.get_details_resource_info().unwrap();
    assert_eq!((missing.resource_type.as_str(), missing.resource_name.as_str()), ("leasehold/user", "a"));
}

#[test]
fn the_longest_status_fits_into_the_trailers_that_clients_take() {
    let long = "ü".repeat(128);
    let oldest = HolderLine { who: format!("user {long}"), since: WallTime::from_ms(0), lease: None };
    let full = Exhausted {
        pool: format!("{}_CONCURRENT", "K".repeat(117)).parse().unwrap(),
        capacity: Units::Count(u32::MAX),
        held: u64::MAX,
        wanted: u32::MAX,
        set_aside: u64::MAX,
        waiting: u64::MAX,
        holders: Holding { by_application: vec![(long.clone(), u64::MAX); 8], oldest: vec![oldest; 8] },
        frees_in_ms: Some(u64::MAX),
        cut: Some((Units::Count(u32::MAX), enforcement(&long))),
    };
    let worst = [
        Refusal::PoolExhausted(Box::new(full)),
        Refusal::Enforced { key: "K".repeat(128).parse().unwrap(), why: enforcement(&long) },
        Refusal::UserUnknown(long.clone()),
        Refusal::PrerequisiteMissing { key: key(), missing: vec!["K".repeat(128).parse().unwrap(); 1_000] },
        Refusal::InUse { what: long.repeat(100), by: long.repeat(100) },
        Refusal::Malformed { field: long.repeat(10).into(), fault: long.repeat(100) },
    ];
    for refusal in worst {
        let answer = of_rule(refusal.clone()).into_http::<tonic::body::Body>();
        let bytes: usize = answer.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        assert!(bytes <= 8 * 1_024, "{bytes} bytes for {}", refusal.reason());
        let shown = Status::from_header_map(answer.headers()).unwrap();
        assert!(shown.message().len() <= MESSAGE_MAX_BYTES);
        assert_eq!(shown.get_details_error_info().unwrap().reason, refusal.reason());
        assert!(wire(&refusal).message.len() >= shown.message().len());
    }
}
