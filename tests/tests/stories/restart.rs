//! The daemon goes away and comes back, in order and by SIGKILL: LEASE-2, LEASE-3, LEASE-4, LEASE-7.

use std::time::Duration;

use leasehold_client::{Client, Connection, LeaseState, Units};
use leasehold_tests::{Ask, Attached, Daemon, Site, Stopped, within};

const CALLS: &str = "I3_SESSION_CALL";
const CLIENT: &str = "I3_ACCESS_CLIENT";
const CLIENTS: &str = "I3_ACCESS_CLIENT_CONCURRENT";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Term,
    Kill,
}

async fn end(daemon: Daemon, by: By) -> Stopped {
    match by {
        By::Term => {
            let stopped = daemon.stop().await;
            assert_eq!(stopped.code, Some(0), "{}", stopped.log);
            stopped
        }
        By::Kill => daemon.kill().await,
    }
}

async fn live_leases_stay(by: By) {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    admin.load("base.i3lic", &site.issue(&site.order_of(&[(CALLS, 20), (CLIENTS, 5)])).note).await;
    let agents = admin.agents(5, "concurrent").await;
    admin.give(&[CLIENT], &agents).await;
    let app = daemon.app("acd").await;
    let mut before = Vec::new();
    for agent in &agents {
        before.push(app.acquire(Ask::logon(agent).on("PC").needing(&[CLIENT])).await.unwrap());
    }
    let ask = Ask::units(CALLS, 20);
    before.push(app.acquire(ask.clone()).await.unwrap());
    let released = app.acquire(Ask::logon(&agents[0]).on("PC")).await.unwrap();
    app.release(released.lease_id).await.unwrap();
    let numbers: Vec<u64> = before.iter().map(|lease| lease.lease_id).collect();
    end(daemon, by).await;

    // However long it is down: nobody loses a seat to a stranger.
    site.advance(10 * 86_400_000);
    let daemon = Daemon::start(&site).await;
    let (admin, app) = (daemon.admin().await, daemon.app("acd").await);
    let listed: Vec<_> = admin.leases().await.into_iter().filter_map(|held| held.lease).collect();
    assert_eq!(listed.iter().map(|lease| lease.lease_id).collect::<Vec<_>>(), numbers, "{by:?}");
    for (old, new) in before.iter().zip(&listed) {
        assert_eq!((&old.user, &old.computer, &old.keys), (&new.user, &new.computer, &new.keys));
    }
    assert_eq!((admin.pool(CALLS).await.in_use, admin.pool(CLIENTS).await.in_use), (20, 5));
    let stranger = daemon.app("stranger").await;
    assert_eq!(stranger.acquire(Ask::units(CALLS, 1)).await.unwrap_err().reason, "POOL_EXHAUSTED");

    // LEASE-3: the answer that was given before the stop is given again.
    assert_eq!(app.acquire(ask).await.unwrap().lease_id, numbers[5]);
    let outcomes = app.renew(&numbers).await.unwrap();
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let next = app.acquire(Ask::logon(&agents[0]).on("PC")).await.unwrap();
    assert!(next.lease_id > released.lease_id, "LEASE-4: {} after {}", next.lease_id, released.lease_id);

    // LEASE-7: one full time to live, and not one more for every restart.
    end(daemon, by).await;
    let daemon = Daemon::start(&site).await;
    let stranger = daemon.app("stranger").await;
    site.advance(60_000);
    assert_eq!(stranger.acquire(Ask::units(CALLS, 1)).await.unwrap_err().reason, "POOL_EXHAUSTED");
    site.advance(86_400_000);
    stranger.acquire(Ask::units(CALLS, 1)).await.expect("nobody has renewed");
    let refused = daemon.app("acd").await.renew_one(numbers[5]).await.unwrap_err();
    assert_eq!(refused.fact("how"), "EXPIRED");
}

/// LEASE-2, LEASE-3, LEASE-4, LEASE-7.
#[tokio::test]
async fn leases_outlast_an_orderly_stop() {
    live_leases_stay(By::Term).await;
}

/// LEASE-2, LEASE-3, LEASE-4, LEASE-7.
#[tokio::test]
async fn leases_outlast_a_kill() {
    live_leases_stay(By::Kill).await;
}

/// A killed daemon's dead holders do not keep their seats for ever: each restart gives no new life to what nobody renews.
#[tokio::test]
async fn restarts_never_keep_a_dead_holders_seat() {
    let site = Site::new();
    let mut daemon = Daemon::start(&site).await;
    daemon.admin().await.load("base.i3lic", &site.issue(&site.order_of(&[(CALLS, 1)])).note).await;
    daemon.app("dead").await.acquire(Ask::units(CALLS, 1)).await.unwrap();
    for _ in 0..4 {
        site.advance(50_000);
        daemon.kill().await;
        daemon = Daemon::start(&site).await;
    }
    site.advance(75_000);
    let alive = daemon.app("alive").await;
    alive.acquire(Ask::units(CALLS, 1)).await.expect("275 s after its only sign of life");
}

