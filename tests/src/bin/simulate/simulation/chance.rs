//! Chance from a seed. Each step of a world has a chance of its own, made from the seed and the step's number alone, so that
//! the other steps mean the same when one is left out.

/// A stream of random numbers (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Chance {
    /// The chance of one step of a seed.
    pub(crate) fn of(seed: u64, step: u64) -> Self {
        Self(mixed(mixed(seed.wrapping_add(GOLDEN)) ^ step.wrapping_mul(GOLDEN)))
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mixed(self.0)
    }

    /// 0 to `most` - 1; 0 where `most` is 0.
    pub(crate) fn below(&mut self, most: u64) -> u64 {
        // The bias of this is far below what anyone could see.
        ((u128::from(self.number()) * u128::from(most)) >> 64) as u64
    }

    /// `from` to `through`.
    pub(crate) fn between(&mut self, from: u64, through: u64) -> u64 {
        from + self.below(through - from + 1)
    }

    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }
}
