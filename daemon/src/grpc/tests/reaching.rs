//! Who may do what, how large it may be, and what the standard services say.

use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn administration_is_for_administrators_on_the_socket() {
    let site = Site::serving().await;
    let status = site.administration().await.get_status(v1::GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.license_state.as_str(), status.storage_ok), ("unlicensed", true));
    assert!(status.listening.contains(&site.tcp) && status.ready_at.is_some());

    let mut over_tcp = AdministrationClient::new(site.over_tcp().await);
    let (code, reason, message) = refused(over_tcp.get_status(v1::GetStatusRequest {}).await);
    assert_eq!((code, reason.as_str()), (Code::PermissionDenied, "NOT_AN_ADMINISTRATOR"));
    assert!(message.contains("Use the Unix socket"), "{message}");
    let revoke = v1::RevokeLeasesRequest { lease_ids: vec![1], reason: "no".into(), ..Default::default() };
    assert_eq!(refused(over_tcp.revoke_leases(revoke).await).0, Code::PermissionDenied);
    site.stop().await;

    let site = Site::starting([own_uid() + 1].into()).await;
    site.core.set_phase(Phase::Serving);
    let (code, _, message) = refused(site.administration().await.get_status(v1::GetStatusRequest {}).await);
    assert_eq!(code, Code::PermissionDenied);
    assert!(message.contains(&format!("User ID {}", own_uid())), "{message}");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_acts_on_its_own_leases_and_an_administrator_on_any() {
    let site = Site::serving().await;
    let mut tcp = site.leasing().await;
    let lease = tcp.acquire(call_ports("a", 1, 1)).await.unwrap().into_inner().lease.unwrap().lease_id;
    let mut socket = LeasingClient::new(site.over_socket().await);
    let mut strangers = vec![(tcp.clone(), named("b")), (socket.clone(), named("a"))];
    for (client, caller) in &mut strangers {
        let renew = v1::RenewRequest { caller: caller.clone(), lease_ids: vec![lease] };
        let outcomes = client.renew(renew).await.unwrap().into_inner().outcomes;
        let refusal = outcomes[0].refusal.as_ref().unwrap();
        assert_eq!((refusal.reason.as_str(), refusal.code), ("NOT_YOUR_LEASE", i32::from(Code::PermissionDenied)));
        let release = v1::ReleaseRequest { caller: caller.clone(), lease_ids: vec![lease], ..Default::default() };
        let outcomes = client.release(release).await.unwrap().into_inner().outcomes;
        assert_eq!(outcomes[0].refusal.as_ref().unwrap().reason, "NOT_YOUR_LEASE");
    }
    let renew = v1::RenewRequest { caller: named("a"), lease_ids: vec![lease, 999] };
    let outcomes = tcp.renew(renew).await.unwrap().into_inner().outcomes;
    assert_eq!(outcomes[0].refusal, None);
    assert_eq!(outcomes[1].refusal.as_ref().unwrap().reason, "LEASE_UNKNOWN");

    let held = site.administration().await.list_leases(v1::ListLeasesRequest::default()).await.unwrap().into_inner();
    assert_eq!((held.leases[0].identity.as_str(), held.leases[0].host.as_str()), ("name:a", "acd-1.example"));
    let revoke = v1::RevokeLeasesRequest { lease_ids: vec![lease], reason: "maintenance".into(), ..Default::default() };
    let outcomes = site.administration().await.revoke_leases(revoke).await.unwrap().into_inner().outcomes;
    assert_eq!(outcomes[0].refusal, None);
    let renew = v1::RenewRequest { caller: named("a"), lease_ids: vec![lease] };
    let outcomes = tcp.renew(renew).await.unwrap().into_inner().outcomes;
    let refusal = outcomes[0].refusal.as_ref().unwrap();
    assert_eq!((refusal.reason.as_str(), refusal.facts["how"].as_str()), ("LEASE_ENDED", "REVOKED"));

    let by_uid = socket.acquire(call_ports("a", 2, 1)).await.unwrap();
    assert!(by_uid.into_inner().lease.is_some());
    let held = site.administration().await.list_leases(v1::ListLeasesRequest::default()).await.unwrap().into_inner();
    assert_eq!(
        (held.leases[0].identity.clone(), held.leases[0].instance.as_str()),
        (format!("uid:{}", own_uid()), "a")
    );
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_tcp_a_caller_must_say_its_name() {
    let site = Site::serving().await;
    let mut tcp = site.leasing().await;
    for caller in [None, named("")] {
        let (code, reason, _) = refused(tcp.acquire(v1::AcquireRequest { caller, ..call_ports("", 1, 1) }).await);
        assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "MALFORMED"));
    }
    assert_eq!(refused(tcp.site_keys(v1::SiteKeysRequest::default()).await).0, Code::InvalidArgument);
    let mut socket = LeasingClient::new(site.over_socket().await);
    assert!(socket.site_keys(v1::SiteKeysRequest::default()).await.is_ok(), "the kernel says who it is");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_have_a_size_by_method() {
    let site = Site::serving().await;
    let mut tcp = site.leasing().await;
    let logon = v1::UserLogon { user: "a".into(), needed_keys: vec!["K".repeat(1_000); 70], ..Default::default() };
    let subject = Some(v1::acquire_request::Subject::Logon(logon));
    let status = tcp.acquire(v1::AcquireRequest { subject, ..call_ports("a", 1, 1) }).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "MALFORMED"));
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "message");
    let renew = v1::RenewRequest { caller: named("a"), lease_ids: vec![u64::MAX; 10_000] };
    assert_eq!(tcp.renew(renew).await.unwrap().into_inner().outcomes.len(), 10_000);
    let renew = v1::RenewRequest { caller: named("a"), lease_ids: vec![u64::MAX; 10_001] };
    let status = tcp.renew(renew).await.unwrap_err();
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "lease_ids");
    let load = v1::LoadFileRequest { name: "a.i3lic".into(), content: vec![b'x'; 4 * 1024 * 1024], check_only: true };
    let (code, reason, _) = refused(site.administration().await.load_file(load).await);
    assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "MALFORMED"));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_it_serves_nothing_is_granted_and_health_says_so() {
    let site = Site::starting([own_uid()].into()).await;
    let mut health = HealthClient::new(site.over_tcp().await);
    let names = ["", "leasehold.v1.Leasing", "leasehold.v1.Leasing/renew", "leasehold.v1.Leasing/grant"];
    let ask = |service: &str| HealthCheckRequest { service: service.to_owned() };
    for name in names {
        assert_eq!(health.check(ask(name)).await.unwrap().into_inner().status(), ServingStatus::NotServing, "{name}");
    }
    let mut tcp = site.leasing().await;
    let (code, reason, _) = refused(tcp.acquire(call_ports("a", 1, 1)).await);
    assert_eq!((code, reason.as_str()), (Code::Unavailable, "STARTING"));

    let mut watches = Vec::new();
    for name in names {
        let mut watch = health.watch(ask(name)).await.unwrap().into_inner();
        assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
        watches.push(watch);
    }
    for (phase, expected) in [(Phase::Serving, ServingStatus::Serving), (Phase::Draining, ServingStatus::NotServing)] {
        site.core.set_phase(phase);
        for watch in &mut watches {
            assert_eq!(watch.message().await.unwrap().unwrap().status(), expected);
        }
    }
    let (code, reason, _) = refused(tcp.acquire(call_ports("a", 1, 1)).await);
    assert_eq!((code, reason.as_str()), (Code::Unavailable, "DRAINING"));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_the_services() {
    let site = Site::serving().await;
    let mut client = ServerReflectionClient::new(site.over_tcp().await);
    let ask = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let mut answers = client.server_reflection_info(tokio_stream::once(ask)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let names: BTreeSet<String> = list.service.into_iter().map(|service| service.name).collect();
    for name in ["leasehold.v1.Leasing", "leasehold.v1.Administration", "grpc.health.v1.Health"] {
        assert!(names.contains(name), "{names:?}");
    }
    site.stop().await;
}
