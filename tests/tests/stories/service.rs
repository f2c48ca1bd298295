//! What the platform sees of the daemon: health, reflection and the service manager.

use leasehold_proto::v1::{GetStatusRequest, leasing_server::SERVICE_NAME};
use leasehold_tests::{Daemon, Site, within};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

const NAMES: [&str; 4] = ["", SERVICE_NAME, "leasehold.v1.Leasing/renew", "leasehold.v1.Leasing/grant"];

/// LEASE-11: renewing and granting are told apart; draining is told before the end.
#[tokio::test]
async fn health_names_what_is_served() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let mut watches = Vec::new();
    for channel in [daemon.over_tcp().await, daemon.over_socket().await] {
        let mut health = HealthClient::new(channel);
        for name in NAMES {
            let request = HealthCheckRequest { service: name.to_owned() };
            let status = health.check(request.clone()).await.unwrap().into_inner().status();
            assert_eq!(status, ServingStatus::Serving, "{name}");
            watches.push(health.watch(request).await.unwrap().into_inner());
        }
        let unknown = health.check(HealthCheckRequest { service: "leasehold.v1.Nothing".to_owned() }).await;
        assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
    }
    let stopping = tokio::spawn(daemon.stop());
    for watch in &mut watches {
        let told = async {
            while let Ok(Some(answer)) = watch.message().await {
                if answer.status() == ServingStatus::NotServing {
                    return true;
                }
            }
            false
        };
        assert!(within("NOT_SERVING", told).await);
    }
    drop(watches);
    assert_eq!(stopping.await.unwrap().code, Some(0));
}

/// Tools without our files learn the services from the server.
#[tokio::test]
async fn the_server_describes_its_services() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let mut reflection = ServerReflectionClient::new(daemon.over_tcp().await);
    let ask = |message_request| ServerReflectionRequest { host: String::new(), message_request: Some(message_request) };
    let questions = [
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("leasehold.v1.Leasing".to_owned())),
    ];
    let mut answers = reflection.server_reflection_info(tokio_stream::iter(questions)).await.unwrap().into_inner();
    let services = within("an answer", answers.message()).await.unwrap().and_then(|answer| answer.message_response);
    let Some(MessageResponse::ListServicesResponse(services)) = services else { panic!("no list: {services:?}") };
    let mut names: Vec<_> = services.service.iter().map(|service| service.name.as_str()).collect();
    names.sort_unstable();
    for name in ["grpc.health.v1.Health", "leasehold.v1.Administration", "leasehold.v1.Leasing"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    let file = within("an answer", answers.message()).await.unwrap().and_then(|answer| answer.message_response);
    assert!(matches!(file, Some(MessageResponse::FileDescriptorResponse(_))), "{file:?}");
}

/// SIGHUP takes over what can be, and says what cannot; a faulty file changes nothing.
#[tokio::test]
async fn a_reload_says_what_it_took_over() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let text = std::fs::read_to_string(site.config_file()).unwrap();
    std::fs::write(site.config_file(), text.replace("filter = \"info,leaseholdd=debug\"", "filter = \"info\""))
        .unwrap();
    daemon.reload();
    daemon.logged(&["the log filter is now `info`"]).await;
    daemon.logged(&["the configuration was reloaded"]).await;
    std::fs::write(site.config_file(), format!("{text}\n[limits]\nqueue = 2048\n")).unwrap();
    daemon.reload();
    daemon.logged(&["a restart is needed for limits.queue"]).await;
    // LEASE-9: who administers is taken over, both ways.
    let mut calls = daemon.admin().await.calls;
    std::fs::write(site.config_file(), format!("administrators = [4294967294]\n{text}")).unwrap();
    let mark = daemon.mark();
    daemon.reload();
    daemon.logged_after(mark, &["the administrators are now the users [4294967294]"]).await;
    let refused = calls.get_status(GetStatusRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    std::fs::write(site.config_file(), &text).unwrap();
    let mark = daemon.mark();
    daemon.reload();
    daemon.logged_after(mark, &["the administrators are now"]).await;
    std::fs::write(site.config_file(), "nonsense").unwrap();
    daemon.reload();
    daemon.logged(&["nothing was reloaded"]).await;
    assert_eq!(daemon.admin().await.status().await.license_state, "unlicensed", "it goes on");
}
