//! `leasehold usage export`: what a bundle holds and what it lacks. The manifest inside of a bundle is the same document.

use leasehold_proto::v1;
use serde::Serialize;

use crate::render::{
    At, Document, given,
    page::{Page, Tone, counted, size},
};

/// The document of `leasehold usage export`.
#[derive(Clone, Debug, Serialize)]
pub struct ExportDocument {
    /// Where the bundle is; null where none was written.
    pub file: Option<String>,
    /// What it holds.
    #[serde(flatten)]
    pub manifest: Manifest,
}

/// What a bundle holds: `manifest.json` in it.
#[derive(Clone, Debug, Serialize)]
pub struct Manifest {
    /// The billing period, by the month in which it ends.
    pub period: String,
    /// When it begins.
    pub from: Option<At>,
    /// When it ends.
    pub until: Option<At>,
    /// Its first day by the site's calendar.
    pub first_day: String,
    /// Its last day.
    pub last_day: String,
    /// The files are due before.
    pub due: Option<At>,
    /// That day by the site's calendar.
    pub due_day: String,
    /// The zone in which the period runs.
    pub time_zone: String,
    /// The installation that makes the bundle.
    pub installation_id: String,
    /// The period has ended.
    pub over: bool,
    /// Whether nothing is missing.
    pub complete: bool,
    /// The files in it, the oldest first.
    pub files: Vec<BundledFile>,
    /// What is missing or still open.
    pub gaps: Vec<GapDocument>,
}

/// A usage file in a bundle.
#[derive(Clone, Debug, Serialize)]
pub struct BundledFile {
    /// Its name in the bundle.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// Sealed records in it.
    pub records: u64,
    /// Logons, logoffs and changes of keys in them.
    pub events: u64,
    /// When it began.
    pub began: Option<At>,
    /// When it was closed.
    pub closed: Option<At>,
    /// The license that it reports on.
    pub license_id: String,
    /// When the licensor's receipt for it was taken; null where there is none.
    pub acknowledged: Option<At>,
}

/// Something of a period that a bundle lacks.
#[derive(Clone, Debug, Serialize)]
pub struct GapDocument {
    /// `period-not-over`, `open`, `missing` or `taken-away`.
    pub kind: String,
    /// The file, where one is meant.
    pub file: Option<String>,
    /// One sentence.
    pub message: String,
}

impl From<v1::UsageManifest> for Manifest {
    fn from(manifest: v1::UsageManifest) -> Self {
        let file = |file: v1::UsageFile| BundledFile {
            name: file.name,
            bytes: file.bytes,
            sha256: file.sha256,
            records: file.records,
            events: file.events,
            began: At::from_wire(file.began),
            closed: At::from_wire(file.closed),
            license_id: file.license_id,
            acknowledged: At::from_wire(file.acknowledged),
        };
        let gap = |gap: v1::UsageGap| GapDocument { kind: gap.kind, file: given(gap.file), message: gap.message };
        Self {
            period: manifest.period,
            from: At::from_wire(manifest.from),
            until: At::from_wire(manifest.until),
            first_day: manifest.first_day,
            last_day: manifest.last_day,
            due: At::from_wire(manifest.due),
            due_day: manifest.due_day,
            time_zone: manifest.time_zone,
            installation_id: manifest.installation_id,
            over: manifest.over,
            complete: manifest.gaps.is_empty(),
            files: manifest.files.into_iter().map(file).collect(),
            gaps: manifest.gaps.into_iter().map(gap).collect(),
        }
    }
}

impl Document for ExportDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        let Manifest { period, first_day, last_day, time_zone, due, due_day, files, gaps, .. } = &self.manifest;
        let bytes = files.iter().map(|file| file.bytes).sum();
        let held = format!("{}, {}", counted(files.len() as u64, "usage file", "usage files"), size(bytes));
        match &self.file {
            Some(file) => page.line_in(Tone::Strong, &format!("{file}: {held}")),
            None => page.line(&format!("the bundle would hold {held}; nothing was written")),
        }
        page.line(&format!("period {period}: {first_day} to {last_day} ({time_zone})"));
        let distance = due.map_or_else(String::new, |due| format!(", {}", page.clock().distance(due.0)));
        page.line(&format!("due before {due_day}{distance}"));
        for gap in gaps {
            page.marked(Tone::Warn, "lacks", &gap.message);
        }
        let without = files.iter().filter(|file| file.acknowledged.is_none()).count() as u64;
        if without == 0 && !files.is_empty() {
            page.line_in(Tone::Good, "the licensor has signed for every one of these files");
        } else if self.file.is_some() {
            page.marked(
                Tone::Note,
                "hint",
                "send it to the licensor; `leasehold usage receipt FILE` takes the receipts that come back",
            );
        }
    }
}
