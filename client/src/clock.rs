//! The one place of this crate that reads a clock.
//!
//! Lease time counts suspend (LEASE-8): a machine that slept for an hour must not believe that its leases are fresh.
//! Timers are only what wakes the keeper; what is true is always judged by this clock.

use std::time::Duration;

/// A point on the boot-time clock, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Moment(pub(crate) u64);

impl Moment {
    pub(crate) fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(millis(by)))
    }

    /// How long it is from `earlier` to here; nothing where it is not earlier.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// A duration in whole milliseconds, as the wire carries it.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The time since the machine started, suspend included.
#[cfg(target_os = "linux")]
#[expect(clippy::disallowed_methods, reason = "the client's time is read here and nowhere else")]
pub(crate) fn now() -> Moment {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Moment(seconds.saturating_mul(1_000).saturating_add(nanos / 1_000_000))
}

/// The time since this was first asked. Whether it counts suspend is the system's affair.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::disallowed_methods, reason = "the client's time is read here and nowhere else")]
pub(crate) fn now() -> Moment {
    static ORIGIN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    Moment(millis(ORIGIN.get_or_init(std::time::Instant::now).elapsed()))
}
/// The machine's wall clock, for dates that others have signed. No lease depends on it.
#[cfg(feature = "verify")]
#[expect(
    clippy::disallowed_methods,
    reason = "a token's time is told by a date, and this is the application's only one"
)]
pub(crate) fn wall() -> std::time::SystemTime {
    std::time::SystemTime::now()
}
