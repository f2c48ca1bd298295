//! Who was given which keys, and what came of giving and taking them.

use std::collections::BTreeMap;

use leasehold_proto::v1;
use serde::Serialize;

use super::{
    At, Document, RefusalDocument, SubjectDocument, given, or_empty,
    page::{Page, Tone, counted, number},
    table::Cell,
};

/// Beyond this many changes, counts are told instead of each change.
const TOLD_ONE_BY_ONE: usize = 20;

/// A key that was given to a subject.
#[derive(Clone, Debug, Serialize)]
pub struct AssignmentDocument {
    /// To whom.
    pub subject: SubjectDocument,
    /// The key.
    pub key: String,
    /// The pool that its seat is, or will be, in.
    pub pool: String,
    /// Since when.
    pub since: Option<At>,
    /// Until when; null: until it is taken away.
    pub until: Option<At>,
    /// Whether it has effect.
    pub active: bool,
    /// Why it has none.
    pub message: Option<String>,
}

impl AssignmentDocument {
    /// From the wire; `None` where it names no subject.
    #[must_use]
    pub fn from_wire(assignment: v1::Assignment) -> Option<Self> {
        Some(Self {
            subject: SubjectDocument::from_wire(assignment.subject)?,
            key: assignment.key,
            pool: assignment.pool,
            since: At::from_wire(assignment.since),
            until: At::from_wire(assignment.until),
            active: assignment.active,
            message: given(assignment.message),
        })
    }
}

/// The document of `leasehold assignments`.
#[derive(Clone, Debug, Serialize)]
pub struct AssignmentsDocument {
    /// The assignments.
    pub assignments: Vec<AssignmentDocument>,
}

impl Document for AssignmentsDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        if self.assignments.is_empty() {
            page.line("no assignments found");
        } else {
            write_assignments(&self.assignments, true, page);
        }
    }
}

/// The assignments as a table, with or without their subjects.
pub(super) fn write_assignments(assignments: &[AssignmentDocument], with_subject: bool, page: &mut Page<'_>) {
    let clock = page.clock();
    let moment = |at: Option<At>| at.map_or_else(String::new, |at| clock.moment(at.0));
    let rows = assignments
        .iter()
        .map(|assignment| {
            vec![
                Cell::text(if with_subject { assignment.subject.text() } else { String::new() }),
                Cell::text(&assignment.key),
                Cell::text(&assignment.pool),
                Cell::text(moment(assignment.since)),
                Cell::text(assignment.until.map_or_else(String::new, |at| clock.end(at.0))),
                if assignment.active { Cell::text("active") } else { Cell::text("inactive").tone(Tone::Warn) },
                Cell::prose(or_empty(&assignment.message)),
            ]
        })
        .collect();
    page.table(&["SUBJECT", "KEY", "POOL", "SINCE", "UNTIL", "STATE", "WHY"], rows);
}

/// Giving or taking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// `leasehold assign`.
    Assign,
    /// `leasehold unassign`.
    Unassign,
}

/// The document of `leasehold assign` and `unassign`.
#[derive(Clone, Debug, Serialize)]
pub struct AssignDocument {
    /// `assign` or `unassign`.
    pub action: Direction,
    /// Whether anything was changed: false for a dry run, and where one refusal stood against all.
    pub applied: bool,
    /// Whether it was only asked what would happen.
    pub dry_run: bool,
    /// Pairs that were changed, or would be.
    pub changed: u64,
    /// Pairs that were so already (ALLOC-10).
    pub unchanged: u64,
    /// Pairs that were refused.
    pub refused: u64,
    /// Until when; null: until it is taken away.
    pub until: Option<At>,
    /// What came of each pair, in the order asked.
    pub outcomes: Vec<OutcomeDocument>,
}

/// What came of one pair of subject and key.
#[derive(Clone, Debug, Serialize)]
pub struct OutcomeDocument {
    /// The subject.
    pub subject: SubjectDocument,
    /// The key.
    pub key: String,
    /// The method by which the subject holds keys; null where it is unknown.
    pub method: Option<String>,
    /// Whether it was changed, or would be.
    pub changed: bool,
    /// Why it was refused; null where it was not.
    pub refusal: Option<RefusalDocument>,
    /// How the pool stands then, in words.
    pub message: Option<String>,
}

impl OutcomeDocument {
    /// From the wire; `None` where it names no subject.
    #[must_use]
    pub fn from_wire(outcome: v1::AssignOutcome) -> Option<Self> {
        Some(Self {
            subject: SubjectDocument::from_wire(outcome.subject)?,
            key: outcome.key,
            method: given(outcome.method),
            changed: outcome.changed,
            refusal: outcome.refusal.map(Into::into),
            message: given(outcome.message),
        })
    }
}

impl AssignDocument {
    fn verb(&self) -> (&'static str, &'static str) {
        match (self.action, self.dry_run) {
            (Direction::Assign, false) => ("now holds", "now hold"),
            (Direction::Assign, true) => ("would hold", "would hold"),
            (Direction::Unassign, false) => ("no longer holds", "no longer hold"),
            (Direction::Unassign, true) => ("would no longer hold", "would no longer hold"),
        }
    }

