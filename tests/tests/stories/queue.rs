//! Those who wait, those who have a share, and those who stand idle (03, Queue and shares).

use leasehold_proto::v1::{self, attach_request::Message, share::Holder};
use leasehold_tests::{Ask, Attached, Daemon, Refused, Site};

const CALLS: &str = "I3_SESSION_CALL";
const CLIENT: &str = "I3_ACCESS_CLIENT";
const CLIENTS: &str = "I3_ACCESS_CLIENT_CONCURRENT";
const MINUTE_MS: u64 = 60_000;

async fn calls(site: &Site, units: u32) -> Daemon {
    let daemon = Daemon::start(site).await;
    daemon.admin().await.load("base.i3lic", &site.issue(&site.order_of(&[(CALLS, units)])).note).await;
    daemon
}

fn one() -> Ask {
    Ask::units(CALLS, 1).ttl_ms(60 * MINUTE_MS)
}

/// First come, first served within a class; the class before it first; nobody overtakes without waiting.
#[tokio::test]
async fn a_freed_seat_goes_to_the_first_that_waits() {
    let site = Site::new();
    let daemon = calls(&site, 1).await;
    let app = daemon.app("holder").await;
    let held = app.acquire(one()).await.unwrap();
    let mut stream = Attached::over(daemon.over_tcp().await, "waiting").await.unwrap();
    let (late, first, second) = (
        one().waiting_ms(20 * MINUTE_MS).priority(3),
        one().waiting_ms(20 * MINUTE_MS),
        one().waiting_ms(20 * MINUTE_MS),
    );
    let waiting = stream.enqueue(late.clone()).await.unwrap();
    assert_eq!((waiting.position, waiting.pools.as_slice()), (1, [CALLS.to_owned()].as_slice()));
    assert_eq!(stream.enqueue(first.clone()).await.unwrap().position, 1, "the class before it");
    assert_eq!(stream.enqueue(second.clone()).await.unwrap().position, 2);
    assert_eq!(daemon.admin().await.pool(CALLS).await.waiting, 3);

    let refused = app.acquire(one()).await.unwrap_err();
    assert_eq!(refused.fact("waiting"), "3");
    assert!(refused.message.contains("3 requests wait"), "{}", refused.message);

    app.release(held.lease_id).await.unwrap();
    let got = stream.outcome(&first.id()).await.unwrap();
    let refused = app.acquire(one()).await.unwrap_err();
    assert_eq!(refused.reason, "POOL_EXHAUSTED", "nobody overtakes");
    stream.release(&[got.lease_id]).await.unwrap();
    let got = stream.outcome(&second.id()).await.unwrap();
    stream.release(&[got.lease_id]).await.unwrap();
    let got = stream.outcome(&late.id()).await.unwrap();
    assert_eq!(got.state, i32::from(v1::LeaseState::Live));
}

/// A deadline that passes, a wait that is cancelled on the stream, and a unary call that is cut: all leave the queue.
#[tokio::test]
async fn who_waits_no_longer_leaves_the_queue() {
    let site = Site::new();
    let daemon = calls(&site, 1).await;
    let admin = daemon.admin().await;
    let app = daemon.app("holder").await;
    let held = app.acquire(one()).await.unwrap();
    let mut stream = Attached::over(daemon.over_tcp().await, "waiting").await.unwrap();

    let short = one().waiting_ms(MINUTE_MS);
    stream.enqueue(short.clone()).await.unwrap();
    site.advance(MINUTE_MS + 1);
    let refused = stream.outcome(&short.id()).await.unwrap_err();
    assert_eq!((refused.reason.as_str(), refused.fact("pool")), ("POOL_EXHAUSTED", CALLS));

    let cancelled = one().waiting_ms(MINUTE_MS);
    stream.enqueue(cancelled.clone()).await.unwrap();
    stream.send(Message::CancelWait(v1::CancelWait { request_id: cancelled.id() })).await;
    assert_eq!(stream.outcome(&cancelled.id()).await.unwrap_err().reason, "CANCELLED");
    assert_eq!(admin.pool(CALLS).await.waiting, 0);

    let other = daemon.app("impatient").await;
    let cut = one().waiting_ms(60 * MINUTE_MS);
    let request = cut.id();
    let call = tokio::spawn(async move { other.acquire(cut).await });
    // Behind it in the queue, so that its place shows that the call is there.
    let behind = one().waiting_ms(60 * MINUTE_MS);
    let mut place = stream.enqueue(behind.clone()).await.unwrap().position;
    while place < 2 {
        stream.send(Message::CancelWait(v1::CancelWait { request_id: behind.id() })).await;
        stream.outcome(&behind.id()).await.unwrap_err();
        place = stream.enqueue(behind.clone()).await.unwrap().position;
    }
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    app.release(held.lease_id).await.unwrap();
    // The word that the call was cut and the freed seat race: where the seat came first, the lease is the caller's to give
    // back by its request (LEASE-14), and nobody's otherwise.
    match daemon.app("impatient").await.release_request(&request).await {
        Ok(_) => {}
        Err(refused) => assert_eq!(refused.reason, "REQUEST_UNKNOWN"),
    }
    stream.outcome(&behind.id()).await.expect("the call that was cut stands no longer before it");
    assert_eq!(admin.pool(CALLS).await.waiting, 0);
}

