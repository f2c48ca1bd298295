//! The one place that reads time. Lease time goes on from the stored mark with the boot-time clock, which counts
//! suspend and which nobody sets (LEASE-8). Trusted time does the same from a base (05, Time)
//! that setting the wall clock back does not lower, but for a jump of it that was never confirmed ([`evidence`]); the wall
//! clock is read for that base at a start, and as evidence from then on. Nothing here decides about
//! licenses.

pub mod evidence;

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use leasehold_engine::time::{LeaseTime, Now, WallTime};

use evidence::{Evidence, Finding, Standing, Testimony, Watch};

/// What is stored of time, and gone on from at a start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeMark {
    /// Lease time (LEASE-7).
    pub lease: LeaseTime,
    /// Trusted time; `None` where none was ever stored.
    pub trusted: Option<WallTime>,
    /// What is known of the wall clock.
    pub evidence: Evidence,
}

/// Where time comes from.
#[derive(Clone, Debug)]
enum Source {
    /// The system's clocks.
    System,
    /// A file that a test writes: `BOOT_MS WALL_MS`, two decimal numbers.
    File(PathBuf),
    /// Hands that a simulation moves.
    Hands(Hands),
}

/// The hands of a clock that stands still until it is moved: what the machine's two clocks would say. They outlast a
/// daemon, as the machine's do.
#[derive(Clone, Debug, Default)]
pub struct Hands {
    both: Arc<(AtomicU64, AtomicI64)>,
}

impl Hands {
    /// Moves both: boot time and wall time, in milliseconds.
    pub fn set(&self, boot_ms: u64, wall_ms: i64) {
        self.both.0.store(boot_ms, Ordering::Relaxed);
        self.both.1.store(wall_ms, Ordering::Relaxed);
    }
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
    trusted: Mutex<Trusted>,
}

#[derive(Debug, Default)]
struct Trusted {
    /// Trusted time at lease time 0: it goes on with lease time.
    origin_ms: i64,
    watch: Watch,
    /// Found at the start, and not yet said.
    findings: Vec<Finding>,
    /// What the licensor has signed of a moment of lease time, and is not yet taken.
    told: Vec<(Testimony, LeaseTime)>,
    /// Said, and not yet written into the usage files; the first ones where there are many.
    unwritten: Vec<(WallTime, Finding)>,
}

/// Findings that wait to be written into the usage files.
const UNWRITTEN_MAX: usize = 64;

impl Clock {
    /// The system's clocks. Until [`Clock::continue_from`] lease time starts at 0, and trusted time is the wall clock's.
    pub fn system() -> Self {
        Self::new(Source::System)
    }

    /// A clock that stands still until the file is written anew: `BOOT_MS WALL_MS`. For tests. Replace the file by
    /// renaming another over it; the core loop looks at it every few milliseconds.
    pub fn manual(file: PathBuf) -> Self {
        Self::new(Source::File(file))
    }

    /// A clock that reads these hands. For simulations.
    pub fn of_hands(hands: Hands) -> Self {
        Self::new(Source::Hands(hands))
    }

    fn new(source: Source) -> Self {
        let clock = Self { source, shared: Arc::default() };
        clock.continue_from(TimeMark::default());
        clock
    }

    /// Time goes on from `mark`. Called once, when the stored mark is known.
    pub fn continue_from(&self, mark: TimeMark) {
        let (boot_ms, wall_ms) = self.read();
        self.shared.boot_at_base_ms.store(boot_ms, Ordering::Relaxed);
        self.shared.base_ms.store(mark.lease.as_ms(), Ordering::Relaxed);
        self.shared.last_lease_ms.store(mark.lease.as_ms(), Ordering::Relaxed);
        let (watch, base, findings) = Watch::start(mark.evidence, mark.trusted, mark.lease, WallTime::from_ms(wall_ms));
        let origin_ms = base.as_ms().saturating_sub(signed(mark.lease));
        *self.lock() = Trusted { origin_ms, watch, findings, ..Trusted::default() };
    }

