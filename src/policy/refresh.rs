//! Where a [`RefreshPermitted`] is minted: Cedar allowed this caller to use a grant's refresh token, now, for exactly
//! these scopes.

use super::{
    Facts, Policies, Refused, Releasable, Verdict,
    advice::approved,
    asked::Keeping,
    context::{Base, count, duration, moving},
    panel::{Panel, REFRESH},
};
use crate::{
    model::{Boot, Claimed, DecisionId, Reason, Terms},
    transaction::Begun,
};
use std::sync::Arc;

/// The right to use a refresh token. It gives facts only, those of [`Releasable`] about the token that is expected;
/// nothing it says mints a ticket.
pub trait Refreshable: Releasable {
    /// The transaction that the grant came from.
    fn begun(&self) -> &Arc<Begun>;
    /// When the grant was given.
    fn since(&self) -> Boot;
    /// How often it was refreshed.
    fn refreshes(&self) -> u64;
}

/// Cedar allowed exactly this refresh, with these terms.
pub struct RefreshPermitted<T> {
    subject: T,
    verdict: Verdict,
    terms: Terms,
}

impl<T> RefreshPermitted<T> {
    /// The decision.
    #[must_use]
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// What is permitted.
    #[must_use]
    pub const fn subject(&self) -> &T {
        &self.subject
    }

    /// Takes the permit apart to spend it. For `oauth/` alone.
    pub(crate) fn into_parts(self) -> (T, Verdict, Terms) {
        (self.subject, self.verdict, self.terms)
    }
}

impl Policies {
    /// Asks whether this refresh may be done: `refresh_token`, and `grant_scope` for each scope. What would not be
    /// released afterwards is not asked for at all.
    ///
    /// # Errors
    /// The subject, and the decision.
    pub fn refresh<T: Refreshable>(
        &self,
        subject: T,
        claimed: &Claimed,
        id: DecisionId,
    ) -> Result<RefreshPermitted<T>, Box<(T, Refused)>> {
        let Some(snapshot) = self.current() else { return Err(Box::new((subject, Refused::not_loaded()))) };
        let closed = self.releasable(&snapshot, &subject, claimed, (id, false)).and_then(|_| {
            let expected = subject.facts();
            let facts = Facts::from(subject.caller());
            let now = self.clock.wall();
            let panel = Panel::new(&snapshot, subject.caller(), expected.client, id);
            let mut panel = panel.approvable(subject.approvable());
            let base = Base {
                approval: approved(subject.approvable(), &snapshot, &*self.clock),
                lifetime: duration(expected.client.lifetime_ceiling),
                ..Base::of_token(&expected, subject.flow().actors(), now, (&facts, claimed))
            };
            let age = self.clock.boot().since(subject.since());
            let gate = [("grantAge", moving(age)), ("refreshCount", count(subject.refreshes()))];
            panel.gate(REFRESH, &base, gate);
            panel.scopes(&base, "refresh");
            panel.details(&base, "refresh", expected.details);
            panel.keep_terms(Keeping { bound: expected.client.bound_tokens, audience: expected.api.is_some() });
            panel.close(Reason::ScopeNoLongerAllowed)
        });
        match closed {
            Ok((verdict, terms)) => Ok(RefreshPermitted { subject, verdict, terms }),
            Err(refused) => Err(Box::new((subject, *refused))),
        }
    }
}