/// The client library: a guard survives a stop and a kill unnoticed, and releases at the end.
#[tokio::test]
async fn guards_survive_a_restart_unnoticed() {
    let site = Site::new();
    let mut daemon = Daemon::start(&site).await;
    daemon.admin().await.load("base.i3lic", &site.issue(&site.order_of(&[(CALLS, 10)])).note).await;
    for endpoint in [daemon.socket().clone(), daemon.tcp().clone()] {
        let client = Client::builder()
            .servers([endpoint])
            .name("acd-server")
            .application("Interaction Desktop")
            .patience(Duration::from_secs(25))
            .connect()
            .await
            .unwrap();
        let guard = client.acquire(Units::of(CALLS, 3)).await.unwrap();
        for by in [By::Term, By::Kill] {
            let mut connection = client.connection();
            end(daemon, by).await;
            let detached = connection.wait_for(|now| matches!(now, Connection::Detached { .. }));
            within("the end of the connection", detached).await.unwrap();
            assert_eq!(guard.state(), LeaseState::Confirmed);
            // Asked while there is nobody: answered when there is somebody.
            let asking = client.clone();
            let asked = tokio::spawn(async move { asking.acquire(Units::of(CALLS, 1)).await });
            daemon = Daemon::start(&site).await;
            let attached = connection.wait_for(|now| matches!(now, Connection::Attached { .. }));
            within("the connection", attached).await.unwrap();
            let second = within("the second lease", asked).await.unwrap().expect("no more than a retry");
            assert!(second.id() > guard.id());
            assert_eq!(guard.state(), LeaseState::Confirmed);
            assert_eq!(daemon.admin().await.pool(CALLS).await.in_use, 4, "{by:?}");
            second.release().await.unwrap();
        }
        assert_eq!(daemon.admin().await.leases().await.len(), 1);
        client.shutdown().await.unwrap();
        assert_eq!(daemon.admin().await.pool(CALLS).await.in_use, 0);
    }
}

/// LEASE-13 over a restart: the same run goes on with its leases, and a new run may take them over.
#[tokio::test]
async fn streams_go_on_after_a_restart() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    daemon.admin().await.load("base.i3lic", &site.issue(&site.order_of(&[(CALLS, 10)])).note).await;
    let app = daemon.app("acd").await;
    let mut stream = Attached::open(&app).await.unwrap();
    let ask = Ask::units(CALLS, 2);
    let lease = stream.acquire(ask.clone()).await.unwrap();
    let run = stream.run_id.clone();
    daemon.kill().await;
    let daemon = Daemon::start(&site).await;
    let app = daemon.app("acd").await;
    let mut stream = Attached::open_as(&app, run).await.unwrap();
    assert_eq!(stream.welcome.lease_ids, [lease.lease_id]);
    assert_eq!(stream.acquire(ask).await.unwrap().lease_id, lease.lease_id, "the answer was not acknowledged");
    assert_eq!(stream.beat().await, Ok(1));

    daemon.kill().await;
    let daemon = Daemon::start(&site).await;
    let mut fresh = Attached::open(&daemon.app("acd").await).await.unwrap();
    assert_eq!(fresh.welcome.predecessor_lease_ids, [lease.lease_id]);
    assert_eq!(fresh.take_over(&[]).await.unwrap(), [(lease.lease_id, Ok(()))]);
    site.advance(10_001);
    assert_eq!(fresh.beat().await, Ok(1));
}

/// A stop is orderly: streams are told to go elsewhere, new leases are refused in words, renewals are not.
#[tokio::test]
async fn a_stop_is_told() {
    use leasehold_proto::v1::event::Event;
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let mut stream = Attached::over(daemon.over_tcp().await, "acd").await.unwrap();
    let stopping = tokio::spawn(daemon.stop());
    let told = stream.event("the drain", |event| match event {
        Event::Drain(drain) => Some(drain.message.clone()),
        _ => None,
    });
    assert!(!told.await.unwrap().is_empty());
    drop(stream);
    let stopped = stopping.await.unwrap();
    assert_eq!(stopped.code, Some(0), "{}", stopped.log);
    assert!(stopped.log.contains("\"message\":\"stopped\""), "{}", stopped.log);
    assert!(!site.socket().exists(), "nothing is left behind");
}
