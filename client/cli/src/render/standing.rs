//! How a site stands with its licensor: `leasehold standing`, and what `status` and `check-in` show of it.

mod license;
mod ready;

use leasehold_proto::v1;
use serde::Serialize;

pub use license::{CheckInFailureDocument, CheckInStatusDocument, LicenseStandingDocument};
pub use ready::ReadinessDocument;

use super::{
    At, Document, given,
    page::{Page, Tone},
    table::Cell,
};
use crate::clock::{self, Clock};

/// How the site stands; its stage is the worst of its licenses'.
#[derive(Clone, Debug, Serialize)]
pub struct StandingDocument {
    /// False where no license in effect asks for check-ins; the stage is 1 then.
    pub applies: bool,
    /// 1 (fully functional) to 6 (unlicensed).
    pub stage: u32,
    /// The stage that it is on its way to: one step down in 12 hours of running.
    pub target: u32,
    /// What the stage is called, such as `ports limited`.
    pub name: String,
    /// What is limited, since when, what comes next and what to do; null where nothing is to be said.
    pub message: Option<String>,
    /// At stage 6: leases other than call ports end then at the latest; null at others.
    pub leases_end_in_ms: Option<u64>,
    /// The licenses that ask for check-ins.
    pub licenses: Vec<LicenseStandingDocument>,
}

/// A stage to come.
#[derive(Clone, Debug, Serialize)]
pub struct StageAheadDocument {
    /// The stage.
    pub stage: u32,
    /// What it is called.
    pub name: String,
    /// When it comes, if the daemon runs and no check-in is answered with good standing.
    pub at: Option<At>,
    /// The license that brings it.
    pub license_id: String,
}

/// The document of `leasehold standing`.
#[derive(Clone, Debug, Serialize)]
pub struct StandingListDocument {
    /// How the site stands now.
    #[serde(flatten)]
    pub standing: StandingDocument,
    /// What dates go by on the server; null where it does not say.
    pub now: Option<At>,
    /// The stages to come are shown up to here; null: to the last one.
    pub until: Option<At>,
    /// The stage that the site has come to by then; null where no time was named.
    pub stage_by_then: Option<u32>,
    /// The stages to come if no check-in is answered, the next one first.
    pub ahead: Vec<StageAheadDocument>,
}

impl From<v1::StageAhead> for StageAheadDocument {
    fn from(ahead: v1::StageAhead) -> Self {
        Self { stage: ahead.stage, name: ahead.name, at: At::from_wire(ahead.at), license_id: ahead.license_id }
    }
}

impl From<v1::Standing> for StandingDocument {
    fn from(standing: v1::Standing) -> Self {
        Self {
            applies: standing.applies,
            stage: standing.stage,
            target: standing.target,
            name: standing.name,
            message: given(standing.message),
            leases_end_in_ms: Some(standing.leases_end_in_ms).filter(|_| standing.stage >= 6),
            licenses: standing.licenses.into_iter().map(Into::into).collect(),
        }
    }
}

/// The tone of a stage.
pub(super) const fn tone(stage: u32) -> Tone {
    match stage {
        0 | 1 => Tone::Good,
        2 => Tone::Warn,
        _ => Tone::Bad,
    }
}

/// What a stage means, in a few words. What really is limited is the daemon's to say.
const fn meaning(stage: u32) -> &'static str {
    match stage {
        1 => "nothing is limited",
        2 => "a notice in `leasehold status`",
        3 => "a notice on every answer of `leasehold`; application servers are told",
        4 => "supervisor keys are refused, and leave the leases that hold them",
        5 => "of each pool of call ports a fifth, at least 2; live calls go on",
        6 => "2 call ports in all and nothing else; live calls go on, other leases end",
        _ => "",
    }
}

impl StageAheadDocument {
    /// `stage 4 (supervisor disabled) follows on 2026-11-29 01:00 (in 7 days)`.
    pub(super) fn shown(&self, clock: &Clock) -> String {
        let on = self.at.map_or_else(String::new, |at| format!(" on {}", clock.moment_and_distance(at.0)));
        format!("stage {} ({}) follows{on}", self.stage, self.name)
    }
}

impl StandingDocument {
    /// `stage 3 of 6 (obtrusive warning)`.
    pub(super) fn shown(&self) -> String {
        format!("stage {} of 6 ({})", self.stage, self.name)
    }

    /// The license that brought the site where it is.
    fn worst(&self) -> Option<&LicenseStandingDocument> {
        self.licenses.iter().find(|license| license.stage == self.stage).or(self.licenses.first())
    }

    /// The next stage of the site.
    pub(super) fn next(&self) -> Option<&StageAheadDocument> {
        let worse = self.licenses.iter().filter_map(|license| license.next.as_ref());
        worse.filter(|next| next.stage > self.stage).min_by_key(|next| next.at.map(|at| at.0))
    }

