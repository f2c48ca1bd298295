//! Usage files: how they stand, whether they are what was written, bundles, receipts, and the way out.

mod doctor;
mod export;
mod list;
mod receipt;
mod send;
mod state;
mod verify;

pub use doctor::{DoctorDocument, StepDocument};
pub use export::{BundledFile, ExportDocument, GapDocument, Manifest};
pub use list::{SealDocument, UsageFileDocument, UsageListDocument};
pub use receipt::{ReceiptDocument, ReceiptOutcome};
pub use send::SendDocument;
pub use state::{DeadlineDocument, HeldDocument, UsageCountDocument, UsageFailureDocument, UsageStatusDocument};
pub use verify::{FindingDocument, StandingDocument, VerifyUsageDocument};
