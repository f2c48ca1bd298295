//! How the standing of the licenses follows time and files: which licenses it applies to, the step that is due now, what the
//! worst of them makes of the site, and when to look again.

use leasehold_keys::{
    activation::{FileKind, LicenseId},
    definition::Role,
    time::{DAY_MS, WallTime},
};

use super::{
    Stage, StageAhead, StandingRow, Verdict,
    effect::{Enforced, LEASES_KEPT_MS},
    heart::{Facts, Position},
};
use crate::{
    decision::{Event, Notice, StandingTold, Told},
    engine::{Engine, Turn},
    refusal::{Cause, Enforcement},
    row::{FileRow, Row},
    state::State,
    time::{LeaseTime, Now},
};

/// When the standing is to be looked at next, whatever else happens.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Due {
    /// A date on which some license gets worse.
    date: Option<WallTime>,
    /// The end of a brake, or of the leases that stage 6 leaves.
    moment: Option<LeaseTime>,
    /// It was looked at by this date: should trusted time be lowered, it is looked at again.
    looked: WallTime,
}

/// A row whose license no file names is forgotten so many days after anything happened to it.
const KEPT_DAYS: i64 = 400;
/// More changes than stages and licenses could ever bring.
const AHEAD_MAX: usize = 4_096;

/// One license on its way.
#[derive(Clone, Copy)]
struct Walker {
    license: LicenseId,
    facts: Facts,
    position: Position,
}

impl State {
    /// Base files of products whose files in effect grant virtual cloud: enforcement applies to them, by license ID.
    pub(crate) fn enforced_files(&self, now: Now) -> Vec<&FileRow> {
        let in_effect: Vec<&FileRow> = self.files_in_effect(now).collect();
        let grants = |product| {
            let of_product = in_effect.iter().filter(|file| file.terms.product == product);
            of_product.into_iter().any(|file| file.terms.grants_role(Role::VirtualCloud))
        };
        let base = |file: &&&FileRow| file.terms.kind == FileKind::Base && grants(file.terms.product.clone());
        in_effect.iter().filter(base).copied().collect()
    }

    /// What a license's stage depends on.
    pub(crate) fn facts_of(&self, file: &FileRow) -> Facts {
        let row = self.standings.get(&file.terms.license_id);
        Facts {
            ramp: file.terms.ramp,
            // Neither issue nor load takes 0.
            grace_ms: file.terms.grace_days.filter(|days| *days > 0).map(|days| i64::from(days) * DAY_MS),
            last_good: row.and_then(|row| row.last_good),
            verdict: row.and_then(|row| row.verdict),
        }
    }

    pub(crate) fn position_of(&self, license: LicenseId) -> Option<Position> {
        let row = self.standings.get(&license)?;
        Some(Position { stage: row.stage, stepped_down: row.stepped_down })
    }

    /// The stages that the site comes to without a check-in after now, up to a date, were the daemon to run all the time.
    pub(crate) fn stages_ahead(&self, now: Now, until: WallTime, most: usize) -> Vec<StageAhead> {
        self.ahead_of(&self.enforced_files(now), now, until, most)
    }

    /// The next stage of one license.
    pub(crate) fn next_of_license(&self, file: &FileRow, now: Now) -> Option<StageAhead> {
        self.ahead_of(&[file], now, WallTime::from_ms(i64::MAX), 1).first().copied()
    }

    fn ahead_of(&self, files: &[&FileRow], now: Now, until: WallTime, most: usize) -> Vec<StageAhead> {
        let date = now.confirmed();
        let start = |file: &&FileRow| {
            let (license, facts) = (file.terms.license_id, self.facts_of(file));
            let position = self.position_of(license);
            let position = position.unwrap_or_else(|| Position::beginning(facts.target(date), now.lease));
            Walker { license, facts, position }
        };
        let mut walkers: Vec<Walker> = files.iter().map(start).collect();
        let mut ahead = Vec::new();
        let mut site = walkers.iter().map(|walker| walker.position.stage).max().unwrap_or_default();
        let (mut at, mut lease) = (date, now.lease);
        for _ in 0..AHEAD_MAX {
            let next = walkers.iter().filter_map(|walker| walker.next_look(at, lease)).min();
            let Some(next) = next.filter(|next| *next <= until && ahead.len() < most) else {
                break;
            };
            lease = lease.plus_ms(u64::try_from(next.as_ms().saturating_sub(at.as_ms())).unwrap_or(0));
            at = next;
            for walker in &mut walkers {
                walker.position = walker.position.moved(walker.facts.target(at), lease);
                if walker.position.stage > site {
                    site = walker.position.stage;
                    ahead.push(StageAhead { stage: site, at, license: walker.license });
                }
            }
        }
        ahead
    }
}

