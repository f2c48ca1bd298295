//! `leasehold usage receipt`: what became of the licensor's receipts.

use serde::Serialize;

use super::UsageFileDocument;
use crate::render::{
    Document, RefusalDocument,
    page::{Page, Tone},
};

/// The document of `leasehold usage receipt`.
#[derive(Clone, Debug, Serialize)]
pub struct ReceiptDocument {
    /// Receipts that were taken.
    pub taken: u64,
    /// Receipts that were not.
    pub refused: u64,
    /// One for each file that was named.
    pub receipts: Vec<ReceiptOutcome>,
}

/// What became of a receipt.
#[derive(Clone, Debug, Serialize)]
pub struct ReceiptOutcome {
    /// The receipt's file.
    pub receipt: String,
    /// The usage file that it is for, as it stands now; null where it was refused.
    pub usage_file: Option<UsageFileDocument>,
    /// Why it was refused; null where it was taken.
    pub refusal: Option<RefusalDocument>,
    /// One sentence.
    pub message: String,
}

impl Document for ReceiptDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        for outcome in &self.receipts {
            match outcome.refusal {
                None => page.marked(Tone::Good, "taken", &format!("{}: {}", outcome.receipt, outcome.message)),
                Some(_) => page.marked(Tone::Bad, "REFUSED", &format!("{}: {}", outcome.receipt, outcome.message)),
            }
        }
    }
}
