//! Trusted time (05, Time): what to go on from at a start, and what a wall clock that somebody sets gives away. Pure: it
//! is given every reading, and reads no clock itself.
//!
//! Trusted time goes on from a base by the boot-time clock. At a start the base is the later of the stored mark and the
//! wall clock, so that setting the wall clock back moves no date. What a wall clock far ahead of the mark says is
//! **unconfirmed** at first. Most often it is right: a machine that was off for months. So what is written down is dated by
//! it. Sometimes it is a dead clock chip that says 2099, or somebody's hand. So the line that was known before runs on beside
//! it, and what gives or takes seats keeps to that one until the daemon has run for 12 hours (the engine's
//! `Now::unconfirmed_ms`): no file ends, and none begins that is not vouched for by a file issued since. If the wall clock
//! falls back in that time the jump is **withdrawn**: all is as if the daemon had been started with the clock that it
//! has now, and the mark is where it was.
//!
//! Setting the clock forward and back gains nothing by that. The confirmed line never stops while the daemon runs and never
//! falls, and seats depend on no other: whoever makes a jump and takes it back is where he would be had he done neither, and
//! whoever lets it stand for 12 hours has it for good, with every end that it brings. The time that the machine was off is all
//! that he can hide, and that he could by setting the clock back before the start, too; only a witness outside tells that
//! (a check-in). A withdrawal leaves its count. Leases do not depend on dates at all (LEASE-8).
//!
//! The licensor is that witness ([`Watch::told`]). What it signs in answer to a question that was asked a moment ago bounds
//! this moment from both sides, and settles everything: nothing else may lower the mark, and it may even where the
//! wrong time was confirmed by 12 hours of running. But its keys are judged by the confirmed line: where that lies beyond the
//! end of the check-in keys held, no answer counts, and only a root with keys that last longer helps. What it signed some time ago, for whoever reads it, bounds this moment from
//! below alone: it is worth what a mark of that time would have been, had it been stored here, and so lowers nothing.

use std::fmt;

use leasehold_engine::{
    time::{DAY_MS, HOUR_MS, LeaseTime, Now, WallTime},
    words::duration,
};

/// A wall clock that is further behind trusted time was set back.
pub const ROLL_BACK_MS: u64 = 10 * 60_000;
/// It is in step again at half of that, so that an episode at the border is one episode.
const IN_STEP_MS: u64 = ROLL_BACK_MS / 2;
/// A wall clock that is further ahead of the mark at a start is unconfirmed …
pub const JUMP_MS: u64 = DAY_MS.unsigned_abs();
/// … for so long, in lease time, which counts what the daemon was up over all restarts.
pub const CONFIRMED_AFTER_MS: u64 = 12 * HOUR_MS.unsigned_abs();
/// How far the clock is behind is noted again when it has grown by so much.
const GROWN_MS: u64 = 60_000;

/// Trusted time is ahead of what is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unconfirmed {
    /// So far, in milliseconds. It stays while both lines run.
    pub ahead_ms: u64,
    /// Since when: at 12 h of lease time after this all of it is confirmed.
    pub since: LeaseTime,
}

/// The wall clock was behind trusted time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollBack {
    /// When that was first seen, in trusted time.
    pub at: WallTime,
    /// How far, in milliseconds, at most.
    pub by_ms: u64,
    /// When the wall clock was in step again; `None` while it is behind.
    pub over: Option<WallTime>,
}

/// What is known of the wall clock; stored beside the mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Set while trusted time rests on a jump that is not confirmed.
    pub unconfirmed: Option<Unconfirmed>,
    /// The part of it that is confirmed first, where it was not all found at one start.
    pub older: Option<Unconfirmed>,
    /// How often an unconfirmed jump was taken back.
    pub withdrawn: u64,
    /// How often the wall clock fell behind.
    pub roll_backs: u64,
    /// The last time that it did.
    pub last_roll_back: Option<RollBack>,
}

/// What is said once, when it is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The wall clock fell behind trusted time by so many milliseconds.
    RolledBack(u64),
    /// The wall clock is in step again.
    InStep,
    /// At the start the wall clock was so many milliseconds ahead of the mark.
    Unconfirmed(u64),
    /// What was unconfirmed is confirmed.
    Confirmed,
    /// A part of it is; this much is not yet, in milliseconds.
    PartlyConfirmed(u64),
    /// The wall clock took a jump back: trusted time went back by so many milliseconds, and not below the confirmed line.
    Withdrawn(u64),
    /// The wall clock was set forward by so many milliseconds while the daemon runs.
    SetForward(u64),
    /// The licensor's signature confirms what was unconfirmed.
    Vouched,
    /// The licensor's signature says that it is earlier: trusted time went back by so many milliseconds.
    SetBack(u64),
    /// The licensor's signature says that it is later: trusted time went on by so many milliseconds.
    SetOn(u64),
}

