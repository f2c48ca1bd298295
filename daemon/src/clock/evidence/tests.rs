//! Clocks that are set, that die and that come back, over runs and restarts.

use super::*;

mod told;

const DAY: u64 = DAY_MS.unsigned_abs();
const YEAR: u64 = 365 * DAY;
const HOUR: u64 = HOUR_MS.unsigned_abs();
const MINUTE: u64 = 60_000;
const BEGIN: WallTime = WallTime::from_ms(1_900_000_000_000);

/// A daemon over its restarts, and the clock of its machine.
struct Machine {
    /// What really is; nothing reads it but these tests.
    real: WallTime,
    /// The wall clock is off by so much.
    off_ms: i64,
    watch: Watch,
    now: Now,
    said: Vec<Finding>,
}

impl Machine {
    fn first_start() -> Self {
        let (watch, wall, said) = Watch::start(Evidence::default(), None, LeaseTime::from_ms(0), BEGIN);
        assert_eq!((wall, said.as_slice()), (BEGIN, [].as_slice()));
        let now = Now { lease: LeaseTime::from_ms(0), wall, unconfirmed_ms: 0 };
        Self { real: BEGIN, off_ms: 0, watch, now, said }
    }

    fn wall(&self) -> WallTime {
        self.real.plus_ms(self.off_ms)
    }

    fn set(&mut self, off_ms: i64) {
        self.off_ms = off_ms;
        self.look();
    }

    fn look(&mut self) {
        let (wall, said) = self.watch.look(self.now, self.wall());
        self.take(wall, self.now.lease, said);
    }

    fn take(&mut self, wall: WallTime, lease: LeaseTime, said: Vec<Finding>) {
        let unconfirmed_ms = self.watch.evidence().unconfirmed.map_or(0, |jump| jump.ahead_ms);
        self.now = Now { lease, wall, unconfirmed_ms };
        self.said.extend(said);
    }

    fn run(&mut self, ms: u64) {
        self.real = self.real.plus_ms(signed(ms));
        self.now = Now { lease: self.now.lease.plus_ms(ms), wall: self.now.wall.plus_ms(signed(ms)), ..self.now };
        self.look();
    }

    /// The licensor signs something.
    fn tell(&mut self, told: Testimony) {
        let (wall, said) = self.watch.told(self.now, self.wall(), told);
        self.take(wall, self.now.lease, said);
    }

    /// It is off for so long, and starts with a clock that is off by so much.
    fn restart(&mut self, down_ms: u64, off_ms: i64) {
        self.real = self.real.plus_ms(signed(down_ms));
        self.off_ms = off_ms;
        let stored = *self.watch.evidence();
        let (watch, wall, said) = Watch::start(stored, Some(self.now.wall), self.now.lease, self.wall());
        self.watch = watch;
        self.take(wall, self.now.lease, said);
    }

    fn said(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.said)
    }

    fn reasons(&self) -> Vec<&'static str> {
        let standing = Standing::new(self.now, self.wall(), *self.watch.evidence());
        standing.notices().iter().map(|(reason, _)| *reason).collect()
    }
}

#[test]
fn a_clock_that_is_set_back_moves_nothing_and_is_one_episode() {
    let mut machine = Machine::first_start();
    machine.run(HOUR);
    machine.set(-signed(10 * MINUTE));
    assert_eq!(machine.said(), [], "as much as NTP may correct");
    machine.set(-signed(DAY));
    let at = machine.now.wall;
    assert_eq!((at, machine.now.unconfirmed_ms), (BEGIN.plus_ms(HOUR_MS), 0));
    assert_eq!(machine.said(), [Finding::RolledBack(DAY)]);
    assert_eq!(machine.reasons(), ["CLOCK_ROLLED_BACK"]);
    machine.run(HOUR);
    machine.set(-signed(10 * YEAR));
    machine.restart(0, -signed(10 * YEAR));
    assert_eq!(machine.said(), [], "said once, and over a restart");
    assert_eq!(machine.now.wall, BEGIN.plus_ms(2 * HOUR_MS));
    let episode = RollBack { at, by_ms: 10 * YEAR, over: None };
    assert_eq!((machine.watch.evidence().roll_backs, machine.watch.evidence().last_roll_back), (1, Some(episode)));

    machine.set(-signed(6 * MINUTE));
    assert_eq!(machine.said(), [], "not yet in step");
    machine.set(0);
    assert_eq!((machine.said(), machine.reasons()), (vec![Finding::InStep], vec![]));
    let over = RollBack { over: Some(machine.now.wall), ..episode };
    assert_eq!(machine.watch.evidence().last_roll_back, Some(over));
    machine.set(-signed(HOUR));
    assert_eq!(machine.watch.evidence().roll_backs, 2);
}

