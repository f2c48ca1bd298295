//! Part 05 as arithmetic: which stage a license would be at, when that gets worse next, and how the brake lets it get there.
//! Pure functions of what they are given; they know no file, row or pool.

use leasehold_keys::time::WallTime;

use super::{Stage, Verdict};
use crate::time::LeaseTime;

/// At most one stage down in so much lease time.
pub(crate) const BRAKE_MS: u64 = 12 * 3_600_000;

/// All that the stage depends on besides the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Where the base file names one.
    pub ramp: Option<WallTime>,
    /// Length of a stage, where the base file names one; above 0.
    pub grace_ms: Option<i64>,
    pub last_good: Option<WallTime>,
    pub verdict: Option<Verdict>,
}

impl Facts {
    /// From when grace periods are counted. None where the file names no ramp or no grace: then time alone enforces nothing.
    pub(crate) fn since(&self) -> Option<WallTime> {
        self.grace_ms?;
        self.ramp.map(|ramp| self.last_good.map_or(ramp, |good| good.max(ramp)))
    }

    fn revoked_from(&self) -> Option<WallTime> {
        match self.verdict {
            Some(Verdict::Revoked { from }) => Some(from),
            Some(Verdict::Good | Verdict::Duplicate) | None => None,
        }
    }

    /// True where a revocation has come into effect.
    pub(crate) fn is_revoked(&self, at: WallTime) -> bool {
        self.revoked_from().is_some_and(|from| from <= at)
    }

    /// The stage at a moment, were there no brake.
    pub(crate) fn target(&self, at: WallTime) -> Stage {
        if self.is_revoked(at) {
            return Stage::Unlicensed;
        }
        let (Some(since), Some(grace_ms)) = (self.since(), self.grace_ms) else {
            return Stage::Functional;
        };
        let periods = at.as_ms().saturating_sub(since.as_ms()).div_euclid(grace_ms);
        let index = usize::try_from(periods).unwrap_or(0).min(Stage::ALL.len() - 1);
        Stage::ALL[index]
    }

    /// The next moment after one at which the target gets worse, by itself.
    pub(crate) fn next_worse(&self, after: WallTime) -> Option<WallTime> {
        let now = self.target(after);
        let by_grace = self.since().zip(self.grace_ms).and_then(|(since, grace_ms)| {
            let stages = (1..Stage::ALL.len()).filter_map(|periods| i64::try_from(periods).ok());
            let mut edges = stages.map(|periods| since.plus_ms(grace_ms.saturating_mul(periods)));
            edges.find(|edge| *edge > after)
        });
        let by_revocation = self.revoked_from().filter(|from| *from > after);
        by_grace.into_iter().chain(by_revocation).min().filter(|_| now < Stage::Unlicensed)
    }
}

/// Where a stage has come to, and when it last went down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub stage: Stage,
    pub stepped_down: Option<LeaseTime>,
}

impl Position {
    /// Where a license begins of which nothing is stored: a lost store gives back no more than one stage of five.
    pub(crate) fn beginning(target: Stage, now: LeaseTime) -> Self {
        let stage = target.min(Stage::QuietWarning);
        // A step that may have been taken long ago, and is not known any more, is taken now.
        Self { stage, stepped_down: (stage > Stage::Functional).then_some(now) }
    }

    /// Up at once, down one stage at a time.
    #[must_use]
    pub(crate) fn moved(self, target: Stage, now: LeaseTime) -> Self {
        if target <= self.stage {
            return Self { stage: target, ..self };
        }
        if now < self.free_to_step() {
            return self;
        }
        Self { stage: self.stage.down(), stepped_down: Some(now) }
    }

    /// From when it may go one stage down.
    pub(crate) fn free_to_step(self) -> LeaseTime {
        self.stepped_down.map_or(LeaseTime::default(), |at| at.plus_ms(BRAKE_MS))
    }
}
