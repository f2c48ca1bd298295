//! A site from its first file to its audit log, over the wire.

use leasehold_proto::v1::{acquire_answer::Outcome, attach_response::Message as Heard};

use super::*;

fn user(name: &str) -> v1::CreateEntityRequest {
    let user = v1::User { name: name.into(), method: Some("concurrent".into()), ..Default::default() };
    v1::CreateEntityRequest { entity: Some(v1::Entity { entity: Some(v1::entity::Entity::User(user)) }) }
}

fn user_ref(name: &str) -> v1::EntityRef {
    v1::EntityRef { entity: Some(v1::entity_ref::Entity::User(name.into())) }
}

fn logon(caller: &str, user: &str, request: u8) -> v1::AcquireRequest {
    let logon = v1::UserLogon { user: user.into(), needed_keys: vec!["I3_ACCESS_CLIENT".into()], ..Default::default() };
    v1::AcquireRequest { subject: Some(v1::acquire_request::Subject::Logon(logon)), ..call_ports(caller, request, 1) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_checked_loaded_used_and_unloaded() {
    let site = Site::serving().await;
    let mut admin = site.administration().await;
    let (mut stream, _) = Stream::attach(&site, "acd", 1).await;
    let mut picky = Stream::open(&site).await;
    let watched = ["I3_LICENSE_IWP_SERVER", "NO_SUCH_KEY"].map(str::to_owned).to_vec();
    let hello =
        v1::Hello { caller: named("web"), run_id: vec![1; 16], watch_site_keys: watched.clone(), ..Default::default() };
    picky.say(v1::attach_request::Message::Hello(hello)).await;
    assert!(matches!(picky.next().await.message, Some(Heard::Welcome(_))));
    let content =
        site.file(1, &[("I3_ACCESS_CLIENT_CONCURRENT", 1), ("I3_ACCESS_RECORDER", 5), ("I3_LICENSE_IWP_SERVER", 1)]);
    let load = |check_only| v1::LoadFileRequest { name: "acme.i3lic".into(), content: content.clone(), check_only };

    let checked = admin.load_file(load(true)).await.unwrap().into_inner();
    assert_eq!(checked.entry.as_ref().unwrap().state, "accepted", "{checked:?}");
    assert_eq!(checked.license.as_ref().unwrap().account, "Acme");
    let added: Vec<_> = checked.effects.iter().map(|effect| effect.reason.as_str()).collect();
    assert_eq!(added, ["POOL_ADDED"; 3]);
    let none = admin.list_licenses(v1::ListLicensesRequest::default()).await.unwrap().into_inner();
    assert!(none.licenses.is_empty() && none.folder.is_empty(), "a check changes nothing");

    let loaded = admin.load_file(load(false)).await.unwrap().into_inner();
    assert_eq!(loaded.entry.unwrap().state, "accepted");
    let next = stream.next().await;
    let Some(Heard::Event(v1::Event { event: Some(v1::event::Event::SiteKeysChanged(told)) })) = next.message else {
        panic!("{next:?}")
    };
    assert!(told.keys.iter().any(|key| key.key == "I3_LICENSE_IWP_SERVER" && key.licensed), "{told:?}");
    let keys = v1::SiteKeysRequest { caller: named("acd"), ..Default::default() };
    assert_eq!(site.leasing().await.site_keys(keys).await.unwrap().into_inner().keys, told.keys);
    let next = picky.next().await;
    let Some(Heard::Event(v1::Event { event: Some(v1::event::Event::SiteKeysChanged(told)) })) = next.message else {
        panic!("{next:?}")
    };
    let told: Vec<_> = told.keys.into_iter().map(|key| (key.key, key.licensed)).collect();
    assert_eq!(told, watched.into_iter().zip([true, false]).collect::<Vec<_>>());
    let licenses = admin.list_licenses(v1::ListLicensesRequest::default()).await.unwrap().into_inner();
    let license = &licenses.licenses[0];
    assert_eq!((license.state.as_str(), license.sha256.len(), license.signed_by.len()), ("in effect", 64, 1));
    assert_eq!(licenses.folder[0].name, "acme.i3lic");
    let pools = admin.list_pools(v1::ListPoolsRequest { key: "I3_ACCESS_CLIENT".into(), ..Default::default() }).await;
    let pools = pools.unwrap().into_inner().pools;
    let pool = pools.iter().find(|pool| pool.name == "I3_ACCESS_CLIENT_CONCURRENT").unwrap();
    assert_eq!((pool.capacity.as_str(), pool.in_use), ("1", 0));

    for name in ["agent-001", "agent-002"] {
        let made = admin.create_entity(user(name)).await.unwrap().into_inner();
        let Some(v1::Entity { entity: Some(v1::entity::Entity::User(shown)) }) = made.entity else { panic!() };
        assert_eq!((shown.name.as_str(), shown.method.as_deref()), (name, Some("concurrent")));
    }
    assert_eq!(refused(admin.create_entity(user("agent-001")).await).0, Code::AlreadyExists);
    let assign = v1::AssignRequest {
        subjects: vec![user_ref("agent-001"), user_ref("agent-002")],
        keys: vec!["I3_ACCESS_CLIENT".into()],
        ..Default::default()
    };
    let dry = admin.assign(v1::AssignRequest { dry_run: true, ..assign.clone() }).await.unwrap().into_inner();
    assert_eq!((dry.applied, dry.outcomes.len()), (false, 2));
    let done = admin.assign(assign).await.unwrap().into_inner();
    assert!(
        done.applied && done.outcomes.iter().all(|outcome| outcome.changed && outcome.refusal.is_none()),
        "{done:?}"
    );
    let given = admin
        .list_assignments(v1::ListAssignmentsRequest { page_size: 1, ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(given.assignments.len(), 1);
    let rest = v1::ListAssignmentsRequest { page_size: 1, page_token: given.next_page_token, ..Default::default() };
    let rest = admin.list_assignments(rest).await.unwrap().into_inner();
    assert_eq!(rest.assignments[0].subject, Some(user_ref("agent-002")));

    let acquire = |request, user| {
        v1::attach_request::Message::Acquire(v1::AcquireRequest { caller: None, ..logon("", user, request) })
    };
    stream.say(acquire(1, "agent-001")).await;
    let (_, Outcome::Lease(lease), _) = stream.acquired().await else { panic!() };
    assert!(lease.keys.iter().any(|held| held.key == "I3_ACCESS_CLIENT" && held.pool == "I3_ACCESS_CLIENT_CONCURRENT"));
    let (code, reason, message) = refused(site.leasing().await.acquire(logon("acd", "agent-002", 2)).await);
    assert_eq!((code, reason.as_str()), (Code::ResourceExhausted, "POOL_EXHAUSTED"));
    assert!(message.contains("agent-001"), "{message}");

    let explain = v1::ExplainRequest { acquire: Some(logon("acd", "agent-002", 3)) };
    let explained = site.leasing().await.explain(explain).await.unwrap().into_inner();
    assert!(!explained.steps.is_empty());
    assert!(
        matches!(explained.decision, Some(v1::explain_response::Decision::WouldRefuse(refusal)) if refusal.reason == "POOL_EXHAUSTED")
    );
    let question = v1::EntitlementsRequest {
        caller: named("acd"),
        subjects: ["agent-001", "nobody"]
            .map(|name| v1::Subject { subject: Some(v1::subject::Subject::User(name.into())) })
            .to_vec(),
        keys: vec!["I3_ACCESS_CLIENT".into(), "I3_ACCESS_RECORDER".into()],
    };
    let answers = site.leasing().await.entitlements(question).await.unwrap().into_inner().subjects;
    assert_eq!((answers[0].any_of, answers[0].all_of), (true, false), "{answers:?}");
    assert_eq!(answers[1].refusal.as_ref().unwrap().reason, "USER_UNKNOWN");

    let revoke =
        v1::RevokeLeasesRequest { user: "agent-001".into(), reason: "shift over".into(), ..Default::default() };
    let outcomes = admin.revoke_leases(revoke).await.unwrap().into_inner().outcomes;
    assert_eq!((outcomes[0].lease_id, outcomes[0].refusal.clone()), (lease.lease_id, None));
    let next = stream.next().await;
    let Some(Heard::Event(v1::Event { event: Some(v1::event::Event::LeaseEnded(ended)) })) = next.message else {
        panic!("{next:?}")
    };
    assert_eq!((ended.lease_id, ended.reason.as_str()), (lease.lease_id, "REVOKED"));
    assert!(ended.message.contains("shift over"), "{}", ended.message);

    let unload = v1::UnloadRequest { license_id: license.license_id.clone(), reason: "sold".into() };
    assert!(!admin.unload(unload).await.unwrap().into_inner().message.is_empty());
    let status = admin.get_status(v1::GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.license_state, "unlicensed");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_others_are_refused_in_words() {
    let site = Site::serving().await;
    let mut admin = site.administration().await;
    let forged = DevLicensor::from_seed(&[8; 32]).unwrap();
    let load = v1::LoadFileRequest { name: "acme.i3lic".into(), content: forged.root().to_vec(), check_only: false };
    let answer = admin.load_file(load).await.unwrap().into_inner();
    let entry = answer.entry.unwrap();
    assert_eq!((entry.state.as_str(), answer.license), ("refused", None));
    assert!(!entry.reason.is_empty() && !entry.message.is_empty());
    let load = v1::LoadFileRequest { name: "acme.txt".into(), content: vec![1], check_only: false };
    assert_eq!(refused(admin.load_file(load).await).0, Code::InvalidArgument);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_denials_and_copies_can_be_had() {
    let site = Site::serving().await;
    let mut admin = site.administration().await;
    admin.create_entity(user("agent-001")).await.unwrap();
    let host = admin
        .get_host_id(v1::GetHostIdRequest { request_note: true, ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    assert_eq!((host.factors.len(), host.machine_name.as_str()), (5, "acd-1"));
    assert!(!host.request_note.is_empty() && !host.host_id.is_empty());
    let entries = admin.list_audit(v1::ListAuditRequest::default()).await.unwrap().into_inner().entries;
    assert_eq!(entries[0].action, "request note");
    assert!(entries[1].subject.contains("agent-001"), "{entries:?}");
    assert_eq!(entries[1].identity, format!("uid:{}", own_uid()));
    let verdict = admin.verify_audit(v1::VerifyAuditRequest {}).await.unwrap().into_inner();
    assert!(verdict.intact && verdict.entries >= 2, "{verdict:?}");

    assert_eq!(refused(site.leasing().await.acquire(logon("acd", "nobody", 1)).await).1, "USER_UNKNOWN");
    // A denial's record is not waited for by its answer; it is there before the next act is.
    admin.create_entity(user("agent-002")).await.unwrap();
    let denials = admin.list_denials(v1::ListDenialsRequest::default()).await.unwrap().into_inner().denials;
    assert_eq!(
        (denials[0].reason.as_str(), denials[0].identity.as_str(), denials[0].count),
        ("USER_UNKNOWN", "name:acd", 1)
    );

    let copy = v1::SnapshotDatabaseRequest { file_name: "before-upgrade".into() };
    let made = admin.snapshot_database(copy.clone()).await.unwrap().into_inner();
    assert!(made.bytes > 0 && made.path.ends_with("snapshots/before-upgrade.db"), "{made:?}");
    assert_eq!(refused(admin.snapshot_database(copy).await).0, Code::AlreadyExists);
    let outside = v1::SnapshotDatabaseRequest { file_name: "../x".into() };
    assert_eq!(refused(admin.snapshot_database(outside).await).0, Code::InvalidArgument);
    let compliance = admin.check_compliance(v1::CheckComplianceRequest {}).await.unwrap().into_inner();
    assert!(compliance.exceeded.is_empty());
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages() {
    let site = Site::serving().await;
    let mut admin = site.administration().await;
    for n in 0..5 {
        admin.create_entity(user(&format!("agent-{n:03}"))).await.unwrap();
    }
    let mut names = Vec::new();
    let mut page_token = String::new();
    loop {
        let list = v1::ListEntitiesRequest {
            kind: v1::EntityKind::User.into(),
            page_size: 2,
            page_token,
            ..Default::default()
        };
        let page = admin.list_entities(list).await.unwrap().into_inner();
        assert!(page.entities.len() <= 2);
        for entity in page.entities {
            let Some(v1::entity::Entity::User(user)) = entity.entity else { panic!() };
            names.push(user.name);
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["agent-000", "agent-001", "agent-002", "agent-003", "agent-004"]);
    site.stop().await;
}
