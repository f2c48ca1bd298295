//! What the daemon promises of leases, without stopping it: LEASE.

use leasehold_proto::v1;
use leasehold_tests::{App, Ask, Attached, Daemon, Site};
use tonic::Code;
use uuid::Uuid;

const CALLS: &str = "I3_SESSION_CALL";
const TTL_MS: u64 = 60_000;

async fn calls(site: &Site, units: u32) -> Daemon {
    let daemon = Daemon::start(site).await;
    daemon.admin().await.load("base.i3lic", &site.issue(&site.order_of(&[(CALLS, units)])).note).await;
    daemon
}

/// LEASE-5, LEASE-6: a lease ends 1.1 × TTL + 5 s after its last renewal, and its seat is free when it is asked for.
#[tokio::test]
async fn a_lease_that_is_not_renewed_ends() {
    let site = Site::new();
    let daemon = calls(&site, 1).await;
    let app = daemon.app("acd").await;
    let lease = app.acquire(Ask::units(CALLS, 1)).await.unwrap();
    assert_eq!(lease.ttl_ms, TTL_MS);
    site.advance(TTL_MS);
    app.renew_one(lease.lease_id).await.expect("late, and in time");
    site.advance(70_000);
    let refused = app.acquire(Ask::units(CALLS, 1)).await.unwrap_err();
    assert_eq!(refused.reason, "POOL_EXHAUSTED", "the bound is 71 s");
    site.advance(1_001);
    let next = app.acquire(Ask::units(CALLS, 1)).await.expect("without a sweep");
    let refused = app.renew_one(lease.lease_id).await.unwrap_err();
    assert_eq!(
        (refused.code, refused.reason.as_str(), refused.fact("how")),
        (Code::FailedPrecondition, "LEASE_ENDED", "EXPIRED")
    );
    // LEASE-4: the stale number never touches the newer grant.
    app.release(lease.lease_id).await.expect("LEASE-10");
    app.renew_one(next.lease_id).await.unwrap();
    assert!(next.lease_id > lease.lease_id);
}

/// LEASE-8: whoever sets the wall clock changes no lease.
#[tokio::test]
async fn steps_of_the_wall_clock_change_no_lease() {
    const YEAR_MS: i64 = 365 * 86_400_000;
    let site = Site::new();
    let daemon = calls(&site, 1).await;
    let app = daemon.app("acd").await;
    let lease = app.acquire(Ask::units(CALLS, 1)).await.unwrap();
    for step in [3 * YEAR_MS, -2 * YEAR_MS] {
        site.step_wall(step);
        app.renew_one(lease.lease_id).await.unwrap();
        assert_eq!(app.acquire(Ask::units(CALLS, 1)).await.unwrap_err().reason, "POOL_EXHAUSTED");
    }
    site.advance(72_000);
    app.acquire(Ask::units(CALLS, 1)).await.expect("time that passes counts");
}

/// LEASE-3, LEASE-10: the same request is one request, whatever was lost; with another body it is refused; a refusal is
/// decided anew.
#[tokio::test]
async fn a_request_id_is_one_request() {
    let site = Site::new();
    let daemon = calls(&site, 3).await;
    let admin = daemon.admin().await;
    let app = daemon.app("acd").await;
    let ask = Ask::units(CALLS, 2);
    let first = app.acquire(ask.clone()).await.unwrap();
    // The answer was lost with its connection; another one brings it, in full.
    let again = daemon.app("acd").await.acquire(ask.clone()).await.unwrap();
    assert_eq!(again, first);
    let mut other = Ask::units(CALLS, 1);
    other.0.request_id = ask.id();
    let refused = app.acquire(other).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "REQUEST_ID_REUSED"));
    // Another identity's requests are its own.
    let stranger = daemon.app("fax").await;
    let refused = stranger.acquire(ask.clone()).await.unwrap_err();
    assert_eq!(refused.reason, "POOL_EXHAUSTED");
    assert_eq!(admin.pool(CALLS).await.in_use, 2);

    app.release(first.lease_id).await.unwrap();
    app.release(first.lease_id).await.expect("twice succeeds twice");
    let again = app.acquire(ask).await.unwrap();
    assert_eq!((again.lease_id, again.state), (first.lease_id, i32::from(v1::LeaseState::Ended)), "its present state");
    assert_eq!(again.end_reason, "RELEASED");
    assert_eq!(admin.pool(CALLS).await.in_use, 0, "the answer takes nothing");
    stranger.acquire(Ask::units(CALLS, 3)).await.expect("refusals are not remembered");
}

/// LEASE-3: the same request twice at once joins the first; a stream and a unary call agree.
#[tokio::test]
async fn the_same_request_at_the_same_time_is_granted_once() {
    let site = Site::new();
    let daemon = calls(&site, 100).await;
    let mut one = Vec::new();
    let ask = Ask::units(CALLS, 1);
    for _ in 0..8 {
        let (app, ask) = (daemon.app("acd").await, ask.clone());
        one.push(tokio::spawn(async move { app.acquire(ask).await.unwrap().lease_id }));
    }
    let mut leases = Vec::new();
    for call in one {
        leases.push(call.await.unwrap());
    }
    leases.dedup();
    assert_eq!(leases.len(), 1, "{leases:?}");
    assert_eq!(daemon.admin().await.pool(CALLS).await.in_use, 1);
}