/// What the licensor's signature says of this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Testimony {
    /// It is this time, or later.
    pub earliest: WallTime,
    /// It is this time, or earlier. `None`: nobody says so, as of a note that may be old.
    pub latest: Option<WallTime>,
}

impl Testimony {
    /// The same, so many milliseconds later.
    #[must_use]
    pub fn after(self, ms: u64) -> Self {
        let later = |time: WallTime| time.plus_ms(signed(ms));
        Self { earliest: later(self.earliest), latest: self.latest.map(later) }
    }
}

impl Finding {
    /// True for what wants no attention.
    pub fn is_good(self) -> bool {
        matches!(self, Finding::InStep | Finding::Confirmed | Finding::PartlyConfirmed(_) | Finding::Vouched)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Finding::RolledBack(ms) => f.write_str(&rolled_back(ms)),
            Finding::InStep => f.write_str("The clock of this machine is in step with trusted time again"),
            Finding::Unconfirmed(ms) => f.write_str(&unconfirmed(ms, CONFIRMED_AFTER_MS)),
            Finding::Confirmed => {
                f.write_str("The clock that this machine had at the start is confirmed: it ran on by it for 12 hours")
            }
            Finding::PartlyConfirmed(ms) => write!(
                f,
                "The clock that this machine had at an earlier start is confirmed; {} by which it was ahead at a later one are not yet",
                duration(ms)
            ),
            Finding::Withdrawn(ms) => write!(
                f,
                "The clock of this machine was {} too far ahead when the daemon started, and has been set right since. Nothing \
                 has ended by the wrong date, and what was written down meanwhile bears it",
                duration(ms)
            ),
            Finding::SetForward(ms) => f.write_str(&set_forward(ms)),
            Finding::Vouched => f.write_str(
                "The clock that this machine had at the start is confirmed: the licensor has signed that it was right",
            ),
            Finding::SetBack(ms) => write!(
                f,
                "The licensor has signed that it is {} earlier than this server went by. It goes by that time now; what was written \
                 down meanwhile bears the wrong one. See that the clock of this machine is right",
                duration(ms)
            ),
            Finding::SetOn(ms) => write!(
                f,
                "The licensor has signed that it is {} later than this server went by. It goes by that time now. See that the clock \
                 of this machine is right",
                duration(ms)
            ),
        }
    }
}

/// The wall clock is behind.
fn rolled_back(ms: u64) -> String {
    format!(
        "The clock of this machine is {} behind the time that this server knows of. This is recorded; leases, and the dates of \
         license files and assignments, do not go by that clock, and nothing ends or comes back by it. Set the clock \
         right (`timedatectl set-ntp true`). If it is right now, it was wrong before: tell your licensor",
        duration(ms)
    )
}

/// A jump is not confirmed.
fn unconfirmed(ms: u64, left_ms: u64) -> String {
    format!(
        "When the daemon started, the clock of this machine was {} ahead of the time last known. Until the daemon has run for {} \
         more, license files and assignments go by the time known before, or by the date of issue of the newest file: none ends by that \
         clock alone, and only what was issued since begins. \
         If the clock is right (the machine was off for long), nothing is to be done. If it is wrong, set it right now",
        duration(ms),
        duration(left_ms)
    )
}

/// The wall clock is ahead.
fn set_forward(ms: u64) -> String {
    format!(
        "The clock of this machine is {} ahead of the time that this server goes by: it was set while the daemon runs, and that \
         moves no date. If the clock is right now, restart the daemon, which then goes by it{}; no lease is lost. If it is \
         wrong, set it right",
        duration(ms),
        if ms > JUMP_MS { " (license files and assignments once it has run for 12 h more)" } else { "" }
    )
}

/// Watches the wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {
    evidence: Evidence,
    /// It was said that the wall clock is ahead.
    said_ahead: bool,
}

impl Watch {
    /// What is known.
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// At a start: the trusted time to go on from. `mark` and `evidence` are what was stored last; `lease` is the stored
    /// mark of lease time. Without a mark, at a first start, there is nothing but the wall clock.
    pub fn start(
        evidence: Evidence,
        mark: Option<WallTime>,
        lease: LeaseTime,
        wall: WallTime,
    ) -> (Self, WallTime, Vec<Finding>) {
        let mut watch = Self { evidence, said_ahead: false };
        let Some(mark) = mark else { return (watch, wall, Vec::new()) };
        let mut findings = Vec::new();
        let trusted = match watch.withdraw(mark, lease, wall, &mut findings) {
            Some(trusted) => trusted,
            None => watch.rebase(mark, lease, wall, &mut findings),
        };
        watch.compare(trusted, wall, &mut findings);
        (watch, trusted, findings)
    }

