//! Equal terms kept once: a million leases of one unit hold the same few words. Bounded, and of no effect on any decision.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use crate::row::Terms;

/// Terms that are kept for sharing at once.
const KEPT_MAX: usize = 4_096;

/// Terms by a hash of what usually differs in them.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    kept: BTreeMap<u64, Arc<Terms>>,
}

impl Interner {
    /// The same terms, shared with others that are equal.
    pub(crate) fn share(&mut self, terms: &Arc<Terms>) -> Arc<Terms> {
        // Refusals of the moment tell times and holders: such terms have no equal.
        if !terms.missing.is_empty() {
            return Arc::clone(terms);
        }
        let mut hasher = DefaultHasher::new();
        (&terms.needed, &terms.keys, &terms.seats, &terms.types).hash(&mut hasher);
        let hash = hasher.finish();
        match self.kept.get(&hash) {
            Some(kept) if kept == terms => return Arc::clone(kept),
            Some(_) => return Arc::clone(terms),
            None => {}
        }
        if self.kept.len() >= KEPT_MAX {
            self.kept.retain(|_, kept| Arc::strong_count(kept) > 1);
        }
        if self.kept.len() < KEPT_MAX {
            self.kept.insert(hash, Arc::clone(terms));
        }
        Arc::clone(terms)
    }
}
