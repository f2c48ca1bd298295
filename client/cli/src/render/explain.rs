//! `leasehold explain`: the decision on a logon, step by step.

use leasehold_proto::v1;
use serde::Serialize;

use super::{
    Document, RefusalDocument,
    leases::LeaseDocument,
    page::{Page, Tone},
    table::Cell,
};

/// The document of `leasehold explain`.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainDocument {
    /// `granted` or `refused`.
    pub decision: &'static str,
    /// The rules that were looked at, in order.
    pub steps: Vec<StepDocument>,
    /// The lease that would be granted; null where none would.
    pub would_grant: Option<LeaseDocument>,
    /// Why it would be refused; null where it would not.
    pub would_refuse: Option<RefusalDocument>,
}

/// One rule that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct StepDocument {
    /// The rule of the specification, such as `ALLOC-6`.
    pub rule: String,
    /// Whether it is content.
    pub passed: bool,
    /// What it found.
    pub message: String,
}

impl ExplainDocument {
    /// From the wire; `None` where there is no decision in it.
    #[must_use]
    pub fn from_wire(answer: v1::ExplainResponse) -> Option<Self> {
        let steps = answer
            .steps
            .into_iter()
            .map(|step| StepDocument { rule: step.rule, passed: step.passed, message: step.message })
            .collect();
        Some(match answer.decision? {
            v1::explain_response::Decision::WouldGrant(lease) => {
                Self { decision: "granted", steps, would_grant: Some(lease.into()), would_refuse: None }
            }
            v1::explain_response::Decision::WouldRefuse(refusal) => {
                Self { decision: "refused", steps, would_grant: None, would_refuse: Some(refusal.into()) }
            }
        })
    }
}

impl Document for ExplainDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        let verdict = self.would_refuse.as_ref().map(|refusal| refusal.message.as_str());
        let mut rows: Vec<Vec<Cell>> = Vec::new();
        let mut before: Option<&StepDocument> = None;
        for step in &self.steps {
            // Several keys may fall to one rule in the same words.
            if before.is_some_and(|before| before.rule == step.rule && before.message == step.message) {
                continue;
            }
            before = Some(step);
            let mark = if step.passed { Cell::text("ok").tone(Tone::Good) } else { Cell::text("no").tone(Tone::Bad) };
            // The sentence of the refusal is long, and told once.
            let finding =
                if verdict == Some(step.message.as_str()) { "this refuses it: see below" } else { &step.message };
            rows.push(vec![mark, Cell::text(&step.rule).tone(Tone::Dim), Cell::prose(finding)]);
        }
        if !self.steps.is_empty() {
            page.table(&["", "RULE", "FINDING"], rows);
            page.gap();
        }
        if let Some(lease) = &self.would_grant {
            page.line_in(Tone::Good, "The lease would be granted.");
            page.fields(&[("Keys", lease.keys_text()), ("Interaction types", lease.interaction_types.join(", "))]);
            for missing in &lease.missing {
                let why = missing.refusal.as_ref().map_or("", |refusal| refusal.message.as_str());
                page.marked(Tone::Warn, "without", &format!("{}: {why}", missing.key));
            }
            for warning in &lease.warnings {
                page.marked(Tone::Warn, "warning", &warning.message);
            }
        }
        if let Some(refusal) = &self.would_refuse {
            page.line_in(Tone::Bad, "The lease would be refused.");
            let reason = refusal.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
            page.line(&format!("{}{reason}", refusal.message));
            if let Some(hint) = &refusal.hint {
                page.marked(Tone::Note, "hint", hint);
            }
        }
    }
}
