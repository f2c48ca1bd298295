//! Lease time: milliseconds during which the daemon was up. Time with a date is another type, so that no lease can be
//! compared with it (LEASE-8); what the engine is given of it is trusted time, never a clock that people set.

pub use leasehold_keys::time::{DAY_MS, HOUR_MS, SECOND_MS, WallTime};
use serde::{Deserialize, Serialize};

/// A moment in lease time, in milliseconds.
///
/// It runs with the boot-time clock while the daemon runs and goes on from the stored mark at the next start, so it is
/// comparable over restarts and never steps; time spent down does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseTime(u64);

impl LeaseTime {
    /// A moment from milliseconds of lease time.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds of lease time.
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// This moment, `ms` later.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment; 0 where `earlier` is later.
    pub const fn ms_since(self, earlier: LeaseTime) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The moment of one decision, read once by the core loop for a whole batch. Neither time is a clock that people set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For everything that leases depend on.
    pub lease: LeaseTime,
    /// Trusted time (05, Time), for everything that has a date. No setting of the wall clock raises it while the daemon
    /// runs, and none lowers what of it is confirmed; what is not may be withdrawn, and it falls back by as much.
    pub wall: WallTime,
    /// `wall` rests on a jump of the wall clock at a start that may yet be found wrong: without it, it would be so much
    /// earlier. 0: all of it is confirmed. What cannot be taken back, or gives seats, goes by [`Now::confirmed`].
    pub unconfirmed_ms: u64,
}

impl Now {
    /// The latest moment of which it is sure that it has come.
    pub const fn confirmed(self) -> WallTime {
        let ms = if self.unconfirmed_ms > i64::MAX as u64 { i64::MAX } else { self.unconfirmed_ms.cast_signed() };
        self.wall.plus_ms(-ms)
    }

    /// The same moment, where a licensor's signature says that `signed` has come: so much at least is confirmed.
    #[must_use]
    pub fn vouched_by(self, signed: WallTime) -> Self {
        let confirmed = self.confirmed().max(signed.min(self.wall));
        let ahead_ms = self.wall.as_ms().saturating_sub(confirmed.as_ms());
        Self { unconfirmed_ms: u64::try_from(ahead_ms).unwrap_or(0), ..self }
    }
}

/// How long a lease of `ttl_ms` stands after its last renewal was received: 1.1 × TTL + 5 s (LEASE-5).
pub const fn lapse_ms(ttl_ms: u64) -> u64 {
    ttl_ms + ttl_ms / 10 + 5_000
}
