//! Where a [`Refreshed`] is minted: a refresh gave a well-formed token within what was asked. It is sealed inside until
//! policy has released it.

use super::{Kept, Turn};
use crate::{
    caller::Caller,
    model::Approvable,
    policy::{IssuedFacts, Releasable},
    transaction::Flow,
};

/// What the server issued for a refresh token, judged but not yet released. Nobody else has the family's turn before
/// it is kept or dropped.
pub struct Refreshed {
    kept: Kept,
    turn: Turn,
}

impl Refreshed {
    pub(super) const fn new(kept: Kept, turn: Turn) -> Self {
        Self { kept, turn }
    }

    /// Takes it apart to keep or to revoke it.
    pub(crate) fn into_parts(self) -> (Kept, Turn) {
        (self.kept, self.turn)
    }
}

impl Releasable for Refreshed {
    fn caller(&self) -> &Caller {
        self.turn.caller()
    }

    fn flow(&self) -> &Flow {
        &self.kept.begun.opening.flow
    }

    fn approvable(&self) -> &Approvable {
        &self.kept.begun.opening.approvable
    }

    fn facts(&self) -> IssuedFacts<'_> {
        IssuedFacts { allowed: &self.turn.wish().scopes, refreshable: true, again: true, ..self.kept.facts() }
    }
}
