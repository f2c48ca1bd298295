//! `leasehold denials`: what was refused, and who held the seats then.

use std::collections::BTreeMap;

use leasehold_proto::v1;
use serde::Serialize;

use super::{
    At, Capacity, Document, given, or_empty,
    page::{Page, counted, number},
    table::Cell,
};

/// Of those who held seats longest, this many are told to people.
const TOLD_HOLDERS: usize = 3;

/// The document of `leasehold denials`.
#[derive(Clone, Debug, Serialize)]
pub struct DenialsDocument {
    /// From when on.
    pub since: At,
    /// Only those of one pool were asked for: text says that its key's are shown.
    #[serde(skip)]
    pub of_pool: bool,
    /// The denials, newest first.
    pub denials: Vec<DenialDocument>,
}

/// Refusals of one caller, key and minute.
#[derive(Clone, Debug, Serialize)]
pub struct DenialDocument {
    /// When.
    pub at: Option<At>,
    /// Who asked.
    pub identity: String,
    /// For which application.
    pub application: Option<String>,
    /// For whom.
    pub subject: Option<String>,
    /// For which key.
    pub key: Option<String>,
    /// Why it was refused, in capitals.
    pub reason: String,
    /// The same in a sentence.
    pub message: String,
    /// How often in that minute.
    pub count: u64,
    /// The capacity of the pool; null and false where none is concerned.
    #[serde(flatten)]
    pub capacity: Capacity,
    /// What was in use of it.
    pub in_use: u64,
    /// Who held the seats, by application.
    pub holders_by_application: BTreeMap<String, u64>,
    /// Who had held them longest, oldest first.
    pub oldest_holders: Vec<String>,
}

impl From<v1::Denial> for DenialDocument {
    fn from(denial: v1::Denial) -> Self {
        Self {
            at: At::from_wire(denial.at),
            identity: denial.identity,
            application: given(denial.application),
            subject: given(denial.subject),
            key: given(denial.key),
            reason: denial.reason,
            message: denial.message,
            count: denial.count,
            capacity: Capacity::from_wire(&denial.capacity),
            in_use: denial.in_use,
            holders_by_application: denial.holders_by_application.into_iter().collect(),
            oldest_holders: denial.oldest_holders,
        }
    }
}

impl DenialDocument {
    /// `Desktop 48; Portal 2; longest by user agent-1 since …`.
    fn holders(&self) -> String {
        let mut counts: Vec<(&String, &u64)> = self.holders_by_application.iter().collect();
        counts.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let mut text: Vec<String> =
            counts.into_iter().map(|(application, count)| format!("{application} {}", number(*count))).collect();
        if !self.oldest_holders.is_empty() {
            let shown = &self.oldest_holders[..self.oldest_holders.len().min(TOLD_HOLDERS)];
            text.push(format!("longest by {}", shown.join(", ")));
        }
        text.join("; ")
    }

    fn asked_by(&self) -> String {
        match &self.application {
            Some(application) => format!("{application} ({})", self.identity),
            None => self.identity.clone(),
        }
    }
}

impl Document for DenialsDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        let clock = page.clock();
        let since = clock.moment(self.since.0);
        if self.denials.is_empty() {
            page.line(&format!("nothing was denied since {since} ({})", clock.zone()));
            return;
        }
        let times = self.denials.iter().map(|denial| denial.count).sum();
        page.line(&format!(
            "{} since {since}, newest first (times in {})",
            counted(times, "denial", "denials"),
            clock.zone()
        ));
        if self.of_pool {
            page.line("(recorded by key: what was refused of this key's other pools is among them)");
        }
        page.gap();
        let rows = self
            .denials
            .iter()
            .map(|denial| {
                let in_use = if denial.capacity.text().is_empty() {
                    String::new()
                } else {
                    denial.capacity.beside(denial.in_use)
                };
                vec![
                    Cell::text(denial.at.map_or_else(String::new, |at| clock.moment(at.0))),
                    Cell::number(denial.count),
                    Cell::text(or_empty(&denial.subject)),
                    Cell::text(or_empty(&denial.key)),
                    Cell::text(&denial.reason),
                    Cell::right(in_use),
                    Cell::prose(denial.asked_by()),
                    Cell::prose(denial.holders()),
                ]
            })
            .collect();
        page.table(&["WHEN", "TIMES", "FOR", "KEY", "REASON", "IN USE / LIMIT", "ASKED BY", "SEATS HELD BY"], rows);
    }
}