    /// One line: the stage, what brought the site there, what follows.
    #[must_use]
    pub fn in_brief(&self, clock: &Clock) -> String {
        let mut text = format!("enforcement {}", self.shown());
        if let Some(license) = self.worst() {
            text.push_str(&format!(": {}", license.why(clock)));
        }
        // Without distances: the server's time, by which they count, is not asked for this.
        if let Some(next) = self.next() {
            let on = next.at.map_or_else(String::new, |at| format!(" on {}", clock.minute(at.0)));
            text.push_str(&format!("; stage {} ({}) follows{on}", next.stage, next.name));
        }
        if let Some(ms) = self.leases_end_in_ms.filter(|ms| *ms > 0) {
            text.push_str(&format!("; leases other than call ports end in {} at the latest", clock::duration(ms)));
        }
        text
    }

    /// Stage, and for each license how it stands and how its check-ins go. `clock` shows the server's time.
    pub(super) fn write(&self, page: &mut Page<'_>, clock: &Clock) {
        if !self.applies {
            page.line("no license in effect asks for check-ins: enforcement does not apply, and nothing is limited");
            return;
        }
        let state = match self.stage {
            0 | 1 => "the site is in good standing",
            2 | 3 => "the site is warned",
            _ => "the site is limited by enforcement",
        };
        page.line_in(tone(self.stage), &format!("{state}: {}", self.shown()));
        // In good standing that is what the table below says.
        let coming = self.licenses.iter().any(|license| license.ramp.is_some_and(|at| at.0 > clock.now().timestamp()));
        if let Some(message) = self.message.as_ref().filter(|_| self.stage >= 2 || coming) {
            page.line(message);
        }
        if self.target > self.stage {
            page.line(&format!(
                "on its way to stage {}: it goes one stage down in 12 hours of running, and no faster",
                self.target
            ));
        }
        if let Some(ms) = self.leases_end_in_ms.filter(|ms| *ms > 0 && self.message.is_none()) {
            page.marked(
                Tone::Bad,
                "leases",
                &format!("those other than call ports end in {} at the latest", clock::duration(ms)),
            );
        }
        for license in &self.licenses {
            page.gap();
            license.write(page, clock, self.licenses.len() > 1);
        }
    }

    /// A line on the check-ins of each license; named where there are several.
    pub(super) fn contacts(&self, clock: &Clock) -> Vec<String> {
        let several = self.licenses.len() > 1;
        let line = |license: &LicenseStandingDocument| {
            let brief = license.check_in.as_ref()?.in_brief(license.verdict.as_deref(), clock);
            Some(if several { format!("{}: {brief}", license.product) } else { brief })
        };
        self.licenses.iter().filter_map(line).collect()
    }

    /// What to do about check-ins that fail, each remedy once.
    pub(super) fn remedies(&self) -> Vec<&str> {
        let mut remedies: Vec<&str> =
            self.licenses.iter().filter_map(|license| license.check_in.as_ref()?.failure.as_ref()?.remedy()).collect();
        remedies.sort_unstable();
        remedies.dedup();
        remedies
    }
}

impl Document for StandingListDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        let here = page.clock();
        // Distances are the server's, whose time need not be this machine's.
        let clock = self.now.map_or_else(|| here.clone(), |now| here.at(now.0));
        self.standing.write(page, &clock);
        for remedy in self.standing.remedies() {
            page.gap();
            page.marked(Tone::Note, "hint", remedy);
        }
        if !self.standing.applies {
            return;
        }
        page.gap();
        let by = self.until.map_or_else(String::new, |until| format!(" by {}", clock.end(until.0)));
        if self.ahead.is_empty() {
            let stage = self.standing.stage;
            page.line(&match (self.until, stage) {
                (Some(_), _) => format!("without a good check-in the site stays at stage {stage}{by}"),
                (None, 6) => "nothing worse follows: this is the last stage".to_owned(),
                (None, _) => "no stage follows".to_owned(),
            });
            return;
        }
        page.line(&match self.stage_by_then {
            Some(stage) => format!("without a good check-in the site is at stage {stage}{by}:"),
            None => "if no check-in is answered with good standing:".to_owned(),
        });
        let row = |ahead: &StageAheadDocument| {
            let (on, distance) =
                ahead.at.map_or_else(<(String, String)>::default, |at| (clock.minute(at.0), clock.distance(at.0)));
            vec![
                Cell::text(on),
                Cell::text(distance),
                Cell::right(ahead.stage.to_string()).tone(tone(ahead.stage)),
                Cell::text(&ahead.name),
                Cell::prose(meaning(ahead.stage)),
            ]
        };
        page.table(&["FROM", "THAT IS", "STAGE", "NAME", "WHAT IT MEANS"], self.ahead.iter().map(row).collect());
    }
}
