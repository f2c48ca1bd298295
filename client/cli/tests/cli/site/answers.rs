//! The answers of the small site's daemon, call by call.

use std::collections::HashMap;

use leasehold_proto::v1;
use tonic::Code;

use super::{
    assignment, at, folder, held_lease, license, notice, pools, refusal, refused, station, station_ref, strings, user,
    user_ref,
};
use crate::scripted::Script;

/// Answers for every call.
pub(crate) fn script() -> Script {
    let script = Script::default();
    about_the_server(&script);
    about_licenses(&script);
    about_pools(&script);
    about_entities(&script);
    about_assignments(&script);
    about_leases(&script);
    about_the_past(&script);
    super::usage::about_usage(&script);
    super::standing::about_check_ins(&script);
    script
}

/// As `leasehold status` gets it.
pub(crate) fn status() -> v1::GetStatusResponse {
    v1::GetStatusResponse {
        version: "0.1.0".into(),
        installation_id: "b4d1-7c20".into(),
        license_state: "licensed".into(),
        started_at: at("2026-11-21T23:47:30Z"),
        ready_at: at("2026-11-21T23:47:31Z"),
        root: "acme.example, version 1, built in".into(),
        enforcement_stage: 1,
        leases: 2,
        users: 3,
        stations: 1,
        waiting: 1,
        attached: 1,
        notices: vec![notice("FILE_ENDS_SOON", "acme.i3lic ends in 13 days; ask your licensor for a new one")],
        watched_folder: "/var/lib/leasehold/licenses".into(),
        state_directory: "/var/lib/leasehold".into(),
        listening: vec!["unix:///run/leasehold/leasehold.sock".into(), "http://127.0.0.1:7127".into()],
        folder: folder(),
        denials_today: 17,
        usage: Some(super::usage::status()),
        storage_ok: true,
        storage_message: String::new(),
        standing: Some(super::standing::good()),
        witness: Some(v1::WitnessStatus {
            epoch: 12,
            highest_lease_id: 4_807,
            evidence: 1,
            newest: Some(v1::WitnessEvidence {
                kind: "behind".into(),
                epoch: 11,
                lease_id: 4_711,
                own_epoch: 10,
                own_lease_id: 4_100,
                shown_by: "name:acd-server-2".into(),
                host: "acd-2.acme.example".into(),
                first: at("2026-11-20T08:00:00Z"),
                last: at("2026-11-20T08:00:00Z"),
                message: "the state was restored from an older copy, or another server works with a copy of it".into(),
            }),
        }),
        clock: Some(v1::ClockStatus {
            trusted: at("2026-11-22T03:00:00Z"),
            wall_clock: at("2026-11-22T03:00:00Z"),
            state: "in step".into(),
            roll_backs: 1,
            last_roll_back: at("2026-11-20T08:00:00Z"),
            last_roll_back_by_ms: 3_600_000,
            last_roll_back_over: at("2026-11-20T08:05:00Z"),
            ..v1::ClockStatus::default()
        }),
    }
}

fn about_the_server(script: &Script) {
    script.on(|_: v1::GetStatusRequest| Ok(status()));
    script.on(|request: v1::GetHostIdRequest| {
        let factor = |name: &str, state: &str, message: &str| v1::HostFactor {
            name: name.into(),
            state: state.into(),
            message: message.into(),
        };
        let note = format!("format = \"leasehold/request/1\"\nproduct = \"{}\"\n\n— acme AbC=\n", request.product);
        Ok(v1::GetHostIdResponse {
            host_id: "h1-AAAQE-AYEAU-DAOCA".into(),
            factors: vec![
                factor("platform", "present", "DMI product UUID"),
                factor("network", "missing", "no permanent MAC address"),
            ],
            request_note: if request.request_note { note } else { String::new() },
            machine_name: if request.machine_name.is_empty() { "lic-1".into() } else { request.machine_name },
        })
    });
    script.on(|_: v1::StandByRequest| {
        Ok(v1::StandByResponse { message: "this server stands by; 2 leases are ended".into() })
    });
    script.on(|_: v1::PromoteRequest| Ok(v1::PromoteResponse { message: "this server is active now".into() }));
    script.on(|request: v1::SnapshotDatabaseRequest| {
        Ok(v1::SnapshotDatabaseResponse {
            path: format!("/var/lib/leasehold/snapshots/{}", request.file_name),
            bytes: 1_048_576,
        })
    });
}

