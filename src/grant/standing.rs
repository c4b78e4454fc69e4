//! The token of a grant as the ground of a further request: nobody is handed it.

use super::{Grant, Grants, Held, Reply, key::TokenKey};
use crate::{
    audit::Recorded,
    caller::Caller,
    model::{Approvable, Fault, Handle, Reason, Terms},
    oauth::{Kept, VerifiedSubject},
    policy::{IssuedFacts, Releasable, Released},
    transaction::Flow,
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// The token with all of a grant's scopes, which a further request of its agent may stand on.
pub struct Lendable<'c> {
    caller: &'c Caller,
    grant: Arc<Grant>,
    held: Arc<Held>,
    key: TokenKey,
    remaining: Duration,
}

impl Lendable<'_> {
    /// The grant.
    #[must_use]
    pub const fn grant(&self) -> &Arc<Grant> {
        &self.grant
    }

    /// The token.
    #[must_use]
    pub fn kept(&self) -> &Kept {
        &self.held.kept
    }
}

impl Releasable for Lendable<'_> {
    fn caller(&self) -> &Caller {
        self.caller
    }

    fn flow(&self) -> &Flow {
        &self.held.kept.begun.opening.flow
    }

    fn approvable(&self) -> &Approvable {
        &self.held.kept.begun.opening.approvable
    }

    fn facts(&self) -> IssuedFacts<'_> {
        self.held.facts(&self.grant, self.remaining)
    }
}

impl Grants {
    /// The token of a grant of this caller with all of the grant's scopes, if it is held and may still be served.
    ///
    /// # Errors
    /// [`Reason::GrantUnknown`], [`Reason::ReauthRequired`], or [`Reason::TokenExpired`]: `GetToken` brings another one,
    /// where one can be had.
    pub fn lendable<'c>(&self, caller: &'c Caller, handle: Handle) -> Result<Lendable<'c>, Fault> {
        let grant = self.find(caller, handle)?;
        grant.lives(&self.keeping, &*self.clock)?;
        let key = grant.key(&grant.kept.scopes, &self.keyed);
        let held = grant.servable(&key, Duration::ZERO, &*self.clock).ok_or(Reason::TokenExpired)?;
        grant.used.store(self.clock.boot().0, Ordering::Relaxed);
        let remaining = held.remaining(&*self.clock);
        Ok(Lendable { caller, grant, held, key, remaining })
    }

    /// The token as the subject of a grant of its own, which keeps to the terms of this one and of the decision that
    /// released it. It counts as a use, and what comes of it has the uses that are left.
    ///
    /// # Errors
    /// [`Reason::GrantUnknown`] or [`Reason::TokenExpired`] if grant or token have ended meanwhile, or by those terms.
    pub fn lend(&self, released: Released<Lendable<'_>>) -> Result<VerifiedSubject, Fault> {
        let (lendable, _, terms) = released.into_parts();
        let mut terms = terms.strictest(lendable.grant.terms_of(&lendable.held));
        let left = self.use_of(&lendable, &terms)?;
        terms.max_uses = terms.max_uses.map(|max| max.saturating_sub(lendable.grant.uses()));
        Ok(VerifiedSubject::of_grant(lendable.kept(), terms, left, (self.clock.boot(), self.clock.wall())))
    }

    /// The token as the subject of another one of the same grant, which counts on for both.
    ///
    /// # Errors
    /// As [`Self::lend`].
    pub fn lend_at_home(&self, lendable: &Lendable<'_>) -> Result<VerifiedSubject, Fault> {
        let terms = lendable.grant.terms_of(&lendable.held);
        let left = self.use_of(lendable, &terms)?;
        Ok(VerifiedSubject::of_grant(lendable.kept(), terms, left, (self.clock.boot(), self.clock.wall())))
    }

    /// Counts a use, and says for how long the token may still be served.
    fn use_of(&self, lendable: &Lendable<'_>, terms: &Terms) -> Result<Duration, Fault> {
        let left = lendable.held.left(&*self.clock, terms);
        if left.is_zero() {
            return Err(Reason::TokenExpired.into());
        }
        lendable.grant.count_use(terms)?;
        drop(self.save_count(&lendable.grant, terms));
        Ok(left)
    }

    /// Serves a token no more that its issuer does not stand by.
    pub fn withdraw(&self, lendable: &Lendable<'_>) {
        lendable.grant.withdraw(&lendable.key, &lendable.held);
    }

    /// Makes a token findable in the grant that it was exchanged from: its outcome is durable. It ends with that grant.
    ///
    /// # Errors
    /// [`Reason::GrantUnknown`] if the grant ended meanwhile: the token must be revoked.
    pub fn take_home(&self, reply: &Recorded<Reply>) -> Result<(), Fault> {
        let (grant, held) = (reply.get().grant(), reply.get().held());
        grant.shelve(grant.key(&held.kept.begun.opening.scopes, &self.keyed), held, &*self.clock);
        if grant.is_ended() { Err(Reason::GrantUnknown.into()) } else { Ok(()) }
    }
}
