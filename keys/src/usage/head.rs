//! How far a chain has come: what the next record and the next segment continue, and what the licensor remembers.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{digest::Sha256, installation::InstallationId};

/// A point of an installation's chain, as a check-in quotes it: written `SEGMENT/RECORDS/HASH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Head {
    /// The segment, from 1.
    pub segment: u32,
    /// Records of that segment up to this point.
    pub records: u64,
    /// The chain value after them.
    pub chain: Sha256,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.segment, self.records, self.chain)
    }
}

/// Why a text is no head.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not SEGMENT/RECORDS/HASH, such as 3/148/ and 64 digits 0-9 a-f")]
pub struct NotAHead;

impl FromStr for Head {
    type Err = NotAHead;

    fn from_str(text: &str) -> Result<Self, NotAHead> {
        let read = || {
            let mut parts = text.split('/');
            let head = Self {
                segment: parts.next()?.parse().ok()?,
                records: parts.next()?.parse().ok()?,
                chain: parts.next()?.parse().ok()?,
            };
            // Another spelling of a number, or something after the hash, would be a second spelling of the head.
            (head.to_string() == text).then_some(head)
        };
        read().ok_or(NotAHead)
    }
}

impl TryFrom<String> for Head {
    type Error = NotAHead;

    fn try_from(text: String) -> Result<Self, NotAHead> {
        text.parse()
    }
}

impl From<Head> for String {
    fn from(head: Head) -> Self {
        head.to_string()
    }
}

/// The end of a segment so far: kept in the same transaction as the record that led to it, it is all that is needed to
/// close the segment or to begin the next one, after whatever crash. It holds nothing secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tail {
    /// The installation whose chain it is.
    pub installation: InstallationId,
    /// Segment, records in it, chain value.
    pub head: Head,
    /// Records of all earlier segments.
    pub records_before: u64,
    /// Bytes of the file up to here.
    pub bytes: u64,
    /// True where the last record closes the segment.
    pub closed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_one_spelling() {
        let head = Head { segment: 3, records: 148, chain: Sha256([0xab; 32]) };
        let text = format!("3/148/{}", "ab".repeat(32));
        assert_eq!((head.to_string(), text.parse()), (text.clone(), Ok(head)));
        for bad in ["", "3/148", &format!("03{}", &text[1..]), &format!("{text}/"), &format!("+{text}"), &text[2..]] {
            assert_eq!(bad.parse::<Head>(), Err(NotAHead), "{bad}");
        }
    }
}
