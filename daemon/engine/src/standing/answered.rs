//! What the licensor answered, and what was asked of it by file (05, The exchange). Whether an answer is genuine and answers
//! the outstanding request is judged before it comes here.

use leasehold_keys::{activation::LicenseId, time::WallTime};

use super::{Answer, Asked, LicenseStanding, SiteStanding, StageAhead, StandingRow, Verdict};
use crate::{
    command::CheckedIn,
    decision::Reply,
    engine::{Engine, Turn},
    refusal::Refusal,
    row::Row,
    time::Now,
};

/// Bytes of the licensor's message that are kept.
const MESSAGE_MAX: usize = 1_000;

impl Turn<'_> {
    /// The row of a license, or the one that it begins with; of a license of which nothing is known there is none.
    fn standing_of(&self, license: LicenseId) -> Result<(Option<StandingRow>, StandingRow), Refusal> {
        let state = &self.engine.state;
        match state.standings.get(&license) {
            Some(row) => Ok((Some(row.clone()), row.clone())),
            None if state.files.contains_key(&license) => Ok((None, self.new_standing(license))),
            None => Err(Refusal::LicenseUnknown(license.to_string())),
        }
    }

    fn put_standing(&mut self, before: Option<StandingRow>, after: StandingRow) {
        if before.as_ref() != Some(&after) {
            let row = |row: StandingRow| Row::Standing(Box::new(row));
            self.change(before.map(row), Some(row(after)));
        }
    }

    pub(crate) fn checked_in(&mut self, told: CheckedIn) -> Result<Reply, Refusal> {
        let (before, mut row) = self.standing_of(told.license_id)?;
        if let Some(last) = row.answer {
            if last.counter == told.counter && last.sha256 == told.answer {
                // The same answer again, since its first taking was not heard of.
                return Ok(Reply::Done);
            }
            if told.counter < last.counter {
                let fault = format!(
                    "it answers request {}, and an answer to request {} has been taken since; make a new request",
                    told.counter, last.counter
                );
                return Err(Refusal::Malformed { field: "counter".into(), fault });
            }
        }
        if told.previous != row.answer.map(|last| last.sha256) {
            let fault = format!(
                "it answers request {}, and an answer to another one has been taken since that was made; make a new request",
                told.counter
            );
            return Err(Refusal::Malformed { field: "previous".into(), fault });
        }
        match told.verdict {
            Verdict::Good => {
                row.last_good = Some(self.counts_from(row.last_good, told.at));
                row.verdict = Some(Verdict::Good);
            }
            // Only a good answer takes a revocation back.
            Verdict::Duplicate if matches!(row.verdict, Some(Verdict::Revoked { .. })) => {}
            Verdict::Duplicate => row.verdict = Some(Verdict::Duplicate),
            Verdict::Revoked { from } => {
                if told.at < from {
                    // Until then the license is in good standing: whoever is given notice is not wound down before it is over.
                    row.last_good = Some(self.counts_from(row.last_good, told.at));
                }
                row.verdict = Some(Verdict::Revoked { from });
            }
        }
        row.answer = Some(Answer { at: self.now.wall, counter: told.counter, sha256: told.answer });
        row.counter = row.counter.max(told.counter);
        // What was asked before it came quotes another answer.
        row.asked = None;
        row.message = bounded(told.message);
        self.put_standing(before, row);
        self.refresh_grants();
        Ok(Reply::Done)
    }

    /// An answer that came by file may be older than another one that counts; but one that is dated ahead of trusted time was
    /// taken by a clock that has been set right since.
    fn counts_from(&self, known: Option<WallTime>, at: WallTime) -> WallTime {
        known.filter(|known| *known <= self.now.confirmed()).map_or(at, |known| known.max(at))
    }

    pub(crate) fn asked(&mut self, license: LicenseId, asked: Asked) -> Result<Reply, Refusal> {
        let (before, mut row) = self.standing_of(license)?;
        row.counter = row.counter.max(asked.counter);
        row.asked = Some(asked);
        self.put_standing(before, row);
        self.refresh_grants();
        Ok(Reply::Done)
    }
}

fn bounded(mut message: String) -> String {
    if message.len() > MESSAGE_MAX {
        let end = (0..=MESSAGE_MAX).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
        message.truncate(end);
    }
    message
}

impl Engine {
    /// The standing of the site and of each license that enforcement applies to (05).
    pub fn standing(&self, now: Now) -> SiteStanding {
        let (state, date) = (&self.state, now.confirmed());
        let licenses: Vec<LicenseStanding> = state
            .enforced_files(now)
            .into_iter()
            .map(|file| {
                let license = file.terms.license_id;
                let (row, facts) = (state.standings.get(&license), state.facts_of(file));
                let target = facts.target(date);
                let position = state.position_of(license);
                let stage = position.map_or_else(|| target.min(super::Stage::QuietWarning), |position| position.stage);
                let braked = position.filter(|_| target > stage).map(|it| it.free_to_step().ms_since(now.lease));
                LicenseStanding {
                    license,
                    sequence: file.terms.sequence,
                    product: file.terms.product.clone(),
                    account: file.terms.account.clone(),
                    stage,
                    target,
                    since: facts.since(),
                    ramp: file.terms.ramp,
                    grace_days: file.terms.grace_days,
                    endpoint: file.terms.check_in_endpoint.clone(),
                    last_good: facts.last_good,
                    verdict: facts.verdict,
                    next: state.next_of_license(file, now),
                    braked_ms: braked.filter(|ms| *ms > 0),
                    row: row.cloned(),
                }
            })
            .collect();
        SiteStanding {
            stage: state.enforcement.stage,
            target: licenses.iter().map(|license| license.target).max().unwrap_or_default(),
            leases_end_in_ms: state.enforcement.ends.map(|at| at.ms_since(now.lease)),
            licenses,
        }
    }

    /// The stages that the site comes to up to a date, were the daemon to run and no check-in answered until then.
    pub fn standing_ahead(&self, now: Now, until: WallTime) -> Vec<StageAhead> {
        self.state.stages_ahead(now, until, usize::MAX)
    }

    /// What is remembered of a license ID's check-ins, whether or not a file of it is in effect.
    pub fn standing_row(&self, license: LicenseId) -> Option<&StandingRow> {
        self.state.standings.get(&license)
    }
}
