//! How one license stands, and how its check-ins go.

use leasehold_proto::v1;
use serde::Serialize;

use super::{StageAheadDocument, tone};
use crate::{
    clock::{self, Clock},
    render::{
        At, given,
        page::{Page, Tone},
    },
};

/// How a license stands.
#[derive(Clone, Debug, Serialize)]
pub struct LicenseStandingDocument {
    /// The license.
    pub license_id: String,
    /// The product that it is for.
    pub product: String,
    /// The account that it was issued to.
    pub account: String,
    /// 1 (fully functional) to 6 (unlicensed).
    pub stage: u32,
    /// The stage that it is on its way to.
    pub target: u32,
    /// Enforcement begins then; null where the file names no day.
    pub ramp: Option<At>,
    /// The length of a stage.
    pub grace_days: u32,
    /// From when grace periods are counted: the later of the ramp and the last check-in in good standing.
    pub since: Option<At>,
    /// `good`, `duplicate` or `revoked`: the last answer; null where there was none.
    pub verdict: Option<String>,
    /// From when on the licensor has revoked it.
    pub revoked_from: Option<At>,
    /// What the licensor has to say to the administrator.
    pub licensor_message: Option<String>,
    /// The next stage of this license; null where none follows.
    pub next: Option<StageAheadDocument>,
    /// For so much more running it goes no stage down, whatever its target; 0 where nothing holds it.
    pub braked_ms: u64,
    /// How its check-ins go.
    pub check_in: Option<CheckInStatusDocument>,
}

/// How check-ins of a license go.
#[derive(Clone, Debug, Serialize)]
pub struct CheckInStatusDocument {
    /// Where it checks in; null where its file names nothing.
    pub endpoint: Option<String>,
    /// When an answer last counted.
    pub last_contact: Option<At>,
    /// When the answer was last good standing.
    pub last_good: Option<At>,
    /// About when it is tried again; null while it is tried, or where none is to be.
    pub next_attempt: Option<At>,
    /// Why the last attempt failed; null where it did not.
    pub failure: Option<CheckInFailureDocument>,
    /// When the request by file was written that is not answered yet; null where there is none.
    pub request_by_hand: Option<At>,
    /// Counts the requests.
    pub counter: u64,
}

/// A check-in that failed.
#[derive(Clone, Debug, Serialize)]
pub struct CheckInFailureDocument {
    /// A stable code, such as `name-not-found`.
    pub code: String,
    /// What happened.
    pub message: String,
    /// What to do; null where nothing is to be done.
    pub remedy: Option<String>,
    /// When.
    pub at: Option<At>,
    /// Failed attempts in a row.
    pub attempts: u32,
}

impl From<v1::LicenseStanding> for LicenseStandingDocument {
    fn from(license: v1::LicenseStanding) -> Self {
        Self {
            license_id: license.license_id,
            product: license.product,
            account: license.account,
            stage: license.stage,
            target: license.target,
            ramp: At::from_wire(license.ramp),
            grace_days: license.grace_days,
            since: At::from_wire(license.since),
            verdict: given(license.verdict),
            revoked_from: At::from_wire(license.revoked_from),
            licensor_message: given(license.licensor_message),
            next: license.next.map(Into::into),
            braked_ms: license.braked_ms,
            check_in: license.check_in.map(Into::into),
        }
    }
}

impl From<v1::CheckInStatus> for CheckInStatusDocument {
    fn from(status: v1::CheckInStatus) -> Self {
        Self {
            endpoint: given(status.endpoint),
            last_contact: At::from_wire(status.last_contact),
            last_good: At::from_wire(status.last_good),
            next_attempt: At::from_wire(status.next_attempt),
            failure: status.failure.map(Into::into),
            request_by_hand: At::from_wire(status.request_by_hand),
            counter: status.counter,
        }
    }
}

impl From<v1::CheckInFailure> for CheckInFailureDocument {
    fn from(failure: v1::CheckInFailure) -> Self {
        Self {
            code: failure.code,
            message: failure.message,
            remedy: given(failure.remedy),
            at: At::from_wire(failure.at),
            attempts: failure.attempts,
        }
    }
}

impl CheckInFailureDocument {
    /// What to do.
    pub(super) fn remedy(&self) -> Option<&str> {
        self.remedy.as_deref()
    }

    /// `failed 3 times in a row, last 12 min ago: the name … is not found`.
    pub(super) fn shown(&self, clock: &Clock) -> String {
        let at = self.at.map_or_else(String::new, |at| clock.distance(at.0));
        let times = match self.attempts {
            0 | 1 => format!("failed {at}"),
            many => format!("failed {many} times in a row, last {at}"),
        };
        format!("{}: {}", times.trim_end(), self.message)
    }
}

