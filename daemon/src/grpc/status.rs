//! Refusals on the wire: a gRPC status with `google.rpc` details for a unary call, a `Refusal` message on a stream and in
//! lists (03, Services: the table of reasons and codes). The words are the engine's; nothing is decided here.

use std::{collections::HashMap, time::Duration};

use leasehold_engine::refusal::{Limit, Refusal};
use leasehold_proto::{ERROR_DOMAIN, v1};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::core::Refused;

/// Details travel base64-encoded in the trailers, and many clients take no more than 8 KiB of these in all; the sentence is
/// there twice (once percent-encoded). So both it and the facts are held to a size; streams carry them whole.
const MESSAGE_MAX_BYTES: usize = 900;
const FACT_MAX_BYTES: usize = 300;
const FACTS_MAX_BYTES: usize = 1_500;

/// When to try again where the refusal itself knows no better, in milliseconds.
const RETRY_AFTER_MS: u64 = 1_000;

/// A refusal in the terms of the wire.
struct Told {
    code: Code,
    reason: &'static str,
    message: String,
    facts: Vec<(&'static str, String)>,
    retry_after_ms: Option<u64>,
}

/// The gRPC code of each rule's refusal.
pub(crate) const fn code(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::PoolExhausted(_) | Refusal::Overloaded { .. } => Code::ResourceExhausted,
        Refusal::NotAssigned { .. }
        | Refusal::NothingAssigned { .. }
        | Refusal::NotLicensed { .. }
        | Refusal::StationNotLicensed { .. }
        | Refusal::HolderNotAllowed { .. }
        | Refusal::MethodMismatch { .. }
        | Refusal::PrerequisiteMissing { .. }
        | Refusal::LimitReached(_)
        | Refusal::VersionNotCovered { .. }
        | Refusal::ApplicationHeld { .. }
        | Refusal::LoggedOnElsewhere { .. }
        | Refusal::LeaseEnded { .. }
        | Refusal::Enforced { .. }
        | Refusal::InUse { .. } => Code::FailedPrecondition,
        Refusal::UserUnknown(_)
        | Refusal::StationUnknown(_)
        | Refusal::WorkgroupUnknown(_)
        | Refusal::OrganizationUnknown(_)
        | Refusal::KeyUnknown(_)
        | Refusal::LicenseUnknown(_)
        | Refusal::LeaseUnknown(_)
        | Refusal::RequestUnknown => Code::NotFound,
        Refusal::NotYourLease(_) => Code::PermissionDenied,
        Refusal::RequestIdReused | Refusal::Malformed { .. } => Code::InvalidArgument,
        Refusal::AlreadyExists { .. } => Code::AlreadyExists,
        Refusal::NotActive | Refusal::StorageUnavailable => Code::Unavailable,
        Refusal::Cancelled => Code::Cancelled,
    }
}

fn told_of_rule(refusal: &Refusal) -> Told {
    Told {
        code: code(refusal),
        reason: refusal.reason(),
        message: refusal.message(),
        facts: refusal.facts(),
        retry_after_ms: refusal.retry_after_ms(),
    }
}

fn told(refused: &Refused) -> Told {
    match refused {
        Refused::Rule(refusal) => told_of_rule(refusal),
        Refused::Overloaded => Told {
            code: Code::ResourceExhausted,
            reason: "OVERLOADED",
            message: "The server has more requests in hand than it takes. Leases that are held go on; ask again in a second."
                .to_owned(),
            facts: Vec::new(),
            retry_after_ms: Some(RETRY_AFTER_MS),
        },
        Refused::StorageUnavailable(why) => Told {
            facts: vec![("cause", why.clone())],
            ..told_of_rule(&Refusal::StorageUnavailable)
        },
        Refused::Starting => Told {
            code: Code::Unavailable,
            reason: "STARTING",
            message: "The server is starting: it reads its state and its activation files. Ask again in a second.".to_owned(),
            facts: Vec::new(),
            retry_after_ms: Some(RETRY_AFTER_MS),
        },
        Refused::Draining => Told {
            code: Code::Unavailable,
            reason: "DRAINING",
            message: "The server is stopping. Leases that are held stand for their time to live; ask another server, or this \
                      one when it is back."
                .to_owned(),
            facts: Vec::new(),
            retry_after_ms: Some(RETRY_AFTER_MS),
        },
    }
}

/// The status of a refused unary call.
pub(crate) fn status(refused: &Refused) -> Status {
    let mut told = told(refused);
    let mut details = details(&told);
    if let Refused::Rule(refusal) = refused {
        particulars(refusal, &mut details);
    }
    cut(&mut told.message, MESSAGE_MAX_BYTES);
    Status::with_error_details(told.code, told.message, details)
}

/// The status of a rule's refusal.
pub(crate) fn of_rule(refusal: Refusal) -> Status {
    status(&Refused::Rule(refusal))
}

/// LEASE-9: only administrators may do that.
pub(crate) fn not_an_administrator(message: &str) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info("NOT_AN_ADMINISTRATOR", ERROR_DOMAIN, HashMap::new());
    Status::with_error_details(Code::PermissionDenied, message, details)
}

/// Something that a signed file or a folder is refused for; its reasons are written like file names (02).
pub(crate) fn failed(code: Code, reason: &str, message: &str) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, ERROR_DOMAIN, HashMap::new());
    let mut message = message.to_owned();
    cut(&mut message, MESSAGE_MAX_BYTES);
    Status::with_error_details(code, message, details)
}

