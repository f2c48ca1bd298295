//! Enforcement in words: what a stage limits, what brought the site there, what comes next, and what to do (05).

use leasehold_keys::{activation::Units, name::KeyName};

use crate::{
    decision::StandingTold,
    refusal::{Cause, Enforcement},
    standing::{Stage, StageAhead},
};

use super::{Facts, duration, sentence};

impl Stage {
    /// Its name: `supervisor disabled`.
    pub const fn title(self) -> &'static str {
        match self {
            Stage::Functional => "fully functional",
            Stage::QuietWarning => "quiet warning",
            Stage::ObtrusiveWarning => "obtrusive warning",
            Stage::SupervisorDisabled => "supervisor disabled",
            Stage::PortsLimited => "ports limited",
            Stage::Unlicensed => "unlicensed",
        }
    }

    /// What is limited at it, as a sentence.
    pub const fn limits(self) -> &'static str {
        match self {
            Stage::Functional | Stage::QuietWarning | Stage::ObtrusiveWarning => "Nothing is limited.",
            Stage::SupervisorDisabled => "Supervisor keys are refused; everything else works.",
            Stage::PortsLimited => {
                "Supervisor keys are refused, and of each pool of call ports 20 % can be used, at least 2; calls that run go on."
            }
            Stage::Unlicensed => {
                "Two call ports can be used in all and nothing else is granted; calls that run go on, and other leases end when \
                 they are idle, 12 hours after the stage began at the latest."
            }
        }
    }
}

impl std::fmt::Display for Stage {
    /// `4 (supervisor disabled)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.number(), self.title())
    }
}

impl StageAhead {
    /// What comes, as a sentence.
    pub fn message(&self) -> String {
        format!("Without a good check-in stage {} follows on {}.", self.stage, self.at)
    }
}

impl Enforcement {
    /// What is wrong and since when, as half a sentence.
    fn cause(&self) -> String {
        let Enforcement { product, since, .. } = self;
        match self.cause {
            Cause::Never => {
                format!(
                    "no check-in of {product} with its licensor is known since enforcement of its license began on {since}"
                )
            }
            Cause::Silent => {
                format!(
                    "{product} last checked in with its licensor in good standing on {since}, which is too long ago"
                )
            }
            Cause::Duplicate => format!(
                "the licensor answers the check-ins of {product} that this installation is a duplicate or was rolled back, and the \
                 last good one counts from {since}"
            ),
            Cause::Revoked => format!("the licensor has revoked the license of {product} from {since} on"),
        }
    }

    /// What to do, as a sentence.
    const fn remedy(&self) -> &'static str {
        match self.cause {
            Cause::Never | Cause::Silent => {
                "Check in with `leasehold check-in`, or without a network by file with `leasehold check-in --request FILE`; \
                 `leasehold standing` tells why attempts fail and what comes next."
            }
            Cause::Duplicate => {
                "Ask the licensor to clear the duplicate, and check in again with `leasehold check-in`; `leasehold standing` tells \
                 what comes next."
            }
            Cause::Revoked => {
                "Ask the licensor to restore the license, and check in again with `leasehold check-in`; a good answer restores \
                 everything at once."
            }
        }
    }

    /// A key is refused.
    pub(super) fn refuses(&self, key: &KeyName) -> String {
        format!("{key} is refused at enforcement stage {}: {}. {}", self.stage, self.cause(), self.remedy())
    }

    /// A pool counts less than is granted.
    pub(super) fn cuts(&self, granted: Units) -> String {
        format!(
            "The activation files grant {granted}, and enforcement stage {} limits that: {}. {}",
            self.stage,
            self.cause(),
            self.remedy()
        )
    }

    /// One or more sentences for status and log: the stage, what it limits, since when, what to do.
    pub fn message(&self) -> String {
        let Enforcement { stage, .. } = self;
        format!("Enforcement stage {stage}: {}. {} {}", self.cause(), stage.limits(), self.remedy())
    }

    /// The facts, by stable names.
    pub fn facts(&self) -> Facts {
        vec![
            ("stage", self.stage.number().to_string()),
            ("license_id", self.license.to_string()),
            ("product", self.product.to_string()),
            (
                "cause",
                match self.cause {
                    Cause::Never => "never",
                    Cause::Silent => "silent",
                    Cause::Duplicate => "duplicate",
                    Cause::Revoked => "revoked",
                }
                .to_string(),
            ),
            ("since", self.since.to_string()),
        ]
    }
}

impl StandingTold {
    /// The stable name: `ENFORCED` where something is limited, `STANDING` where it is said only.
    pub fn reason(&self) -> &'static str {
        if self.stage >= Stage::SupervisorDisabled { "ENFORCED" } else { "STANDING" }
    }

    /// What has changed, what it means, what comes next, and what to do.
    pub fn message(&self) -> String {
        let Some(why) = &self.why else {
            return sentence(format!(
                "the site is in good standing again: stage {}. What enforcement had limited is restored.",
                self.stage
            ));
        };
        let mut text = match self.before.cmp(&self.stage) {
            std::cmp::Ordering::Greater => format!("The site is back at stage {}. {}", self.stage, why.message()),
            std::cmp::Ordering::Less | std::cmp::Ordering::Equal => why.message(),
        };
        if let Some(left_ms) = self.leases_end_in_ms {
            text.push_str(&format!(" Leases other than call ports end in {}.", duration(left_ms)));
        }
        if let Some(next) = &self.next {
            text.push(' ');
            text.push_str(&next.message());
        }
        text
    }
}
