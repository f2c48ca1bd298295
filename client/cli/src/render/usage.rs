//! Usage files: how they stand, whether they are what was written, bundles, receipts, and the way out.

mod doctor;
mod export;
mod list;
mod receipt;
mod state;
mod verify;

pub use doctor::{DoctorDocument, StepDocument};
pub use export::{BundledFile, ExportDocument, GapDocument, Manifest};
pub use list::{SealDocument, UsageFileDocument, UsageListDocument};
pub use receipt::{ReceiptDocument, ReceiptOutcome};
pub use state::{DeadlineDocument, UsageCountDocument, UsageFailureDocument, UsageStatusDocument};
pub use verify::{FindingDocument, StandingDocument, VerifyUsageDocument};