/// Several units: what is at the head for ten seconds has freed units set aside for it, and does not starve.
#[tokio::test]
async fn who_wants_much_does_not_starve() {
    let site = Site::new();
    let daemon = calls(&site, 3).await;
    let app = daemon.app("holder").await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(app.acquire(one()).await.unwrap().lease_id);
    }
    let mut stream = Attached::over(daemon.over_tcp().await, "much").await.unwrap();
    let three = Ask::units(CALLS, 3).ttl_ms(60 * MINUTE_MS).waiting_ms(20 * MINUTE_MS);
    stream.enqueue(three.clone()).await.unwrap();
    site.advance(11_000);
    app.release(held[0]).await.unwrap();
    let refused = app.acquire(one()).await.unwrap_err();
    assert_eq!((refused.reason.as_str(), refused.fact("set_aside")), ("POOL_EXHAUSTED", "1"), "{refused:?}");
    app.release(held[1]).await.unwrap();
    app.release(held[2]).await.unwrap();
    let lease = stream.outcome(&three.id()).await.unwrap();
    assert_eq!(lease.keys[0].units, 3);
}

/// A place in the queue survives a connection that is cut: the same request goes on where it was.
#[tokio::test]
async fn a_place_survives_a_reconnect() {
    let site = Site::new();
    let daemon = calls(&site, 1).await;
    let app = daemon.app("holder").await;
    let held = app.acquire(one()).await.unwrap();
    let waiting = daemon.app("waiting").await;
    let mut stream = Attached::open(&waiting).await.unwrap();
    let ask = one().waiting_ms(20 * MINUTE_MS);
    stream.enqueue(ask.clone()).await.unwrap();
    let run = stream.run_id.clone();
    drop(stream);
    let mut rival = Attached::over(daemon.over_tcp().await, "rival").await.unwrap();
    rival.enqueue(one().waiting_ms(20 * MINUTE_MS)).await.unwrap();
    let mut stream = Attached::open_as(&waiting, run).await.unwrap();
    assert_eq!(stream.enqueue(ask.clone()).await.unwrap().position, 1, "before the rival still");
    app.release(held.lease_id).await.unwrap();
    stream.outcome(&ask.id()).await.unwrap();
}

/// Shares: what is reserved is kept free for its holder, and a limit is a limit.
#[tokio::test]
async fn shares_reserve_and_limit() {
    let site = Site::new();
    let daemon = calls(&site, 4).await;
    let admin = daemon.admin().await;
    let share = |application: &str, reserve, limit| v1::Share {
        pool: CALLS.into(),
        holder: Some(Holder::Application(application.into())),
        reserve,
        limit,
        in_use: 0,
    };
    let refuse = |answer: Result<v1::Share, Refused>| answer.unwrap_err().reason;
    assert_eq!(refuse(admin.try_share(share("Dialer", 5, None)).await), "LIMIT_REACHED", "more than there are");
    assert_eq!(refuse(admin.try_share(share("Dialer", 2, Some(1))).await), "MALFORMED", "a cap below it");
    admin.try_share(share("Dialer", 2, None)).await.unwrap();
    admin.try_share(share("Fax", 0, Some(1))).await.unwrap();

    let fax = daemon.app("fax").await.application("Fax");
    fax.acquire(one()).await.unwrap();
    let refused = fax.acquire(one()).await.unwrap_err();
    assert_eq!((refused.reason.as_str(), refused.fact("limit")), ("LIMIT_REACHED", "1"), "{refused:?}");
    let other = daemon.app("other").await.application("Telephony");
    other.acquire(one()).await.unwrap();
    let refused = other.acquire(one()).await.unwrap_err();
    assert_eq!((refused.reason.as_str(), refused.fact("set_aside")), ("POOL_EXHAUSTED", "2"));
    let dialer = daemon.app("dialer").await.application("Dialer");
    dialer.acquire(Ask::units(CALLS, 2)).await.expect("kept free for it");
    assert_eq!(admin.pool(CALLS).await.in_use, 4);
}

/// Idle: a lease that stands idle is warned and ends while others wait, and only then.
#[tokio::test]
async fn an_idle_lease_makes_room_for_those_who_wait() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    admin.load("base.i3lic", &site.issue(&site.order_of(&[(CLIENTS, 1)])).note).await;
    for name in ["ann", "bob"] {
        admin.user(name, "concurrent").await;
    }
    admin.give(&[CLIENT], &["ann", "bob"]).await;
    admin.idle(CLIENTS, 10 * MINUTE_MS, false).await;
    let app = daemon.app("acd").await;
    let mut stream = Attached::open(&app).await.unwrap();
    let ann = stream.acquire(Ask::logon("ann").needing(&[CLIENT]).ttl_ms(600 * MINUTE_MS)).await.unwrap();
    app.set_idle(ann.lease_id, true).await.unwrap();
    site.advance(30 * MINUTE_MS);
    assert_eq!(stream.beat().await, Ok(1), "nobody waits");

    let bob = Ask::logon("bob").needing(&[CLIENT]).waiting_ms(50 * MINUTE_MS);
    stream.enqueue(bob.clone()).await.unwrap();
    site.advance(2_000);
    let warned = stream.warning_of(ann.lease_id).await.unwrap();
    assert_eq!(warned.reason, "IDLE");
    assert!(warned.ends_in_ms > 0, "{warned:?}");
    site.advance(warned.ends_in_ms + 1);
    assert_eq!(stream.end_of(ann.lease_id).await.unwrap().reason, "IDLE");
    let lease = stream.outcome(&bob.id()).await.unwrap();
    assert_eq!(lease.user, "bob");
}
