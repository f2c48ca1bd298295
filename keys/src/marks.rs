//! Roll-back marks: the highest file of each license ID that was ever accepted (02, Trust). Pure rules; the daemon
//! keeps the marks.

use serde::{Deserialize, Serialize};

use crate::{
    activation::{Activation, LicenseId},
    digest::Sha256,
    time::WallTime,
    trust::{Trust, Verified},
};

/// The highest file of one license ID that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Mark {
    /// The license.
    pub license_id: LicenseId,
    /// The epoch of the key that signed it; orders before the sequence.
    pub key_epoch: u32,
    /// Its sequence.
    pub sequence: u32,
    /// The digest of the file.
    pub sha256: Sha256,
    /// The digest of the key that gave the epoch.
    pub key_sha256: Sha256,
}

/// A file beside the mark of its license ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkVerdict {
    /// Higher than the mark, or the first: it takes the mark's place when it is accepted.
    Newer,
    /// The very file of the mark.
    Same,
    /// Lower than the mark: superseded, and not to be accepted.
    Superseded {
        /// The mark's epoch.
        key_epoch: u32,
        /// The mark's sequence.
        sequence: u32,
    },
    /// As high as the mark, with other bytes: refused.
    SameSequenceOtherBytes {
        /// The digest of the file that was accepted.
        accepted: Sha256,
    },
}

impl MarkVerdict {
    /// The stable code of a verdict that does not let the file in, beside those of [`crate::refusal::Reason`].
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            MarkVerdict::Newer | MarkVerdict::Same => None,
            MarkVerdict::Superseded { .. } => Some("lower-sequence"),
            MarkVerdict::SameSequenceOtherBytes { .. } => Some("same-sequence-other-bytes"),
        }
    }
}

impl std::fmt::Display for MarkVerdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MarkVerdict::Newer => f.write_str("The file is newer than any accepted before"),
            MarkVerdict::Same => f.write_str("The file is the one that was accepted"),
            MarkVerdict::Superseded { key_epoch, sequence } => write!(
                f,
                "The file is superseded: sequence {sequence} of key epoch {key_epoch} of this license was accepted before. \
                 Remove the file, or ask the licensor for one with a higher sequence."
            ),
            MarkVerdict::SameSequenceOtherBytes { accepted } => write!(
                f,
                "Another file of this license with the same sequence was accepted before (SHA-256 {accepted}). Ask the licensor \
                 for a file with a higher sequence."
            ),
        }
    }
}

impl Mark {
    /// The mark that an accepted file leaves.
    pub fn of(file: &Verified<Activation>) -> Self {
        Self {
            license_id: file.license_id,
            key_epoch: file.key_epoch(),
            sequence: file.sequence,
            sha256: file.sha256(),
            key_sha256: file.key_sha256(),
        }
    }

    /// False from the date at which the key that set it is revoked: whoever stole that key may have set it, and it is
    /// dropped.
    pub fn stands(&self, trust: &Trust, now: WallTime) -> bool {
        trust.revoked_from(&self.key_sha256).is_none_or(|from| now < from)
    }
}

/// Judges a file by the mark of its license ID; a mark of another license ID counts as none.
pub fn judge(mark: &Option<Mark>, file: &Verified<Activation>) -> MarkVerdict {
    let Some(mark) = mark.filter(|mark| mark.license_id == file.license_id) else {
        return MarkVerdict::Newer;
    };
    match (file.key_epoch(), file.sequence).cmp(&(mark.key_epoch, mark.sequence)) {
        std::cmp::Ordering::Greater => MarkVerdict::Newer,
        std::cmp::Ordering::Less => MarkVerdict::Superseded { key_epoch: mark.key_epoch, sequence: mark.sequence },
        std::cmp::Ordering::Equal if file.sha256() == mark.sha256 => MarkVerdict::Same,
        std::cmp::Ordering::Equal => MarkVerdict::SameSequenceOtherBytes { accepted: mark.sha256 },
    }
}

/// The marks that still stand.
pub fn standing(marks: impl IntoIterator<Item = Mark>, trust: &Trust, now: WallTime) -> Vec<Mark> {
    marks.into_iter().filter(|mark| mark.stands(trust, now)).collect()
}
