//! The one place that reads time. Lease time goes on from the stored mark with the boot-time clock, which counts
//! suspend and which nobody sets (LEASE-8); the wall clock is read for dates and for people. Nothing here decides.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use leasehold_engine::time::{LeaseTime, Now, WallTime};

/// Where time comes from.
#[derive(Clone, Debug)]
enum Source {
    /// The system's clocks.
    System,
    /// A file that a test writes: `BOOT_MS WALL_MS`, two decimal numbers.
    File(PathBuf),
}

/// Reads both clocks. Cheap to clone; all clones agree.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The source's boot time when lease time was `base_ms`.
    boot_at_base_ms: AtomicU64,
    base_ms: AtomicU64,
    /// The last readings: lease time never goes back, and a file that is being replaced is not time zero.
    last_lease_ms: AtomicU64,
    last_boot_ms: AtomicU64,
    last_wall_ms: AtomicI64,
}

impl Clock {
    /// The system's clocks; lease time starts at 0 until [`Clock::continue_from`].
    pub fn system() -> Self {
        Self::new(Source::System)
    }

    /// A clock that stands still until the file is written anew: `BOOT_MS WALL_MS`. For tests. Replace the file by
    /// renaming another over it; the core loop looks at it every few milliseconds.
    pub fn manual(file: PathBuf) -> Self {
        Self::new(Source::File(file))
    }

    fn new(source: Source) -> Self {
        let clock = Self { source, shared: Arc::default() };
        clock.continue_from(LeaseTime::from_ms(0));
        clock
    }

    /// Lease time is `mark` now, and goes on from there. Called once, when the stored mark is known.
    pub fn continue_from(&self, mark: LeaseTime) {
        let (boot_ms, _) = self.read();
        self.shared.boot_at_base_ms.store(boot_ms, Ordering::Relaxed);
        self.shared.base_ms.store(mark.as_ms(), Ordering::Relaxed);
        self.shared.last_lease_ms.store(mark.as_ms(), Ordering::Relaxed);
    }

    /// This moment. Lease time is never below an earlier reading.
    pub fn now(&self) -> Now {
        let (boot_ms, wall_ms) = self.read();
        let elapsed_ms = boot_ms.saturating_sub(self.shared.boot_at_base_ms.load(Ordering::Relaxed));
        let lease_ms = self.shared.base_ms.load(Ordering::Relaxed) + elapsed_ms;
        let lease_ms = self.shared.last_lease_ms.fetch_max(lease_ms, Ordering::Relaxed).max(lease_ms);
        Now { lease: LeaseTime::from_ms(lease_ms), wall: WallTime::from_ms(wall_ms) }
    }

    /// The wall clock alone.
    pub fn wall(&self) -> WallTime {
        WallTime::from_ms(self.read().1)
    }

    /// The longest that anyone may sleep before looking at the clock again: timers stop in suspend, this clock does
    /// not, and nobody is told when a test moves it.
    pub fn longest_sleep(&self) -> Duration {
        match self.source {
            Source::System => Duration::from_secs(1),
            Source::File(_) => Duration::from_millis(5),
        }
    }

    /// (boot time, wall time), in milliseconds.
    fn read(&self) -> (u64, i64) {
        match &self.source {
            Source::System => system_ms(),
            Source::File(file) => {
                let said = std::fs::read_to_string(file).ok().and_then(|text| {
                    let (boot, wall) = text.trim().split_once(' ')?;
                    Some((boot.parse().ok()?, wall.parse().ok()?))
                });
                if let Some((boot_ms, wall_ms)) = said {
                    self.shared.last_boot_ms.store(boot_ms, Ordering::Relaxed);
                    self.shared.last_wall_ms.store(wall_ms, Ordering::Relaxed);
                }
                (self.shared.last_boot_ms.load(Ordering::Relaxed), self.shared.last_wall_ms.load(Ordering::Relaxed))
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the system's clocks")]
fn system_ms() -> (u64, i64) {
    use rustix::time::{ClockId, clock_gettime};
    let boot = clock_gettime(ClockId::Boottime);
    let wall = clock_gettime(ClockId::Realtime);
    let boot_ms = boot.tv_sec * 1_000 + i64::from(boot.tv_nsec as i32) / 1_000_000;
    (u64::try_from(boot_ms).unwrap_or(0), wall.tv_sec * 1_000 + i64::from(wall.tv_nsec as i32) / 1_000_000)
}

/// Microseconds of a clock that only ever rises, for measuring how long something took. Of no meaning otherwise.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the system's clocks")]
pub fn stopwatch_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(file: &std::path::Path, text: &str) {
        std::fs::write(file, text).unwrap();
    }

    #[test]
    fn lease_time_goes_on_from_the_mark_and_ignores_the_wall_clock() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("clock");
        set(&file, "5000 1000000");
        let clock = Clock::manual(file.clone());
        clock.continue_from(LeaseTime::from_ms(777));
        assert_eq!(clock.now(), Now { lease: LeaseTime::from_ms(777), wall: WallTime::from_ms(1_000_000) });
        set(&file, "5250 -4000");
        assert_eq!(clock.now(), Now { lease: LeaseTime::from_ms(1_027), wall: WallTime::from_ms(-4_000) });
    }

    #[test]
    fn lease_time_never_goes_back_and_a_torn_file_is_no_time() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("clock");
        set(&file, "5000 1000");
        let clock = Clock::manual(file.clone());
        set(&file, "9000 2000");
        assert_eq!(clock.now().lease, LeaseTime::from_ms(4_000));
        set(&file, "50");
        assert_eq!(clock.now(), Now { lease: LeaseTime::from_ms(4_000), wall: WallTime::from_ms(2_000) });
        set(&file, "6000 3000");
        assert_eq!(clock.now().lease, LeaseTime::from_ms(4_000));
    }

    #[test]
    fn the_system_clock_runs() {
        let clock = Clock::system();
        let before = clock.now();
        assert!(clock.now().lease >= before.lease);
        assert!(before.wall > WallTime::from_ms(1_700_000_000_000));
    }
}
