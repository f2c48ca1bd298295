//! How far each usage file has come, and how delivery is, for `usage list` and `status`.

use std::{fmt, path::PathBuf};

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
            FileState::Overdue => "overdue",
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
            (FileState::Closed | FileState::Uploaded | FileState::Overdue, ..) => {
                "send it by hand: `leasehold usage export` bundles what a period needs, `leasehold usage receipt` takes the answer"
                    .into()
            }
        }
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
    /// When a file was last acknowledged.
    pub last_acknowledged: Option<WallTime>,
    /// Periods of which the licensor lacks files, oldest first: those of which status warns.
    pub deadlines: Vec<Deadline>,
    /// Why the attempts cannot be remembered over a restart, and what to do.
    pub disk: Option<String>,
    /// Why a file cannot be taken away though its time is over.
    pub leftover: Option<String>,
}