    /// While the daemon runs: looks at the wall clock. Trusted time is as it was, but where a jump is withdrawn.
    pub fn look(&mut self, now: Now, wall: WallTime) -> (WallTime, Vec<Finding>) {
        let mut findings = Vec::new();
        let trusted = self.withdraw(now.wall, now.lease, wall, &mut findings).unwrap_or(now.wall);
        let ripe = |unconfirmed: &Unconfirmed| now.lease.ms_since(unconfirmed.since) >= CONFIRMED_AFTER_MS;
        if self.evidence.unconfirmed.as_ref().is_some_and(ripe) {
            (self.evidence.unconfirmed, self.evidence.older) = (None, None);
            findings.push(Finding::Confirmed);
        } else if let (Some(all), Some(older)) =
            (&mut self.evidence.unconfirmed, self.evidence.older.take_if(|it| ripe(it)))
        {
            all.ahead_ms = all.ahead_ms.saturating_sub(older.ahead_ms);
            findings.push(Finding::PartlyConfirmed(all.ahead_ms));
        }
        self.compare(trusted, wall, &mut findings);
        (trusted, findings)
    }

    /// Takes what the licensor has signed. Trusted time moves where it is further off than clocks of two honest machines
    /// are; what is closer is the same time. Then what was unconfirmed is settled, or as much of it as the signature covers.
    pub fn told(&mut self, now: Now, wall: WallTime, told: Testimony) -> (WallTime, Vec<Finding>) {
        let mut findings = Vec::new();
        let (before, unconfirmed) = (now.wall, self.evidence.unconfirmed);
        let back_ms = told.latest.map_or(0, |latest| ms_between(latest, before));
        let on_ms = ms_between(before, told.earliest);
        let trusted = match told.latest {
            Some(latest) if back_ms > IN_STEP_MS => {
                self.evidence.withdrawn += u64::from(unconfirmed.is_some());
                findings.push(Finding::SetBack(back_ms));
                latest
            }
            _ if on_ms > IN_STEP_MS => {
                findings.push(Finding::SetOn(on_ms));
                told.earliest
            }
            _ => before,
        };
        if let Some(all) = unconfirmed {
            let confirmed = before.plus_ms(-signed(all.ahead_ms));
            // What is left of the jump is judged as at a start: a day or less is no jump.
            let left_ms = told.latest.map_or_else(|| ms_between(confirmed.max(told.earliest), trusted), |_| 0);
            let vouched_ms = all.ahead_ms.saturating_sub(left_ms);
            if left_ms <= JUMP_MS && vouched_ms > 0 {
                (self.evidence.unconfirmed, self.evidence.older) = (None, None);
                if trusted >= before {
                    findings.push(Finding::Vouched);
                }
            } else if vouched_ms > 0 {
                self.evidence.unconfirmed = Some(Unconfirmed { ahead_ms: left_ms, ..all });
                // The older part is the one that is nearer to the confirmed line.
                let older = self.evidence.older.take();
                let left_of = |it: Unconfirmed| Unconfirmed { ahead_ms: it.ahead_ms.saturating_sub(vouched_ms), ..it };
                self.evidence.older = older.map(left_of).filter(|it| it.ahead_ms > 0);
                findings.push(Finding::PartlyConfirmed(left_ms));
            }
        }
        self.compare(trusted, wall, &mut findings);
        (trusted, findings)
    }

    /// The later of mark and wall clock; what is far ahead is unconfirmed.
    fn rebase(&mut self, mark: WallTime, lease: LeaseTime, wall: WallTime, findings: &mut Vec<Finding>) -> WallTime {
        let ahead_ms = ms_between(mark, wall);
        let before_ms = self.evidence.unconfirmed.map_or(0, |unconfirmed| unconfirmed.ahead_ms);
        if ahead_ms > JUMP_MS {
            // A jump on top of one has 12 hours of its own, so that a wrong one is never carried in by a right one. What is
            // older goes on with its own: else a machine that runs a few hours at a time would never be confirmed. There are
            // two parts at most; a third jump joins the newer one, which is the older one within 12 hours.
            self.evidence.older = self.evidence.older.or(self.evidence.unconfirmed);
            let unconfirmed = Unconfirmed { ahead_ms: before_ms.saturating_add(ahead_ms), since: lease };
            self.evidence.unconfirmed = Some(unconfirmed);
            findings.push(Finding::Unconfirmed(ahead_ms));
        } else if let Some(unconfirmed) = &mut self.evidence.unconfirmed {
            unconfirmed.ahead_ms = before_ms.saturating_add(ahead_ms);
        }
        mark.max(wall)
    }

