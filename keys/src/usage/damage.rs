//! What is wrong with a usage file, and where: a stable code for programs, a sentence for people.

use std::fmt;

use crate::refusal::reasons;

const AGAIN: &str = "Copy the file again from the server that wrote it; where it is the same there, tell the licensor.";
const UPDATE: &str = "Update Leasehold, or the licensor's tool, to a version that knows this format.";

reasons! {
    /// What is wrong with a usage file. Codes are stable: they stand in logs, in test vectors and in scripts.
    DamageReason:
    /// It does not begin as a usage file does.
    NotAUsageFile = "not-a-usage-file", "Check what was copied here: this is no usage file of Leasehold.";
    /// A format or content of a later version.
    LaterVersion = "later-version", UPDATE;
    /// Algorithms that are not known.
    UnknownSuite = "unknown-suite", UPDATE;
    /// More than 17 MiB.
    FileTooLarge = "file-too-large", AGAIN;
    /// The file ends within its header.
    HeaderCut = "header-cut", AGAIN;
    /// A field of the header that no writer fills so.
    BadHeader = "bad-header", AGAIN;
    /// A key of small order, under which anyone could sign or open.
    SmallOrderKey = "small-order-key", "Do not use this file. Tell the licensor.";
    /// The installation did not sign the header.
    HeaderSignature = "header-signature", AGAIN;
    /// A record whose length no record has.
    RecordLength = "record-length", AGAIN;
    /// The bytes of a record do not fit its checksum.
    RecordChecksum = "record-checksum", AGAIN;
    /// A record out of its order: one is missing, moved or doubled.
    RecordIndex = "record-index", AGAIN;
    /// A record of a type that is not known.
    RecordType = "record-type", UPDATE;
    /// The installation did not sign the chain up to a checkpoint or close: something before it was changed.
    ChainSignature = "chain-signature", AGAIN;
    /// Bytes after the record that closes the file.
    AfterClose = "after-close", AGAIN;
    /// The key is none that the file is sealed to.
    NotARecipient = "not-a-recipient", "Use the private key of one of the recipients that the file names.";
    /// The content key cannot be taken out for this recipient.
    WrappedKey = "wrapped-key", AGAIN;
    /// What this recipient gets is not the content key that the header commits to.
    KeyCommitment = "key-commitment", "Do not use this file: its recipients were not given the same. Tell the licensor.";
    /// A record is not sealed with the content key at its place in the chain.
    RecordSealed = "record-sealed", AGAIN;
    /// The opened content of a record is not what the format says.
    BadContent = "bad-content", "Tell the licensor: the server that wrote it is faulty, or newer than this reader.";
}

/// What is wrong with a usage file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    reason: DamageReason,
    record: Option<u64>,
    offset: usize,
    what: String,
}

impl Damage {
    /// Damage of the header; `what` is a sentence without its full stop.
    pub(super) fn header(reason: DamageReason, offset: usize, what: impl Into<String>) -> Self {
        Self { reason, record: None, offset, what: what.into() }
    }

    /// Damage of a record.
    pub(super) fn record(reason: DamageReason, record: u64, offset: usize, what: impl Into<String>) -> Self {
        Self { reason, record: Some(record), offset, what: what.into() }
    }

    /// The stable code, in kebab-case.
    pub fn reason(&self) -> &'static str {
        self.reason.code()
    }

    /// The reason to match on.
    pub fn kind(&self) -> DamageReason {
        self.reason
    }

    /// The record that it shows at, from 1; none for the header.
    pub fn at_record(&self) -> Option<u64> {
        self.record
    }

    /// The byte at which that record, or the faulty field of the header, begins.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// What was wrong, without what to do.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What to do.
    pub fn remedy(&self) -> &'static str {
        self.reason.remedy()
    }
}

impl fmt::Display for Damage {
    /// `Record 7, at byte 1042: ... . Copy the file again ... .`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.record {
            Some(record) => write!(f, "Record {record}, at byte {}: ", self.offset)?,
            None => write!(f, "Header, at byte {}: ", self.offset)?,
        }
        write!(f, "{}. {}", self.what, self.reason.remedy())
    }
}

impl std::error::Error for Damage {}
