//! Usage files (`.usg`): what was used, sealed to those who may read it, chained and signed so that anyone can tell
//! whether it is whole (04). Bytes in, bytes out: where files lie, when one begins and who is sent it is decided
//! elsewhere. `FORMAT.md`, section 6, tells every byte.
//!
//! The daemon writes by [`Segment`]; anyone verifies by [`verify`] and [`Sequence`]; who holds a key reads by [`open`].

#[cfg(feature = "bundles")]
pub mod bundle;
mod checksum;
mod content;
mod damage;
mod file;
mod head;
mod header;
mod item;
mod key;
mod name;
mod open;
mod period;
mod pseudonym;
mod receipt;
mod record;
mod sequence;
#[cfg(test)]
mod tests;
mod varint;
mod wrap;
mod write;

pub use content::plain_items;
pub use damage::{Damage, DamageReason};
pub use file::{End, SegmentFile, Torn, salvage, verify};
pub use head::{Head, NotAHead, Tail};
pub use header::{Begun, Clocks, HEADER_MAX_BYTES, Header, Names, RECIPIENTS_MAX, Recipient};
pub use item::{Item, KeySet, REMARK_MAX_BYTES, Remark, RemarkCode, User};
pub use key::{KeyId, UsagePrivateKey, UsagePublicKey};
pub use name::{NotASegmentName, SEGMENT_MAX, SegmentName};
pub use open::{Opened, OpenedRecord, open};
pub use period::{Bounds, NotAPeriod, Period, midnight};
pub use pseudonym::{NotAPseudonym, NotAPseudonymKey, Pseudonym, PseudonymKey, PseudonymKeyId};
pub use receipt::UsageReceipt;
pub use record::{FILE_MAX_BYTES, ITEMS_MAX, RECORD_MAX_BYTES, ROTATE_BYTES};
pub use sequence::{Acknowledged, Finding, FindingReason, Report, Sequence, Standing};
pub use write::{Opening, SealFault, Sealed, Segment};