impl Walker {
    /// When it may come to another stage next, by itself, after a moment at which it was looked at.
    fn next_look(&self, at: WallTime, lease: LeaseTime) -> Option<WallTime> {
        let braked = (self.facts.target(at) > self.position.stage)
            .then(|| at.plus_ms(i64::try_from(self.position.free_to_step().ms_since(lease)).unwrap_or(i64::MAX)));
        let worse = self.facts.next_worse(at);
        // A date between now and the end of the brake changes nothing by then.
        braked.or(worse)
    }
}

impl Engine {
    /// True where a date or moment of the standing has come, or trusted time was lowered.
    pub(crate) fn standing_is_due(&self, now: Now) -> bool {
        let Due { date, moment, looked } = self.standing_due;
        let at = now.confirmed();
        date.is_some_and(|date| date <= at) || moment.is_some_and(|moment| moment <= now.lease) || at < looked
    }

    /// When the standing is to be looked at next.
    pub(crate) fn next_standing_moment(&self, now: Now) -> Option<LeaseTime> {
        let at = now.confirmed();
        let by_date = |date: WallTime| now.lease.plus_ms(u64::try_from(date.as_ms() - at.as_ms()).unwrap_or(0));
        self.standing_due
            .date
            .map(by_date)
            .into_iter()
            .chain(self.standing_due.moment)
            .chain(self.stage_end_due())
            .min()
    }

    /// What is said of the site's standing; `before`: the stage that it was at. None where enforcement does not apply and did
    /// not.
    pub(crate) fn standing_told(&self, before: Stage, now: Now) -> Option<StandingTold> {
        let enforced = &self.state.enforcement;
        if !enforced.applies && before == Stage::Functional {
            return None;
        }
        Some(StandingTold {
            before,
            stage: enforced.stage,
            why: enforced.why.clone(),
            next: self.state.stages_ahead(now, WallTime::from_ms(i64::MAX), 1).first().copied(),
            leases_end_in_ms: enforced.ends.map(|at| at.ms_since(now.lease)),
        })
    }
}