    /// The stored mark of lease time that this run goes on from: what is stored was so at that moment.
    pub fn went_on_from(&self) -> LeaseTime {
        LeaseTime::from_ms(self.shared.base_ms.load(Ordering::Relaxed))
    }

    /// This moment. Lease time is never below an earlier reading; trusted time only where a jump of the wall clock is
    /// withdrawn that was not confirmed ([`evidence`]).
    pub fn now(&self) -> Now {
        self.read_all().0
    }

    /// This moment in trusted time alone.
    pub fn trusted(&self) -> WallTime {
        self.now().wall
    }

    /// Takes what the licensor's signature says of this moment (05, Time). It counts from the next turn of the core loop on,
    /// and so for every command that is given to the core after this.
    pub fn tell(&self, told: Testimony) {
        let at = self.now().lease;
        self.lock().told.push((told, at));
    }

    /// Compares trusted time with the wall clock, takes what was told, and says what is new about that. The core loop does so each turn and
    /// nobody else, with its own reading; it goes on with what it gets back.
    pub fn watch(&self, now: Now) -> (Now, Vec<Finding>) {
        // The core's lease time is not this one while the daemon starts.
        let (here, wall) = self.read_all();
        let mut trusted = self.lock();
        let mut findings = std::mem::take(&mut trusted.findings);
        let (mut after, more) = trusted.watch.look(now, wall);
        findings.extend(more);
        for (told, at) in std::mem::take(&mut trusted.told) {
            let told = told.after(here.lease.ms_since(at));
            let (moved, more) = trusted.watch.told(Now { wall: after, ..now }, wall, told);
            after = moved;
            findings.extend(more);
        }
        trusted.origin_ms = trusted.origin_ms.saturating_add(after.as_ms().saturating_sub(now.wall.as_ms()));
        let room = UNWRITTEN_MAX.saturating_sub(trusted.unwritten.len());
        trusted.unwritten.extend(findings.iter().take(room).map(|finding| (after, *finding)));
        (Now { wall: after, unconfirmed_ms: trusted.unconfirmed_ms(), ..now }, findings)
    }

    /// What was said of the wall clock since this was asked last, with the trusted time of each: for the next usage record
    /// (05, Time).
    pub fn take_unwritten(&self) -> Vec<(WallTime, Finding)> {
        std::mem::take(&mut self.lock().unwritten)
    }

    /// What is known of the wall clock: stored with every commit, beside lease time and trusted time.
    pub fn evidence(&self) -> Evidence {
        *self.lock().watch.evidence()
    }

    /// How the wall clock stands to trusted time, for people.
    pub fn standing(&self) -> Standing {
        let (now, wall) = self.read_all();
        Standing::new(now, wall, self.evidence())
    }

