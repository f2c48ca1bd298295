//! Questions that take no lease, and their answers.

use leasehold_proto::v1;

use crate::{
    lease::Lease,
    refusal::{Invalid, Refusal},
    request::check_name,
};

const MOST_SUBJECTS: usize = 1_000;
const MOST_KEYS: usize = 100;

/// Whose entitlement is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A user.
    User(String),
    /// A station.
    Station(String),
    /// The members of a workgroup.
    Workgroup(String),
    /// The members of an organization.
    Organization(String),
}

impl Subject {
    /// This user.
    #[must_use]
    pub fn user(name: impl Into<String>) -> Self {
        Self::User(name.into())
    }

    /// This station.
    #[must_use]
    pub fn station(name: impl Into<String>) -> Self {
        Self::Station(name.into())
    }

    fn name(&self) -> &str {
        match self {
            Self::User(name) | Self::Station(name) | Self::Workgroup(name) | Self::Organization(name) => name,
        }
    }
}

/// What a subject holds of the keys that were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entitlement {
    /// Of each key, in the order asked; empty where the subject is refused.
    pub keys: Vec<KeyEntitlement>,
    /// At least one of the keys is held; of groups, by some member.
    pub any_of: bool,
    /// Every key is held; of groups, by every member.
    pub all_of: bool,
    /// Where the subject is unknown.
    pub refusal: Option<Refusal>,
}

/// Whether one key is held.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyEntitlement {
    /// The key.
    pub key: String,
    /// The user or station holds it; of groups, some member does.
    pub held: bool,
    /// Of groups: every member holds it, and there is one.
    pub held_by_all: bool,
    /// Of groups: how many members there are.
    pub members: u32,
    /// Of groups: how many of them hold it.
    pub members_holding: u32,
    /// Why it is not held.
    pub reason: String,
}

/// What an acquire would decide now, and how it comes to that.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// Each rule in turn.
    pub steps: Vec<ExplainStep>,
    /// The lease that would be granted (its number is 0), or the refusal.
    pub decision: Result<Lease, Refusal>,
}

/// One rule's say in a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExplainStep {
    /// The rule, such as `ALLOC-6`.
    pub rule: String,
    /// Whether it let the request pass.
    pub passed: bool,
    /// One plain sentence.
    pub message: String,
}

/// The message that asks, checked.
pub(crate) fn entitlements(
    caller: v1::Caller,
    subjects: Vec<Subject>,
    keys: Vec<String>,
) -> Result<v1::EntitlementsRequest, Invalid> {
    if !(1..=MOST_SUBJECTS).contains(&subjects.len()) {
        return Err(Invalid::new("subjects", "must be 1 to 1,000"));
    }
    if !(1..=MOST_KEYS).contains(&keys.len()) {
        return Err(Invalid::new("keys", "must be 1 to 100"));
    }
    subjects.iter().try_for_each(|subject| check_name("subject", subject.name()))?;
    keys.iter().try_for_each(|key| check_name("key", key))?;
    let subjects = subjects
        .into_iter()
        .map(|subject| v1::Subject {
            subject: Some(match subject {
                Subject::User(name) => v1::subject::Subject::User(name),
                Subject::Station(name) => v1::subject::Subject::Station(name),
                Subject::Workgroup(name) => v1::subject::Subject::Workgroup(name),
                Subject::Organization(name) => v1::subject::Subject::Organization(name),
            }),
        })
        .collect();
    Ok(v1::EntitlementsRequest { caller: Some(caller), subjects, keys })
}

impl From<v1::SubjectEntitlement> for Entitlement {
    fn from(answer: v1::SubjectEntitlement) -> Self {
        Self {
            keys: answer.keys.into_iter().map(KeyEntitlement::from).collect(),
            any_of: answer.any_of,
            all_of: answer.all_of,
            refusal: answer.refusal.map(Refusal::from),
        }
    }
}

impl From<v1::KeyEntitlement> for KeyEntitlement {
    fn from(answer: v1::KeyEntitlement) -> Self {
        Self {
            key: answer.key,
            held: answer.held,
            held_by_all: answer.held_by_all,
            members: answer.members,
            members_holding: answer.members_holding,
            reason: answer.reason,
        }
    }
}

impl From<v1::ExplainResponse> for Explanation {
    fn from(answer: v1::ExplainResponse) -> Self {
        let steps = answer
            .steps
            .into_iter()
            .map(|step| ExplainStep { rule: step.rule, passed: step.passed, message: step.message })
            .collect();
        let decision = match answer.decision {
            Some(v1::explain_response::Decision::WouldGrant(lease)) => Ok(lease.into()),
            Some(v1::explain_response::Decision::WouldRefuse(refusal)) => Err(refusal.into()),
            None => Err(v1::Refusal::default().into()),
        };
        Self { steps, decision }
    }
}
