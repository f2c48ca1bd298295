//! The audit log, its verification, the compliance check, and copies of the database.

use leasehold_proto::v1;
use serde::Serialize;
use serde_json::Value;

use super::{
    At, Document, given, or_empty,
    page::{Page, Tone, counted, number},
    table::Cell,
};

/// The document of `leasehold audit`.
#[derive(Clone, Debug, Serialize)]
pub struct AuditDocument {
    /// From when on.
    pub since: At,
    /// The entries, newest first.
    pub entries: Vec<AuditEntryDocument>,
}

/// One change.
#[derive(Clone, Debug, Serialize)]
pub struct AuditEntryDocument {
    /// Rises by one with each entry.
    pub number: u64,
    /// When.
    pub at: Option<At>,
    /// Who, and how that is known.
    pub identity: String,
    /// What was done.
    pub action: String,
    /// To whom or what.
    pub subject: String,
    /// The state before as JSON; null where there was nothing.
    pub before: Value,
    /// The state after as JSON; null where there is nothing.
    pub after: Value,
    /// The reason that was given.
    pub reason: Option<String>,
}

impl From<v1::AuditEntry> for AuditEntryDocument {
    fn from(entry: v1::AuditEntry) -> Self {
        // What does not parse is kept as text: the log is shown as it is.
        let value = |text: String| match text.as_str() {
            "" => Value::Null,
            json => serde_json::from_str(json).unwrap_or(Value::String(text)),
        };
        Self {
            number: entry.number,
            at: At::from_wire(entry.at),
            identity: entry.identity,
            action: entry.action,
            subject: entry.subject,
            before: value(entry.before),
            after: value(entry.after),
            reason: given(entry.reason),
        }
    }
}

impl AuditEntryDocument {
    /// The fields that changed: `method assignable → concurrent`. Of nested values the JSON is shown.
    fn change(&self) -> String {
        match (&self.before, &self.after) {
            (Value::Null, Value::Null) => String::new(),
            (Value::Object(before), Value::Object(after)) => {
                let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
                names.sort();
                names.dedup();
                let changes: Vec<String> = names
                    .into_iter()
                    .filter(|name| before.get(*name) != after.get(*name))
                    .map(|name| format!("{name} {} → {}", short(before.get(name)), short(after.get(name))))
                    .collect();
                changes.join("; ")
            }
            (Value::Null, after) => whole(after),
            (before, Value::Null) => format!("was: {}", whole(before)),
            (before, after) => format!("{} → {}", short(Some(before)), short(Some(after))),
        }
    }
}

/// Everything there is to a thing that was made or removed.
fn whole(value: &Value) -> String {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !is_nothing(value))
            .map(|(name, value)| format!("{name} {}", short(Some(value))))
            .collect::<Vec<_>>()
            .join("; "),
        value => short(Some(value)),
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn short(value: Option<&Value>) -> String {
    match value {
        None => "none".to_owned(),
        Some(value) if is_nothing(value) => "none".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

impl Document for AuditDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        let clock = page.clock();
        let since = clock.moment(self.since.0);
        if self.entries.is_empty() {
            page.line(&format!("nothing was changed since {since} ({})", clock.zone()));
            return;
        }
        page.line(&format!(
            "{} since {since}, newest first (times in {})",
            counted(self.entries.len() as u64, "change", "changes"),
            clock.zone()
        ));
        page.gap();
        let rows = self
            .entries
            .iter()
            .map(|entry| {
                vec![
                    Cell::right(entry.number.to_string()),
                    Cell::text(entry.at.map_or_else(String::new, |at| clock.moment(at.0))),
                    Cell::text(&entry.identity),
                    Cell::text(&entry.action),
                    Cell::prose(&entry.subject),
                    Cell::prose(entry.change()),
                    Cell::prose(or_empty(&entry.reason)),
                ]
            })
            .collect();
        page.table(&["ENTRY", "WHEN", "WHO", "ACTION", "SUBJECT", "CHANGE", "REASON"], rows);
    }
}

