//! How far each usage file has come, and how delivery is, for `usage list` and `status`.

use std::{fmt, path::PathBuf};

use jiff::civil::Date;
use leasehold_engine::{row::UsageSegmentRow, time::WallTime};
use serde::{Deserialize, Serialize};

use super::deadline::Deadline;
use crate::way_out::Trouble;

/// How far a file has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileState {
    /// It is being written.
    Open,
    /// It is whole and waits to go, or, where usage is kept here, to be taken by hand.
    Closed,
    /// It is being sent at this moment.
    Uploading,
    /// It was sent whole; the licensor's receipt has not come.
    Uploaded,
    /// The licensor has given a receipt for its very bytes.
    Acknowledged,
    /// The server does not take it.
    Refused,
    /// What came for a receipt is none of this file.
    WrongReceipt,
    /// It is gone or is not what was written.
    Damaged,
    /// This server could not do its part, or must not see whether there is a receipt.
    HeldUp,
    /// It was due, and there is no receipt.
    Overdue,
}

impl FileState {
    /// Its name in lists and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            FileState::Open => "open",
            FileState::Closed => "closed",
            FileState::Uploading => "uploading",
            FileState::Uploaded => "uploaded",
            FileState::Acknowledged => "acknowledged",
            FileState::Refused => "refused",
            FileState::WrongReceipt => "wrong-receipt",
            FileState::Damaged => "damaged",
            FileState::HeldUp => "held-up",
            FileState::Overdue => "overdue",
        }
    }

    /// How far a file has come of which an attempt failed by something of its own; `None` where other files would fare no
    /// better.
    pub(super) fn of(trouble: &Trouble) -> Option<Self> {
        match trouble {
            _ if trouble.is_of_the_way() => None,
            Trouble::ServerRefused { .. } => Some(FileState::Refused),
            Trouble::ReceiptForOther { .. } | Trouble::ReceiptNotSigned { .. } => Some(FileState::WrongReceipt),
            Trouble::FileDamaged { .. } => Some(FileState::Damaged),
            _ => Some(FileState::HeldUp),
        }
    }

    /// What it means, in a few words.
    pub fn words(self) -> &'static str {
        match self {
            FileState::Open => "being written; it can go once it is closed, at 00:00 UTC or at the next start",
            FileState::Closed => "whole, and waiting to go",
            FileState::Uploading => "being sent",
            FileState::Uploaded => "sent; the licensor's receipt has not come yet",
            FileState::Acknowledged => "the licensor has it and has signed for it",
            FileState::Refused => "not taken by the server; it stays here and is tried again",
            FileState::WrongReceipt => {
                "sent, and what came back is no receipt for it; it stays here and is tried again"
            }
            FileState::Damaged => "gone or not what was written; it is made again where the database still holds it",
            FileState::HeldUp => "held up here, as told; it is tried again",
            FileState::Overdue => "the licensor should have it by now, and has not signed for it",
        }
    }
}

impl fmt::Display for FileState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What becomes of files by itself (USAGE-2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// No usage is collected (USAGE-1). Files of before stay until they are receipted.
    #[default]
    NotCollected,
    /// Files are sent by themselves.
    Automatic,
    /// The license keeps usage here: files are sent by hand, and the daemon deletes none.
    Local,
}

impl Mode {
    /// Its name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::NotCollected => "not-collected",
            Mode::Automatic => "automatic",
            Mode::Local => "local",
        }
    }
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Failure {
    /// When.
    pub at: WallTime,
    /// Why.
    pub trouble: Trouble,
    /// How many in a row, this one among them.
    pub attempts: u32,
    /// About when it is tried again.
    pub again: WallTime,
}

/// One usage file, for lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileView {
    /// What the database says of it.
    pub row: UsageSegmentRow,
    /// Where it lies.
    pub path: PathBuf,
    /// How far it has come.
    pub state: FileState,
    /// Before when the licensor is to have it; `None` once it is acknowledged.
    pub due: Option<WallTime>,
    /// That moment as a day of the site's calendar.
    pub due_day: Option<Date>,
    /// Why the last attempt with it, or with any file where the way out is the trouble, failed.
    pub failure: Option<Failure>,
    /// Where its receipt lies, where there is one.
    pub receipt: Option<PathBuf>,
    /// From when on the daemon may take it away; `None`: never as things are.
    pub kept_until: Option<WallTime>,
}

impl FileView {
    /// What is to be done about it; empty where nothing is.
    pub fn remedy(&self, mode: Mode) -> String {
        match (self.state, mode, &self.failure) {
            (FileState::Open | FileState::Uploading | FileState::Acknowledged, ..) => String::new(),
            (_, Mode::Automatic, Some(failure)) => failure.trouble.remedy(),
            (FileState::Closed, Mode::Automatic, None) => String::new(),
            (FileState::Uploaded, _, None) => String::new(),
            (FileState::Overdue, Mode::Automatic, None) if self.row.uploaded.is_some() => {
                "ask the licensor for its receipt, and give it to `leasehold usage receipt`".into()
            }
            (FileState::Overdue, Mode::Automatic, None) => "run `leasehold doctor`".into(),
            _ => {
                "send it by hand: `leasehold usage export` bundles what a period needs, `leasehold usage receipt` takes the answer"
                    .into()
            }
        }
    }
}

/// Files that something of their own keeps here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// How far they have come.
    pub state: FileState,
    /// What is the matter with the oldest; of the others it is the same kind of trouble.
    pub failure: Failure,
    /// Their names, oldest first.
    pub files: Vec<String>,
}

/// How many files are named in a sentence.
const NAMED_MAX: usize = 3;

impl fmt::Display for Held {
    /// `2 usage files are refused (A, B): the server …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { state, failure, files } = self;
        let what = match state {
            FileState::Refused => "not taken by the server",
            FileState::WrongReceipt => "answered with a receipt that is none",
            FileState::Damaged => "gone or not what was written",
            _ => "held up",
        };
        match files.as_slice() {
            [file] => write!(f, "1 usage file is {what} ({file})")?,
            files => {
                let named = files.get(..NAMED_MAX).unwrap_or(files).join(", ");
                let more = match files.len().saturating_sub(NAMED_MAX) {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                write!(f, "{} usage files are {what} ({named}{more})", files.len())?;
            }
        }
        write!(f, ": {}", failure.trouble)
    }
}

/// How delivery is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Whether files go by themselves.
    pub mode: Mode,
    /// Where files go, for people; `None` where nothing says so.
    pub destination: Option<String>,
    /// Closed files without a receipt.
    pub waiting: usize,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// The file that is being sent.
    pub uploading: Option<String>,
    /// Why nothing goes out; `None` where files go, or none was tried.
    pub failure: Option<Failure>,
    /// Files that stay here though the way out is well, by what is the matter, the oldest first.
    pub held: Vec<Held>,
    /// When a file was last acknowledged.
    pub last_acknowledged: Option<WallTime>,
    /// Periods of which the licensor lacks files, oldest first: those of which status warns.
    pub deadlines: Vec<Deadline>,
    /// Why the attempts cannot be remembered over a restart, and what to do.
    pub disk: Option<String>,
    /// Why a file cannot be taken away though its time is over.
    pub leftover: Option<String>,
}
