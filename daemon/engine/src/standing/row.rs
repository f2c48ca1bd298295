//! What is remembered of a license ID's check-ins and of the stage that it has come to (05). Kept when its file is gone, so
//! that taking a file away and putting it back gains nothing.

use leasehold_keys::{
    activation::LicenseId,
    digest::Sha256,
    time::{DAY_MS, WallTime},
};
use serde::{Deserialize, Serialize};

use crate::time::{LeaseTime, Now};

/// An enforcement stage (05, Standing), from the best to the worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Stage {
    /// 1: fully functional.
    #[default]
    Functional,
    /// 2: quiet warning.
    QuietWarning,
    /// 3: obtrusive warning.
    ObtrusiveWarning,
    /// 4: supervisor disabled.
    SupervisorDisabled,
    /// 5: ports limited.
    PortsLimited,
    /// 6: unlicensed.
    Unlicensed,
}

/// A number that is no stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAStage(pub u8);

impl std::fmt::Display for NotAStage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is no enforcement stage: they are 1 to 6", self.0)
    }
}

impl std::error::Error for NotAStage {}

impl Stage {
    /// All stages, the best first.
    pub const ALL: [Stage; 6] = [
        Stage::Functional,
        Stage::QuietWarning,
        Stage::ObtrusiveWarning,
        Stage::SupervisorDisabled,
        Stage::PortsLimited,
        Stage::Unlicensed,
    ];

    /// 1 to 6.
    pub const fn number(self) -> u8 {
        match self {
            Stage::Functional => 1,
            Stage::QuietWarning => 2,
            Stage::ObtrusiveWarning => 3,
            Stage::SupervisorDisabled => 4,
            Stage::PortsLimited => 5,
            Stage::Unlicensed => 6,
        }
    }

    /// One stage further down; the last one stays.
    #[must_use]
    pub const fn down(self) -> Self {
        match self {
            Stage::Functional => Stage::QuietWarning,
            Stage::QuietWarning => Stage::ObtrusiveWarning,
            Stage::ObtrusiveWarning => Stage::SupervisorDisabled,
            Stage::SupervisorDisabled => Stage::PortsLimited,
            Stage::PortsLimited | Stage::Unlicensed => Stage::Unlicensed,
        }
    }
}

impl From<Stage> for u8 {
    fn from(stage: Stage) -> u8 {
        stage.number()
    }
}

impl TryFrom<u8> for Stage {
    type Error = NotAStage;

    fn try_from(number: u8) -> Result<Self, NotAStage> {
        Stage::ALL.into_iter().find(|stage| stage.number() == number).ok_or(NotAStage(number))
    }
}

/// What the licensor's last answer said of a license.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// In good standing.
    Good,
    /// The same installation was heard of twice, or was rolled back: what counts as the last good check-in stays as it is.
    Duplicate,
    /// The license is taken back.
    Revoked {
        /// From then on.
        from: WallTime,
    },
}

/// A request by file to which no answer has been taken yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Asked {
    /// The nonce that the answer must quote.
    pub nonce: [u8; 32],
    /// SHA-256 of the request.
    pub request: Sha256,
    /// The request's counter.
    pub counter: u64,
    /// When it was written, by trusted time.
    pub at: WallTime,
}

/// An answer by file counts for so many days after its request was written.
const ASKED_DAYS: i64 = 14;

impl Asked {
    /// True while an answer to it may still count: within 14 days of its writing.
    pub fn is_open(&self, now: Now) -> bool {
        now.wall.as_ms().saturating_sub(self.at.as_ms()) <= ASKED_DAYS * DAY_MS
    }
}

/// An answer that counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Answer {
    /// When it was taken, by trusted time.
    pub at: WallTime,
    /// The counter of the request that it answers.
    pub counter: u64,
    /// SHA-256 of it.
    pub sha256: Sha256,
}

/// A license ID's standing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingRow {
    /// The license ID; that of the product's base file.
    pub license_id: LicenseId,
    /// The stage that it has come to, under the brake.
    pub stage: Stage,
    /// When it came to that stage, by trusted time; for people.
    pub reached: WallTime,
    /// When it last went one stage down. Lease time runs only while the daemon does, so this is the brake.
    pub stepped_down: Option<LeaseTime>,
    /// The last check-in that was answered with good standing, as the licensor dated it.
    pub last_good: Option<WallTime>,
    /// What the last answer said; none before the first.
    pub verdict: Option<Verdict>,
    /// The highest counter of a request that is known here; the next request's is higher.
    pub counter: u64,
    /// The last answer that counted, whose hash the next request quotes.
    pub answer: Option<Answer>,
    /// The request by file that is outstanding.
    pub asked: Option<Asked>,
    /// The licensor's message for the administrator; at most 1,000 bytes.
    pub message: String,
}
