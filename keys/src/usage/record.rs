//! The frame of a record and the chain that runs through all of them.

use super::{
    checksum::crc32c,
    header::{Clocks, SIGNATURE_BYTES},
    varint::Reader,
};
use crate::{
    digest::Sha256,
    installation::{InstallationKey, InstallationPublicKey},
    time::WallTime,
};

/// The most items of a record.
pub const ITEMS_MAX: usize = 256;
/// The most bytes of a record, its frame among them.
pub const RECORD_MAX_BYTES: usize = 64 * 1024;
/// The most bytes of a file.
pub const FILE_MAX_BYTES: usize = 17 * 1024 * 1024;
/// From this size on a segment is to be closed and another begun (USAGE-4).
pub const ROTATE_BYTES: usize = 16 * 1024 * 1024;

/// Length, index and type before the body.
pub(super) const FRAME_HEAD_BYTES: usize = 4 + 8 + 1;
/// The frame: what stands before the body, and the checksum after it.
pub(super) const FRAME_BYTES: usize = FRAME_HEAD_BYTES + 4;
/// Bytes of the tag of a sealed body.
pub(super) const TAG_BYTES: usize = 16;
/// The body of a checkpoint or close: two clocks and a signature.
pub(super) const SIGNED_BODY_BYTES: usize = 8 + 8 + SIGNATURE_BYTES;
/// Bytes of a record that closes a segment.
pub(super) const CLOSE_BYTES: usize = FRAME_BYTES + SIGNED_BODY_BYTES;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordType {
    /// Sealed items.
    Events,
    /// The chain up to here, signed.
    Checkpoint,
    /// The same, and the end.
    Close,
}

impl RecordType {
    pub(super) fn code(self) -> u8 {
        match self {
            RecordType::Events => 1,
            RecordType::Checkpoint => 2,
            RecordType::Close => 3,
        }
    }

    pub(super) fn of(code: u8) -> Option<Self> {
        [RecordType::Events, RecordType::Checkpoint, RecordType::Close].into_iter().find(|known| known.code() == code)
    }

    /// What the installation signs such a record for.
    fn purpose(self) -> &'static str {
        match self {
            RecordType::Events => "usage-events",
            RecordType::Checkpoint => "usage-checkpoint",
            RecordType::Close => "usage-close",
        }
    }
}

/// Where a record stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) segment: u32,
    /// From 1.
    pub(super) index: u64,
    /// The chain value before it.
    pub(super) chain: Sha256,
}

impl Place {
    /// What a sealed body is bound to.
    pub(super) fn associated_data(&self, body_bytes: usize) -> Vec<u8> {
        let mut out = b"leasehold/usage-record/1\n".to_vec();
        out.extend(self.chain.0);
        out.extend(self.index.to_be_bytes());
        out.push(RecordType::Events.code());
        out.extend(length(body_bytes));
        out
    }

    /// The nonce of the record at this index: its content key seals one record with it and no other.
    pub(super) fn nonce(&self) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.index.to_be_bytes());
        nonce
    }

    /// The whole record around a body.
    pub(super) fn frame(&self, kind: RecordType, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(FRAME_BYTES + body.len());
        out.extend(length(body.len()));
        out.extend(self.index.to_be_bytes());
        out.push(kind.code());
        out.extend(body);
        let checksum = crc32c(&out);
        out.extend(checksum.to_be_bytes());
        out
    }

    /// The body of a checkpoint or close.
    pub(super) fn signed_body(&self, kind: RecordType, at: Clocks, installation: &InstallationKey) -> Vec<u8> {
        let mut body = at.trusted.as_ms().to_be_bytes().to_vec();
        body.extend(at.wall.as_ms().to_be_bytes());
        let public = installation.public();
        let signature =
            installation.sign(kind.purpose(), &self.statement(&public, &body).each_ref().map(|part| &part[..]));
        body.extend(signature);
        body
    }

    /// The clocks of a checkpoint or close, where its body has the right length and the installation signed it.
    pub(super) fn signed_clocks(
        &self,
        kind: RecordType,
        body: &[u8],
        installation: &InstallationPublicKey,
    ) -> Option<Clocks> {
        let (clocks, signature) = body.split_last_chunk::<SIGNATURE_BYTES>()?;
        let mut reader = Reader(clocks);
        let at = Clocks {
            trusted: WallTime::from_ms(i64::from_be_bytes(reader.array()?)),
            wall: WallTime::from_ms(i64::from_be_bytes(reader.array()?)),
        };
        let parts = self.statement(installation, clocks);
        let signed = installation.verifies(kind.purpose(), &parts.each_ref().map(|part| &part[..]), signature);
        (reader.is_empty() && signed).then_some(at)
    }

    /// What is signed: whose it is, where it stands, what came before, when.
    fn statement(&self, installation: &InstallationPublicKey, clocks: &[u8]) -> [Vec<u8>; 5] {
        [
            installation.as_bytes().to_vec(),
            self.segment.to_be_bytes().to_vec(),
            self.index.to_be_bytes().to_vec(),
            self.chain.0.to_vec(),
            clocks.to_vec(),
        ]
    }

    /// The chain value after a record.
    pub(super) fn after(&self, record: &[u8]) -> Sha256 {
        Sha256::of_parts(&[&self.chain.0, record])
    }
}

fn length(body_bytes: usize) -> [u8; 4] {
    u32::try_from(body_bytes).unwrap_or(u32::MAX).to_be_bytes()
}
