//! What answers say beside their bare outcome: pools, kinds and methods by name, and what is kept of each act.

use super::*;

fn user(name: &str, method: &str) -> v1::CreateEntityRequest {
    let user = v1::User { name: name.into(), method: Some(method.into()), ..Default::default() };
    v1::CreateEntityRequest { entity: Some(v1::Entity { entity: Some(v1::entity::Entity::User(user)) }) }
}

fn user_ref(name: &str) -> v1::EntityRef {
    v1::EntityRef { entity: Some(v1::entity_ref::Entity::User(name.into())) }
}

fn logon(user: &str, request: u8, at: Option<v1::user_logon::At>) -> v1::AcquireRequest {
    let logon = v1::UserLogon { user: user.into(), at, ..Default::default() };
    v1::AcquireRequest { subject: Some(v1::acquire_request::Subject::Logon(logon)), ..call_ports("acd", request, 1) }
}

impl Site {
    /// Serves two seats of each method for one access key, a server key, and a basic station.
    async fn licensed() -> (Self, AdministrationClient<Channel>) {
        let site = Self::serving().await;
        let mut admin = site.administration().await;
        let content = site.file(
            1,
            &[
                ("I3_ACCESS_CLIENT", 2),
                ("I3_ACCESS_CLIENT_CONCURRENT", 2),
                ("I3_LICENSE_BASIC_STATION", 2),
                ("I3_LICENSE_IWP_SERVER", 1),
            ],
        );
        let load = v1::LoadFileRequest { name: "acme.i3lic".into(), content, check_only: false };
        let answer = admin.load_file(load).await.unwrap().into_inner();
        assert_eq!(answer.entry.unwrap().state, "accepted");
        (site, admin)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_key_names_its_pool_whether_the_lease_or_an_assignment_takes_the_seat() {
    let (site, mut admin) = Site::licensed().await;
    for (name, method) in [("manager", "assignable"), ("agent", "concurrent")] {
        admin.create_entity(user(name, method)).await.unwrap();
    }
    let assign = v1::AssignRequest {
        subjects: ["manager", "agent", "nobody"].map(user_ref).to_vec(),
        keys: vec!["I3_ACCESS_CLIENT".into()],
        best_effort: true,
        ..Default::default()
    };
    let outcomes = admin.assign(assign).await.unwrap().into_inner().outcomes;
    let told: Vec<_> = outcomes.iter().map(|outcome| (outcome.method.as_str(), outcome.message.as_str())).collect();
    assert_eq!(
        told,
        [("assignable", "1 of 2 taken"), ("concurrent", "given to 1, of whom 2 can be logged on at once"), ("", "")]
    );

    let mut leasing = site.leasing().await;
    for (name, request, pool, units) in
        [("manager", 1, "I3_ACCESS_CLIENT", 0), ("agent", 2, "I3_ACCESS_CLIENT_CONCURRENT", 1)]
    {
        let lease = leasing.acquire(logon(name, request, None)).await.unwrap().into_inner().lease.unwrap();
        let held = lease.keys.iter().find(|held| held.key == "I3_ACCESS_CLIENT").unwrap();
        assert_eq!((held.pool.as_str(), held.units, lease.remote_number.as_str()), (pool, units, ""));
    }
    let at = Some(v1::user_logon::At::DynamicRemoteNumber("+49 421 100".into()));
    let remote = leasing.acquire(logon("manager", 3, at)).await.unwrap().into_inner().lease.unwrap();
    assert_eq!(remote.remote_number, "+49 421 100");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_key_says_what_kind_it_is() {
    let (site, _) = Site::licensed().await;
    let request = v1::SiteKeysRequest { caller: named("acd"), ..Default::default() };
    let keys = site.leasing().await.site_keys(request).await.unwrap().into_inner().keys;
    let kind = |name: &str| keys.iter().find(|key| key.key == name).map(|key| key.kind.as_str());
    assert_eq!(kind("I3_LICENSE_IWP_SERVER"), Some("server"));
    assert!(keys.iter().all(|key| ["server", "feature", "engine", "session", "hardware"].contains(&&*key.kind)));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_tells_names_before_and_after() {
    let (site, mut admin) = Site::licensed().await;
    let organization = v1::Organization { name: "north".into(), ..Default::default() };
    let organization = v1::Entity { entity: Some(v1::entity::Entity::Organization(organization)) };
    admin.create_entity(v1::CreateEntityRequest { entity: Some(organization) }).await.unwrap();
    let workgroup = v1::Workgroup { name: "Support".into(), ..Default::default() };
    let workgroup = v1::Entity { entity: Some(v1::entity::Entity::Workgroup(workgroup)) };
    admin.create_entity(v1::CreateEntityRequest { entity: Some(workgroup) }).await.unwrap();
    admin.create_entity(user("ann", "assignable")).await.unwrap();
    let change = v1::User {
        name: "ann".into(),
        organization: Some("north".into()),
        workgroups: Some(v1::StringList { values: vec!["Support".into()] }),
        ..Default::default()
    };
    let change = v1::Entity { entity: Some(v1::entity::Entity::User(change)) };
    admin.change_entity(v1::ChangeEntityRequest { entity: Some(change) }).await.unwrap();
    let (subjects, keys) = (vec![user_ref("ann")], vec!["I3_ACCESS_CLIENT".to_owned()]);
    let assign = v1::AssignRequest { subjects: subjects.clone(), keys: keys.clone(), ..Default::default() };
    admin.assign(assign).await.unwrap();
    let share = v1::Share {
        pool: "I3_ACCESS_CLIENT".into(),
        holder: Some(v1::share::Holder::Organization("north".into())),
        reserve: 1,
        ..Default::default()
    };
    admin.set_share(v1::SetShareRequest { share: Some(share), remove: false }).await.unwrap();
    site.leasing().await.acquire(logon("ann", 1, None)).await.unwrap();
    let revoke =
        |reason: &str| v1::RevokeLeasesRequest { user: "ann".into(), reason: reason.into(), ..Default::default() };
    admin.revoke_leases(revoke("shift over")).await.unwrap();
    admin.revoke_leases(revoke("once more")).await.unwrap();
    admin.unassign(v1::UnassignRequest { subjects, keys, ..Default::default() }).await.unwrap();

    let log = admin.list_audit(v1::ListAuditRequest::default()).await.unwrap().into_inner().entries;
    let json = |text: &str| match text {
        "" => serde_json::Value::Null,
        text => serde_json::from_str(text).unwrap(),
    };
    let entry = |action: &str| {
        let entry = log.iter().find(|entry| entry.action == action).unwrap_or_else(|| panic!("no {action}"));
        (entry.subject.as_str(), json(&entry.before), json(&entry.after), entry.reason.as_str())
    };
    let (subject, before, after, _) = entry("user set");
    assert_eq!(
        (subject, &before["organization"], &before["workgroups"]),
        ("ann", &serde_json::Value::Null, &json("[]"))
    );
    assert_eq!((&after["organization"], &after["workgroups"][0]), (&json("\"north\""), &json("\"Support\"")));
    assert_eq!(after.get("id"), None, "numbers say nothing to people");
    let given = serde_json::json!({
        "key": "I3_ACCESS_CLIENT", "pool": "I3_ACCESS_CLIENT", "subject": "user ann", "until": null,
    });
    assert_eq!(entry("assign"), ("I3_ACCESS_CLIENT for user ann", serde_json::Value::Null, given.clone(), ""));
    assert_eq!(entry("unassign"), ("I3_ACCESS_CLIENT for user ann", given, serde_json::Value::Null, ""));
    let (_, _, after, _) = entry("share set");
    assert_eq!((&after["pool"], &after["organization"]), (&json("\"I3_ACCESS_CLIENT\""), &json("\"north\"")));
    let (subject, before, _, reason) = entry("revoke");
    assert_eq!((subject, reason), ("user ann", "shift over"), "one that ended nothing is not in the log");
    assert_eq!((&before["ended"], &before["leases"][0]["subject"]), (&json("1"), &json("\"user ann\"")));
    let (subject, _, after, _) = entry("load file");
    assert_eq!((subject, &after["state"], &after["sequence"]), ("acme.i3lic", &json("\"accepted\""), &json("1")));

    let verdict = admin.verify_audit(v1::VerifyAuditRequest {}).await.unwrap().into_inner();
    assert!(verdict.intact && verdict.head.len() == 64, "{verdict:?}");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_not_told_as_done() {
    let (site, mut admin) = Site::licensed().await;
    let load = v1::LoadFileRequest { name: "bad.i3lic".into(), content: b"bad".to_vec(), check_only: false };
    assert_eq!(admin.load_file(load).await.unwrap().into_inner().entry.unwrap().state, "refused");
    let copy = |name: &str| v1::SnapshotDatabaseRequest { file_name: name.into() };
    admin.snapshot_database(copy("monday")).await.unwrap();
    refused(admin.snapshot_database(copy("monday")).await);
    let log = admin.list_audit(v1::ListAuditRequest::default()).await.unwrap().into_inner().entries;
    let of = |action: &str, subject: &str| {
        log.iter().filter(|entry| entry.action == action && entry.subject == subject).collect::<Vec<_>>()
    };
    assert_eq!((of("load file", "bad.i3lic").len(), of("load file refused", "bad.i3lic").len()), (0, 1));
    assert!(!of("load file refused", "bad.i3lic")[0].reason.is_empty());
    assert_eq!(of("snapshot", "monday").len(), 1, "the second was not made");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn denials_are_counted_up_to_the_moment_that_they_are_read() {
    let site = Site::serving().await;
    let mut admin = site.administration().await;
    let mut leasing = site.leasing().await;
    for request in 1..=5 {
        assert_eq!(refused(leasing.acquire(logon("nobody", request, None)).await).1, "USER_UNKNOWN");
    }
    for (told, more) in [(5, 2), (7, 0)] {
        let denials = admin.list_denials(v1::ListDenialsRequest::default()).await.unwrap().into_inner().denials;
        // A minute that begins meanwhile begins another row.
        assert_eq!(denials.iter().map(|denial| denial.count).sum::<u64>(), told, "{denials:?}");
        for request in 0..more {
            refused(leasing.acquire(logon("nobody", 10 + request, None)).await);
        }
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_says_where_to_reach_it_as_clients_write_it_and_what_ails_the_folder() {
    let (site, mut admin) = Site::licensed().await;
    std::fs::rename(site.dir.path().join("watched"), site.dir.path().join("away")).unwrap();
    site.folder.rescan().await;
    let status = admin.get_status(v1::GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.listening, [format!("unix://{}", site.socket().display()), site.tcp.clone()]);
    assert!(status.notices.iter().any(|notice| notice.reason == "FOLDER_UNREADABLE"), "{:?}", status.notices);
    site.stop().await;
}
