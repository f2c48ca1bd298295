//! The header of a usage file: whose it is, what it continues, and the content key sealed to its recipients.

use std::fmt;

use super::{
    damage::{Damage, DamageReason},
    key::KeyId,
    name::{SEGMENT_MAX, SegmentName},
    pseudonym::PseudonymKeyId,
    varint::Reader,
    wrap::{SUITE, WRAPPED_BYTES},
};
use crate::{
    activation::{HostRole, LicenseId},
    digest::Sha256,
    installation::{InstallationKey, InstallationPublicKey},
    time::WallTime,
};

/// The most bytes of a header; what is written now stays far below.
pub const HEADER_MAX_BYTES: usize = 4_096;
/// The most recipients of a file.
pub const RECIPIENTS_MAX: usize = 4;

/// What every usage file begins with; the last three bytes are the version.
const MAGIC: &[u8; 8] = b"I3USG\0\x01\0";
/// The version of the plain content of records.
const CONTENT_VERSION: u8 = 1;
/// Bytes before the recipients: what HPKE binds the content key to.
pub(super) const HEAD_BYTES: usize = 169;
/// Bytes of a recipient.
const RECIPIENT_BYTES: usize = 16 + 32 + WRAPPED_BYTES;
/// Bytes of an Ed25519 signature.
pub(super) const SIGNATURE_BYTES: usize = 64;

/// What the installation signs a header for.
const PURPOSE: &str = "usage-header";

/// A moment by both clocks of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Clocks {
    /// By trusted time, which items are told in.
    pub trusted: WallTime,
    /// By the wall clock, which people set.
    pub wall: WallTime,
}

/// Why a segment began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Begun {
    /// It is the installation's first.
    First,
    /// A day began (00:00 UTC).
    Midnight,
    /// The daemon started.
    Restart,
    /// The one before had reached its size.
    Size,
    /// A sealing of the one before was not committed.
    Abandoned,
    /// What the header says is another now: license, role, names or recipients.
    Changed,
}

impl Begun {
    const ALL: [Begun; 6] =
        [Begun::First, Begun::Midnight, Begun::Restart, Begun::Size, Begun::Abandoned, Begun::Changed];

    fn code(self) -> u8 {
        match self {
            Begun::First => 1,
            Begun::Midnight => 2,
            Begun::Restart => 3,
            Begun::Size => 4,
            Begun::Abandoned => 5,
            Begun::Changed => 6,
        }
    }
}

impl fmt::Display for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Begun::First => "first",
            Begun::Midnight => "midnight",
            Begun::Restart => "restart",
            Begun::Size => "size",
            Begun::Abandoned => "abandoned",
            Begun::Changed => "changed",
        })
    }
}

/// How users are named in a file (USAGE-8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Names {
    /// As they are.
    Plain,
    /// By pseudonyms of this key; those of another key are not comparable.
    Pseudonyms(PseudonymKeyId),
}

/// The content key, sealed to one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Whose public key it is sealed to.
    pub key: KeyId,
    /// HPKE's encapsulated key.
    pub(super) encapsulated: [u8; 32],
    /// The sealed content key.
    pub(super) wrapped: [u8; WRAPPED_BYTES],
}

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The installation that wrote and signed the file.
    pub installation: InstallationPublicKey,
    /// The license that it reports on.
    pub license: LicenseId,
    /// The server's role in the license; none where the license names no host.
    pub role: Option<HostRole>,
    /// The number of the segment, from 1.
    pub segment: u32,
    /// Why it began.
    pub begun: Begun,
    /// When it began.
    pub start: Clocks,
    /// Records of all earlier segments.
    pub records_before: u64,
    /// The chain value at the end of the segment before; zeros in the first.
    pub previous_end: Sha256,
    /// How users are named.
    pub names: Names,
    /// Who can open it.
    pub recipients: Vec<Recipient>,
    /// The hash of the content key.
    pub(super) commitment: Sha256,
}