    /// Where trusted time rests on a jump that the wall clock no longer stands by: as at a start on the confirmed line.
    fn withdraw(
        &mut self,
        trusted: WallTime,
        lease: LeaseTime,
        wall: WallTime,
        findings: &mut Vec<Finding>,
    ) -> Option<WallTime> {
        let unconfirmed = self.evidence.unconfirmed.filter(|_| ms_between(wall, trusted) > ROLL_BACK_MS)?;
        (self.evidence.unconfirmed, self.evidence.older) = (None, None);
        self.evidence.withdrawn += 1;
        let confirmed = trusted.plus_ms(-signed(unconfirmed.ahead_ms));
        findings.push(Finding::Withdrawn(ms_between(confirmed.max(wall), trusted)));
        Some(self.rebase(confirmed, lease, wall, findings))
    }

    /// Notes episodes of a wall clock that is not in step.
    fn compare(&mut self, trusted: WallTime, wall: WallTime, findings: &mut Vec<Finding>) {
        let (behind_ms, ahead_ms) = (ms_between(wall, trusted), ms_between(trusted, wall));
        match self.evidence.last_roll_back.as_mut().filter(|episode| episode.over.is_none()) {
            Some(episode) if behind_ms <= IN_STEP_MS => {
                episode.over = Some(trusted);
                findings.push(Finding::InStep);
            }
            Some(episode) if behind_ms >= episode.by_ms.saturating_add(GROWN_MS) => episode.by_ms = behind_ms,
            Some(_) => {}
            None if behind_ms > ROLL_BACK_MS => {
                self.evidence.roll_backs += 1;
                self.evidence.last_roll_back = Some(RollBack { at: trusted, by_ms: behind_ms, over: None });
                findings.push(Finding::RolledBack(behind_ms));
            }
            None => {}
        }
        if ahead_ms > ROLL_BACK_MS && !self.said_ahead {
            findings.push(Finding::SetForward(ahead_ms));
        }
        self.said_ahead = ahead_ms > if self.said_ahead { IN_STEP_MS } else { ROLL_BACK_MS };
    }
}

/// How the wall clock stands to trusted time at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Trusted time.
    pub trusted: WallTime,
    /// The wall clock.
    pub wall: WallTime,
    /// What is known of the wall clock.
    pub evidence: Evidence,
    /// In how much lease time trusted time is confirmed, in milliseconds; `None` where it is.
    pub confirmed_in_ms: Option<u64>,
}

impl Standing {
    /// At a moment.
    pub fn new(now: Now, wall: WallTime, evidence: Evidence) -> Self {
        let confirmed_in_ms = evidence
            .unconfirmed
            .map(|unconfirmed| CONFIRMED_AFTER_MS.saturating_sub(now.lease.ms_since(unconfirmed.since)));
        Self { trusted: now.wall, wall, evidence, confirmed_in_ms }
    }

    /// In a word: `behind`, `unconfirmed`, `ahead`, `in step`; what weighs most.
    pub fn state(&self) -> &'static str {
        match self.notices().first() {
            Some(("CLOCK_ROLLED_BACK", _)) => "behind",
            Some(("CLOCK_UNCONFIRMED", _)) => "unconfirmed",
            Some(_) => "ahead",
            None => "in step",
        }
    }

    /// What wants attention, worst first: a stable reason and a sentence for each.
    pub fn notices(&self) -> Vec<(&'static str, String)> {
        let mut notices = Vec::new();
        if self.evidence.last_roll_back.is_some_and(|episode| episode.over.is_none()) {
            notices.push(("CLOCK_ROLLED_BACK", rolled_back(ms_between(self.wall, self.trusted)) + "."));
        }
        if let (Some(jump), Some(left_ms)) = (self.evidence.unconfirmed, self.confirmed_in_ms) {
            notices.push(("CLOCK_UNCONFIRMED", unconfirmed(jump.ahead_ms, left_ms) + "."));
        }
        let ahead_ms = ms_between(self.trusted, self.wall);
        if ahead_ms > ROLL_BACK_MS {
            notices.push(("CLOCK_SET_FORWARD", set_forward(ahead_ms) + "."));
        }
        notices
    }
}

/// From one moment to a later one; 0 where it is not later.
fn ms_between(from: WallTime, to: WallTime) -> u64 {
    u64::try_from(to.as_ms().saturating_sub(from.as_ms())).unwrap_or(0)
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