fn about_licenses(script: &Script) {
    script
        .on(|_: v1::ListLicensesRequest| Ok(v1::ListLicensesResponse { licenses: vec![license()], folder: folder() }));
    script.on(|request: v1::LoadFileRequest| {
        if request.content.starts_with(b"forged") {
            return Ok(v1::LoadFileResponse {
                entry: Some(v1::FolderEntry {
                    name: request.name,
                    state: "refused".into(),
                    reason: "other-host".into(),
                    message: "it was issued for another host".into(),
                }),
                ..Default::default()
            });
        }
        Ok(v1::LoadFileResponse {
            entry: Some(v1::FolderEntry { name: request.name, state: "accepted".into(), ..Default::default() }),
            license: Some(license()),
            effects: vec![notice("POOL_GROWS", "I3_ACCESS_CLIENT grows from 20 to 30")],
        })
    });
    script.on(|request: v1::UnloadRequest| match request.license_id.as_str() {
        "7f3c9a52-1f0e-4b1e-9c55-0d2f6a3b8e41" => Ok(v1::UnloadResponse { message: String::new() }),
        other => refused(Code::NotFound, "LICENSE_UNKNOWN", &format!("no accepted file has license ID {other}"), &[]),
    });
}

fn about_pools(script: &Script) {
    script.on(|request: v1::ListPoolsRequest| {
        let mut pools = pools();
        pools.retain(|pool| request.key.is_empty() || pool.key == request.key);
        Ok(v1::ListPoolsResponse { pools })
    });
    script.on(|request: v1::SetPoolRuleRequest| {
        let pool = pools().into_iter().find(|pool| pool.name == request.pool);
        match pool {
            Some(pool) => Ok(v1::SetPoolRuleResponse {
                pool: Some(v1::Pool { idle_ms: request.idle_ms, idle_always: request.idle_always, ..pool }),
            }),
            None => refused(Code::NotFound, "POOL_UNKNOWN", &format!("there is no pool {}", request.pool), &[]),
        }
    });
    script.on(|_: v1::ListSharesRequest| {
        Ok(v1::ListSharesResponse {
            shares: vec![v1::Share {
                pool: "I3_ACCESS_CLIENT_CONCURRENT".into(),
                holder: Some(v1::share::Holder::Organization("north".into())),
                reserve: 1,
                limit: Some(2),
                in_use: 1,
            }],
        })
    });
    script.on(|request: v1::SetShareRequest| Ok(v1::SetShareResponse { share: request.share }));
}

fn about_entities(script: &Script) {
    script.on(|request: v1::ListEntitiesRequest| {
        let all = match request.kind() {
            v1::EntityKind::User => {
                vec![
                    user("agent-001", "assignable", 0),
                    user("agent-002", "concurrent", 1),
                    user("agent-0012", "concurrent", 1),
                ]
            }
            v1::EntityKind::Station => vec![station("wallboard-1", "device")],
            v1::EntityKind::Workgroup => vec![v1::Entity {
                entity: Some(v1::entity::Entity::Workgroup(v1::Workgroup {
                    name: "Support".into(),
                    service_id: Some("41".into()),
                    interaction_types: strings(&["call", "chat"]),
                    members: 3,
                })),
            }],
            v1::EntityKind::Organization | v1::EntityKind::Unspecified => vec![v1::Entity {
                entity: Some(v1::entity::Entity::Organization(v1::Organization {
                    name: "north".into(),
                    parent: Some("acme".into()),
                    members: 2,
                })),
            }],
        };
        let name = |entity: &v1::Entity| match &entity.entity {
            Some(v1::entity::Entity::User(user)) => user.name.clone(),
            Some(v1::entity::Entity::Station(station)) => station.name.clone(),
            Some(v1::entity::Entity::Workgroup(workgroup)) => workgroup.name.clone(),
            Some(v1::entity::Entity::Organization(organization)) => organization.name.clone(),
            None => String::new(),
        };
        let entities = all.into_iter().filter(|entity| name(entity).contains(&request.name_contains)).collect();
        Ok(v1::ListEntitiesResponse { entities, next_page_token: String::new() })
    });
    script.on(|request: v1::CreateEntityRequest| {
        let mut entity = request.entity;
        let mut warnings = Vec::new();
        match entity.as_mut().and_then(|entity| entity.entity.as_mut()) {
            Some(v1::entity::Entity::User(user)) if user.name == "agent-001" => {
                return refused(Code::AlreadyExists, "ALREADY_EXISTS", "there is a user agent-001 already", &[]);
            }
            Some(v1::entity::Entity::User(user)) => {
                user.method.get_or_insert_with(|| "assignable".into());
            }
            Some(v1::entity::Entity::Station(station)) => {
                station.kind.get_or_insert_with(|| "workstation".into());
                warnings.push(v1::Warning {
                    reason: "STATION_NOT_LICENSED".into(),
                    message: format!("{} has no I3_LICENSE_BASIC_STATION: nobody can log on there", station.name),
                    ..Default::default()
                });
            }
            _ => {}
        }
        Ok(v1::EntityResponse { entity, warnings, message: String::new() })
    });
    script.on(|request: v1::ChangeEntityRequest| {
        Ok(v1::EntityResponse {
            entity: request.entity,
            warnings: Vec::new(),
            message: "User agent-002 is changed.".into(),
        })
    });
    script.on(|request: v1::DeleteEntityRequest| match request.entity.and_then(|entity| entity.entity) {
        Some(v1::entity_ref::Entity::User(name)) if name != "nobody" => Ok(v1::EntityResponse {
            message: format!("User {name} is deleted; what they held is free."),
            ..Default::default()
        }),
        _ => refused(Code::NotFound, "USER_UNKNOWN", "there is no user nobody", &[("user", "nobody")]),
    });
}