fn details(told: &Told) -> ErrorDetails {
    let mut details = ErrorDetails::new();
    let mut room = FACTS_MAX_BYTES;
    let mut facts = HashMap::new();
    for (name, fact) in &told.facts {
        let mut fact = fact.clone();
        cut(&mut fact, FACT_MAX_BYTES);
        let Some(left) = room.checked_sub(name.len() + fact.len()) else { break };
        room = left;
        facts.insert((*name).to_owned(), fact);
    }
    details.set_error_info(told.reason, ERROR_DOMAIN, facts);
    if let Some(ms) = told.retry_after_ms {
        details.set_retry_info(Some(Duration::from_millis(ms)));
    }
    details
}

/// The details that only some refusals have.
fn particulars(refusal: &Refusal, details: &mut ErrorDetails) {
    let quota = |details: &mut ErrorDetails, subject: String, description: String| {
        details.add_quota_failure_violation(short(subject), short(description));
    };
    let unmet = |details: &mut ErrorDetails, subject: String| {
        details.add_precondition_failure_violation(refusal.reason(), short(subject), "");
    };
    let missing = |details: &mut ErrorDetails, kind: &str, name: String| {
        details.set_resource_info(format!("leasehold/{kind}"), short(name), "", "");
    };
    match refusal {
        Refusal::PoolExhausted(full) => {
            quota(details, format!("pool:{}", full.pool), format!("{} of {} in use", full.held, full.capacity));
        }
        Refusal::LimitReached(Limit::Share { holder, pool, used, limit }) => {
            quota(details, format!("share:{holder} of {pool}"), format!("{used} of {limit} in use"));
        }
        Refusal::LimitReached(Limit::Organizations { key, licensed, configured }) => {
            quota(details, format!("key:{key}"), format!("{configured} of {licensed} configured"));
        }
        Refusal::LimitReached(Limit::InteractionTypes { user, wanted, .. }) => {
            quota(details, format!("user:{user}"), format!("{wanted} interaction types"));
        }
        Refusal::LimitReached(Limit::Reservations { pool, fault }) => {
            quota(details, format!("pool:{pool}"), fault.clone())
        }
        Refusal::LimitReached(Limit::Stored { what, most }) => {
            quota(details, what.to_string(), format!("at most {most}"))
        }
        Refusal::NotAssigned { subject, key } | Refusal::MethodMismatch { subject, key, .. } => {
            unmet(details, format!("{subject}, key {key}"));
        }
        Refusal::NothingAssigned { subject } => unmet(details, subject.clone()),
        Refusal::NotLicensed { key, .. }
        | Refusal::HolderNotAllowed { key, .. }
        | Refusal::VersionNotCovered { key, .. }
        | Refusal::Enforced { key, .. }
        | Refusal::PrerequisiteMissing { key, .. } => unmet(details, format!("key {key}")),
        Refusal::ApplicationHeld { user, held, .. } => unmet(details, format!("user {user}, key {held}")),
        Refusal::StationNotLicensed { station, .. } => unmet(details, format!("station {station}")),
        Refusal::LoggedOnElsewhere { user, computer } => unmet(details, format!("user {user}, computer {computer}")),
        Refusal::LeaseEnded { lease, .. } => unmet(details, format!("lease {lease}")),
        Refusal::InUse { what, .. } => unmet(details, what.clone()),
        Refusal::UserUnknown(name) => missing(details, "user", name.clone()),
        Refusal::StationUnknown(name) => missing(details, "station", name.clone()),
        Refusal::WorkgroupUnknown(name) => missing(details, "workgroup", name.clone()),
        Refusal::OrganizationUnknown(name) => missing(details, "organization", name.clone()),
        Refusal::KeyUnknown(name) => missing(details, "key", name.clone()),
        Refusal::LicenseUnknown(id) => missing(details, "license", id.clone()),
        Refusal::LeaseUnknown(lease) => missing(details, "lease", lease.to_string()),
        Refusal::AlreadyExists { what, name } => missing(details, what, name.to_string()),
        Refusal::Malformed { field, fault } => {
            details.add_bad_request_violation(short(field.to_string()), short(fault.clone()));
        }
        Refusal::RequestIdReused => {
            details.add_bad_request_violation("request_id", "it came before with another content");
        }
        Refusal::RequestUnknown
        | Refusal::NotYourLease(_)
        | Refusal::NotActive
        | Refusal::Overloaded { .. }
        | Refusal::StorageUnavailable
        | Refusal::Cancelled => {}
    }
}

fn short(mut text: String) -> String {
    cut(&mut text, FACT_MAX_BYTES);
    text
}

/// Holds `text` to `most` bytes, cut between characters and marked.
fn cut(text: &mut String, most: usize) {
    const MARK: &str = "…";
    if text.len() > most {
        let end = (0..=most - MARK.len()).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str(MARK);
    }
}

/// A rule's refusal as a message.
pub(crate) fn wire(refusal: &Refusal) -> v1::Refusal {
    message(told_of_rule(refusal))
}

/// A refusal as a message.
pub(crate) fn wire_of(refused: &Refused) -> v1::Refusal {
    message(told(refused))
}

fn message(told: Told) -> v1::Refusal {
    v1::Refusal {
        code: told.code.into(),
        reason: told.reason.to_owned(),
        message: told.message,
        facts: told.facts.into_iter().map(|(name, fact)| (name.to_owned(), fact)).collect(),
        retry_after_ms: told.retry_after_ms.unwrap_or(0),
    }
}

#[cfg(test)]
mod tests;
