//! What time and the licensor do to a site: LEVEL, COMPLY and lowered capacities (ALLOC-11).

use leasehold_keys::{
    activation::FileKind,
    time::{DAY_MS, WallTime},
};
use leasehold_tests::{Ask, Attached, Daemon, Site, site::grants};
use licensor::{
    catalog::DevelopmentSize,
    order::{DevelopmentTerms, IssueOrder, OrderLevel},
};

const HOUR_MS: u64 = 3_600_000;
const CALLS: &str = "I3_SESSION_CALL";
const CLIENT: &str = "I3_ACCESS_CLIENT";
const CLIENTS: &str = "I3_ACCESS_CLIENT_CONCURRENT";

/// LEVEL-2: every lease lives an hour; what is left of it survives a restart.
#[tokio::test]
async fn a_development_license_ends_every_lease_after_an_hour() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    let level = OrderLevel::Development { size: DevelopmentSize::Small, terms: DevelopmentTerms::Ordered };
    admin.load("dev.i3lic", &site.issue(&IssueOrder { level, ..site.order() }).note).await;
    assert_eq!(admin.pool(CALLS).await.capacity, "8");
    let status = admin.status().await;
    assert!(status.notices.iter().any(|notice| notice.message.contains("not for production")), "{:?}", status.notices);
    let app = daemon.app("telephony").await;
    let lease = app.acquire(Ask::units(CALLS, 1).ttl_ms(2 * HOUR_MS)).await.unwrap();
    assert_eq!((lease.ends_in_ms, lease.end_reason.as_str()), (HOUR_MS, "DEVELOPMENT_HOURLY_DISCONNECT"));
    site.advance(HOUR_MS / 2);
    app.renew_one(lease.lease_id).await.unwrap();
    assert_eq!(daemon.stop().await.code, Some(0));

    let daemon = Daemon::start(&site).await;
    let app = daemon.app("telephony").await;
    site.advance(HOUR_MS / 2 - 60_000);
    app.renew_one(lease.lease_id).await.expect("29 of the 30 minutes that were left are over");
    site.advance(120_000);
    let refused = app.renew_one(lease.lease_id).await.unwrap_err();
    assert_eq!((refused.reason.as_str(), refused.fact("how")), ("LEASE_ENDED", "DEVELOPMENT_HOURLY_DISCONNECT"));
    app.acquire(Ask::units(CALLS, 1)).await.expect("and begins anew");
}

/// LEVEL-3, LEVEL-5: a trial takes add-ons, warns, and ends after 60 days with an hour's notice; assignments come back
/// with a new file.
#[tokio::test]
async fn a_trial_ends_and_comes_back() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    let trial = IssueOrder { level: OrderLevel::Trial, ..site.order_of(&[(CLIENTS, 2)]) };
    admin.load("trial.i3lic", &site.issue(&trial).note).await;
    let added = IssueOrder { level: OrderLevel::Trial, kind: FileKind::AddOn, ..site.order_of(&[(CALLS, 2)]) };
    admin.load("more.i3lic", &site.issue(&added).note).await;
    admin.user("ann", "concurrent").await;
    admin.give(&[CLIENT], &["ann"]).await;
    let mut stream = Attached::over(daemon.over_tcp().await, "acd").await.unwrap();

    site.advance(45 * 24 * HOUR_MS + 12 * HOUR_MS);
    daemon.logged(&["ends in 14 days"]).await;
    site.advance(14 * 24 * HOUR_MS + 10 * HOUR_MS);
    let lease = stream.acquire(Ask::logon("ann").needing(&[CLIENT]).ttl_ms(24 * HOUR_MS)).await.unwrap();
    site.advance(HOUR_MS + 1_000);
    let warned = stream.warning_of(lease.lease_id).await.unwrap();
    assert_eq!((warned.reason.as_str(), warned.ends_in_ms <= HOUR_MS), ("LICENSE_ENDED", true), "{warned:?}");
    site.advance(HOUR_MS);
    assert_eq!(stream.end_of(lease.lease_id).await.unwrap().reason, "LICENSE_ENDED");
    let refused = stream.acquire(Ask::logon("ann").needing(&[CLIENT])).await.unwrap_err();
    assert_eq!(refused.reason, "NOT_LICENSED", "{refused:?}");
    admin.status_when("unlicensed", |status| status.license_state == "unlicensed").await;

    admin.load("base.i3lic", &site.issue(&site.order_of(&[(CLIENTS, 2)])).note).await;
    stream.acquire(Ask::logon("ann").needing(&[CLIENT])).await.expect("the assignment was kept");
}

