//! How keys are given and seats are taken: ALLOC.

use leasehold_proto::v1::{self, entity::Entity, event::Event};
use leasehold_tests::{Ask, Attached, Daemon, Site, admin, app::held};
use tonic::Code;

const CLIENT: &str = "I3_ACCESS_CLIENT";
const CLIENTS: &str = "I3_ACCESS_CLIENT_CONCURRENT";
const TRACKER: &str = "I3_ACCESS_TRACKER";
const TRACKERS: &str = "I3_ACCESS_TRACKER_CONCURRENT";
const STATION: &str = "I3_LICENSE_BASIC_STATION";

/// ALLOC-1, ALLOC-4, ALLOC-10, ALLOC-13: one method for all keys of a user, and none borrows from the other.
#[tokio::test]
async fn keys_are_given_by_the_users_method() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    let units = [(CLIENT, 2), (CLIENTS, 2), (TRACKERS, 1), (STATION, 1)];
    admin.load("base.i3lic", &site.issue(&site.order_of(&units)).note).await;
    admin.user("ann", "assignable").await;
    admin.user("bob", "concurrent").await;

    let refused = admin.try_assign(&[TRACKER], vec![admin::user("ann")]).await.unwrap_err();
    assert_eq!((refused.reason.as_str(), refused.fact("method")), ("METHOD_MISMATCH", "assignable"));
    let refused = admin.try_assign(&[STATION], vec![admin::user("ann")]).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::FailedPrecondition, "HOLDER_NOT_ALLOWED"));

    assert_eq!(admin.try_assign(&[CLIENT], vec![admin::user("ann"), admin::user("bob")]).await, Ok(2));
    assert_eq!(admin.try_assign(&[CLIENT], vec![admin::user("ann"), admin::user("bob")]).await, Ok(0), "again");
    assert_eq!((admin.pool(CLIENT).await.in_use, admin.pool(CLIENTS).await.in_use), (1, 0));
    assert_eq!(admin.try_assign(&[TRACKER], vec![admin::user("bob")]).await, Ok(1));

    // Bob's keys are converted in one step or not at all: there are no assignable units of the tracker.
    let convert = |name: &str, method: &str| {
        let user = v1::User { name: name.to_owned(), method: Some(method.to_owned()), ..v1::User::default() };
        admin.try_change(Entity::User(user))
    };
    let refused = convert("bob", "assignable").await.unwrap_err();
    assert_eq!(refused.reason, "METHOD_MISMATCH", "{refused:?}");
    assert_eq!(admin.pool(CLIENT).await.in_use, 1, "not at all");
    assert_eq!(admin.try_unassign(&[TRACKER], vec![admin::user("bob")]).await, Ok(1));
    convert("bob", "assignable").await.expect("in one step");
    assert_eq!((admin.pool(CLIENT).await.in_use, admin.pool(CLIENTS).await.assigned), (2, 0));
    assert_eq!(admin.try_unassign(&[CLIENT], vec![admin::user("ann")]).await, Ok(1), "once is enough");
}

