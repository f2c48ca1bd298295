//! Comparisons that were made before, so that a start does not wait for Argon2. Plain data; the daemon stores it in its
//! own state directory, since the digest of the facts could be guessed from.

use serde::{Deserialize, Serialize};

use super::{Comparison, HostFacts, HostId};
use crate::digest::Sha256;

/// The most comparisons that are kept; the oldest goes first.
pub const VERDICTS_MAX: usize = 64;

/// One comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HostVerdict {
    /// The host ID of the file.
    pub host_id: HostId,
    /// The digest of the machine's facts.
    pub facts: Sha256,
    /// What came out.
    pub comparison: Comparison,
}

/// Comparisons by host ID and facts, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostVerdicts(Vec<HostVerdict>);

impl HostVerdicts {
    /// The comparison of `host_id` with `facts`, if it was made before.
    pub fn known(&self, host_id: &HostId, facts: &HostFacts) -> Option<Comparison> {
        let facts = facts.digest();
        self.0
            .iter()
            .find(|verdict| verdict.facts == facts && verdict.host_id == *host_id)
            .map(|verdict| verdict.comparison)
    }

    /// The comparison of `host_id` with `facts`; made, and kept, where it is not known.
    pub fn compare(&mut self, host_id: &HostId, facts: &HostFacts) -> Comparison {
        if let Some(known) = self.known(host_id, facts) {
            return known;
        }
        let comparison = host_id.compare(facts);
        let excess = (self.0.len() + 1).saturating_sub(VERDICTS_MAX);
        self.0.drain(..excess);
        self.0.push(HostVerdict { host_id: host_id.clone(), facts: facts.digest(), comparison });
        comparison
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True where none is kept.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
