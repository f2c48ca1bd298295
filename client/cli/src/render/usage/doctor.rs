//! `leasehold doctor`: the way out of usage files, step by step.

use leasehold_proto::v1;
use serde::Serialize;

use crate::render::{
    Document, given, or_empty,
    page::{Page, Tone},
    table::Cell,
};

/// The document of `leasehold doctor`.
#[derive(Clone, Debug, Serialize)]
pub struct DoctorDocument {
    /// A file could go out now.
    pub well: bool,
    /// Where files go; null where nothing says so.
    pub destination: Option<String>,
    /// The proxy, without its password; null where none is set.
    pub proxy: Option<String>,
    /// Every step in the order in which it is tested.
    pub steps: Vec<StepDocument>,
    /// What it comes to, in a sentence.
    pub message: String,
}

/// A step.
#[derive(Clone, Debug, Serialize)]
pub struct StepDocument {
    /// `configuration`, `name`, `connection`, `proxy`, `tls`, `destination`, `credentials` or `clock`.
    pub name: String,
    /// What is tested.
    pub title: String,
    /// `passed`, `failed`, `not-needed` or `not-reached`.
    pub state: String,
    /// What was found, or what is wrong.
    pub message: Option<String>,
    /// A stable code, where it failed.
    pub code: Option<String>,
    /// What to do, where it failed.
    pub remedy: Option<String>,
    /// How long it took.
    pub ms: u64,
}

impl From<v1::DoctorResponse> for DoctorDocument {
    fn from(answer: v1::DoctorResponse) -> Self {
        let step = |step: v1::DoctorStep| StepDocument {
            name: step.name,
            title: step.title,
            state: step.state,
            message: given(step.message),
            code: given(step.code),
            remedy: given(step.remedy),
            ms: step.ms,
        };
        Self {
            well: answer.well,
            destination: given(answer.destination),
            proxy: given(answer.proxy),
            steps: answer.steps.into_iter().map(step).collect(),
            message: answer.message,
        }
    }
}

impl Document for DoctorDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        page.line_in(if self.well { Tone::Good } else { Tone::Bad }, &self.message);
        page.fields(&[
            ("Destination", or_empty(&self.destination).to_owned()),
            ("Proxy", or_empty(&self.proxy).to_owned()),
        ]);
        page.gap();
        let row = |step: &StepDocument| {
            let (word, tone) = match step.state.as_str() {
                "passed" => ("passed", Tone::Good),
                "failed" => ("FAILED", Tone::Bad),
                "not-needed" => ("not needed", Tone::Dim),
                _ => ("not reached", Tone::Dim),
            };
            let ms = if step.state == "passed" { format!("{} ms", step.ms) } else { String::new() };
            vec![
                Cell::text(&step.title),
                Cell::text(word).tone(tone),
                Cell::right(ms).tone(Tone::Dim),
                Cell::prose(or_empty(&step.message)),
            ]
        };
        page.table(&["STEP", "RESULT", "TOOK", "WHAT WAS FOUND"], self.steps.iter().map(row).collect());
        for step in &self.steps {
            if let Some(remedy) = &step.remedy {
                page.gap();
                page.marked(Tone::Note, "hint", remedy);
            }
        }
    }
}