/// ALLOC-6, ALLOC-7, ALLOC-14: all keys in one step; the needed ones or nothing; a second lease costs nothing and tries
/// what the first did not get.
#[tokio::test]
async fn a_logon_takes_what_it_needs_and_as_much_as_can_be_had() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    admin.load("base.i3lic", &site.issue(&site.order_of(&[(CLIENTS, 5), (TRACKERS, 1)])).note).await;
    for name in ["ann", "bob"] {
        admin.user(name, "concurrent").await;
    }
    admin.give(&[CLIENT, TRACKER], &["ann", "bob"]).await;
    let app = daemon.app("acd").await;
    let ann = app.acquire(Ask::logon("ann").needing(&[CLIENT])).await.unwrap();
    assert_eq!(held(&ann), [(CLIENT, CLIENTS), (TRACKER, TRACKERS)]);

    let refused = app.acquire(Ask::logon("bob").needing(&[CLIENT, TRACKER])).await.unwrap_err();
    assert_eq!((refused.reason.as_str(), refused.fact("pool")), ("POOL_EXHAUSTED", TRACKERS));
    assert_eq!(admin.pool(CLIENTS).await.in_use, 1, "no seat moves in a refusal");

    let bob = app.acquire(Ask::logon("bob").needing(&[CLIENT])).await.unwrap();
    assert_eq!(held(&bob), [(CLIENT, CLIENTS)]);
    let missing = bob.missing.first().expect("what could not be had");
    assert_eq!(missing.key, TRACKER);
    assert_eq!(missing.refusal.as_ref().map(|refusal| refusal.reason.as_str()), Some("POOL_EXHAUSTED"));
    assert_eq!(admin.pool(CLIENTS).await.in_use, 2);

    let portal = daemon.app("portal").await.application("Web Portal");
    let again = portal.acquire(Ask::logon("ann").needing(&[CLIENT])).await.unwrap();
    assert_eq!((admin.pool(CLIENTS).await.in_use, admin.pool(TRACKERS).await.in_use), (2, 1), "not counted again");
    app.release(ann.lease_id).await.unwrap();
    assert_eq!(admin.pool(CLIENTS).await.in_use, 2, "the portal's lease needs it still");
    portal.release(again.lease_id).await.unwrap();
    assert_eq!((admin.pool(CLIENTS).await.in_use, admin.pool(TRACKERS).await.in_use), (1, 0));

    let second = portal.acquire(Ask::logon("bob").needing(&[TRACKER])).await.expect("the first did not take it");
    assert!(held(&second).contains(&(TRACKER, TRACKERS)));
    assert_eq!((admin.pool(CLIENTS).await.in_use, admin.pool(TRACKERS).await.in_use), (1, 1));
}

/// ALLOC-8: the computer that comes last has the user; auxiliary logons stand beside it; a refused one displaces nobody.
#[tokio::test]
async fn a_logon_elsewhere_ends_the_primary_one_before() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    admin.load("base.i3lic", &site.issue(&site.order_of(&[(CLIENTS, 1), (TRACKERS, 1)])).note).await;
    admin.user("ann", "concurrent").await;
    admin.give(&[CLIENT], &["ann"]).await;
    let mut first = Attached::over(daemon.over_tcp().await, "pc-server").await.unwrap();
    let desk = first.acquire(Ask::logon("ann").on("PC-1").needing(&[CLIENT])).await.unwrap();
    let portal = daemon.app("portal").await;
    let aside = portal.acquire(Ask::logon("ann").needing(&[CLIENT])).await.unwrap();

    let other = daemon.app("other").await;
    let refused = other.acquire(Ask::logon("ann").on("PC-2").needing(&[TRACKER])).await.unwrap_err();
    assert_eq!(refused.reason, "NOT_ASSIGNED");
    assert_eq!(first.beat().await, Ok(1), "the old lease stands where the new one is refused");

    let moved = other.acquire(Ask::logon("ann").on("PC-2").needing(&[CLIENT])).await.expect("its seat passes on");
    let told = first.end_of(desk.lease_id).await.unwrap();
    assert_eq!(told.reason, "LOGGED_ON_ELSEWHERE");
    assert!(told.message.contains("another computer"), "{}", told.message);
    let refused = first.release(&[desk.lease_id]).await.unwrap();
    assert_eq!(refused, [Ok(())], "LEASE-10: releasing what has ended succeeds");
    portal.renew_one(aside.lease_id).await.expect("an auxiliary one is not displaced");
    other.renew_one(moved.lease_id).await.unwrap();
    assert_eq!(admin.pool(CLIENTS).await.in_use, 1);

    // The same computer again displaces nothing.
    let twice = other.acquire(Ask::logon("ann").on("PC-2").needing(&[CLIENT])).await.unwrap();
    assert_eq!(other.renew(&[moved.lease_id, twice.lease_id]).await.unwrap(), [Ok(()), Ok(())]);
}