fn about_assignments(script: &Script) {
    script.on(|request: v1::AssignRequest| {
        let mut outcomes = Vec::new();
        for subject in &request.subjects {
            for key in &request.keys {
                let name = match &subject.entity {
                    Some(v1::entity_ref::Entity::User(name) | v1::entity_ref::Entity::Station(name)) => name.as_str(),
                    _ => "",
                };
                let unknown =
                    || refusal(Code::NotFound, "USER_UNKNOWN", &format!("there is no user {name}"), &[("user", name)]);
                outcomes.push(v1::AssignOutcome {
                    subject: Some(subject.clone()),
                    key: key.clone(),
                    changed: name != "nobody" && name != "agent-003",
                    refusal: (name == "nobody").then(unknown),
                    message: "5 of 30 taken".into(),
                    method: "assignable".into(),
                });
            }
        }
        let refused = outcomes.iter().any(|outcome| outcome.refusal.is_some());
        Ok(v1::AssignResponse { applied: !request.dry_run && (request.best_effort || !refused), outcomes })
    });
    script.on(|request: v1::UnassignRequest| {
        let outcomes = request
            .subjects
            .iter()
            .map(|subject| v1::AssignOutcome {
                subject: Some(subject.clone()),
                key: request.keys[0].clone(),
                changed: true,
                ..Default::default()
            })
            .collect();
        Ok(v1::AssignResponse { outcomes, applied: !request.dry_run })
    });
    script.on(|request: v1::ListAssignmentsRequest| {
        let all = vec![
            assignment(user_ref("agent-001"), "I3_ACCESS_CLIENT"),
            v1::Assignment {
                until: at("2026-12-31T23:00:00Z"),
                active: false,
                message: "its license has ended".into(),
                ..assignment(user_ref("agent-002"), "I3_ACCESS_CLIENT_CONCURRENT")
            },
            assignment(station_ref("wallboard-1"), "I3_ACCESS_CLIENT"),
        ];
        let wanted = |assignment: &v1::Assignment| request.subject.is_none() || assignment.subject == request.subject;
        let assignments = all.into_iter().filter(wanted).collect();
        Ok(v1::ListAssignmentsResponse { assignments, next_page_token: String::new() })
    });
}

