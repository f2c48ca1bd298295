//! Sixty-four clients and a daemon that is killed under their load: what was acknowledged is there, and no pool is above
//! its capacity (LEASE-1, LEASE-2, LEASE-3, LEASE-7).

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use leasehold_tests::{App, Ask, Daemon, Refused, Site};

const CALLS: &str = "I3_SESSION_CALL";
const CLIENT: &str = "I3_ACCESS_CLIENT";
const CLIENTS: &str = "I3_ACCESS_CLIENT_CONCURRENT";
const WORKERS: usize = 64;
const CALL_UNITS: u32 = 300;
const SEATS: u32 = 48;

/// What one client knows for certain, and what it does not.
#[derive(Debug, Default)]
struct Known {
    /// Granted, and no release was asked for.
    held: BTreeSet<u64>,
    /// A release was asked for and not answered.
    perhaps: BTreeSet<u64>,
    /// Given back for certain.
    over: BTreeSet<u64>,
    /// Asked and not answered, with what was asked.
    unanswered: Option<Ask>,
    /// The highest number seen.
    highest: u64,
}

/// Acquires and gives back until the connection breaks.
async fn work(number: usize, app: App, known: Arc<Mutex<Known>>, grants: Arc<AtomicU64>) {
    let agent = format!("agent-{:03}", number + 1);
    let lost = |refused: &Refused| refused.reason.is_empty() || refused.reason == "DRAINING";
    for turn in 0_u32.. {
        let ask = if turn % 3 == 2 { Ask::logon(&agent).on("PC") } else { Ask::units(CALLS, 1 + turn % 4) };
        known.lock().unwrap().unanswered = Some(ask.clone());
        match app.acquire(ask).await {
            Ok(lease) => {
                let mut known = known.lock().unwrap();
                assert!(lease.lease_id > known.highest, "LEASE-4");
                known.highest = lease.lease_id;
                known.held.insert(lease.lease_id);
                known.unanswered = None;
                grants.fetch_add(1, Ordering::Relaxed);
            }
            Err(refused) if lost(&refused) => return,
            Err(refused) => {
                assert_eq!(refused.reason, "POOL_EXHAUSTED", "{refused:?}");
                known.lock().unwrap().unanswered = None;
            }
        }
        // Some are kept, most go.
        let oldest = {
            let mut known = known.lock().unwrap();
            if known.held.len() > 2 || turn % 2 == 1 { known.held.pop_first() } else { None }.inspect(|lease| {
                known.perhaps.insert(*lease);
            })
        };
        if let Some(lease) = oldest {
            match app.release(lease).await {
                Ok(()) => {
                    let mut known = known.lock().unwrap();
                    known.perhaps.remove(&lease);
                    known.over.insert(lease);
                }
                Err(refused) if lost(&refused) => return,
                Err(refused) => panic!("a release was refused: {refused:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_clients_lose_nothing_when_the_daemon_is_killed() {
    let site = Site::new();
    let mut daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    admin.load("base.i3lic", &site.issue(&site.order_of(&[(CALLS, CALL_UNITS), (CLIENTS, SEATS)])).note).await;
    let agents = admin.agents(WORKERS, "concurrent").await;
    admin.give(&[CLIENT], &agents).await;
    let known: Vec<Arc<Mutex<Known>>> = (0..WORKERS).map(|_| Arc::default()).collect();
    for round in 0..2 {
        let grants = Arc::new(AtomicU64::new(0));
        let mut workers = Vec::new();
        for (number, known) in known.iter().enumerate() {
            let app = daemon.app(&format!("server-{number:02}")).await;
            workers.push(tokio::spawn(work(number, app, known.clone(), grants.clone())));
        }
        let admin = daemon.admin().await;
        while grants.load(Ordering::Relaxed) < 1_500 {
            // LEASE-1 while it happens.
            assert!(admin.pool(CALLS).await.in_use <= u64::from(CALL_UNITS));
            assert!(admin.pool(CLIENTS).await.in_use <= u64::from(SEATS));
        }
        daemon.kill().await;
        for worker in workers {
            worker.await.expect("nothing was refused but by a rule");
        }
        daemon = Daemon::start(&site).await;

        let admin = daemon.admin().await;
        let leases = admin.leases().await;
        let live: BTreeSet<u64> = leases.iter().filter_map(|held| Some(held.lease.as_ref()?.lease_id)).collect();
        let used: u64 = leases
            .iter()
            .filter_map(|held| held.lease.as_ref())
            .flat_map(|lease| &lease.keys)
            .filter(|key| key.pool == CALLS)
            .map(|key| u64::from(key.units))
            .sum();
        assert_eq!(admin.pool(CALLS).await.in_use, used, "the pool is the sum of its leases");
        assert!(used <= u64::from(CALL_UNITS), "LEASE-1: {used}");
        assert!(admin.pool(CLIENTS).await.in_use <= u64::from(SEATS));
        for (number, known) in known.iter().enumerate() {
            let app = daemon.app(&format!("server-{number:02}")).await;
            let unanswered = {
                let mut known = known.lock().unwrap();
                let missing: Vec<_> = known.held.difference(&live).collect();
                assert!(missing.is_empty(), "round {round}, server {number}: acknowledged and gone: {missing:?}");
                let risen: Vec<_> = known.over.intersection(&live).collect();
                assert!(risen.is_empty(), "round {round}, server {number}: given back and there again: {risen:?}");
                known.unanswered.take()
            };
            // LEASE-3: what was not answered is asked again, and granted at most once.
            if let Some(ask) = unanswered {
                settle(&app, ask, &live, number).await;
            }
        }
        for known in &known {
            let mut known = known.lock().unwrap();
            let perhaps = std::mem::take(&mut known.perhaps);
            known.held.extend(perhaps.intersection(&live));
            known.over.extend(perhaps.difference(&live));
        }
    }
}

/// Asks once more for what was not answered, and gives it back.
async fn settle(app: &App, ask: Ask, live: &BTreeSet<u64>, number: usize) {
    match app.acquire(ask.clone()).await {
        Ok(lease) => {
            let again = app.acquire(ask.clone()).await.expect("the same answer");
            assert_eq!(again.lease_id, lease.lease_id, "server {number}");
            let newest = live.last().copied().unwrap_or(0);
            assert!(live.contains(&lease.lease_id) || lease.lease_id > newest, "LEASE-4: {}", lease.lease_id);
            assert_eq!(app.release_request(&ask.id()).await, Ok(lease.lease_id), "LEASE-14");
        }
        Err(refused) => assert_eq!(refused.reason, "POOL_EXHAUSTED", "{refused:?}"),
    }
}