    /// Whether a refusal stood against everything.
    #[must_use]
    pub fn stopped(&self) -> bool {
        !self.applied && !self.dry_run && self.refused > 0
    }

    /// Pairs of one key that were refused in the same words are told together.
    fn write_refusals(&self, page: &mut Page<'_>) {
        // What one pair alone was refused for is told as the error.
        if self.outcomes.len() <= 1 {
            return;
        }
        let mut told: Vec<(&str, &str, Vec<String>)> = Vec::new();
        for outcome in &self.outcomes {
            let Some(refusal) = &outcome.refusal else { continue };
            let who = outcome.subject.text();
            match told.iter_mut().find(|(key, message, _)| *key == outcome.key && *message == refusal.message) {
                Some((_, _, subjects)) => subjects.push(who),
                None => told.push((&outcome.key, &refusal.message, vec![who])),
            }
        }
        for (key, message, subjects) in told {
            page.marked(Tone::Bad, "refused", &format!("{key} for {}: {message}", subjects.join(", ")));
        }
    }

    fn write_unchanged(&self, page: &mut Page<'_>) {
        let unchanged: Vec<&OutcomeDocument> =
            self.outcomes.iter().filter(|outcome| !outcome.changed && outcome.refusal.is_none()).collect();
        let already = match self.action {
            Direction::Assign => ("holds", "already"),
            Direction::Unassign => ("does not hold", "anyway"),
        };
        if unchanged.len() > TOLD_ONE_BY_ONE {
            page.line(&format!("{} were so already", number(unchanged.len() as u64)));
            return;
        }
        for outcome in unchanged {
            page.line(&format!("{} {} {} {}", outcome.subject.text(), already.0, outcome.key, already.1));
        }
    }

    fn write_changes(&self, page: &mut Page<'_>) {
        let (one, many) = self.verb();
        let until = self.until.map_or_else(String::new, |at| format!(" until {}", page.clock().end(at.0)));
        let changed: Vec<&OutcomeDocument> =
            self.outcomes.iter().filter(|outcome| outcome.changed && outcome.refusal.is_none()).collect();
        if changed.len() <= TOLD_ONE_BY_ONE {
            for outcome in changed {
                let about: Vec<&str> =
                    [&outcome.method, &outcome.message].into_iter().flatten().map(String::as_str).collect();
                let about = if about.is_empty() { String::new() } else { format!(" ({})", about.join(", ")) };
                page.line(&format!("{} {one} {}{until}{about}", outcome.subject.text(), outcome.key));
            }
            return;
        }
        let mut by_key: BTreeMap<&str, u64> = BTreeMap::new();
        for outcome in changed {
            *by_key.entry(&outcome.key).or_default() += 1;
        }
        for (key, count) in by_key {
            let verb = if count == 1 { one } else { many };
            page.line(&format!("{} {verb} {key}{until}", counted(count, "subject", "subjects")));
        }
    }
}

impl Document for AssignDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        if !self.stopped() {
            self.write_changes(page);
            self.write_unchanged(page);
        }
        self.write_refusals(page);
        if self.dry_run {
            page.line_in(Tone::Dim, "this was a dry run: nothing was changed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{AssignDocument, Direction, OutcomeDocument};
    use crate::{
        clock::Clock,
        render::{Document, RefusalDocument, SubjectDocument, page::Page},
    };

    fn outcome(name: &str, refusal: Option<&str>) -> OutcomeDocument {
        let refusal = refusal.map(|message| RefusalDocument {
            reason: None,
            message: message.to_owned(),
            hint: None,
            facts: BTreeMap::new(),
            retry_after_ms: None,
            exit_code: 3,
        });
        OutcomeDocument {
            subject: SubjectDocument { kind: "user", name: name.to_owned() },
            key: "K".to_owned(),
            method: None,
            changed: refusal.is_none(),
            refusal,
            message: None,
        }
    }

    fn text_of(outcomes: Vec<OutcomeDocument>) -> String {
        let clock = Clock::fixed(jiff::Timestamp::UNIX_EPOCH, jiff::tz::TimeZone::UTC);
        let mut page = Page::new(&clock, None);
        let refused = outcomes.iter().filter(|outcome| outcome.refusal.is_some()).count() as u64;
        let changed = outcomes.len() as u64 - refused;
        let document = AssignDocument {
            action: Direction::Assign,
            applied: true,
            dry_run: false,
            changed,
            unchanged: 0,
            refused,
            until: None,
            outcomes,
        };
        document.write_text(&mut page);
        anstream::adapter::strip_str(&page.into_text()).to_string()
    }

    #[test]
    fn refusals_in_the_same_words_are_told_together() {
        let full = Some("All seats are taken.");
        let outcomes =
            vec![outcome("a", None), outcome("b", full), outcome("c", Some("There is no user c.")), outcome("d", full)];
        assert_eq!(
            text_of(outcomes),
            "a now holds K\nrefused: K for b, d: All seats are taken.\nrefused: K for c: There is no user c.\n"
        );
    }

    #[test]
    fn many_changes_are_counted() {
        let outcomes = (0..1_200).map(|number| outcome(&format!("agent-{number}"), None)).collect();
        assert_eq!(text_of(outcomes), "1,200 subjects now hold K\n");
    }
}
