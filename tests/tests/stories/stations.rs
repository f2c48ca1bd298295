//! Where people log on: STATION, and the limits of organizations.

use leasehold_proto::v1::{self, entity::Entity, share::Holder};
use leasehold_tests::{Ask, Attached, Daemon, Site, admin, app::held};

const CLIENT: &str = "I3_ACCESS_CLIENT";
const CLIENTS: &str = "I3_ACCESS_CLIENT_CONCURRENT";
const STATION: &str = "I3_LICENSE_BASIC_STATION";

/// STATION-1, STATION-2: saved with a warning, and no dial tone until it has its key; without it again, out goes who is on.
#[tokio::test]
async fn a_station_needs_its_basic_key() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    admin.load("base.i3lic", &site.issue(&site.order_of(&[(CLIENTS, 5), (STATION, 1)])).note).await;
    admin.user("ann", "concurrent").await;
    admin.give(&[CLIENT], &["ann"]).await;
    let warnings = admin.station("desk-1", "workstation").await;
    let warning = warnings.first().expect("a warning");
    assert!(warning.message.contains(STATION), "{warning:?}");

    let mut stream = Attached::over(daemon.over_tcp().await, "acd").await.unwrap();
    let refused = stream.acquire(Ask::logon("ann").at("desk-1").needing(&[CLIENT])).await.unwrap_err();
    assert_eq!(refused.reason, "STATION_NOT_LICENSED");
    assert_eq!((refused.fact("station"), refused.fact("key")), ("desk-1", STATION));
    let refused = stream.acquire(Ask::logon("ann").at("nowhere")).await.unwrap_err();
    assert_eq!(refused.reason, "STATION_UNKNOWN");

    admin.give_stations(&[STATION], &["desk-1"]).await;
    let lease = stream.acquire(Ask::logon("ann").at("desk-1").needing(&[CLIENT])).await.unwrap();
    assert_eq!(lease.station, "desk-1");

    admin.try_unassign(&[STATION], vec![admin::station("desk-1")]).await.unwrap();
    assert_eq!(stream.end_of(lease.lease_id).await.unwrap().reason, "STATION_NOT_LICENSED");
    assert_eq!((admin.pool(STATION).await.in_use, admin.pool(CLIENTS).await.in_use), (0, 0));
}

/// STATION-3, STATION-4: a remote station holds the client key too; a dynamic one takes a free seat for its logon.
#[tokio::test]
async fn remote_stations_are_configured_or_dynamic() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    admin.load("base.i3lic", &site.issue(&site.order_of(&[(CLIENT, 2), (STATION, 2)])).note).await;
    for name in ["ann", "bob"] {
        admin.user(name, "assignable").await;
    }
    admin.station("home-1", "remote").await;
    admin.give_stations(&[STATION], &["home-1"]).await;
    let app = daemon.app("acd").await;
    let refused = app.acquire(Ask::logon("ann").at("home-1")).await.unwrap_err();
    assert_eq!((refused.reason.as_str(), refused.fact("key")), ("STATION_NOT_LICENSED", CLIENT));
    admin.give_stations(&[CLIENT], &["home-1"]).await;
    app.acquire(Ask::logon("ann").at("home-1")).await.expect("it has both");

    let first = app.acquire(Ask::logon("bob").at_number("+49 421 5550")).await.expect("no client key is needed");
    assert!(held(&first).contains(&(STATION, STATION)), "{first:?}");
    assert_eq!(admin.pool(STATION).await.in_use, 2);
    let refused = app.acquire(Ask::logon("ann").at_number("+49 421 5551")).await.unwrap_err();
    assert_eq!((refused.reason.as_str(), refused.fact("pool")), ("POOL_EXHAUSTED", STATION));
    let refused = admin.try_assign(&[STATION], vec![admin::station("home-1")]).await;
    assert_eq!(refused, Ok(0), "what is held already needs no free seat");
    app.release(first.lease_id).await.unwrap();
    app.acquire(Ask::logon("ann").at_number("+49 421 5551")).await.expect("the seat belonged to the lease");
}

/// STATION-5: a wallboard takes a seat of its own key, for itself.
#[tokio::test]
async fn a_device_uses_a_key_of_its_own() {
    const BOARD: &str = "I3_ACCESS_ANALYTICS_CORE";
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    admin.load("base.i3lic", &site.issue(&site.order_of(&[(BOARD, 1)])).note).await;
    assert_eq!(admin.station("wallboard-1", "device").await, [], "it needs no basic key");
    admin.station("wallboard-2", "device").await;
    admin.give_stations(&[BOARD], &["wallboard-1"]).await;
    assert_eq!(admin.pool(BOARD).await.in_use, 1, "when it is configured");
    let refused = admin.try_assign(&[BOARD], vec![admin::station("wallboard-2")]).await.unwrap_err();
    assert_eq!(refused.reason, "POOL_EXHAUSTED");
    let app = daemon.app("boards").await;
    let lease = app.acquire(Ask::station("wallboard-1").needing(&[BOARD])).await.unwrap();
    assert_eq!((lease.station.as_str(), lease.user.as_str()), ("wallboard-1", ""));
    let refused = app.acquire(Ask::station("wallboard-2").needing(&[BOARD])).await.unwrap_err();
    assert_eq!((refused.reason.as_str(), refused.fact("subject")), ("NOT_ASSIGNED", "station wallboard-2"));
}

/// STATION-6, SITE-3: an organization's limit of a pool, and as many organizations as are licensed.
#[tokio::test]
async fn organizations_are_counted_and_limited() {
    const ORGANIZATION: &str = "I3_TENANT_IWP_ORGANIZATION";
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    let units = [(ORGANIZATION, 2), ("I3_LICENSE_IWP_SERVER", 1), (STATION, 10)];
    admin.load("base.i3lic", &site.issue(&site.order_of(&units)).note).await;
    admin.try_organization("north").await.unwrap();
    admin.try_organization("south").await.unwrap();
    let refused = admin.try_organization("west").await.unwrap_err();
    assert_eq!((refused.reason.as_str(), refused.fact("limit")), ("LIMIT_REACHED", "2"));

    for name in ["n-1", "n-2", "n-3"] {
        let station = v1::Station { name: name.into(), organization: Some("north".into()), ..v1::Station::default() };
        admin.try_create(Entity::Station(station)).await.unwrap();
    }
    let share = |limit| v1::Share {
        pool: STATION.into(),
        holder: Some(Holder::Organization("north".into())),
        limit: Some(limit),
        ..v1::Share::default()
    };
    admin.try_share(share(2)).await.unwrap();
    admin.give_stations(&[STATION], &["n-1", "n-2"]).await;
    let refused = admin.try_assign(&[STATION], vec![admin::station("n-3")]).await.unwrap_err();
    assert_eq!((refused.reason.as_str(), refused.fact("limit"), refused.fact("in_use")), ("LIMIT_REACHED", "2", "2"));
    admin.try_share(share(1)).await.expect("setting it below what is configured ends nothing");
    assert_eq!(admin.pool(STATION).await.in_use, 2);
}
