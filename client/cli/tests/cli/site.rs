//! A small site as its daemon would tell of it: three pools, three users, a wallboard, two leases, one refused file.

use std::collections::HashMap;

use leasehold_proto::{ERROR_DOMAIN, v1};
use prost_types::Timestamp;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

mod answers;
pub(crate) mod standing;
pub(crate) mod usage;

pub(crate) use answers::{script, status};

/// Moments by their UTC text.
pub(crate) fn at(text: &str) -> Option<Timestamp> {
    let at: jiff::Timestamp = text.parse().unwrap();
    Some(Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() })
}

pub(crate) fn refusal(code: Code, reason: &str, message: &str, facts: &[(&str, &str)]) -> v1::Refusal {
    v1::Refusal {
        code: code as i32,
        reason: reason.to_owned(),
        message: message.to_owned(),
        facts: owned(facts),
        retry_after_ms: 0,
    }
}

pub(crate) fn refused<T>(code: Code, reason: &str, message: &str, facts: &[(&str, &str)]) -> Result<T, Status> {
    let details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, owned(facts));
    Err(Status::with_error_details(code, message, details))
}

fn owned(facts: &[(&str, &str)]) -> HashMap<String, String> {
    facts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn user_ref(name: &str) -> v1::EntityRef {
    v1::EntityRef { entity: Some(v1::entity_ref::Entity::User(name.to_owned())) }
}

fn station_ref(name: &str) -> v1::EntityRef {
    v1::EntityRef { entity: Some(v1::entity_ref::Entity::Station(name.to_owned())) }
}

fn strings(values: &[&str]) -> Option<v1::StringList> {
    Some(v1::StringList { values: values.iter().map(|value| (*value).to_owned()).collect() })
}

fn notice(reason: &str, message: &str) -> v1::Notice {
    v1::Notice { reason: reason.to_owned(), message: message.to_owned() }
}

fn folder() -> Vec<v1::FolderEntry> {
    vec![
        v1::FolderEntry { name: "acme.i3lic".into(), state: "accepted".into(), ..Default::default() },
        v1::FolderEntry {
            name: "branch.i3lic".into(),
            state: "refused".into(),
            reason: "other-host".into(),
            message: "it was issued for another host: platform and network have changed, disk is the same".into(),
        },
    ]
}

pub(crate) fn pools() -> Vec<v1::Pool> {
    vec![
        v1::Pool {
            name: "I3_ACCESS_CLIENT".into(),
            key: "I3_ACCESS_CLIENT".into(),
            title: "Client access".into(),
            method: "assignable".into(),
            kind: "access".into(),
            capacity: "30".into(),
            assigned: 5,
            in_use: 5,
            peak_today: 5,
            ..Default::default()
        },
        v1::Pool {
            name: "I3_ACCESS_CLIENT_CONCURRENT".into(),
            key: "I3_ACCESS_CLIENT".into(),
            title: "Client access".into(),
            method: "concurrent".into(),
            kind: "access".into(),
            capacity: "2".into(),
            assigned: 200,
            in_use: 2,
            waiting: 1,
            peak_today: 2,
            denied_today: 17,
            idle_ms: 900_000,
            ..Default::default()
        },
        v1::Pool {
            name: "I3_SESSION_CALL".into(),
            key: "I3_SESSION_CALL".into(),
            method: "concurrent".into(),
            kind: "session".into(),
            capacity: "unlimited".into(),
            in_use: 1_200,
            peak_today: 1_310,
            ..Default::default()
        },
    ]
}

fn license() -> v1::License {
    v1::License {
        license_id: "7f3c9a52-1f0e-4b1e-9c55-0d2f6a3b8e41".into(),
        sequence: 12,
        account: "Acme Ltd".into(),
        install_site: "Bremen".into(),
        product: "PureConnect".into(),
        product_line: "CIC".into(),
        versions: "2018.1 to 2020.4".into(),
        model: "perpetual".into(),
        level: "production".into(),
        kind: "base".into(),
        issued: at("2026-01-10T00:00:00Z"),
        not_before: at("2026-01-10T00:00:00Z"),
        not_after: at("2100-01-01T00:00:00Z"),
        maintenance_end: at("2027-01-10T00:00:00Z"),
        state: "in effect".into(),
        parts: vec![v1::LicensePart {
            number: "IC-CLIENT".into(),
            description: "Client access license".into(),
            assigned: 30,
            pooled: 2,
        }],
        grants: vec![
            v1::LicenseGrant { pool: "I3_ACCESS_CLIENT".into(), units: "30".into() },
            v1::LicenseGrant { pool: "I3_ACCESS_CLIENT_CONCURRENT".into(), units: "2".into() },
            v1::LicenseGrant { pool: "I3_SESSION_CALL".into(), units: "unlimited".into() },
        ],
        file_name: "acme.i3lic".into(),
        sha256: "9f86d081884c7d65".into(),
        signed_by: vec!["acme.example/issuing-2026".into()],
        host: "all 5 facts match".into(),
        ..Default::default()
    }
}

fn held_lease(lease_id: u64, user: &str, station: &str, granted: &str) -> v1::HeldLease {
    v1::HeldLease {
        lease: Some(v1::Lease {
            lease_id,
            state: v1::LeaseState::Live.into(),
            user: user.into(),
            station: station.into(),
            computer: format!("pc-{lease_id}"),
            application: "Interaction Desktop".into(),
            keys: vec![
                v1::HeldKey {
                    key: "I3_ACCESS_CLIENT".into(),
                    source: v1::KeySource::User.into(),
                    pool: "I3_ACCESS_CLIENT_CONCURRENT".into(),
                    ..Default::default()
                },
                v1::HeldKey {
                    key: "I3_LICENSE_BASIC_STATION".into(),
                    source: v1::KeySource::Station.into(),
                    ..Default::default()
                },
            ],
            interaction_types: vec!["call".into()],
            ttl_ms: 60_000,
            granted_at: at(granted),
            ..Default::default()
        }),
        identity: "name:acd-2".into(),
        host: "acd-2.acme.example".into(),
        attached: true,
        last_renewed_ms_ago: 4_200,
        ..Default::default()
    }
}

fn assignment(subject: v1::EntityRef, pool: &str) -> v1::Assignment {
    v1::Assignment {
        subject: Some(subject),
        key: "I3_ACCESS_CLIENT".into(),
        pool: pool.into(),
        since: at("2026-11-01T08:00:00Z"),
        active: true,
        ..Default::default()
    }
}

fn user(name: &str, method: &str, leases: u32) -> v1::Entity {
    let pool = if method == "concurrent" { "I3_ACCESS_CLIENT_CONCURRENT" } else { "I3_ACCESS_CLIENT" };
    v1::Entity {
        entity: Some(v1::entity::Entity::User(v1::User {
            name: name.into(),
            method: Some(method.into()),
            workgroups: strings(&["Support"]),
            interaction_types: strings(&["call", "chat"]),
            assignments: vec![assignment(user_ref(name), pool)],
            leases,
            ..Default::default()
        })),
    }
}

fn station(name: &str, kind: &str) -> v1::Entity {
    v1::Entity {
        entity: Some(v1::entity::Entity::Station(v1::Station {
            name: name.into(),
            kind: Some(kind.into()),
            enabled: Some(true),
            assignments: vec![assignment(station_ref(name), "I3_ACCESS_CLIENT")],
            ..Default::default()
        })),
    }
}
