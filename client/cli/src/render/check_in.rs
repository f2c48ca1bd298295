//! `leasehold check-in`: what came of check-ins, requests to be carried by hand, answers taken from files.

use leasehold_proto::v1;
use serde::Serialize;

use super::{
    At, Document, given,
    page::{Page, Tone, clean, counted},
    standing::{StandingDocument, tone},
};

/// The document of `leasehold check-in`.
#[derive(Clone, Debug, Serialize)]
pub struct CheckInDocument {
    /// What came of it, license by license.
    pub outcomes: Vec<CheckInOutcomeDocument>,
    /// How the site stands after it; null where the daemon does not say.
    pub standing: Option<StandingDocument>,
}

/// What came of the check-in of a license.
#[derive(Clone, Debug, Serialize)]
pub struct CheckInOutcomeDocument {
    /// The license.
    pub license_id: String,
    /// `good`, `duplicate` or `revoked`; null where it failed.
    pub verdict: Option<String>,
    /// The same in words, or why it failed.
    pub message: Option<String>,
    /// What to do; null where nothing is to be done.
    pub remedy: Option<String>,
    /// A stable code, where it failed.
    pub code: Option<String>,
    /// Newer roots that came with the answer.
    pub roots_taken: Vec<String>,
    /// Newer activation files that came with it.
    pub files_taken: Vec<String>,
}

impl CheckInOutcomeDocument {
    /// In good standing.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.verdict.as_deref() == Some("good")
    }

    fn write(&self, product: Option<&str>, page: &mut Page<'_>) {
        let license = match product {
            Some(product) => format!("{product} ({})", self.license_id),
            None => self.license_id.clone(),
        };
        let message = self.message.as_deref().map_or_else(String::new, |message| format!(": {message}"));
        match (self.verdict.as_deref(), &self.code) {
            (Some("good"), _) if message.is_empty() => {
                page.line_in(Tone::Good, &format!("{license} is in good standing"));
            }
            (Some("good"), _) => page.line_in(Tone::Good, &format!("{license}{message}")),
            (Some(other), _) => page.marked(Tone::Bad, &other.to_uppercase(), &format!("{license}{message}")),
            (None, Some(code)) => {
                page.marked(Tone::Bad, "FAILED", &format!("{license} did not check in ({code}){message}"));
            }
            (None, None) => page.marked(Tone::Bad, "FAILED", &format!("{license} did not check in{message}")),
        }
        for (what, names) in [("root", &self.roots_taken), ("file", &self.files_taken)] {
            if !names.is_empty() {
                let count = counted(names.len() as u64, &format!("newer {what}"), &format!("newer {what}s"));
                page.line(&format!("with it came {count}: {}", names.join(", ")));
            }
        }
        if let Some(remedy) = &self.remedy {
            page.marked(Tone::Note, "hint", remedy);
        }
    }
}

impl From<v1::CheckInOutcome> for CheckInOutcomeDocument {
    fn from(outcome: v1::CheckInOutcome) -> Self {
        Self {
            license_id: outcome.license_id,
            verdict: given(outcome.verdict),
            message: given(outcome.message),
            remedy: given(outcome.remedy),
            code: given(outcome.code),
            roots_taken: outcome.roots_taken,
            files_taken: outcome.files_taken,
        }
    }
}

impl From<v1::CheckInResponse> for CheckInDocument {
    fn from(answer: v1::CheckInResponse) -> Self {
        Self {
            outcomes: answer.outcomes.into_iter().map(Into::into).collect(),
            standing: answer.standing.map(Into::into),
        }
    }
}

/// The product of a license, where it is known.
fn product<'s>(standing: Option<&'s StandingDocument>, license_id: &str) -> Option<&'s str> {
    let license = standing?.licenses.iter().find(|license| license.license_id == license_id)?;
    Some(&license.product)
}

/// The stage after it, in one line.
fn write_stage(standing: Option<&StandingDocument>, page: &mut Page<'_>) {
    let Some(standing) = standing else { return };
    if !standing.applies {
        page.line("no license in effect asks for check-ins");
    } else if standing.stage <= 1 {
        page.line_in(Tone::Good, &format!("the site is at {}", standing.shown()));
    } else {
        let brief = standing.in_brief(page.clock());
        page.marked(tone(standing.stage), "notice", &brief);
    }
}

impl Document for CheckInDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        let standing = self.standing.as_ref();
        for outcome in &self.outcomes {
            outcome.write(product(standing, &outcome.license_id), page);
        }
        write_stage(standing, page);
    }
}

/// The document of `leasehold check-in --request FILE`.
#[derive(Clone, Debug, Serialize)]
pub struct CheckInRequestDocument {
    /// Where the request is.
    pub file: String,
    /// An answer to it counts until then.
    pub answer_by: Option<At>,
}

impl Document for CheckInRequestDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        page.line_in(Tone::Strong, &format!("{}: a check-in request", clean(&self.file)));
        if let Some(by) = self.answer_by {
            let by = page.clock().moment_and_distance(by.0);
            page.line(&format!("its answer counts once, until {by}; a later request takes its place"));
        }
        page.marked(
            Tone::Note,
            "hint",
            "send it to the licensor; `leasehold check-in --answer FILE` takes the answer that comes back",
        );
    }
}

/// The document of `leasehold check-in --answer FILE`.
#[derive(Clone, Debug, Serialize)]
pub struct CheckInAnswerDocument {
    /// `answer` or `time-note`.
    pub kind: String,
    /// What it says in words; null where nothing is to be said besides.
    pub message: Option<String>,
    /// What came of an answer; null for a time note.
    pub outcome: Option<CheckInOutcomeDocument>,
    /// How the site stands after it; null where the daemon does not say.
    pub standing: Option<StandingDocument>,
}

impl From<v1::TakeCheckInAnswerResponse> for CheckInAnswerDocument {
    fn from(answer: v1::TakeCheckInAnswerResponse) -> Self {
        Self {
            kind: answer.kind,
            message: given(answer.message),
            outcome: answer.outcome.map(Into::into),
            standing: answer.standing.map(Into::into),
        }
    }
}

impl Document for CheckInAnswerDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        let standing = self.standing.as_ref();
        match &self.outcome {
            Some(CheckInOutcomeDocument { code: Some(code), message, remedy, .. }) => {
                let message = self.message.as_ref().or(message.as_ref()).map_or("", String::as_str);
                page.marked(Tone::Bad, "REFUSED", &format!("({code}) {message}"));
                if let Some(remedy) = remedy {
                    page.marked(Tone::Note, "hint", remedy);
                }
            }
            Some(outcome) => {
                outcome.write(product(standing, &outcome.license_id), page);
            }
            None => page.line(self.message.as_deref().unwrap_or("the time note was taken")),
        }
        write_stage(standing, page);
    }
}