/// LEASE-9: a caller acts on its own leases only; an administrator on any, with a reason that is told and kept.
#[tokio::test]
async fn foreign_leases_are_out_of_reach() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    let units = [("I3_ACCESS_CLIENT_CONCURRENT", 3)];
    admin.load("base.i3lic", &site.issue(&site.order_of(&units)).note).await;
    admin.user("ann", "concurrent").await;
    admin.give(&["I3_ACCESS_CLIENT"], &["ann"]).await;
    let mut owner = Attached::over(daemon.over_tcp().await, "owner").await.unwrap();
    let lease = owner.acquire(Ask::logon("ann")).await.unwrap().lease_id;

    let thief = daemon.app("thief").await;
    let same_name_on_the_socket = App::new(daemon.over_socket().await, "owner");
    for stranger in [&thief, &same_name_on_the_socket] {
        for refused in
            [stranger.renew_one(lease).await, stranger.release(lease).await, stranger.set_idle(lease, true).await]
        {
            let refused = refused.unwrap_err();
            assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, "NOT_YOUR_LEASE"));
        }
    }
    assert_eq!(owner.beat().await, Ok(1));

    admin.revoke_user("ann", "the shift is over").await;
    let told = owner.end_of(lease).await.unwrap();
    assert_eq!(told.reason, "REVOKED");
    assert!(told.message.contains("the shift is over"), "{}", told.message);
    let audit = admin.audit().await;
    assert!(audit.iter().any(|entry| entry.reason == "the shift is over" && entry.identity.starts_with("uid:")));
}

/// LEASE-14: a call that is cut after its commit leaves its lease to its TTL, and the request gives it back.
#[tokio::test]
async fn a_lost_grant_is_given_back_by_its_request() {
    let site = Site::new();
    let daemon = calls(&site, 1).await;
    let app = daemon.app("acd").await;
    let ask = Ask::units(CALLS, 1);
    let lease = app.acquire(ask.clone()).await.unwrap();
    let stranger = daemon.app("fax").await;
    assert_eq!(stranger.release_request(&ask.id()).await.unwrap_err().reason, "REQUEST_UNKNOWN");
    assert_eq!(app.release_request(&ask.id()).await, Ok(lease.lease_id));
    assert_eq!(app.release_request(&ask.id()).await, Ok(lease.lease_id), "twice");
    stranger.acquire(Ask::units(CALLS, 1)).await.expect("the seat is free");
    let refused = app.release_request(Uuid::new_v4().as_bytes()).await.unwrap_err();
    assert_eq!(refused.reason, "REQUEST_UNKNOWN");
}

/// LEASE-13: a beat is for this run's leases; a new run takes over within ten seconds what it wants, and the rest ends.
#[tokio::test]
async fn a_new_run_takes_over_from_its_predecessor() {
    let site = Site::new();
    let daemon = calls(&site, 10).await;
    let app = daemon.app("acd").await;
    let mut before = Attached::open(&app).await.unwrap();
    let mut leases = Vec::new();
    for _ in 0..3 {
        leases.push(before.acquire(Ask::units(CALLS, 1)).await.unwrap().lease_id);
    }
    let mut after = Attached::open(&app).await.unwrap();
    assert_eq!(after.welcome.lease_ids, [0_u64; 0]);
    assert_eq!(after.welcome.predecessor_lease_ids, leases);
    assert_eq!(after.beat().await, Ok(0), "a beat renews its own run's leases and no others");
    assert_eq!(after.take_over(&leases[..1]).await.unwrap(), [(leases[0], Ok(()))]);
    assert_eq!(after.beat().await, Ok(1));
    site.advance(10_001);
    assert_eq!(after.beat().await, Ok(1));
    let late = after.take_over(&leases[1..2]).await.unwrap();
    let refused = late[0].1.clone().unwrap_err();
    assert_eq!((refused.reason.as_str(), refused.fact("how")), ("LEASE_ENDED", "HOLDER_RESTARTED"));
    assert_eq!(daemon.admin().await.pool(CALLS).await.in_use, 1);

    // The same run again, over another connection: nothing has changed.
    let again = Attached::open_as(&app, after.run_id.clone()).await.unwrap();
    assert_eq!((again.welcome.lease_ids, again.welcome.predecessor_lease_ids), (vec![leases[0]], vec![]));
}

/// LEASE-3: answers that the stream has not acknowledged come again after a reconnect, word for word.
#[tokio::test]
async fn answers_that_were_lost_with_a_stream_come_again() {
    let site = Site::new();
    let daemon = calls(&site, 10).await;
    let app = daemon.app("acd").await;
    let mut stream = Attached::open(&app).await.unwrap();
    let ask = Ask::units(CALLS, 1);
    let lease = stream.acquire(ask.clone()).await.unwrap();
    let run = stream.run_id.clone();
    drop(stream);
    let mut stream = Attached::open_as(&app, run).await.unwrap();
    assert_eq!(stream.welcome.lease_ids, [lease.lease_id]);
    assert_eq!(stream.acquire(ask).await.unwrap(), lease);
    assert_eq!(daemon.admin().await.pool(CALLS).await.in_use, 1);
}
