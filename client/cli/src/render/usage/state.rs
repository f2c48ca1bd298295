//! Whether usage is collected and how far its files have come, for `status` and `usage list`.

use leasehold_proto::v1;
use serde::Serialize;

use crate::{
    clock,
    render::{
        At, NoticeDocument, given,
        page::{Page, Tone, counted, size},
    },
};

/// Whether usage is collected, and how delivery is.
#[derive(Clone, Debug, Serialize)]
pub struct UsageStatusDocument {
    /// `automatic` (files are sent by themselves), `local` (they are taken by hand) or `not-collected`.
    pub mode: String,
    /// The same in a sentence.
    pub message: String,
    /// Events that no file holds yet.
    pub backlog: u64,
    /// The oldest of them; null where none waits.
    pub oldest_event: Option<At>,
    /// When something was last sealed; null where nothing ever was.
    pub last_sealed: Option<At>,
    /// Files by state; a state that no file has is left out.
    pub files: Vec<UsageCountDocument>,
    /// Where files go; null where nothing says so.
    pub destination: Option<String>,
    /// Why nothing goes out; null where files go, or none was tried.
    pub failure: Option<UsageFailureDocument>,
    /// When the licensor's receipt for a file was last taken.
    pub last_acknowledged: Option<At>,
    /// Billing periods that are due soon or were, and of which files have no receipt; the oldest first.
    pub deadlines: Vec<DeadlineDocument>,
    /// The zone in which billing periods run.
    pub time_zone: String,
    /// What is wrong; `status` has these among its own notices.
    pub notices: Vec<NoticeDocument>,
    /// Files that were tried and stay here though the way out is well, by what is the matter.
    pub held: Vec<HeldDocument>,
}

/// Files that something of their own keeps here.
#[derive(Clone, Debug, Serialize)]
pub struct HeldDocument {
    /// As of the files: `refused`, `wrong-receipt`, `damaged` or `held-up`.
    pub state: String,
    /// One sentence, without the remedy.
    pub message: String,
    /// What is the matter with the oldest.
    pub failure: Option<UsageFailureDocument>,
    /// Their names, the oldest first.
    pub files: Vec<String>,
}

