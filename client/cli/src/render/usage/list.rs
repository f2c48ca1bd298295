//! `leasehold usage list` and `leasehold usage seal`.

use leasehold_proto::v1;
use serde::Serialize;

use super::{UsageFailureDocument, UsageStatusDocument};
use crate::render::{
    At, Document, given,
    page::{Page, Tone, counted, size},
    table::Cell,
};

/// The document of `leasehold usage list`.
#[derive(Clone, Debug, Serialize)]
pub struct UsageListDocument {
    /// The files, the oldest first.
    pub files: Vec<UsageFileDocument>,
    /// How usage stands; null where the daemon is too old to say it.
    pub usage: Option<UsageStatusDocument>,
}

/// A usage file.
#[derive(Clone, Debug, Serialize)]
pub struct UsageFileDocument {
    /// Its name in `usage/` of the state directory.
    pub name: String,
    /// The number of its segment in this server's database.
    pub number: u32,
    /// The day on which it began, UTC.
    pub day: String,
    /// When it began.
    pub began: Option<At>,
    /// When it was closed; null while it is being written.
    pub closed: Option<At>,
    /// Why it began: `first`, `midnight`, `restart`, `size`, `abandoned` or `changed`.
    pub because: String,
    /// Sealed records in it.
    pub records: u64,
    /// Logons, logoffs and changes of keys in them.
    pub events: u64,
    /// Its bytes.
    pub bytes: u64,
    /// `open`, `closed`, `uploading`, `uploaded`, `acknowledged`, `refused` (by the server), `wrong-receipt`, `damaged`,
    /// `held-up` (on this server) or `overdue`.
    pub state: String,
    /// What that means.
    pub message: String,
    /// What to do about it; null where nothing is to be done.
    pub remedy: Option<String>,
    /// When it was first uploaded whole.
    pub uploaded: Option<At>,
    /// When the licensor's receipt for it was taken.
    pub acknowledged: Option<At>,
    /// The licensor is to have it before; null once it is acknowledged.
    pub due: Option<At>,
    /// That day by the site's calendar.
    pub due_day: Option<String>,
    /// Why the last attempt with it failed.
    pub failure: Option<UsageFailureDocument>,
    /// Its SHA-256, in hexadecimal; null while it is being written.
    pub sha256: Option<String>,
    /// The license that it reports on.
    pub license_id: String,
    /// Where it lies.
    pub path: String,
    /// Where its receipt lies; null where there is none.
    pub receipt: Option<String>,
    /// From then on the daemon may take it away; null where it never will, as things are.
    pub kept_until: Option<At>,
    /// True where the file is gone or damaged and cannot be made again.
    pub missing: bool,
}

impl From<v1::UsageFile> for UsageFileDocument {
    fn from(file: v1::UsageFile) -> Self {
        Self {
            name: file.name,
            number: file.number,
            day: file.day,
            began: At::from_wire(file.began),
            closed: At::from_wire(file.closed),
            because: file.because,
            records: file.records,
            events: file.events,
            bytes: file.bytes,
            state: file.state,
            message: file.message,
            remedy: given(file.remedy),
            uploaded: At::from_wire(file.uploaded),
            acknowledged: At::from_wire(file.acknowledged),
            due: At::from_wire(file.due),
            due_day: given(file.due_day),
            failure: file.failure.map(Into::into),
            sha256: given(file.sha256),
            license_id: file.license_id,
            path: file.path,
            receipt: given(file.receipt),
            kept_until: At::from_wire(file.kept_until),
            missing: file.missing,
        }
    }
}

impl UsageFileDocument {
    fn tone(&self) -> Tone {
        match self.state.as_str() {
            _ if self.missing => Tone::Bad,
            "acknowledged" => Tone::Good,
            "overdue" | "refused" | "wrong-receipt" | "damaged" | "held-up" => Tone::Bad,
            "uploading" => Tone::Note,
            _ if self.failure.is_some() => Tone::Warn,
            _ => Tone::Plain,
        }
    }