impl CheckInStatusDocument {
    /// `in 20 min`, or `at once` for what is over or under way.
    pub(super) fn next(&self, clock: &Clock) -> Option<String> {
        let next = clock.distance(self.next_attempt?.0);
        Some(if next.starts_with("in ") { next } else { "at once".to_owned() })
    }

    /// `3 h ago, in good standing; next in 9 h`, for `status`.
    pub(super) fn in_brief(&self, verdict: Option<&str>, clock: &Clock) -> String {
        let mut text = match self.last_contact {
            None => "no contact yet".to_owned(),
            Some(at) => format!("last contact {}{}", clock.distance(at.0), spelled(verdict)),
        };
        if let Some(failure) = &self.failure {
            text.push_str(&format!("; {}", failure.shown(clock)));
        }
        if let Some(next) = self.next(clock) {
            text.push_str(&format!("; next try {next}"));
        }
        text
    }
}

/// How the last answer is told after its time.
fn spelled(verdict: Option<&str>) -> String {
    match verdict {
        None => String::new(),
        Some("good") => ", in good standing".to_owned(),
        Some(other) => format!(", answered: {other}"),
    }
}

impl LicenseStandingDocument {
    /// What brought it where it is, as half a sentence.
    pub(super) fn why(&self, clock: &Clock) -> String {
        let product = &self.product;
        let since = self.since.map_or_else(String::new, |at| format!(" since {}", clock.minute(at.0)));
        match (self.verdict.as_deref(), self.revoked_from) {
            (Some("revoked"), Some(from)) => {
                format!("the licensor has revoked the license of {product} from {} on", clock.minute(from.0))
            }
            (Some("duplicate"), _) => {
                format!("the licensor takes this installation of {product} for a copy of another")
            }
            _ => format!("no check-in of {product} was answered with good standing{since}"),
        }
    }

    pub(super) fn write(&self, page: &mut Page<'_>, clock: &Clock, several: bool) {
        let mut fields = vec![("License", format!("{} ({}, {})", self.license_id, self.product, self.account))];
        if several || self.target > self.stage || self.braked_ms > 0 {
            let mut stage = format!("{} of 6", self.stage);
            if self.target > self.stage {
                stage.push_str(&format!(", on its way to {}", self.target));
            }
            if self.braked_ms > 0 {
                stage.push_str(&format!("; no further step for {} of running", clock::duration(self.braked_ms)));
            }
            fields.push(("Stage", stage));
        }
        fields.push((
            "Enforcement",
            match self.ramp {
                Some(ramp) if ramp.0 > clock.now().timestamp() => {
                    format!("begins {}; a stage is {}", clock.moment_and_distance(ramp.0), days(self.grace_days))
                }
                Some(ramp) => format!("began {}; a stage is {}", clock.minute(ramp.0), days(self.grace_days)),
                None => "the file names no day on which it begins".to_owned(),
            },
        ));
        fields.push(("Counted from", self.since.map_or_else(String::new, |at| clock.moment_and_distance(at.0))));
        fields.push(("Revoked from", self.revoked_from.map_or_else(String::new, |at| clock.moment_and_distance(at.0))));
        if let Some(check_in) = &self.check_in {
            let endpoint = check_in.endpoint.clone();
            fields.push(("Checks in at", endpoint.unwrap_or_else(|| "nowhere: its file names no endpoint".to_owned())));
            let answer = check_in.last_contact.map_or_else(
                || "none yet".to_owned(),
                |at| format!("{}{}", clock.moment_and_distance(at.0), spelled(self.verdict.as_deref())),
            );
            fields.push(("Last contact", answer));
            // A good answer is dated by the licensor, which may be a moment off.
            if self.verdict.as_deref() != Some("good") && check_in.last_contact.is_some() {
                let good = check_in.last_good.map_or_else(|| "none".to_owned(), |at| clock.moment_and_distance(at.0));
                fields.push(("Last good", good));
            }
            fields.push((
                "Last attempt",
                check_in.failure.as_ref().map_or_else(String::new, |failure| failure.shown(clock)),
            ));
            fields.push(("Next attempt", check_in.next(clock).unwrap_or_default()));
            fields.push((
                "Request by file",
                check_in.request_by_hand.map_or_else(String::new, |at| {
                    format!("written {}, not answered yet", clock.moment_and_distance(at.0))
                }),
            ));
        }
        page.fields(&fields);
        if let Some(message) = &self.licensor_message {
            page.marked(
                if tone(self.stage) == Tone::Good { Tone::Note } else { Tone::Warn },
                "the licensor says",
                message,
            );
        }
    }
}

fn days(count: u32) -> String {
    if count == 1 { "1 day".to_owned() } else { format!("{count} days") }
}
