//! A refusal as a program sees it: the same from a unary call's status and from a message on a stream.

use std::{collections::BTreeMap, time::Duration};

use leasehold_proto::{ERROR_DOMAIN, v1};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// What the daemon refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The gRPC code.
    pub code: Code,
    /// Stable, in capitals.
    pub reason: String,
    /// The sentence for people.
    pub message: String,
    /// What it says, by name.
    pub facts: BTreeMap<String, String>,
    /// When to ask again.
    pub retry_after: Option<Duration>,
}

impl Refused {
    /// A fact, or nothing.
    pub fn fact(&self, name: &str) -> &str {
        self.facts.get(name).map_or("", String::as_str)
    }
}

impl From<Status> for Refused {
    /// A status without the daemon's own details has an empty reason.
    fn from(status: Status) -> Self {
        let info = status.get_details_error_info().filter(|info| info.domain == ERROR_DOMAIN);
        let (reason, facts) = info.map_or_else(Default::default, |info| (info.reason, info.metadata));
        Self {
            code: status.code(),
            reason,
            message: status.message().to_owned(),
            facts: facts.into_iter().collect(),
            retry_after: status.get_details_retry_info().and_then(|info| info.retry_delay),
        }
    }
}

impl From<v1::Refusal> for Refused {
    fn from(refusal: v1::Refusal) -> Self {
        Self {
            code: Code::from_i32(refusal.code),
            reason: refusal.reason,
            message: refusal.message,
            facts: refusal.facts.into_iter().collect(),
            retry_after: (refusal.retry_after_ms > 0).then(|| Duration::from_millis(refusal.retry_after_ms)),
        }
    }
}