    /// Why it came no further.
    fn why(&self) -> String {
        match &self.failure {
            _ if self.missing => "the file is gone or damaged, and is in no backup that the daemon knows of".to_owned(),
            Some(failure) => failure.message.clone(),
            None => String::new(),
        }
    }
}

impl Document for UsageListDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        if let Some(usage) = &self.usage {
            page.line(&format!("usage is {}", usage.message));
            usage.write_troubles(page);
        }
        if self.files.is_empty() {
            page.line("there is no usage file");
            return;
        }
        page.gap();
        let clock = page.clock();
        let several = self.files.iter().any(|file| installation(file) != installation(&self.files[0]));
        let row = |file: &UsageFileDocument| {
            // The site's day; a daemon that does not tell it leaves the reader's.
            let due = file.due_day.clone().or_else(|| file.due.map(|at| clock.date(at.0))).unwrap_or_default();
            let state = if file.missing { "missing" } else { &file.state };
            vec![
                Cell::text(&file.day),
                Cell::right(segment(file)),
                Cell::right(size(file.bytes)),
                Cell::number(file.records),
                Cell::number(file.events),
                Cell::text(state).tone(file.tone()),
                Cell::text(due),
                Cell::prose(file.why()),
                Cell::text(if several { installation(file) } else { "" }),
            ]
        };
        let rows = self.files.iter().map(row).collect();
        let headings =
            ["DAY (UTC)", "SEGMENT", "SIZE", "RECORDS", "EVENTS", "STATE", "DUE BEFORE", "WHY", "INSTALLATION"];
        page.table_giving_way(&headings, rows, &["INSTALLATION", "EVENTS"]);
        page.gap();
        let folder = self.files.last().and_then(|file| file.path.strip_suffix(&file.name)).unwrap_or_default();
        page.fields(&[
            ("Files", self.usage.as_ref().map_or_else(|| total(&self.files), UsageStatusDocument::counts)),
            ("Newest", newest(&self.files)),
            ("Folder", folder.to_owned()),
            ("Waiting", self.usage.as_ref().map_or_else(String::new, waiting)),
            ("Last try", self.last_try(clock)),
        ]);
    }
}

impl UsageListDocument {
    fn last_try(&self, clock: &crate::clock::Clock) -> String {
        let failure = self.usage.as_ref().and_then(|usage| usage.failure.as_ref());
        failure.map_or_else(String::new, |failure| failure.times(clock))
    }
}

fn waiting(usage: &UsageStatusDocument) -> String {
    match usage.backlog {
        0 => String::new(),
        events => format!(
            "{} will be sealed within a minute; `leasehold usage seal` does it now",
            counted(events, "event", "events")
        ),
    }
}

fn total(files: &[UsageFileDocument]) -> String {
    let bytes = files.iter().map(|file| file.bytes).sum();
    format!("{}, {}", counted(files.len() as u64, "file", "files"), size(bytes))
}

/// The name of the newest file, of which the rows tell the parts.
fn newest(files: &[UsageFileDocument]) -> String {
    files.last().map_or_else(String::new, |file| file.name.clone())
}

fn installation(file: &UsageFileDocument) -> &str {
    file.name.split('-').next().unwrap_or_default()
}

/// The number that the installation gave it, which stands in its name.
fn segment(file: &UsageFileDocument) -> String {
    let number = file.name.split('-').nth(1).and_then(|number| number.parse::<u32>().ok());
    number.unwrap_or(file.number).to_string()
}

/// The document of `leasehold usage seal`.
#[derive(Clone, Debug, Serialize)]
pub struct SealDocument {
    /// Events that were sealed.
    pub events: u64,
    /// One sentence.
    pub message: String,
}

impl Document for SealDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        page.line(&self.message);
    }
}
