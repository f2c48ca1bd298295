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