/// LEVEL-4: an evaluation is fixed. And one base file at a time (02).
#[tokio::test]
async fn an_evaluation_takes_no_add_ons() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    let level = OrderLevel::Evaluation { configuration: None };
    admin.load("evaluation.i3lic", &site.issue(&IssueOrder { level, ..site.order() }).note).await;
    assert_eq!(admin.pool(CALLS).await.capacity, "10");
    let added = IssueOrder { kind: FileKind::AddOn, ..site.order_of(&[(CALLS, 2)]) };
    let entry = admin.try_load("more.i3lic", &site.issue(&added).note).await.unwrap();
    assert_eq!(entry.state, "refused");
    assert!(entry.message.contains("evaluation"), "{entry:?}");
    let entry = admin.try_load("base.i3lic", &site.issue(&site.order_of(&[(CALLS, 2)])).note).await.unwrap();
    assert_eq!(entry.state, "refused", "a second base: {entry:?}");
    assert_eq!(admin.pool(CALLS).await.capacity, "10");
}

/// The unlicensed site: two call ports of the built-in key, and nothing else.
#[tokio::test]
async fn a_site_without_a_file_has_two_call_ports() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let app = daemon.app("telephony").await;
    app.acquire(Ask::units("CALL_PORT", 2)).await.expect("two call ports");
    let refused = app.acquire(Ask::units("CALL_PORT", 1)).await.unwrap_err();
    assert_eq!((refused.reason.as_str(), refused.fact("capacity")), ("POOL_EXHAUSTED", "2"));
    let refused = app.acquire(Ask::units(CALLS, 1)).await.unwrap_err();
    assert_eq!(refused.reason, "KEY_UNKNOWN");
    assert_eq!(daemon.admin().await.status().await.license_state, "unlicensed");
}

/// ALLOC-11, COMPLY-1: a lower capacity ends nothing at once, is reported, and after a day the newest leases go, an hour
/// after their warning.
#[tokio::test]
async fn a_lowered_capacity_ends_the_newest_leases_after_a_day() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    let first = site.issue(&site.order_of(&[(CLIENTS, 3)]));
    admin.load("base.i3lic", &first.note).await;
    assert_eq!(admin.compliance().await.exceeded, []);
    let agents = admin.agents(4, "concurrent").await;
    admin.give(&[CLIENT], &agents).await;
    let mut stream = Attached::over(daemon.over_tcp().await, "acd").await.unwrap();
    let mut leases = Vec::new();
    for agent in &agents[..3] {
        let ask = Ask::logon(agent).needing(&[CLIENT]).ttl_ms(24 * HOUR_MS);
        leases.push(stream.acquire(ask).await.unwrap().lease_id);
    }

    admin.load("base.i3lic", &site.reissue(first.activation.license_id, &[(CLIENTS, 1)]).note).await;
    daemon.logged(&["ERROR", CLIENTS, "3 are in use and 1 is licensed"]).await;
    let exceeded = admin.compliance().await.exceeded;
    assert_eq!(exceeded.len(), 1, "{exceeded:?}");
    assert_eq!((exceeded[0].pool.as_str(), exceeded[0].licensed, exceeded[0].used), (CLIENTS, 1, 3));
    assert_eq!(stream.beat().await, Ok(3), "nothing ends at once");
    let refused = stream.acquire(Ask::logon(&agents[3]).needing(&[CLIENT])).await.unwrap_err();
    assert_eq!((refused.fact("capacity"), refused.fact("in_use")), ("1", "3"));

    site.advance(23 * HOUR_MS);
    assert_eq!(stream.beat().await, Ok(3));
    site.advance(HOUR_MS + 60_000);
    let warned = stream.warning_of(leases[2]).await.expect("the newest is warned");
    assert_eq!(warned.reason, "CAPACITY_LOWERED");
    assert_eq!(stream.beat().await, Ok(3));
    site.advance(HOUR_MS + 60_000);
    assert_eq!(stream.end_of(leases[2]).await.unwrap().reason, "CAPACITY_LOWERED");
    for _ in 0..3 {
        site.advance(HOUR_MS + 60_000);
        stream.beat().await.unwrap();
    }
    assert_eq!(stream.end_of(leases[1]).await.unwrap().reason, "CAPACITY_LOWERED");
    assert_eq!(stream.beat().await, Ok(1), "the oldest stays");
    assert_eq!(admin.compliance().await.exceeded, []);
}

/// Two files of one site: their grants add up, and a subscription that has begun later counts only from then on.
#[tokio::test]
async fn add_on_files_add_up_in_their_time() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    let add_on = |days: i64| IssueOrder {
        kind: FileKind::AddOn,
        not_before: Some(WallTime::from_ms(site.now().as_ms() + days * DAY_MS)),
        grants: grants(&[(CALLS, 5)]),
        ..site.order()
    };
    let entry = admin.try_load("more.i3lic", &site.issue(&add_on(0)).note).await.unwrap();
    assert_eq!(entry.state, "refused", "an add-on needs a base: {entry:?}");
    admin.load("base.i3lic", &site.issue(&site.order_of(&[(CALLS, 10)])).note).await;
    admin.load("more.i3lic", &site.issue(&add_on(0)).note).await;
    assert_eq!(admin.pool(CALLS).await.capacity, "15");
    admin.load("later.i3lic", &site.issue(&add_on(2)).note).await;
    assert_eq!(admin.pool(CALLS).await.capacity, "15");
    site.advance(2 * 24 * HOUR_MS);
    admin.pool_when(CALLS, |pool| pool.capacity == "20").await;
}
