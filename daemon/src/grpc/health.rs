//! The standard health service, fed from the core: NOT_SERVING while the daemon starts or drains, and granting apart from
//! renewing, so that no balancer cuts renewals where only grants are in trouble (LEASE-11).

use std::sync::{Arc, OnceLock};

use leasehold_engine::time::WallTime;
use leasehold_proto::v1::leasing_server;
use tokio::sync::watch;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{clock::Clock, core::Health};

/// Leases are renewed.
pub(crate) const RENEW: &str = "leasehold.v1.Leasing/renew";
/// Leases are granted.
pub(crate) const GRANT: &str = "leasehold.v1.Leasing/grant";

/// Says what the daemon can do now.
async fn report(reporter: &HealthReporter, health: Health) {
    let status = |serving| if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
    // The server and its service as a whole serve as long as renewals do.
    for name in ["", leasing_server::SERVICE_NAME, RENEW] {
        reporter.set_service_status(name, status(health.renew)).await;
    }
    reporter.set_service_status(GRANT, status(health.grant)).await;
}

/// A reporter that says from the first moment what the core says, and goes on doing so in a task of its own until the
/// core is gone. Notes the moment at which leases could first be granted.
pub(super) async fn follow(
    reporter: HealthReporter,
    mut health: watch::Receiver<Health>,
    clock: Clock,
    ready_at: Arc<OnceLock<WallTime>>,
) {
    let note = move |health: Health| {
        if health.grant {
            ready_at.get_or_init(|| clock.trusted());
        }
    };
    let now = *health.borrow_and_update();
    note(now);
    report(&reporter, now).await;
    tokio::spawn(async move {
        while health.changed().await.is_ok() {
            let now = *health.borrow_and_update();
            note(now);
            report(&reporter, now).await;
        }
        report(&reporter, Health { renew: false, grant: false }).await;
    });
}