/// ALLOC-9, ALLOC-3, ALLOC-15: what the station brings takes no seat of the user's, and what a key includes takes none.
#[tokio::test]
async fn rights_of_the_station_and_included_ones_take_no_seat() {
    const DESIGNER: &str = "I3_ACCESS_IPA_PROCESS_DESIGNER";
    const DIRECT: &str = "I3_ACCESS_IPA_DIRECT_ROUTED";
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    let direct = format!("{DIRECT}_CONCURRENT");
    let designer = format!("{DESIGNER}_CONCURRENT");
    let units = [(CLIENT, 1), (CLIENTS, 1), (STATION, 1), (&designer, 1), (&direct, 1)];
    admin.load("base.i3lic", &site.issue(&site.order_of(&units)).note).await;
    admin.user("ann", "concurrent").await;
    admin.give(&[CLIENT, DESIGNER, DIRECT], &["ann"]).await;
    admin.station("desk-1", "workstation").await;
    admin.give_stations(&[STATION, CLIENT], &["desk-1"]).await;
    assert_eq!((admin.pool(STATION).await.in_use, admin.pool(CLIENT).await.in_use), (1, 1), "whoever is logged on");

    let app = daemon.app("acd").await;
    let lease = app.acquire(Ask::logon("ann").at("desk-1").needing(&[CLIENT, DIRECT])).await.unwrap();
    let keys = held(&lease);
    assert!(keys.contains(&(CLIENT, CLIENT)), "the station's own seat: {keys:?}");
    assert!(keys.contains(&(DESIGNER, designer.as_str())), "{keys:?}");
    assert!(keys.contains(&(DIRECT, "")), "{keys:?}");
    assert_eq!((admin.pool(CLIENTS).await.in_use, admin.pool(&direct).await.in_use), (0, 0));
}

/// ALLOC-12: a subscription refuses nobody, and counts.
#[tokio::test]
async fn an_unlimited_pool_counts_and_never_refuses() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    admin.load("base.i3lic", &site.issue(&site.order_of(&[(CLIENTS, u32::MAX)])).note).await;
    let agents = admin.agents(30, "concurrent").await;
    admin.give(&[CLIENT], &agents).await;
    let app = daemon.app("acd").await;
    for agent in &agents {
        app.acquire(Ask::logon(agent).needing(&[CLIENT])).await.unwrap();
    }
    let pool = admin.pool(CLIENTS).await;
    assert_eq!((pool.capacity.as_str(), pool.in_use), ("unlimited", 30));
}

/// ALLOC-16: what an administrator changes reaches live leases with an event.
#[tokio::test]
async fn changes_of_keys_reach_live_leases() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    admin.load("base.i3lic", &site.issue(&site.order_of(&[(CLIENTS, 2), (TRACKERS, 2)])).note).await;
    admin.user("ann", "concurrent").await;
    admin.give(&[CLIENT], &["ann"]).await;
    let mut stream = Attached::over(daemon.over_tcp().await, "acd").await.unwrap();
    let lease = stream.acquire(Ask::logon("ann").needing(&[CLIENT])).await.unwrap();

    admin.give(&[TRACKER], &["ann"]).await;
    let changed = stream.event("an added key", |event| match event {
        Event::LeaseChanged(changed) => Some(changed.clone()),
        _ => None,
    });
    let changed = changed.await.unwrap();
    assert_eq!(changed.added, [TRACKER]);
    assert_eq!(changed.lease.map(|lease| lease.lease_id), Some(lease.lease_id));
    assert_eq!(admin.pool(TRACKERS).await.in_use, 1, "an added key is tried at once");

    admin.try_unassign(&[TRACKER], vec![admin::user("ann")]).await.unwrap();
    let removed = stream.event("a removed key", |event| match event {
        Event::LeaseChanged(changed) if !changed.removed.is_empty() => Some(changed.removed.clone()),
        _ => None,
    });
    assert_eq!(removed.await.unwrap(), [TRACKER]);
    assert_eq!(admin.pool(TRACKERS).await.in_use, 0);

    admin.try_unassign(&[CLIENT], vec![admin::user("ann")]).await.unwrap();
    assert_eq!(stream.end_of(lease.lease_id).await.unwrap().reason, "UNASSIGNED");
    assert_eq!(admin.pool(CLIENTS).await.in_use, 0);
    assert_eq!(stream.beat().await, Ok(0));
}
