//! The license allocation scenario of the technical reference: 50 seats of the tracker, by both methods.

use leasehold_tests::{Ask, Daemon, Site, admin};
use tonic::Code;

const KEY: &str = "I3_ACCESS_TRACKER";
const POOL: &str = "I3_ACCESS_TRACKER_CONCURRENT";

/// ALLOC-2, ALLOC-14: the 51st assignment is refused, and only the 50 can log on.
#[tokio::test]
async fn fifty_assignable_seats_are_for_fifty_users() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    admin.load("base.i3lic", &site.issue(&site.order_of(&[(KEY, 50)])).note).await;
    let agents = admin.agents(51, "assignable").await;
    let (fifty, last) = agents.split_at(50);
    admin.give(&[KEY], fifty).await;
    assert_eq!(admin.pool(KEY).await.in_use, 50, "logged on or not");

    let refused = admin.try_assign(&[KEY], vec![admin::user(&last[0])]).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::ResourceExhausted, "POOL_EXHAUSTED"));
    assert_eq!((refused.fact("pool"), refused.fact("capacity"), refused.fact("in_use")), (KEY, "50", "50"));
    assert!(refused.message.contains("50 of 50"), "{}", refused.message);
    assert_eq!(admin.pool(KEY).await.assigned, 50, "no seat has moved");

    let app = daemon.app("acd").await;
    for agent in fifty {
        let lease = app.acquire(Ask::logon(agent).needing(&[KEY])).await.expect("an assigned user logs on");
        assert_eq!(lease.user, *agent);
    }
    let refused = app.acquire(Ask::logon(&last[0]).needing(&[KEY])).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::FailedPrecondition, "NOT_ASSIGNED"));
    assert_eq!((refused.fact("key"), refused.fact("subject")), (KEY, "user agent-051"));

    // Another's place, once it is given up.
    assert_eq!(admin.try_unassign(&[KEY], vec![admin::user(&fifty[0])]).await, Ok(1));
    assert_eq!(admin.try_assign(&[KEY], vec![admin::user(&last[0])]).await, Ok(1));
    app.acquire(Ask::logon(&last[0]).needing(&[KEY])).await.expect("it is assigned now");
}

/// ALLOC-5, ALLOC-14, LEASE-12: 200 may, 50 do, the 51st is refused until one logs off.
#[tokio::test]
async fn fifty_concurrent_seats_are_for_fifty_at_once() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    admin.load("base.i3lic", &site.issue(&site.order_of(&[(POOL, 50)])).note).await;
    let agents = admin.agents(200, "concurrent").await;
    admin.give(&[KEY], &agents).await;
    let pool = admin.pool(POOL).await;
    assert_eq!((pool.assigned, pool.in_use), (200, 0), "no seat before a logon");

    let app = daemon.app("acd").await;
    let logons = agents[..50].iter().map(|agent| {
        let (app, ask) = (app.clone(), Ask::logon(agent).needing(&[KEY]));
        tokio::spawn(async move { app.acquire(ask).await.expect("a seat").lease_id })
    });
    let mut leases = Vec::new();
    for logon in logons.collect::<Vec<_>>() {
        leases.push(logon.await.unwrap());
    }
    assert_eq!(admin.pool(POOL).await.in_use, 50);

    let refused = app.acquire(Ask::logon(&agents[50]).needing(&[KEY])).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::ResourceExhausted, "POOL_EXHAUSTED"));
    for (fact, value) in
        [("key", KEY), ("pool", POOL), ("capacity", "50"), ("in_use", "50"), ("wanted", "1"), ("waiting", "0")]
    {
        assert_eq!(refused.fact(fact), value, "{fact} of {refused:?}");
    }
    assert!(refused.fact("oldest_holder").starts_with("user agent-"), "{refused:?}");
    for words in ["All seats of", "50 of 50", "Interaction Desktop (50)", "leasehold leases --pool"] {
        assert!(refused.message.contains(words), "{words} in {}", refused.message);
    }
    app.release(leases[0]).await.expect("logged off");
    let next = app.acquire(Ask::logon(&agents[50]).needing(&[KEY])).await.expect("the seat that came free");
    assert!(next.lease_id > leases.iter().copied().max().unwrap_or(0), "numbers rise");
    assert_eq!(admin.pool(POOL).await.in_use, 50);

    // The answer did not wait for the record, which stands before the grant that came after it.
    let denials = admin.denials().await;
    let denial = denials.iter().find(|denial| denial.subject.contains("agent-051")).expect("a record of the denial");
    assert_eq!((denial.reason.as_str(), denial.in_use, denial.capacity.as_str()), ("POOL_EXHAUSTED", 50, "50"));
    assert_eq!(denial.identity, "name:acd");
    assert_eq!(denial.oldest_holders.len(), 8, "{denial:?}");
    assert_eq!(denial.holders_by_application.get("Interaction Desktop"), Some(&50));
}