/// The document of `leasehold audit verify`.
#[derive(Clone, Debug, Serialize)]
pub struct VerifyAuditDocument {
    /// Whether every link of the chain fits.
    pub intact: bool,
    /// Entries that were checked.
    pub entries: u64,
    /// The first entry that does not fit; null where all do.
    pub first_bad: Option<u64>,
    /// SHA-256 of the newest link, in hexadecimal: keep it elsewhere to prove later that nothing was cut off.
    pub head: Option<String>,
    /// What is wrong.
    pub message: Option<String>,
}

impl From<v1::VerifyAuditResponse> for VerifyAuditDocument {
    fn from(answer: v1::VerifyAuditResponse) -> Self {
        Self {
            intact: answer.intact,
            entries: answer.entries,
            first_bad: Some(answer.first_bad).filter(|_| !answer.intact),
            head: given(answer.head),
            message: given(answer.message),
        }
    }
}

impl Document for VerifyAuditDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        if self.intact {
            let entries = counted(self.entries, "entry", "entries");
            page.line_in(Tone::Good, &format!("the audit log is intact: {entries} checked"));
        } else {
            let place = self.first_bad.map_or_else(String::new, |number| format!(" from entry {number} on"));
            let why = self.message.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            page.line_in(Tone::Bad, &format!("the audit log is DAMAGED{place}{why}"));
            page.line(
                "what it says before that entry can be trusted; keep the database as evidence before you repair it",
            );
        }
        page.fields(&[("Head", or_empty(&self.head).to_owned())]);
    }
}

/// The document of `leasehold compliance`.
#[derive(Clone, Debug, Serialize)]
pub struct ComplianceDocument {
    /// Whether no pool is above what is licensed.
    pub compliant: bool,
    /// Pools that were checked.
    pub pools_checked: u32,
    /// The pools that are above.
    pub exceeded: Vec<ExceededDocument>,
}

/// A pool that is above what is licensed (COMPLY-1).
#[derive(Clone, Debug, Serialize)]
pub struct ExceededDocument {
    /// The pool.
    pub pool: String,
    /// Its title for people.
    pub title: Option<String>,
    /// What is licensed.
    pub licensed: u64,
    /// What is used.
    pub used: u64,
    /// One sentence.
    pub message: String,
}

impl From<v1::CheckComplianceResponse> for ComplianceDocument {
    fn from(answer: v1::CheckComplianceResponse) -> Self {
        let exceeded: Vec<ExceededDocument> = answer
            .exceeded
            .into_iter()
            .map(|exceeded| ExceededDocument {
                pool: exceeded.pool,
                title: given(exceeded.title),
                licensed: exceeded.licensed,
                used: exceeded.used,
                message: exceeded.message,
            })
            .collect();
        Self { compliant: exceeded.is_empty(), pools_checked: answer.pools_checked, exceeded }
    }
}

impl Document for ComplianceDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        let checked = counted(self.pools_checked.into(), "pool", "pools");
        if self.compliant {
            page.line_in(Tone::Good, &format!("compliant: none of {checked} is above what is licensed"));
            return;
        }
        let count = self.exceeded.len() as u64;
        let verb = if count == 1 { "is" } else { "are" };
        page.line_in(
            Tone::Bad,
            &format!("NOT compliant: {} of {checked} {verb} above what is licensed", number(count)),
        );
        page.gap();
        let rows = self
            .exceeded
            .iter()
            .map(|exceeded| {
                vec![
                    Cell::text(&exceeded.pool),
                    Cell::right(format!("{}/{}", number(exceeded.used), number(exceeded.licensed))).tone(Tone::Bad),
                    Cell::number(exceeded.used.saturating_sub(exceeded.licensed)),
                    Cell::prose(&exceeded.message),
                ]
            })
            .collect();
        page.table(&["POOL", "USED / LICENSED", "TOO MANY", "NOTE"], rows);
    }
}

/// The document of `leasehold db snapshot`.
#[derive(Clone, Debug, Serialize)]
pub struct SnapshotDocument {
    /// Where the copy is.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
}

impl Document for SnapshotDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        page.line(&format!("the database is copied to {} ({} bytes)", self.path, number(self.bytes)));
    }
}