impl Header {
    /// The file's name.
    pub fn name(&self) -> SegmentName {
        SegmentName::of(self.installation.id(), self.segment, self.start.trusted)
    }

    /// The bytes before the recipients, of whom there are `recipients`.
    pub(super) fn head(&self, recipients: usize) -> Vec<u8> {
        let length = HEAD_BYTES + recipients * RECIPIENT_BYTES + SIGNATURE_BYTES;
        let mut out = Vec::with_capacity(length);
        out.extend(MAGIC);
        out.extend(u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        out.extend(SUITE.iter().flat_map(|id| id.to_be_bytes()));
        out.push(CONTENT_VERSION);
        out.push(match self.role {
            None => 0,
            Some(HostRole::Primary) => 1,
            Some(HostRole::Switchover) => 2,
        });
        out.push(self.begun.code());
        let (names, pseudonym_key) = match self.names {
            Names::Plain => (0, [0; 8]),
            Names::Pseudonyms(key) => (1, key.0),
        };
        out.push(names);
        out.extend(self.segment.to_be_bytes());
        out.extend(self.records_before.to_be_bytes());
        out.extend(self.start.trusted.as_ms().to_be_bytes());
        out.extend(self.start.wall.as_ms().to_be_bytes());
        out.extend(self.installation.as_bytes());
        out.extend(self.license.0.as_bytes());
        out.extend(pseudonym_key);
        out.extend(self.previous_end.0);
        out.extend(self.commitment.0);
        out.push(u8::try_from(recipients).unwrap_or(u8::MAX));
        debug_assert_eq!(out.len(), HEAD_BYTES);
        out
    }

    /// The whole header, signed.
    pub(super) fn sign(&self, installation: &InstallationKey) -> Vec<u8> {
        let mut out = self.head(self.recipients.len());
        for recipient in &self.recipients {
            out.extend(recipient.key.0);
            out.extend(recipient.encapsulated);
            out.extend(recipient.wrapped);
        }
        let signature = installation.sign(PURPOSE, &[&out]);
        out.extend(signature);
        out
    }

    /// Reads the header of a file and verifies its signature; gives its length too.
    ///
    /// # Errors
    /// The first fault.
    pub(super) fn read(file: &[u8]) -> Result<(Self, usize), Damage> {
        let refuse = |reason, offset, what: &str| Err(Damage::header(reason, offset, what));
        let cut = || Damage::header(DamageReason::HeaderCut, file.len(), "The file ends within its header");
        let shown = file.len().min(MAGIC.len());
        if file[..shown] != MAGIC[..shown] || file.is_empty() {
            if file.starts_with(&MAGIC[..6]) {
                return refuse(DamageReason::LaterVersion, 6, "The file is of another version of the format");
            }
            if file.is_empty() {
                return refuse(DamageReason::NotAUsageFile, 0, "The file is empty: it has not a single byte");
            }
            return refuse(DamageReason::NotAUsageFile, 0, "The file does not begin as a usage file does");
        }
        let mut reader = Reader(file.get(MAGIC.len()..).ok_or_else(cut)?);
        let length = usize::from(u16::from_be_bytes(reader.array().ok_or_else(cut)?));
        let mut suite = [0; 3];
        for id in &mut suite {
            *id = u16::from_be_bytes(reader.array().ok_or_else(cut)?);
        }
        if suite != SUITE {
            return refuse(
                DamageReason::UnknownSuite,
                10,
                &format!("The file uses the algorithms {suite:04x?}, and only {SUITE:04x?} are known"),
            );
        }
        if reader.byte().ok_or_else(cut)? != CONTENT_VERSION {
            return refuse(DamageReason::LaterVersion, 16, "The content of the records is of another version");
        }
        let [role, begun, names] = reader.array().ok_or_else(cut)?;
        let segment = u32::from_be_bytes(reader.array().ok_or_else(cut)?);
        let records_before = u64::from_be_bytes(reader.array().ok_or_else(cut)?);
        let trusted = WallTime::from_ms(i64::from_be_bytes(reader.array().ok_or_else(cut)?));
        let wall = WallTime::from_ms(i64::from_be_bytes(reader.array().ok_or_else(cut)?));
        let installation: [u8; 32] = reader.array().ok_or_else(cut)?;
        let license = LicenseId(uuid::Uuid::from_bytes(reader.array().ok_or_else(cut)?));
        let pseudonym_key = PseudonymKeyId(reader.array().ok_or_else(cut)?);
        let previous_end = Sha256(reader.array().ok_or_else(cut)?);
        let commitment = Sha256(reader.array().ok_or_else(cut)?);
        let count = usize::from(reader.byte().ok_or_else(cut)?);
        if !(1..=RECIPIENTS_MAX).contains(&count) {
            return refuse(
                DamageReason::BadHeader,
                168,
                &format!("The file has {count} recipients; 1 to {RECIPIENTS_MAX} are allowed"),
            );
        }
        if length != HEAD_BYTES + count * RECIPIENT_BYTES + SIGNATURE_BYTES {
            return refuse(DamageReason::BadHeader, 8, "The length of the header does not fit its recipients");
        }
        let mut recipients: Vec<Recipient> = Vec::with_capacity(count);
        for _ in 0..count {
            recipients.push(Recipient {
                key: KeyId(reader.array().ok_or_else(cut)?),
                encapsulated: reader.array().ok_or_else(cut)?,
                wrapped: reader.array().ok_or_else(cut)?,
            });
        }
        let signature: [u8; SIGNATURE_BYTES] = reader.array().ok_or_else(cut)?;
        let installation = InstallationPublicKey::new(installation).map_err(|refusal| {
            let reason = match refusal.kind() {
                crate::refusal::Reason::SmallOrderKey => DamageReason::SmallOrderKey,
                _ => DamageReason::BadHeader,
            };
            Damage::header(reason, 48, format!("The installation's key is refused: {}", refusal.what()))
        })?;
        // Before any other field is judged: of an edited header, that it was edited is the thing to say.
        if !installation.verifies(PURPOSE, &[&file[..length - SIGNATURE_BYTES]], &signature) {
            return refuse(
                DamageReason::HeaderSignature,
                length - SIGNATURE_BYTES,
                "The installation did not sign this header: it was changed, or it is forged",
            );
        }
        let begun = Begun::ALL.into_iter().find(|known| known.code() == begun);
        let role = match role {
            0 => Some(None),
            1 => Some(Some(HostRole::Primary)),
            2 => Some(Some(HostRole::Switchover)),
            _ => None,
        };
        let names = match names {
            0 if pseudonym_key.0 == [0; 8] => Some(Names::Plain),
            1 => Some(Names::Pseudonyms(pseudonym_key)),
            _ => None,
        };
        let (Some(begun), Some(role), Some(names)) = (begun, role, names) else {
            return refuse(DamageReason::BadHeader, 17, "Role, beginning or names are none that are known");
        };
        let first = begun == Begun::First;
        let fits = (1..=SEGMENT_MAX).contains(&segment)
            && first == (segment == 1)
            && (!first || (records_before == 0 && previous_end.0 == [0; 32]));
        if !fits {
            return refuse(DamageReason::BadHeader, 20, "The segment's number does not fit what it continues");
        }
        let mut ids: Vec<KeyId> = recipients.iter().map(|recipient| recipient.key).collect();
        ids.sort();
        if ids.windows(2).any(|pair| pair[0] == pair[1]) {
            return refuse(DamageReason::BadHeader, HEAD_BYTES, "One recipient is named twice");
        }
        let header = Self {
            installation,
            license,
            role,
            segment,
            begun,
            start: Clocks { trusted, wall },
            records_before,
            previous_end,
            names,
            recipients,
            commitment,
        };
        Ok((header, length))
    }
}