/// How many files are of a state.
#[derive(Clone, Debug, Serialize)]
pub struct UsageCountDocument {
    /// As of the files in `usage list`.
    pub state: String,
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// An attempt to deliver that failed.
#[derive(Clone, Debug, Serialize)]
pub struct UsageFailureDocument {
    /// A stable code, such as `proxy-authentication`.
    pub code: String,
    /// What happened.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// When.
    pub at: Option<At>,
    /// Failed attempts in a row.
    pub attempts: u32,
    /// About when it is tried again.
    pub again: Option<At>,
}

/// A billing period of which the licensor lacks files.
#[derive(Clone, Debug, Serialize)]
pub struct DeadlineDocument {
    /// The month in which it ends, such as `2026-11`.
    pub period: String,
    /// Its files are due before.
    pub due: Option<At>,
    /// That day by the site's calendar.
    pub due_day: String,
    /// Days until then: 0 on that day, below it after.
    pub days_left: i64,
    /// Files without a receipt.
    pub files: u32,
    /// One sentence.
    pub message: String,
}

impl From<v1::UsageFailure> for UsageFailureDocument {
    fn from(failure: v1::UsageFailure) -> Self {
        Self {
            code: failure.code,
            message: failure.message,
            remedy: failure.remedy,
            at: At::from_wire(failure.at),
            attempts: failure.attempts,
            again: At::from_wire(failure.again),
        }
    }
}

impl From<v1::UsageHeld> for HeldDocument {
    fn from(held: v1::UsageHeld) -> Self {
        Self { state: held.state, message: held.message, failure: held.failure.map(Into::into), files: held.files }
    }
}

impl From<v1::UsageDeadline> for DeadlineDocument {
    fn from(deadline: v1::UsageDeadline) -> Self {
        Self {
            period: deadline.period,
            due: At::from_wire(deadline.due),
            due_day: deadline.due_day,
            days_left: deadline.days_left,
            files: deadline.files,
            message: deadline.message,
        }
    }
}

impl From<v1::UsageStatus> for UsageStatusDocument {
    fn from(usage: v1::UsageStatus) -> Self {
        let count =
            |count: v1::UsageCount| UsageCountDocument { state: count.state, files: count.files, bytes: count.bytes };
        Self {
            mode: usage.mode,
            message: usage.message,
            backlog: usage.backlog,
            oldest_event: At::from_wire(usage.oldest_event),
            last_sealed: At::from_wire(usage.last_sealed),
            files: usage.files.into_iter().map(count).collect(),
            destination: given(usage.destination),
            failure: usage.failure.map(Into::into),
            last_acknowledged: At::from_wire(usage.last_acknowledged),
            deadlines: usage.deadlines.into_iter().map(Into::into).collect(),
            time_zone: usage.time_zone,
            notices: usage.notices.into_iter().map(Into::into).collect(),
            held: usage.held.into_iter().map(Into::into).collect(),
        }
    }
}

impl UsageFailureDocument {
    /// `refused 3 times, last 12 min ago; next try in 20 min`.
    pub(super) fn times(&self, clock: &clock::Clock) -> String {
        let mut text = match (self.attempts, self.at) {
            (0 | 1, Some(at)) => format!("tried {}", clock.distance(at.0)),
            (0 | 1, None) => "tried once".to_owned(),
            (many, Some(at)) => format!("tried {many} times, last {}", clock.distance(at.0)),
            (many, None) => format!("tried {many} times"),
        };
        if let Some(again) = self.again {
            let next = clock.distance(again.0);
            // What is over or is now is no time to tell.
            let next = if next.starts_with("in ") { next } else { "at once".to_owned() };
            text.push_str(&format!("; next try {next}"));
        }
        text
    }
}

impl UsageStatusDocument {
    /// `1 open, 3 closed (1.2 MiB), 40 acknowledged`.
    pub(super) fn counts(&self) -> String {
        let counts = self.files.iter().map(|count| format!("{} {} ({})", count.files, count.state, size(count.bytes)));
        counts.collect::<Vec<_>>().join(", ")
    }

    /// For the fields of `status`: what is collected, and what waits.
    pub(in crate::render) fn fields(&self, clock: &clock::Clock) -> Vec<(&'static str, String)> {
        let mut sealing = match (self.backlog, self.oldest_event) {
            (0, _) => String::new(),
            (events, Some(oldest)) => {
                let since = clock.distance(oldest.0);
                format!("{} not sealed yet, the oldest from {since}", counted(events, "event", "events"))
            }
            (events, None) => format!("{} not sealed yet", counted(events, "event", "events")),
        };
        if let Some(last) = self.last_sealed {
            let gap = if sealing.is_empty() { "" } else { "; " };
            sealing.push_str(&format!("{gap}last sealed {}", clock.distance(last.0)));
        }
        let delivery = match (self.mode.as_str(), self.last_acknowledged) {
            (_, Some(at)) => format!("last receipt {}", clock.distance(at.0)),
            ("automatic", None) => "no receipt yet".to_owned(),
            (_, None) => String::new(),
        };
        vec![
            ("Usage", self.message.clone()),
            ("Usage files", self.counts()),
            ("Usage sealing", sealing),
            ("Usage delivery", delivery),
        ]
    }

    /// Why nothing goes out, with its remedy, and what is due. `status` has the notices itself.
    pub(super) fn write_troubles(&self, page: &mut Page<'_>) {
        for notice in &self.notices {
            page.marked(Tone::Warn, "notice", &notice.message);
        }
        if let Some(failure) = &self.failure {
            page.marked(Tone::Note, "hint", &failure.remedy);
        }
    }
}