#[test]
fn a_clock_that_is_set_forward_while_running_moves_nothing_until_the_next_start() {
    let mut machine = Machine::first_start();
    machine.set(signed(3 * YEAR));
    machine.run(HOUR);
    assert_eq!((machine.now.wall, machine.now.unconfirmed_ms), (BEGIN.plus_ms(HOUR_MS), 0));
    assert_eq!((machine.said(), machine.reasons()), (vec![Finding::SetForward(3 * YEAR)], vec!["CLOCK_SET_FORWARD"]));
    machine.set(0);
    assert_eq!((machine.said(), machine.reasons()), (vec![], vec![]));
    machine.set(signed(3 * YEAR));
    machine.restart(MINUTE, signed(3 * YEAR));
    assert_eq!(machine.now.wall, machine.wall(), "the later of both");
    assert_eq!(machine.now.unconfirmed_ms, 3 * YEAR + MINUTE);
    assert_eq!(machine.reasons(), ["CLOCK_UNCONFIRMED"]);
}

#[test]
fn a_day_off_is_a_day_and_longer_is_confirmed_by_twelve_hours_of_running() {
    let mut machine = Machine::first_start();
    machine.restart(DAY, 0);
    assert_eq!((machine.now.confirmed(), machine.said()), (machine.real, vec![]));
    // A machine that was off for three months.
    machine.restart(90 * DAY, 0);
    assert_eq!(machine.said(), [Finding::Unconfirmed(90 * DAY)]);
    machine.run(8 * HOUR);
    // Each night off is no new jump, and its time waits with the rest.
    machine.restart(16 * HOUR, 0);
    assert_eq!((machine.now.wall, machine.now.unconfirmed_ms), (machine.real, 90 * DAY + 16 * HOUR));
    machine.run(4 * HOUR - 1);
    assert_eq!(machine.said(), []);
    machine.run(1);
    assert_eq!((machine.said(), machine.now.confirmed()), (vec![Finding::Confirmed], machine.real));
    machine.set(-signed(90 * DAY));
    assert_eq!(machine.now.wall, machine.real, "what is confirmed is not withdrawn");
    assert_eq!(machine.said(), [Finding::RolledBack(90 * DAY)]);
}

#[test]
fn a_dead_clock_chip_does_not_poison_the_mark() {
    let mut machine = Machine::first_start();
    machine.run(5 * DAY);
    // It starts with 2099, and a minute later the network sets it right.
    machine.restart(HOUR, signed(60 * YEAR));
    assert_eq!(machine.now.confirmed(), machine.real.plus_ms(-HOUR_MS));
    machine.run(MINUTE);
    machine.set(0);
    assert_eq!(machine.said(), [Finding::Unconfirmed(60 * YEAR + HOUR), Finding::Withdrawn(60 * YEAR)]);
    assert_eq!((machine.now.wall, machine.now.unconfirmed_ms), (machine.real, 0));
    assert_eq!((machine.watch.evidence().withdrawn, machine.watch.evidence().roll_backs), (1, 0));
    // The same with the power off in between, and with a clock that stands at 1970 afterwards.
    machine.restart(0, signed(60 * YEAR));
    machine.run(MINUTE);
    machine.restart(MINUTE, 0);
    assert_eq!((machine.now.wall, machine.watch.evidence().withdrawn), (machine.real, 2));
    machine.restart(0, signed(60 * YEAR));
    machine.run(MINUTE);
    machine.restart(0, -BEGIN.as_ms());
    assert_eq!((machine.now.wall, machine.watch.evidence().withdrawn), (machine.real, 3));
    assert_eq!(machine.reasons(), ["CLOCK_ROLLED_BACK"]);
}

#[test]
fn a_wrong_jump_is_not_carried_in_by_a_right_one() {
    let mut machine = Machine::first_start();
    machine.restart(30 * DAY, 0);
    machine.run(11 * HOUR);
    machine.restart(0, signed(60 * YEAR));
    machine.run(HOUR / 2);
    assert_eq!(machine.now.unconfirmed_ms, 30 * DAY + 60 * YEAR);
    machine.set(0);
    assert_eq!(
        (machine.now.wall, machine.now.unconfirmed_ms),
        (machine.real, 30 * DAY),
        "as at a start with this clock"
    );
    machine.run(11 * HOUR);
    machine.restart(0, signed(60 * YEAR));
    machine.said();
    machine.run(2 * HOUR);
    assert_eq!(machine.now.unconfirmed_ms, 60 * YEAR, "the right one alone has had its 12 hours");
    assert_eq!(machine.said(), [Finding::PartlyConfirmed(60 * YEAR)]);
    machine.set(0);
    assert_eq!(machine.now.confirmed(), machine.real);
}

