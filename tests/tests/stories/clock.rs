//! Clocks that are set, die and come back (05, Time; LEASE-8): dates go by trusted time, and nothing is gained by a clock.

use leasehold_keys::{
    activation::FileKind,
    time::{DAY_MS, WallTime},
};
use leasehold_proto::v1;
use leasehold_tests::{Admin, App, Ask, Daemon, Site, programs::leasehold};
use licensor::order::IssueOrder;
use serde_json::Value;

const HOUR_MS: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR_MS;
const YEAR_MS: i64 = 365 * DAY_MS;
const CALLS: &str = "I3_SESSION_CALL";

/// Ten calls without end, and five more for 30 days.
async fn calls_and_a_subscription(site: &Site) -> Daemon {
    let daemon = Daemon::start(site).await;
    let admin = daemon.admin().await;
    admin.load("base.i3lic", &site.issue(&site.order_of(&[(CALLS, 10)])).note).await;
    let order = IssueOrder {
        kind: FileKind::AddOn,
        not_after: Some(site.now().plus_ms(30 * DAY_MS)),
        ..site.order_of(&[(CALLS, 5)])
    };
    admin.load("more.i3lic", &site.issue(&order).note).await;
    assert_eq!(admin.pool(CALLS).await.capacity, "15");
    daemon
}

async fn take(app: &App, units: u32) -> u64 {
    app.acquire(Ask::units(CALLS, units).ttl_ms(DAY)).await.expect("a seat").lease_id
}

fn of(status: &v1::GetStatusResponse) -> &v1::ClockStatus {
    status.clock.as_ref().expect("a clock")
}

async fn clock_when(admin: &Admin, state: &str) -> v1::ClockStatus {
    of(&admin.status_when(state, |status| of(status).state == state).await).clone()
}

fn wall_time(at: Option<&prost_types::Timestamp>) -> WallTime {
    let at = at.expect("a moment");
    WallTime::from_ms(at.seconds * 1_000 + i64::from(at.nanos) / 1_000_000)
}

fn reasons(status: &v1::GetStatusResponse) -> Vec<&str> {
    let reasons = status.notices.iter().map(|notice| notice.reason.as_str());
    reasons.filter(|reason| reason.starts_with("CLOCK_")).collect()
}

/// A first start has nothing but the wall clock, and nothing to say about it.
#[tokio::test]
async fn a_first_start_goes_by_the_wall_clock() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let status = daemon.admin().await.status().await;
    assert_eq!((of(&status).state.as_str(), reasons(&status)), ("in step", vec![]));
    assert_eq!(wall_time(of(&status).trusted.as_ref()), site.now());
    assert_eq!(wall_time(of(&status).wall_clock.as_ref()), site.now());
    assert_eq!((of(&status).roll_backs, of(&status).last_roll_back.as_ref()), (0, None));
}

