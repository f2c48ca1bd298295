//! A pair of servers: the one that a file names as its switchover server stands by, is promoted, and stands by again (02).

use leasehold_keys::{activation::HostRole, request::HostRequest};
use leasehold_tests::{Ask, Attached, Daemon, Site, programs::leasehold};
use licensor::order::{HostOrder, IssueOrder};

const CALLS: &str = "I3_SESSION_CALL";

/// 02, The activation file: never do two servers serve one file's seats, on the way there and on the way back.
#[tokio::test]
async fn a_standby_is_promoted_and_stands_by_again() {
    let site = Site::new();
    site.become_another_host();
    let daemon = Daemon::start(&site).await;
    let here = leasehold(&site.socket(), ["request"]).done();
    let here = HostRequest::verify(here.out.as_bytes()).expect("a request note");
    let mut hosts = site.order().hosts;
    hosts.push(HostOrder::requested(HostRole::Switchover, &here));
    let issued = site.issue(&IssueOrder { hosts, ..site.order_of(&[(CALLS, 1)]) });
    let admin = daemon.admin().await;
    admin.load("base.i3lic", &issued.note).await;
    let app = daemon.app("telephony").await;
    assert_eq!(admin.status().await.license_state, "standby");
    assert_eq!(app.acquire(Ask::units(CALLS, 1)).await.unwrap_err().reason, "NOT_ACTIVE");

    leasehold(&site.socket(), ["promote", "--reason", "the primary burns"]).done();
    let mut stream = Attached::open(&app).await.unwrap();
    let lease = stream.acquire(Ask::units(CALLS, 1)).await.unwrap();

    let said = leasehold(&site.socket(), ["stand-by", "--reason", "the primary is back"]).done();
    assert!(said.out.contains("stands by") && said.out.contains("1 lease is ended"), "{said:?}");
    let told = stream.end_of(lease.lease_id).await.unwrap();
    assert!(told.reason == "REVOKED" && told.message.contains("the primary is back"), "{told:?}");
    assert_eq!(app.acquire(Ask::units(CALLS, 1)).await.unwrap_err().reason, "NOT_ACTIVE");
    assert_eq!(app.renew_one(lease.lease_id).await.unwrap_err().fact("how"), "REVOKED");
    let again = leasehold(&site.socket(), ["stand-by", "--reason", "to be sure"]).done();
    assert!(again.out.contains("already"), "{again:?}");
    let audit = leasehold(&site.socket(), ["audit"]).done();
    assert!(audit.out.contains("stand by") && audit.out.contains("the primary is back"), "{}", audit.out);

    // What was decided holds over a restart, and is not for ever.
    assert_eq!(daemon.stop().await.code, Some(0));
    let daemon = Daemon::start(&site).await;
    assert_eq!(daemon.admin().await.status().await.license_state, "standby");
    leasehold(&site.socket(), ["promote", "--reason", "again"]).done();
    daemon.app("telephony").await.acquire(Ask::units(CALLS, 1)).await.expect("it is the active one");
}