/// A machine that runs eight hours each Monday: each week off is confirmed after 12 hours of running, or 24 where more than two
/// starts fall into them.
#[test]
fn a_machine_that_runs_in_short_spells_is_confirmed_all_the_same() {
    for (spell_ms, most_ms) in [(8 * HOUR, 12 * HOUR), (5 * HOUR, 24 * HOUR), (HOUR / 12, 24 * HOUR)] {
        let mut machine = Machine::first_start();
        // What the clock said, and at which lease time it said so.
        let mut starts = Vec::new();
        for _ in 0..40 * HOUR / spell_ms {
            machine.restart(6 * DAY, 0);
            starts.push((machine.now.lease, machine.now.wall));
            machine.run(spell_ms);
            let old = |(lease, _): &&(LeaseTime, WallTime)| machine.now.lease.ms_since(*lease) >= most_ms;
            let due = starts.iter().rev().find(old).map_or(BEGIN, |(_, wall)| *wall);
            assert!(machine.now.confirmed() >= due, "{} at {}", machine.now.confirmed(), machine.now.wall);
            let sure = |(lease, _): &&(LeaseTime, WallTime)| machine.now.lease.ms_since(*lease) < 12 * HOUR;
            let first = starts.iter().find(sure).map(|(_, wall)| wall.plus_ms(-signed(6 * DAY)));
            let ran_ms = signed(machine.now.lease.as_ms());
            assert!(
                first.is_none_or(|first| machine.now.confirmed() <= first.plus_ms(ran_ms)),
                "not before its 12 hours"
            );
        }
        assert!(machine.now.confirmed() > BEGIN.plus_ms(signed(6 * DAY)));
    }
}

#[test]
fn a_clock_without_battery_begins_each_time_in_1970() {
    let mut machine = Machine::first_start();
    machine.run(30 * DAY);
    machine.restart(HOUR, -machine.real.as_ms());
    assert_eq!(machine.now.wall, machine.real.plus_ms(-HOUR_MS), "the mark wins");
    machine.run(MINUTE);
    machine.set(0);
    assert_eq!(machine.reasons(), ["CLOCK_SET_FORWARD"], "by the hour that it was off");
    machine.restart(0, 0);
    assert_eq!((machine.now.confirmed(), machine.reasons()), (machine.real, vec![]));
    // A first start in 1970, too, is put right by the next one.
    let (watch, wall, _) = Watch::start(Evidence::default(), None, LeaseTime::from_ms(0), WallTime::from_ms(0));
    let mark = Some(wall.plus_ms(HOUR_MS));
    let (_, wall, _) = Watch::start(*watch.evidence(), mark, LeaseTime::from_ms(HOUR), BEGIN);
    assert_eq!(wall, BEGIN);
}

/// Whatever is done to the clock: what seats depend on never falls, runs on with the daemon, and at the end is where it
/// would be without any jump that was taken back.
#[test]
fn forward_and_back_gains_nothing() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for _ in 0..2_000 {
        let mut machine = Machine::first_start();
        let mut least = machine.now.confirmed();
        let mut furthest = machine.wall();
        for _ in 0..30 {
            let off_ms = signed(random(4 * YEAR)) - 2 * signed(YEAR);
            match random(3) {
                0 => machine.set(off_ms),
                1 => machine.restart(random(40 * DAY), off_ms),
                _ => {
                    let ms = random(7 * HOUR);
                    machine.run(ms);
                    least = least.plus_ms(signed(ms));
                }
            }
            let confirmed = machine.now.confirmed();
            assert!(confirmed >= least, "{confirmed} after {least}");
            furthest = furthest.max(machine.wall()).max(machine.now.wall);
            assert!(confirmed <= machine.now.wall && machine.now.wall <= furthest);
            least = confirmed;
        }
    }
    // Forward for eleven hours, and back: as if nothing had been done.
    let (mut honest, mut clever) = (Machine::first_start(), Machine::first_start());
    for _ in 0..20 {
        honest.restart(0, 0);
        honest.run(11 * HOUR);
        clever.restart(0, signed(YEAR));
        clever.run(11 * HOUR);
        assert_eq!(clever.now.confirmed(), honest.now.confirmed());
        clever.set(0);
        assert_eq!(clever.now, honest.now);
    }
    assert_eq!(clever.watch.evidence().withdrawn, 20);
}

#[test]
fn sentences_say_what_it_is_and_what_to_do() {
    let text = Finding::RolledBack(DAY).to_string();
    assert!(text.contains("24 h behind") && text.contains("timedatectl"), "{text}");
    let text = Finding::Unconfirmed(90 * DAY).to_string();
    assert!(text.contains("90 days ahead") && text.contains("12 h more"), "{text}");
    let text = Finding::SetForward(3 * HOUR).to_string();
    assert!(text.contains("3 h ahead") && text.contains("restart the daemon"), "{text}");
    assert!(!text.contains("12 h more"), "{text}");
    let text = Finding::SetForward(DAY + 1).to_string();
    assert!(text.contains("restart the daemon") && text.contains("once it has run for 12 h more"), "{text}");
    let mut machine = Machine::first_start();
    machine.restart(90 * DAY, 0);
    machine.run(HOUR);
    let standing = Standing::new(machine.now, machine.wall(), *machine.watch.evidence());
    assert_eq!(standing.confirmed_in_ms, Some(11 * HOUR));
    assert!(standing.notices()[0].1.contains("run for 11 h more"), "{:?}", standing.notices());
}