    /// The longest that anyone may sleep before looking at the clock again: timers stop in suspend, this clock does
    /// not, and nobody is told when a test moves it.
    pub fn longest_sleep(&self) -> Duration {
        match self.source {
            Source::System | Source::Hands(_) => Duration::from_secs(1),
            Source::File(_) => Duration::from_millis(5),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Trusted> {
        self.shared.trusted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This moment, and the wall clock at it.
    fn read_all(&self) -> (Now, WallTime) {
        let (boot_ms, wall_ms) = self.read();
        let elapsed_ms = boot_ms.saturating_sub(self.shared.boot_at_base_ms.load(Ordering::Relaxed));
        let lease_ms = self.shared.base_ms.load(Ordering::Relaxed).saturating_add(elapsed_ms);
        let lease_ms = self.shared.last_lease_ms.fetch_max(lease_ms, Ordering::Relaxed).max(lease_ms);
        let lease = LeaseTime::from_ms(lease_ms);
        let trusted = self.lock();
        let wall = WallTime::from_ms(trusted.origin_ms.saturating_add(signed(lease)));
        (Now { lease, wall, unconfirmed_ms: trusted.unconfirmed_ms() }, WallTime::from_ms(wall_ms))
    }

    /// (boot time, wall time), in milliseconds.
    fn read(&self) -> (u64, i64) {
        match &self.source {
            Source::System => system_ms(),
            Source::Hands(hands) => (hands.both.0.load(Ordering::Relaxed), hands.both.1.load(Ordering::Relaxed)),
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

impl Trusted {
    fn unconfirmed_ms(&self) -> u64 {
        self.watch.evidence().unconfirmed.map_or(0, |unconfirmed| unconfirmed.ahead_ms)
    }
}

fn signed(lease: LeaseTime) -> i64 {
    i64::try_from(lease.as_ms()).unwrap_or(i64::MAX)
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

    fn at(lease_ms: u64, wall_ms: i64) -> Now {
        Now { lease: LeaseTime::from_ms(lease_ms), wall: WallTime::from_ms(wall_ms), unconfirmed_ms: 0 }
    }

    fn clock(text: &str) -> (tempfile::TempDir, PathBuf, Clock) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("clock");
        set(&file, text);
        let clock = Clock::manual(file.clone());
        (dir, file, clock)
    }

    #[test]
    fn both_times_go_on_from_the_mark_and_ignore_the_wall_clock() {
        let (_dir, file, clock) = clock("5000 1000000");
        clock.continue_from(TimeMark { lease: LeaseTime::from_ms(777), ..TimeMark::default() });
        assert_eq!(clock.now(), at(777, 1_000_000), "without a mark there is nothing but the wall clock");
        for wall in ["-4000", "99000000"] {
            set(&file, &format!("5250 {wall}"));
            assert_eq!(clock.now(), at(1_027, 1_000_250));
        }
        clock.continue_from(TimeMark { trusted: Some(WallTime::from_ms(2_000_000)), ..TimeMark::default() });
        assert_eq!(clock.trusted(), WallTime::from_ms(99_000_000), "the later of both");
        clock.continue_from(TimeMark { trusted: Some(WallTime::from_ms(200_000_000)), ..TimeMark::default() });
        assert_eq!(clock.trusted(), WallTime::from_ms(200_000_000));
    }

    #[test]
    fn lease_time_never_goes_back_and_a_torn_file_is_no_time() {
        let (_dir, file, clock) = clock("5000 1000");
        set(&file, "9000 2000");
        assert_eq!(clock.now(), at(4_000, 5_000));
        set(&file, "50");
        assert_eq!(clock.now(), at(4_000, 5_000));
        set(&file, "6000 3000");
        assert_eq!(clock.now(), at(4_000, 5_000));
    }

    /// What the daemon does with it is in the stories (`tests/tests/stories/clock.rs`).
    #[test]
    fn a_withdrawn_jump_is_told_to_all_clones() {
        const DAY_MS: i64 = 86_400_000;
        let (_dir, file, clock) = clock(&format!("5000 {}", 100 * DAY_MS));
        clock.continue_from(TimeMark { trusted: Some(WallTime::from_ms(10 * DAY_MS)), ..TimeMark::default() });
        let (other, jump_ms) = (clock.clone(), 90 * DAY_MS.unsigned_abs());
        let (now, findings) = clock.watch(clock.now());
        assert_eq!((now.wall.as_ms(), now.unconfirmed_ms), (100 * DAY_MS, jump_ms));
        assert_eq!(findings, [Finding::Unconfirmed(jump_ms)], "found at the start, and said once");
        assert_eq!(clock.watch(now).1, []);
        set(&file, &format!("6000 {}", 10 * DAY_MS + 1_000));
        let (now, findings) = clock.watch(clock.now());
        assert_eq!((now, findings), (at(1_000, 10 * DAY_MS + 1_000), vec![Finding::Withdrawn(jump_ms)]));
        set(&file, &format!("7000 {}", 10 * DAY_MS + 2_000));
        assert_eq!(other.now(), at(2_000, 10 * DAY_MS + 2_000));
        assert_eq!(other.evidence().withdrawn, 1);
        assert_eq!(other.standing().notices(), []);
    }

    #[test]
    fn the_system_clock_runs() {
        let clock = Clock::system();
        let before = clock.now();
        assert!(clock.now().lease >= before.lease);
        assert!(before.wall > WallTime::from_ms(1_700_000_000_000));
    }
}