/// Set back by a day and by ten years: no lease ends, none lives for ever, what has ended stays ended, and it is told.
#[tokio::test]
async fn a_clock_that_is_set_back_moves_no_date() {
    let site = Site::new();
    let daemon = calls_and_a_subscription(&site).await;
    let (admin, app) = (daemon.admin().await, daemon.app("acd").await);
    site.advance(31 * DAY);
    admin.pool_when(CALLS, |pool| pool.capacity == "10").await;
    let lease = take(&app, 10).await;

    for (back, behind_ms) in [(DAY_MS, DAY_MS), (10 * YEAR_MS - DAY_MS, 10 * YEAR_MS)] {
        site.step_wall(-back);
        let status = admin
            .status_when("the episode", |status| of(status).last_roll_back_by_ms == behind_ms.unsigned_abs())
            .await;
        assert_eq!((of(&status).state.as_str(), of(&status).roll_backs), ("behind", 1), "one episode");
        assert_eq!(reasons(&status), ["CLOCK_ROLLED_BACK"]);
        assert_eq!(wall_time(of(&status).trusted.as_ref()), site.now());
        app.renew_one(lease).await.expect("it lives");
        assert_eq!(app.acquire(Ask::units(CALLS, 1)).await.unwrap_err().reason, "POOL_EXHAUSTED");
        assert_eq!(admin.pool(CALLS).await.capacity, "10", "what has ended stays ended");
    }
    // Over a crash and a start with that clock, too.
    daemon.logged(&["behind the time that this server knows of", "timedatectl"]).await;
    daemon.kill().await;
    site.power_off(HOUR_MS);
    let daemon = Daemon::start(&site).await;
    let (admin, app) = (daemon.admin().await, daemon.app("acd").await);
    let clock = clock_when(&admin, "behind").await;
    // The hour that it was off is known to nobody.
    assert_eq!(wall_time(clock.trusted.as_ref()), site.now().plus_ms(-3_600_000));
    assert_eq!(clock.roll_backs, 1);
    assert_eq!(admin.pool(CALLS).await.capacity, "10");
    app.renew_one(lease).await.expect("a restart is survived");
    // Nobody renews it now, and it ends.
    site.advance(2 * DAY);
    take(&daemon.app("stranger").await, 10).await;

    site.set_wall_right();
    let status = admin.status_when("the end of it", |status| of(status).last_roll_back_over.is_some()).await;
    assert_eq!(reasons(&status), ["CLOCK_SET_FORWARD"], "by the hour that it was off");
    let log = daemon.stop().await.log;
    assert!(!log.contains("behind the time that this server knows of"), "it was said once, before the crash:\n{log}");
    let daemon = Daemon::start(&site).await;
    let status = daemon.admin().await.status().await;
    assert_eq!((of(&status).state.as_str(), reasons(&status), of(&status).roll_backs), ("in step", vec![], 1));
}

/// Set forward while it runs: nothing moves. After a restart it is unconfirmed and told, and still ends nothing, until it
/// has run for 12 hours, restarts and all.
#[tokio::test]
async fn a_clock_that_is_set_forward_moves_nothing_before_it_is_confirmed() {
    let site = Site::new();
    let daemon = calls_and_a_subscription(&site).await;
    let (admin, app) = (daemon.admin().await, daemon.app("acd").await);
    let lease = take(&app, 15).await;
    site.step_wall(400 * DAY_MS);
    let clock = clock_when(&admin, "ahead").await;
    assert_eq!(wall_time(clock.trusted.as_ref()), site.now());
    daemon.logged(&["ahead of the time that this server goes by", "restart the daemon"]).await;
    app.renew_one(lease).await.unwrap();
    assert_eq!(admin.pool(CALLS).await.capacity, "15");
    assert_eq!(daemon.stop().await.code, Some(0));

    let daemon = Daemon::start(&site).await;
    let (admin, app) = (daemon.admin().await, daemon.app("acd").await);
    let clock = clock_when(&admin, "unconfirmed").await;
    assert_eq!(wall_time(clock.trusted.as_ref()), site.now().plus_ms(400 * DAY_MS), "the later of both");
    assert_eq!((clock.unconfirmed_ms, clock.confirmed_in_ms), (400 * DAY, 12 * HOUR_MS));
    daemon.logged(&["400 days ahead of the time last known"]).await;
    app.renew_one(lease).await.unwrap();
    assert_eq!(admin.pool(CALLS).await.capacity, "15");
    // By its own date the file of tomorrow would be there.
    let order = IssueOrder {
        kind: FileKind::AddOn,
        not_before: Some(site.now().plus_ms(DAY_MS)),
        ..site.order_of(&[(CALLS, 100)])
    };
    admin.load("tomorrow.i3lic", &site.issue(&order).note).await;
    assert_eq!(admin.pool(CALLS).await.capacity, "15", "and nobody has it today by a clock");

    site.advance(7 * HOUR_MS);
    app.renew_one(lease).await.unwrap();
    daemon.kill().await;
    let daemon = Daemon::start(&site).await;
    let (admin, app) = (daemon.admin().await, daemon.app("acd").await);
    let clock = clock_when(&admin, "unconfirmed").await;
    assert!(clock.confirmed_in_ms <= 5 * HOUR_MS + 60_000, "a minute may be lost by a crash: {clock:?}");
    assert_eq!(admin.pool(CALLS).await.capacity, "15");
    site.advance(5 * HOUR_MS + 60_000);
    app.renew_one(lease).await.unwrap();
    clock_when(&admin, "in step").await;
    daemon.logged(&["is confirmed"]).await;
    admin.pool_when(CALLS, |pool| pool.capacity == "110").await;
    app.renew_one(lease).await.expect("no date ends what the pool has seats for");
}

