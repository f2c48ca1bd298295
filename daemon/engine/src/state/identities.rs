//! Identities and the numbers by which their answers are found (LEASE-3). Nothing of it lasts.

use std::ops::Bound;

use crate::{ids::Identity, state::State};

impl State {
    /// The number by which answers of an identity are found, given where it has none. Not lasting. Only what is remembered
    /// asks for one: whoever is refused leaves nothing behind.
    pub(crate) fn identity_number(&mut self, identity: &Identity) -> u32 {
        if let Some(number) = self.identities.get(identity) {
            return *number;
        }
        loop {
            self.last_identity = self.last_identity.wrapping_add(1);
            if !self.answer_counts.contains_key(&self.last_identity) {
                break;
            }
        }
        self.answer_counts.insert(self.last_identity, 0);
        self.identities.insert(identity.clone(), self.last_identity);
        self.last_identity
    }

    /// The same, where anything is remembered of the identity.
    pub(crate) fn known_identity(&self, identity: &Identity) -> Option<u32> {
        self.identities.get(identity).copied()
    }

    /// Forgets identities of which nothing is left, of at most so many after those that were looked at last. As many are known
    /// as holders and remembered answers allow.
    pub(crate) fn forget_identities(&mut self, most: usize) {
        let begin = self.identities_looked.take().map_or(Bound::Unbounded, Bound::Excluded);
        let piece: Vec<(Identity, u32)> = (self.identities.range((begin, Bound::Unbounded)))
            .take(most)
            .map(|(identity, number)| (identity.clone(), *number))
            .collect();
        self.identities_looked = piece.last().filter(|_| piece.len() == most).map(|(identity, _)| identity.clone());
        for (identity, number) in piece {
            let first = self.holder_ids.range((identity.clone(), String::new(), None)..).next();
            let has_holder = first.is_some_and(|((of, _, _), _)| *of == identity);
            if !has_holder && self.answer_counts.get(&number) == Some(&0) {
                self.answer_counts.remove(&number);
                self.identities.remove(&identity);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_looked_at_in_pieces_and_those_of_which_nothing_is_left_go() {
        let mut state = State::default();
        let identities: Vec<Identity> = (0..5).map(Identity::Uid).collect();
        let numbers: Vec<u32> = identities.iter().map(|identity| state.identity_number(identity)).collect();
        // An answer is remembered for one of them.
        state.answer_counts.insert(numbers[3], 1);
        for left in [3, 2, 1] {
            state.forget_identities(2);
            assert_eq!(state.identities.len(), left);
            assert_eq!(state.identities_looked.is_some(), left > 1, "{left} left");
        }
        assert_eq!(state.known_identity(&identities[3]), Some(numbers[3]));
        assert_eq!(state.answer_counts.len(), 1);
    }
}
