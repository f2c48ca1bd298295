//! What is shown: for each answer one document, whose fields are the promised JSON and which knows its text for people.
//!
//! Field names and meanings in JSON are stable: fields are added, never renamed or removed. Moments are RFC 3339 in UTC,
//! durations are in milliseconds and named so, what does not exist is null. `JSON.md` shows every document.

use std::collections::BTreeMap;

use jiff::Timestamp;
use leasehold_proto::v1;
use serde::{Serialize, Serializer};

pub mod assignments;
pub mod audit;
pub mod check_in;
pub mod denials;
pub mod entities;
pub mod explain;
pub mod leases;
pub mod licenses;
pub mod page;
pub mod pools;
pub mod standing;
pub mod status;
pub mod table;
pub mod usage;

use crate::failure::Failure;
use page::{Page, Tone};

/// An answer that can be shown in both forms.
pub trait Document: Serialize {
    /// Writes it for a person.
    fn write_text(&self, page: &mut Page<'_>);
}

/// A moment; in JSON RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At(pub Timestamp);

impl At {
    /// From the wire; `None` where it is not set or lies outside of the calendar.
    #[must_use]
    pub fn from_wire(at: Option<prost_types::Timestamp>) -> Option<Self> {
        let at = at?;
        Timestamp::new(at.seconds, at.nanos).ok().map(Self)
    }
}

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// What was bought: a count, or no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Capacity {
    /// The count; null where there is no limit, or none is known.
    pub capacity: Option<u64>,
    /// True for a subscription without a limit (ALLOC-12).
    pub unlimited: bool,
}

impl Capacity {
    /// From the wire: a count, `unlimited`, or empty.
    #[must_use]
    pub fn from_wire(text: &str) -> Self {
        Self { capacity: text.parse().ok(), unlimited: text == "unlimited" }
    }

    /// `10`, `unlimited`, or nothing.
    #[must_use]
    pub fn text(self) -> String {
        match (self.capacity, self.unlimited) {
            (_, true) => "unlimited".to_owned(),
            (Some(count), false) => page::number(count),
            (None, false) => String::new(),
        }
    }

    /// `2/10`: in use and limit.
    #[must_use]
    pub fn beside(self, in_use: u64) -> String {
        match self.text() {
            limit if limit.is_empty() => page::number(in_use),
            limit => format!("{}/{limit}", page::number(in_use)),
        }
    }

    /// Red above the limit, yellow at it.
    #[must_use]
    pub fn tone(self, in_use: u64) -> Tone {
        match self.capacity {
            Some(limit) if in_use > limit => Tone::Bad,
            Some(limit) if in_use == limit && limit > 0 => Tone::Warn,
            _ => Tone::Plain,
        }
    }
}

/// A refusal inside of an answer.
#[derive(Clone, Debug, Serialize)]
pub struct RefusalDocument {
    /// The reason in capitals; null where the daemon gave none.
    pub reason: Option<String>,
    /// One sentence.
    pub message: String,
    /// What to do next; null where nothing general can be said.
    pub hint: Option<String>,
    /// The facts.
    pub facts: BTreeMap<String, String>,
    /// When to try again; null where there is no advice.
    pub retry_after_ms: Option<u64>,
    /// The exit code of a command that fails for this alone.
    pub exit_code: u8,
}

impl From<v1::Refusal> for RefusalDocument {
    fn from(refusal: v1::Refusal) -> Self {
        Failure::from_refusal(refusal).into()
    }
}

impl From<Failure> for RefusalDocument {
    fn from(failure: Failure) -> Self {
        Self {
            reason: failure.reason,
            message: failure.message,
            hint: failure.hint,
            facts: failure.facts,
            retry_after_ms: failure.retry_after_ms,
            exit_code: failure.exit.number(),
        }
    }
}

/// A remark of the daemon that wants attention: a notice or a warning.
#[derive(Clone, Debug, Serialize)]
pub struct NoticeDocument {
    /// The reason in capitals.
    pub reason: String,
    /// One sentence.
    pub message: String,
}

impl From<v1::Notice> for NoticeDocument {
    fn from(notice: v1::Notice) -> Self {
        Self { reason: notice.reason, message: notice.message }
    }
}

impl From<v1::Warning> for NoticeDocument {
    fn from(warning: v1::Warning) -> Self {
        Self { reason: warning.reason, message: warning.message }
    }
}

/// Who or what something is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SubjectDocument {
    /// `user`, `station`, `workgroup` or `organization`.
    pub kind: &'static str,
    /// The name.
    pub name: String,
}

impl SubjectDocument {
    /// From the wire; `None` where it names nothing.
    #[must_use]
    pub fn from_wire(subject: Option<v1::EntityRef>) -> Option<Self> {
        use v1::entity_ref::Entity;
        let (kind, name) = match subject?.entity? {
            Entity::User(name) => ("user", name),
            Entity::Station(name) => ("station", name),
            Entity::Workgroup(name) => ("workgroup", name),
            Entity::Organization(name) => ("organization", name),
        };
        Some(Self { kind, name })
    }

    /// `agent-001`, `station wallboard-1`: users by their bare name.
    #[must_use]
    pub fn text(&self) -> String {
        if self.kind == "user" { self.name.clone() } else { format!("{} {}", self.kind, self.name) }
    }
}

/// What the daemon says about a change, and nothing more.
#[derive(Clone, Debug, Serialize)]
pub struct DoneDocument {
    /// One sentence.
    pub message: String,
}

impl Document for DoneDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        page.line(&self.message);
    }
}

/// `None` for an empty string: on the wire both are the same.
#[must_use]
pub fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// The text, or nothing.
#[must_use]
pub fn or_empty(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default()
}
