//! What looks on: each decision that is on record is shown to the shadow set and to the memory of denials.
//!
//! Invariant: nothing leads back from here into an answer. A verdict is copied to here; none comes from here.

use super::{Denials, Shadow, Verdict};

/// What looks on.
#[derive(Default)]
pub struct Witness {
    /// The set that is compared.
    pub shadow: Shadow,
    /// What was denied of late.
    pub denials: Denials,
}

impl Witness {
    /// One with room for decisions that a shadow set is to be asked about, or without.
    #[must_use]
    pub fn new(with_shadow: bool) -> Self {
        let shadow = if with_shadow { Shadow::open() } else { Shadow::default() };
        Self { shadow, denials: Denials::default() }
    }

    /// Whether a decision is worth showing: one that was made, not found in the cache. Its answer would be found again
    /// as it was, and its questions are not at hand.
    #[must_use]
    pub fn wants(&self, verdict: &Verdict) -> bool {
        let made = verdict.answered_by.is_none() && verdict.asked.is_some();
        made && (self.shadow.is_on() || verdict.denied.is_some() || !verdict.refused.is_empty())
    }

    /// Takes a look at a decision that is on record.
    pub fn saw(&self, operation: &'static str, verdict: Verdict) {
        self.denials.keep(&verdict);
        self.shadow.offer(operation, verdict);
    }
}
