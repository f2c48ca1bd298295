//! What a user receives, and what the site as a whole has: MEDIA and SITE.

use leasehold_proto::v1::{self, entity::Entity, event::Event};
use leasehold_tests::{Ask, Attached, Daemon, Site, admin::list, within};

const MEDIA_1: &str = "I3_ACCESS_ACD_MEDIA_1";
const MEDIA_3: &str = "I3_ACCESS_ACD_MEDIA_3_PLUS";
const PORTAL: &str = "I3_LICENSE_IWP_SERVER";
const ORGANIZATION: &str = "I3_TENANT_IWP_ORGANIZATION";

fn user(name: &str, groups: &[&str], types: &[&str]) -> Entity {
    Entity::User(v1::User {
        name: name.to_owned(),
        workgroups: list(groups),
        interaction_types: list(types),
        ..v1::User::default()
    })
}

/// MEDIA-1, MEDIA-2, MEDIA-3: a level bounds the types; what a workgroup routes beyond it is told in a warning.
#[tokio::test]
async fn a_media_level_bounds_what_is_received() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    let units = [(MEDIA_1, 2), (MEDIA_3, 1), ("I3_LICENSE_BASIC_STATION", 1)];
    admin.load("base.i3lic", &site.issue(&site.order_of(&units)).note).await;
    admin.workgroup("sales", &["call", "chat"]).await;
    admin.try_create(user("ann", &["sales"], &["call"])).await.unwrap();
    admin.give(&[MEDIA_1], &["ann"]).await;
    let refused = admin.try_change(user("ann", &["sales"], &["call", "chat"])).await.unwrap_err();
    assert_eq!((refused.reason.as_str(), refused.fact("user")), ("LIMIT_REACHED", "ann"));

    let app = daemon.app("acd").await;
    let lease = app.acquire(Ask::logon("ann").needing(&[MEDIA_1])).await.expect("granted all the same");
    assert_eq!(lease.interaction_types, ["call"]);
    let warning = lease.warnings.first().expect("a warning");
    assert_eq!(warning.reason, "MEDIA_LIMITED");
    assert!(warning.message.contains("sales") && warning.message.contains("chat"), "{warning:?}");

    // The higher of the user's and the station's level counts.
    admin.station("desk-1", "workstation").await;
    admin.give_stations(&["I3_LICENSE_BASIC_STATION", MEDIA_3], &["desk-1"]).await;
    admin.try_create(user("bob", &["sales"], &["call"])).await.unwrap();
    let nothing = app.acquire(Ask::logon("bob")).await.unwrap_err();
    assert_eq!(nothing.reason, "NOT_ASSIGNED");
    let lease = app.acquire(Ask::logon("bob").at("desk-1")).await.unwrap();
    assert_eq!(lease.interaction_types, ["call"], "what is configured");
    let warning = lease.warnings.iter().find(|warning| warning.reason == "MEDIA_LIMITED").expect("a warning");
    assert!(warning.message.contains("chat"), "the level allows it and it is not configured: {warning:?}");
}

/// SITE-1, SITE-2: a missing server key is named; keys that stand alone work alone; changes are told without polling.
#[tokio::test]
async fn site_keys_are_told_as_they_change() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    let first = site.issue(&site.order_of(&[(ORGANIZATION, 5), ("I3_FEATURE_MARQUEE", 1)]));
    admin.load("base.i3lic", &first.note).await;
    let app = daemon.app("portal").await;
    let keys = app.site_keys(&[ORGANIZATION, "I3_FEATURE_MARQUEE"]).await.unwrap();
    let (organization, marquee) = (&keys[0], &keys[1]);
    assert!(!organization.licensed && organization.reason.contains(PORTAL), "{organization:?}");
    assert!(marquee.licensed, "{marquee:?}");
    let refused = app.site_keys(&["I3_FEATURE_NOBODY_KNOWS"]).await;
    assert!(
        refused.as_ref().is_err_and(|refused| refused.reason == "KEY_UNKNOWN")
            || refused.as_ref().is_ok_and(|keys| keys.iter().all(|key| !key.licensed && !key.reason.is_empty())),
        "{refused:?}"
    );

    let mut stream = Attached::open(&app).await.unwrap();
    let license = first.activation.license_id;
    let more = site.reissue(license, &[(ORGANIZATION, 5), ("I3_FEATURE_MARQUEE", 1), (PORTAL, 1)]);
    admin.load("base.i3lic", &more.note).await;
    let licensed = stream.event("the organization key", |event| match event {
        Event::SiteKeysChanged(changed) => {
            changed.keys.iter().find(|key| key.key == ORGANIZATION && key.licensed).map(|key| key.units.clone())
        }
        _ => None,
    });
    assert_eq!(licensed.await.unwrap(), "5");
}

/// SITE-4: paid maintenance says which releases may be installed.
#[tokio::test]
async fn maintenance_says_what_may_be_installed() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    admin.load("base.i3lic", &site.issue(&site.order_of(&[("I3_FEATURE_SU_ALLOWED", 1)])).note).await;
    let app = daemon.app("updater").await;
    let ask = async |days: i64| {
        let seconds = site.now().as_ms() / 1_000 + days * 86_400;
        let message = v1::SiteKeysRequest {
            caller: Some(app.caller.clone()),
            keys: Vec::new(),
            release_date: Some(prost_types::Timestamp { seconds, nanos: 0 }),
        };
        within("an answer", app.leasing.clone().site_keys(message)).await.unwrap().into_inner()
    };
    assert!(ask(10).await.may_install);
    let late = ask(400).await;
    assert!(!late.may_install && !late.may_install_reason.is_empty(), "{late:?}");
    assert!(late.maintenance_end.is_some());
}

/// SITE-5, SITE-6: units all or nothing and given back; a product version that no file covers is refused naming both.
#[tokio::test]
async fn units_are_all_or_nothing() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    admin.load("base.i3lic", &site.issue(&site.order_of(&[("I3_SESSION_CALL", 10)])).note).await;
    let app = daemon.app("telephony").await;
    let seven = app.acquire(Ask::units("I3_SESSION_CALL", 7)).await.unwrap();
    assert_eq!((seven.keys[0].units, seven.keys[0].pool.as_str()), (7, "I3_SESSION_CALL"));
    let refused = app.acquire(Ask::units("I3_SESSION_CALL", 4)).await.unwrap_err();
    assert_eq!((refused.reason.as_str(), refused.fact("wanted"), refused.fact("in_use")), ("POOL_EXHAUSTED", "4", "7"));
    let three = app.acquire(Ask::units("I3_SESSION_CALL", 3)).await.unwrap();
    app.release(seven.lease_id).await.unwrap();
    assert_eq!(admin.pool("I3_SESSION_CALL").await.in_use, 3);
    app.release(three.lease_id).await.unwrap();

    let old = app.clone().version("3.0");
    let refused = old.acquire(Ask::units("I3_SESSION_CALL", 1)).await.unwrap_err();
    assert_eq!((refused.reason.as_str(), refused.fact("version")), ("VERSION_NOT_COVERED", "3.0"));
    assert!(refused.fact("covered").contains("2022.4"), "{refused:?}");
    app.version("2020.2.1").acquire(Ask::units("I3_SESSION_CALL", 1)).await.expect("a covered version");
}