/// A clock chip that says 2099 until the network sets it right two hours later: nothing is lost, and the mark is what it was.
#[tokio::test]
async fn a_dead_clock_chip_ends_nothing_and_leaves_no_mark() {
    let site = Site::new();
    let daemon = calls_and_a_subscription(&site).await;
    site.advance(DAY);
    let app = daemon.app("acd").await;
    let refused = app.acquire(Ask::units(CALLS, 16)).await.unwrap_err();
    assert_eq!(refused.reason, "POOL_EXHAUSTED");
    let lease = take(&app, 15).await;
    daemon.kill().await;
    for _ in 0..2 {
        it_starts_in_2099(&site, lease).await;
    }
}

async fn it_starts_in_2099(site: &Site, lease: u64) {
    site.power_off(HOUR_MS);
    site.step_wall(69 * YEAR_MS);
    let daemon = Daemon::start(site).await;
    let (admin, app) = (daemon.admin().await, daemon.app("acd").await);
    let clock = clock_when(&admin, "unconfirmed").await;
    let withdrawn = clock.withdrawn;
    assert!(wall_time(clock.trusted.as_ref()) > site.now().plus_ms(68 * YEAR_MS));
    assert_eq!(admin.pool(CALLS).await.capacity, "15");
    assert_eq!(admin.status().await.license_state, "licensed");
    app.renew_one(lease).await.unwrap();
    site.advance(HOUR_MS * 2);
    app.renew_one(lease).await.expect("no hour's notice was given");

    site.set_wall_right();
    let clock = clock_when(&admin, "in step").await;
    assert_eq!((clock.withdrawn, clock.roll_backs, clock.unconfirmed_ms), (withdrawn + 1, 0, 0));
    assert_eq!(wall_time(clock.trusted.as_ref()), site.now());
    daemon.logged(&["has been set right since"]).await;
    assert_eq!(admin.pool(CALLS).await.capacity, "15");
    app.renew_one(lease).await.unwrap();
    daemon.kill().await;
    // And it did not come back from the disk.
    let daemon = Daemon::start(site).await;
    let clock = clock_when(&daemon.admin().await, "in step").await;
    assert_eq!(wall_time(clock.trusted.as_ref()), site.now());
    assert_eq!(daemon.stop().await.code, Some(0));
}

/// A site that was off for months: what it bought meanwhile counts at once.
#[tokio::test]
async fn a_site_that_was_off_for_months_has_what_it_bought_meanwhile() {
    let site = Site::new();
    let daemon = calls_and_a_subscription(&site).await;
    assert_eq!(daemon.stop().await.code, Some(0));
    site.power_off(90 * DAY);
    let order = IssueOrder { kind: FileKind::AddOn, ..site.order_of(&[(CALLS, 7)]) };
    site.drop_in("renewed.i3lic", site.issue(&order).note.as_bytes());
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    let clock = clock_when(&admin, "unconfirmed").await;
    assert_eq!(wall_time(clock.trusted.as_ref()), site.now());
    admin.pool_when(CALLS, |pool| pool.capacity == "17").await;
}

/// `leasehold status` tells it, for people and for programs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_tells_of_the_clock() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    site.step_wall(-3 * DAY_MS);
    clock_when(&daemon.admin().await, "behind").await;
    let text = leasehold(&site.socket(), ["status"]).out;
    assert!(text.contains("3 days behind the time that this server knows of"), "{text}");
    assert!(text.contains("behind; dates go by") && text.contains("fell behind once, by 3 d"), "{text}");
    let json = leasehold(&site.socket(), ["status", "--json"]).json();
    let clock = &json["clock"];
    assert_eq!((&clock["state"], &clock["roll_backs"]), (&"behind".into(), &1.into()), "{clock}");
    assert_eq!(clock["last_roll_back"]["by_ms"], 3 * DAY_MS);
    assert_eq!(clock["last_roll_back"]["over"], Value::Null);
}
