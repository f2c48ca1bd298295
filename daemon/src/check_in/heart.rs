//! When each license checks in, as a machine that is driven from outside: it is given what asks for check-ins, the time and the
//! dice, and reads neither clock nor file. Every 12 hours, give or take a tenth, so that sites that began together do not ask
//! together; at once after a start, a switchover and a change of activation files; after a failure in a minute at first and an
//! hour at most. And which request is open: an answer to it counts once, within five minutes.

use std::collections::{BTreeMap, BTreeSet};

use leasehold_engine::time::{HOUR_MS, LeaseTime, Now, WallTime};
use leasehold_keys::{
    activation::LicenseId,
    check_in::{CheckInAnswer, Outstanding},
    digest::Sha256,
};
use serde::{Deserialize, Serialize};

use super::trouble::Trouble;
use crate::way_out::{WAIT_MAX_MS, next_wait_ms};

/// Between two check-ins that were answered.
const EVERY_MS: u64 = 12 * HOUR_MS.unsigned_abs();
/// So much more or less at most.
const SPREAD: f64 = 0.1;
/// An answer counts for so long after its request, by the boot-time clock.
pub(super) const ANSWER_MAX_MS: u64 = 300_000;

/// What a look at the engine found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Occasion {
    /// The licenses that check in.
    pub(super) licenses: BTreeSet<LicenseId>,
    /// All activation files that are there.
    pub(super) files: BTreeSet<(LicenseId, Sha256)>,
    /// This server is the active one.
    pub(super) active: bool,
}

/// Attempts of one license, as they outlast a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct Attempts {
    /// Failed ones in a row.
    pub(super) failed: u32,
    pub(super) wait_ms: u64,
    /// When the last failed.
    pub(super) at: WallTime,
    /// Why; `None` where it did not.
    pub(super) trouble: Option<Trouble>,
}

/// One license.
#[derive(Clone, Debug, Default)]
struct Course {
    attempts: Attempts,
    due: LeaseTime,
    /// The request that is open, and when it was made.
    open: Option<(Outstanding, LeaseTime)>,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When.
    pub at: WallTime,
    /// Why.
    pub trouble: Trouble,
    /// How many in a row, this one among them.
    pub attempts: u32,
}

/// How check-ins of a license go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Why the last attempt failed; `None` where it did not.
    pub failure: Option<Failure>,
    /// About when the next is made; `None` where one is under way, or none is to be.
    pub next: Option<WallTime>,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This license checks in.
    Ask(LicenseId),
    /// Nothing before then; `None`: nothing checks in.
    Wait(Option<LeaseTime>),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Heart {
    courses: BTreeMap<LicenseId, Course>,
    /// As it was seen last.
    seen: Option<Occasion>,
    /// What is remembered of licenses before they are seen.
    remembered: BTreeMap<LicenseId, Attempts>,
}

impl Heart {
    /// Goes on from what was remembered over a restart.
    pub(super) fn new(remembered: BTreeMap<LicenseId, Attempts>) -> Self {
        Self { remembered, ..Self::default() }
    }

    /// Takes what there is. What is new is an occasion for every license: the licensor may know more than before, and is
    /// told.
    pub(super) fn look(&mut self, found: Occasion, now: Now) {
        self.courses.retain(|license, _| found.licenses.contains(license));
        let news = self.seen.as_ref() != Some(&found);
        if news {
            for license in &found.licenses {
                let attempts = self.remembered.remove(license).unwrap_or_default();
                let course = self.courses.entry(*license).or_insert(Course { attempts, ..Course::default() });
                course.due = now.lease;
            }
            self.seen = Some(found);
        }
    }

    /// What is to be done now.
    pub(super) fn next(&self, now: Now) -> Next {
        let first = self.courses.iter().min_by_key(|(_, course)| course.due);
        match first {
            Some((license, course)) if course.due <= now.lease => Next::Ask(*license),
            first => Next::Wait(first.map(|(_, course)| course.due)),
        }
    }

    /// This request went out.
    pub(super) fn asked(&mut self, asked: Outstanding, now: Now) {
        if let Some(course) = self.courses.get_mut(&asked.license_id) {
            course.open = Some((asked, now.lease));
        }
    }

    /// Whether an answer, whose signatures are good, is one to the open request of a license. Whatever it is, none is open
    /// afterwards. What of it is known: how many milliseconds after its request it came.
    pub(super) fn judge(&mut self, license: LicenseId, answer: &CheckInAnswer, now: Now) -> Result<u64, Trouble> {
        let open = self.courses.get_mut(&license).and_then(|course| course.open.take());
        let Some((asked, at)) = open else {
            return Err(Trouble::NotAsked { license: answer.license_id.to_string() });
        };
        answer.fits(&asked).map_err(|refusal| Trouble::of(&refusal))?;
        let after_ms = now.lease.ms_since(at);
        if after_ms > ANSWER_MAX_MS {
            return Err(Trouble::Late { after_s: after_ms.div_ceil(1_000) });
        }
        Ok(after_ms)
    }

    /// An answer counted. `roll`: 0 up to 1.
    pub(super) fn answered(&mut self, license: LicenseId, now: Now, roll: f64) {
        if let Some(course) = self.courses.get_mut(&license) {
            let off = (EVERY_MS as f64 * SPREAD) * (2.0 * roll.clamp(0.0, 1.0) - 1.0);
            let due = now.lease.plus_ms((EVERY_MS as f64 + off) as u64);
            *course = Course { due, ..Course::default() };
        }
    }

    /// An attempt failed. `roll`: 0 up to 1.
    pub(super) fn failed(&mut self, license: LicenseId, trouble: Trouble, now: Now, roll: f64) {
        if let Some(Course { attempts, due, open }) = self.courses.get_mut(&license) {
            *open = None;
            let asked_ms = trouble.retry_after_s().unwrap_or(0).saturating_mul(1_000);
            attempts.wait_ms = next_wait_ms(attempts.wait_ms, roll).max(asked_ms).min(WAIT_MAX_MS);
            attempts.failed = attempts.failed.saturating_add(1);
            (attempts.at, attempts.trouble) = (now.wall, Some(trouble));
            *due = now.lease.plus_ms(attempts.wait_ms);
        }
    }

    /// The licenses that check in.
    pub(super) fn licenses(&self) -> Vec<LicenseId> {
        self.courses.keys().copied().collect()
    }

    /// What is to outlast a restart: of licenses that are to be seen again, too.
    pub(super) fn remembered(&self) -> BTreeMap<LicenseId, Attempts> {
        let failed = self.courses.iter().filter(|(_, course)| course.attempts.trouble.is_some());
        let mut all = self.remembered.clone();
        all.extend(failed.map(|(license, course)| (*license, course.attempts.clone())));
        all
    }

    /// For people: about when it is tried again is told by the wall clock of now.
    pub(super) fn view(&self, license: LicenseId, now: Now) -> View {
        let Some(course) = self.courses.get(&license) else { return View::default() };
        let left_ms = course.due.ms_since(now.lease);
        let Attempts { failed, at, trouble, .. } = course.attempts.clone();
        View {
            failure: trouble.map(|trouble| Failure { at, trouble, attempts: failed }),
            next: course.open.is_none().then(|| now.wall.plus_ms(i64::try_from(left_ms).unwrap_or(i64::MAX))),
        }
    }
}
