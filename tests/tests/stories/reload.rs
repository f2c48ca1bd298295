//! Files are swapped while many work: nobody loses a lease, and nothing is refused but by a licensing rule.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use leasehold_tests::{Ask, Daemon, Site};

const CALLS: &str = "I3_SESSION_CALL";
const WORKERS: u64 = 16;

/// Sixteen clients acquire, renew and release while the capacity goes up and down under them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_clients_work_through_changes_of_the_file() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    let first = site.issue(&site.order_of(&[(CALLS, 40)]));
    site.drop_in("base.i3lic", first.note.as_bytes());
    daemon.logged(&["Accepted", "sequence 1;"]).await;

    let stop = Arc::new(AtomicBool::new(false));
    let turns = Arc::new(AtomicU64::new(0));
    let mut workers = Vec::new();
    for number in 0..WORKERS {
        let app = daemon.app(&format!("worker-{number:02}")).await;
        let (stop, turns) = (stop.clone(), turns.clone());
        workers.push(tokio::spawn(async move {
            // One that is held through everything, and others that come and go.
            let kept = app.acquire(Ask::units(CALLS, 1)).await.expect("a seat for each").lease_id;
            let mut refused = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                match app.acquire(Ask::units(CALLS, 2)).await {
                    Ok(lease) => app.release(lease.lease_id).await.expect("what was granted is given back"),
                    Err(refusal) => {
                        assert_eq!(refusal.reason, "POOL_EXHAUSTED", "{refusal:?}");
                        refused += 1;
                    }
                }
                app.renew_one(kept).await.expect("nobody loses a lease");
                turns.fetch_add(1, Ordering::Relaxed);
            }
            (kept, refused)
        }));
    }
    for (sequence, units) in [(2_u32, 17_u32), (3, 60), (4, 16), (5, 100)] {
        let before = turns.load(Ordering::Relaxed);
        let next = site.reissue(first.activation.license_id, &[(CALLS, units)]);
        assert_eq!(next.activation.sequence, sequence);
        site.drop_in("base.i3lic", next.note.as_bytes());
        daemon.logged(&["Accepted", &format!("sequence {sequence};")]).await;
        let pool = admin.pool(CALLS).await;
        assert_eq!(pool.capacity, units.to_string());
        // Work goes on under the new capacity before it changes again.
        while turns.load(Ordering::Relaxed) < before + 4 * WORKERS {
            admin.pool(CALLS).await;
        }
        assert!(turns.load(Ordering::Relaxed) > before);
    }
    stop.store(true, Ordering::Relaxed);
    let mut refused = 0;
    for worker in workers {
        refused += worker.await.expect("no client failed").1;
    }
    assert!(refused > 0, "17 units for 16 clients were never enough for two more");
    assert_eq!(admin.pool(CALLS).await.in_use, WORKERS, "what is held through everything");
}