impl Turn<'_> {
    /// Notes what time and files have made of each license's standing (`steps`), and what the worst of them makes of the site.
    pub(crate) fn look_at_standing(&mut self, steps: bool) {
        let now = self.now;
        let before = self.engine.state.enforcement.clone();
        if steps {
            self.step_standings();
        }
        let (enforced, due) = (self.enforced(), self.due());
        self.engine.state.enforcement = enforced;
        self.engine.standing_due = due;
        let after = &self.engine.state.enforcement;
        let (stage, ends) = (after.stage, after.ends);
        if stage == before.stage && ends == before.ends {
            return;
        }
        if before.stage.max(stage) >= Stage::SupervisorDisabled {
            self.engine.begin_sweep();
        }
        if stage != before.stage
            && let Some(told) = self.engine.standing_told(before.stage, now)
        {
            self.out.events.push(Event { to: None, what: Told::Standing(Box::new(told.clone())) });
            self.out.notices.push(Notice::Standing(Box::new(told)));
        }
    }

    /// Up at once, down one stage where the brake lets it. A standby serves nothing and need not check in: it keeps what it
    /// has, and begins where it left off when it is promoted.
    fn step_standings(&mut self) {
        let (now, date) = (self.now, self.now.confirmed());
        let standby = self.engine.state.is_standby(now);
        let licenses: Vec<(LicenseId, Stage)> = self
            .engine
            .state
            .enforced_files(now)
            .iter()
            .map(|file| (file.terms.license_id, self.engine.state.facts_of(file).target(date)))
            .collect();
        for (license, target) in licenses {
            let Some(row) = self.engine.state.standings.get(&license).cloned() else {
                if !standby {
                    let row = self.new_standing(license);
                    self.change(None, Some(Row::Standing(Box::new(row))));
                }
                continue;
            };
            let position = Position { stage: row.stage, stepped_down: row.stepped_down };
            let moved = position.moved(target, now.lease);
            if moved == position || standby && moved.stage > position.stage {
                continue;
            }
            let after =
                StandingRow { stage: moved.stage, stepped_down: moved.stepped_down, reached: date, ..row.clone() };
            self.change(Some(Row::Standing(Box::new(row))), Some(Row::Standing(Box::new(after))));
        }
    }

    /// The row of a license of which nothing is stored.
    pub(crate) fn new_standing(&self, license: LicenseId) -> StandingRow {
        let (now, date) = (self.now, self.now.confirmed());
        let files = self.engine.state.enforced_files(now);
        let file = files.into_iter().find(|file| file.terms.license_id == license);
        let target = file.map_or(Stage::Functional, |file| self.engine.state.facts_of(file).target(date));
        let position = Position::beginning(target, now.lease);
        StandingRow {
            license_id: license,
            stage: position.stage,
            reached: date,
            stepped_down: position.stepped_down,
            last_good: None,
            verdict: None,
            counter: 0,
            answer: None,
            asked: None,
            message: String::new(),
        }
    }

    /// What the licenses that enforcement applies to come to: the worst counts.
    fn enforced(&self) -> Enforced {
        let (state, date) = (&self.engine.state, self.now.confirmed());
        let mut enforced = Enforced::default();
        for file in state.enforced_files(self.now) {
            enforced.applies = true;
            let Some(row) = state.standings.get(&file.terms.license_id) else {
                continue;
            };
            if row.stage == Stage::Unlicensed {
                let ends = row.stepped_down.unwrap_or_default().plus_ms(LEASES_KEPT_MS);
                enforced.ends = Some(enforced.ends.map_or(ends, |other| other.min(ends)));
            }
            if row.stage > enforced.stage {
                enforced.stage = row.stage;
                enforced.why = Some(why(file, row, state.facts_of(file), date));
            }
        }
        enforced
    }

    fn due(&self) -> Due {
        let (state, now, looked) = (&self.engine.state, self.now, self.now.confirmed());
        let standby = state.is_standby(now);
        let mut due = Due { looked, ..Due::default() };
        for file in state.enforced_files(now) {
            let facts = state.facts_of(file);
            let date = facts.next_worse(looked).filter(|_| !standby);
            due.date = due.date.into_iter().chain(date).min();
            let moment = match state.position_of(file.terms.license_id) {
                _ if standby => None,
                // Taken back with what was not committed: it is made again at once.
                None => Some(now.lease),
                Some(position) => (facts.target(looked) > position.stage).then(|| position.free_to_step()),
            };
            due.moment = due.moment.into_iter().chain(moment).min();
        }
        due
    }

    /// An application server that attaches hears of a stage that it must show or will feel (05, stage 3 on).
    pub(crate) fn tell_standing_to(&mut self, holder: crate::ids::HolderId) {
        let stage = self.engine.state.enforcement.stage;
        if stage >= Stage::ObtrusiveWarning
            && let Some(told) = self.engine.standing_told(stage, self.now)
        {
            self.out.events.push(Event { to: Some(holder), what: Told::Standing(Box::new(told)) });
        }
    }

    /// Forgets licenses that no file names and to which nothing has happened for 400 days.
    pub(crate) fn forget_old_standings(&mut self) {
        let (state, date) = (&self.engine.state, self.now.confirmed());
        let old = |row: &&StandingRow| {
            let touched =
                [Some(row.reached), row.last_good, row.answer.map(|answer| answer.at), row.asked.map(|it| it.at)];
            let last = touched.into_iter().flatten().max().unwrap_or(row.reached);
            !state.files.contains_key(&row.license_id) && last.plus_ms(KEPT_DAYS * DAY_MS) <= date
        };
        let gone: Vec<StandingRow> = state.standings.values().filter(old).cloned().collect();
        for row in gone {
            self.change(Some(Row::Standing(Box::new(row))), None);
        }
    }
}

/// What brought a license to a stage other than the first.
fn why(file: &FileRow, row: &StandingRow, facts: Facts, date: WallTime) -> Enforcement {
    let counted = facts.since().unwrap_or(row.reached);
    let (cause, since) = match row.verdict {
        Some(Verdict::Revoked { from }) if facts.is_revoked(date) => (Cause::Revoked, from),
        Some(Verdict::Duplicate) => (Cause::Duplicate, counted),
        _ if row.last_good.is_some_and(|good| good >= counted) => (Cause::Silent, counted),
        _ => (Cause::Never, counted),
    };
    Enforcement { stage: row.stage, license: row.license_id, product: file.terms.product.clone(), cause, since }
}
