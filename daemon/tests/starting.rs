//! The start in its two steps: heard from the first moment, granting only once the folder was judged.

use std::{fs, path::Path};

use leasehold_keys::dev::DevLicensor;
use leasehold_proto::v1::{self, leasing_client::LeasingClient};
use leaseholdd::{clock::Clock, config::Config, exit::Exit, run};
use tonic::{Code, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

#[tokio::test(flavor = "multi_thread")]
async fn while_it_starts_health_says_so_and_nothing_is_granted() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    fs::write(dir.path().join("root"), DevLicensor::from_seed(&[7; 32]).unwrap().root()).unwrap();
    fs::create_dir(dir.path().join("licenses")).unwrap();
    let text = format!(
        "state_dir = {:?}\nfolder = {:?}\nroot = {:?}\n[listen]\ntcp = []\nunix = {:?}\n",
        at("state"),
        at("licenses"),
        at("root"),
        at("socket")
    );
    let file = dir.path().join("leaseholdd.toml");
    fs::write(&file, text).unwrap();
    let config = Config::load(Some(&file)).unwrap();

    let running = run::begin(&config, Clock::system(), Path::new("/")).await.unwrap();
    assert_eq!(running.addresses(), [format!("unix://{}", at("socket"))]);
    let channel = Endpoint::new(running.addresses()[0].clone()).unwrap().connect().await.unwrap();
    let (mut health, mut leasing) = (HealthClient::new(channel.clone()), LeasingClient::new(channel));
    let whole = || HealthCheckRequest { service: String::new() };
    assert_eq!(health.check(whole()).await.unwrap().into_inner().status(), ServingStatus::NotServing);
    let acquire = || v1::AcquireRequest {
        request_id: vec![1; 16],
        caller: Some(v1::Caller { application: "ACD Server".into(), ..Default::default() }),
        subject: Some(v1::acquire_request::Subject::Units(v1::ServerUnits { key: "CALL_PORT".into(), units: 1 })),
        ..Default::default()
    };
    assert_eq!(leasing.acquire(acquire()).await.unwrap_err().code(), Code::Unavailable);

    let mut watch = health.watch(whole()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    running.ready().await;
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    assert!(leasing.acquire(acquire()).await.is_ok());
    drop((watch, health, leasing));
    assert_eq!(running.stop().await, Exit::Done);
}
