//! Where an [`Obtained`] is minted: a token request was answered well-formed, and within what was allowed. The token is
//! sealed inside until policy has released it.

use super::{Disposal, Kept};
use crate::{
    caller::Caller,
    model::Approvable,
    policy::{IssuedFacts, Releasable},
    transaction::Flow,
};

/// What the server issued for a token request, judged but not yet released.
pub struct Obtained {
    kept: Kept,
    caller: Caller,
    unexpected: Option<Disposal>,
}

impl Obtained {
    pub(super) const fn new(kept: Kept, caller: Caller, unexpected: Option<Disposal>) -> Self {
        Self { kept, caller, unexpected }
    }

    /// Takes out the refresh token that came unasked: to be revoked, and nothing else (RFC 6749 §4.4.3).
    #[must_use]
    pub const fn unexpected(&mut self) -> Option<Disposal> {
        self.unexpected.take()
    }

    /// Takes it apart to keep or to revoke it.
    pub(crate) fn into_parts(self) -> (Kept, Caller) {
        (self.kept, self.caller)
    }
}

impl Releasable for Obtained {
    fn caller(&self) -> &Caller {
        &self.caller
    }

    fn facts(&self) -> IssuedFacts<'_> {
        self.kept.facts()
    }

    fn flow(&self) -> &Flow {
        &self.kept.begun.opening.flow
    }

    fn approvable(&self) -> &Approvable {
        &self.kept.begun.opening.approvable
    }
}