fn about_leases(script: &Script) {
    script.on(|request: v1::ListLeasesRequest| {
        let mut second = held_lease(1_042, "agent-0012", "station-2", "2026-11-22T01:40:00Z");
        second.attached = false;
        if let Some(lease) = &mut second.lease {
            lease.idle = true;
            lease.ends_in_ms = 1_500_000;
            lease.end_reason = "DEVELOPMENT_HOURLY_DISCONNECT".into();
        }
        let all = [held_lease(1_041, "agent-002", "station-1", "2026-11-22T02:57:00Z"), second];
        let leases: Vec<v1::HeldLease> = all
            .into_iter()
            .filter(|held| {
                held.lease.as_ref().is_some_and(|lease| {
                    (request.user.is_empty() || lease.user == request.user)
                        && (request.station.is_empty() || lease.station == request.station)
                })
            })
            .collect();
        // One lease a page, so that lists have pages to fetch.
        let place: usize = request.page_token.parse().unwrap_or(0);
        let next = if place + 1 < leases.len() { (place + 1).to_string() } else { String::new() };
        Ok(v1::ListLeasesResponse { leases: leases.into_iter().skip(place).take(1).collect(), next_page_token: next })
    });
    script.on(|request: v1::RevokeLeasesRequest| {
        let ids = match request.user.as_str() {
            "agent-001" => Vec::new(),
            "" => request.lease_ids,
            _ => vec![1_041, 1_042],
        };
        let unknown = |lease_id: u64| {
            let message = format!("there is no lease {lease_id}");
            (lease_id < 1_000).then(|| refusal(Code::NotFound, "LEASE_UNKNOWN", &message, &[]))
        };
        let outcomes =
            ids.into_iter().map(|lease_id| v1::LeaseOutcome { lease_id, refusal: unknown(lease_id) }).collect();
        Ok(v1::RevokeLeasesResponse { outcomes })
    });
    script.on(|request: v1::ExplainRequest| {
        let acquire = request.acquire.unwrap_or_default();
        let step = |rule: &str, passed: bool, message: &str| v1::ExplainStep {
            rule: rule.into(),
            passed,
            message: message.into(),
        };
        let user = match &acquire.subject {
            Some(v1::acquire_request::Subject::Logon(logon)) => logon.user.clone(),
            _ => String::new(),
        };
        let mut steps = vec![step("STATION-1", true, "station-1 has I3_LICENSE_BASIC_STATION")];
        let decision = if user == "agent-002" {
            steps.push(step("ALLOC-6", true, "a seat of I3_ACCESS_CLIENT_CONCURRENT is held already"));
            let lease = held_lease(0, "agent-002", "station-1", "2026-11-22T03:00:00Z").lease.unwrap_or_default();
            v1::explain_response::Decision::WouldGrant(lease)
        } else {
            let full = "I3_ACCESS_CLIENT has no free seat: all 2 are taken, the longest by agent-0012";
            steps.push(step("ALLOC-6", false, full));
            steps.push(step("ALLOC-6", false, full));
            v1::explain_response::Decision::WouldRefuse(refusal(
                Code::ResourceExhausted,
                "POOL_EXHAUSTED",
                full,
                &[("pool", "I3_ACCESS_CLIENT_CONCURRENT"), ("key", "I3_ACCESS_CLIENT")],
            ))
        };
        Ok(v1::ExplainResponse { steps, decision: Some(decision) })
    });
}

fn about_the_past(script: &Script) {
    script.on(|_: v1::ListDenialsRequest| {
        Ok(v1::ListDenialsResponse {
            denials: vec![v1::Denial {
                at: at("2026-11-22T02:31:00Z"),
                identity: "name:acd-2".into(),
                application: "Interaction Desktop".into(),
                subject: "user agent-003".into(),
                key: "I3_ACCESS_CLIENT".into(),
                reason: "POOL_EXHAUSTED".into(),
                message: "all 2 seats are taken".into(),
                count: 17,
                capacity: "2".into(),
                in_use: 2,
                holders_by_application: HashMap::from([("Portal".into(), 1), ("Interaction Desktop".into(), 1)]),
                oldest_holders: vec![
                    "user agent-0012 since 2026-11-22T01:40:00Z".into(),
                    "user agent-002 since 2026-11-22T02:57:00Z".into(),
                ],
            }],
            next_page_token: String::new(),
        })
    });
    script.on(|_: v1::CheckComplianceRequest| {
        Ok(v1::CheckComplianceResponse {
            exceeded: vec![v1::Exceeded {
                pool: "I3_ACCESS_CLIENT".into(),
                title: "Client access".into(),
                licensed: 4,
                used: 5,
                message: "lowered from 30 to 4 on 2026-11-21".into(),
            }],
            pools_checked: 3,
        })
    });
    script.on(|_: v1::ListAuditRequest| {
        let entry = |number, action: &str, subject: &str, before: &str, after: &str, reason: &str| v1::AuditEntry {
            number,
            at: at("2026-11-22T02:00:00Z"),
            identity: "uid:0".into(),
            action: action.into(),
            subject: subject.into(),
            before: before.into(),
            after: after.into(),
            reason: reason.into(),
        };
        Ok(v1::ListAuditResponse {
            entries: vec![
                entry(9, "revoke", "lease 1040", "", "", "forgotten logon"),
                entry(
                    8,
                    "change",
                    "user agent-002",
                    r#"{"method":"assignable","x":1}"#,
                    r#"{"method":"concurrent","x":1}"#,
                    "",
                ),
                entry(7, "create", "user agent-002", "", r#"{"method":"assignable","organization":null}"#, ""),
            ],
            next_page_token: String::new(),
        })
    });
    script.on(|_: v1::VerifyAuditRequest| {
        Ok(v1::VerifyAuditResponse {
            entries: 9,
            intact: true,
            first_bad: 0,
            head: "5f2a".into(),
            message: String::new(),
        })
    });
}
