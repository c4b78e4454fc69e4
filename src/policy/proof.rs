//! Where a [`ProofPermitted`] is minted: Cedar allowed a DPoP proof for exactly this token and this request, now.

use super::{
    Facts, Policies, Refused, Releasable, Verdict,
    advice::approved,
    asked::Keeping,
    context::{Base, text},
    panel::Panel,
};
use crate::model::{Claimed, DecisionId, Reason, Terms};

/// The request that a proof is asked for.
pub struct ProofAsk {
    /// Its method.
    pub method: String,
    /// Its target, without query and fragment.
    pub target: String,
    /// The target's origin.
    pub origin: String,
}

/// Cedar allowed a proof for exactly this.
pub struct ProofPermitted<T> {
    subject: T,
    ask: ProofAsk,
    verdict: Verdict,
    terms: Terms,
}

impl<T> ProofPermitted<T> {
    /// The decision.
    #[must_use]
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Takes the permit apart to sign. For `grant/` alone.
    pub(crate) fn into_parts(self) -> (T, ProofAsk, Verdict, Terms) {
        (self.subject, self.ask, self.verdict, self.terms)
    }
}

impl Policies {
    /// Asks whether a proof may be signed: `sign_proof`, and `grant_scope` for each scope of the token. A token that
    /// would not be released now gets no proof either.
    ///
    /// # Errors
    /// The subject, and the decision.
    pub fn sign_proof<T: Releasable>(
        &self,
        subject: T,
        ask: ProofAsk,
        claimed: &Claimed,
        id: DecisionId,
    ) -> Result<ProofPermitted<T>, Box<(T, Refused)>> {
        let Some(snapshot) = self.current() else { return Err(Box::new((subject, Refused::not_loaded()))) };
        let closed = self.releasable(&snapshot, &subject, claimed, (id, false)).and_then(|_| {
            let token = subject.facts();
            let facts = Facts::from(subject.caller());
            let now = self.clock.wall();
            let panel = Panel::new(&snapshot, subject.caller(), token.client, id);
            let mut panel = panel.approvable(subject.approvable());
            let approval = approved(subject.approvable(), &snapshot, &*self.clock);
            let base = Base { approval, ..Base::of_token(&token, subject.flow().actors(), now, (&facts, claimed)) };
            panel.gate("sign_proof", &base, [("httpMethod", text(&ask.method)), ("origin", text(&ask.origin))]);
            panel.scopes(&base, "hold");
            panel.keep_terms(Keeping { bound: token.bound, audience: token.api.is_some() });
            panel.close(Reason::PolicyDenied)
        });
        match closed {
            Ok((verdict, terms)) => Ok(ProofPermitted { subject, ask, verdict, terms }),
            Err(refused) => Err(Box::new((subject, *refused))),
        }
    }
}
