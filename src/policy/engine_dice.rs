//! Chance that is the same each time, for the tests of the engine.

use crate::model::Wall;
use std::time::Duration;

pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// What differs from one moment to the next.
    pub(super) fn at(at: Wall) -> Self {
        let mut dice = Self(at.0.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        dice.below(2);
        dice
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    pub(super) fn one<'t, T: ?Sized>(&mut self, of: &[&'t T]) -> &'t T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    pub(super) fn in_ten(&mut self, n: u64) -> bool {
        self.below(10) < n
    }

    pub(super) fn span(&mut self, seconds: &[u64]) -> Duration {
        let at = usize::try_from(self.below(seconds.len() as u64)).unwrap();
        Duration::from_secs(seconds[at])
    }
}
