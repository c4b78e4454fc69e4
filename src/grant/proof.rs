//! Proofs for the token of a grant: signed with its key, for its agent, for the requests that policy allowed.

use super::{Grant, Grants, HandOut};
use crate::{
    audit::{Actor, Auditable, Code, Event, Queueable, Session, Severity},
    model::{DpopProof, Fault, Reason},
    oauth::{DpopNonce, Kept, Proven, prove},
    platform::KeyedHash,
    policy::{ProofAsk, ProofPermitted, Releasable, Verdict},
};
use std::sync::Arc;

/// A proof on its way to its agent.
pub struct Signed {
    proof: DpopProof,
    grant: Arc<Grant>,
    kept: Arc<Kept>,
    ask: ProofAsk,
    actor: Actor,
    verdict: Verdict,
    /// Whether it carries a nonce.
    with_nonce: bool,
}

impl Signed {
    /// The proof, for the wire.
    #[must_use]
    pub const fn proof(&self) -> &DpopProof {
        &self.proof
    }

    /// The decision.
    #[must_use]
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The thumbprint of the key.
    #[must_use]
    pub fn jkt(&self) -> &str {
        self.kept.begun.holder().unwrap_or_default()
    }
}

impl Grant {
    /// Whether proofs are signed for it, and for a request to this origin.
    ///
    /// # Errors
    /// [`Reason::FieldInvalid`] if its tokens are not bound to a key of its own; [`Reason::ScopeNotGranted`] if the
    /// origin is none of its API's.
    pub fn proves_to(&self, origin: &str) -> Result<(), Fault> {
        let nothing = |wrong| Err(Fault::field(Reason::FieldInvalid, "grant", wrong));
        match &self.kept.begun.bound_key {
            None => return nothing("has no DPoP key: its tokens need no proof of it"),
            Some(bound) if bound.is_agents() => return nothing("is bound to a key that its agent has"),
            Some(_) => {}
        }
        let api = self.kept.begun.opening.api.as_ref();
        if api.is_some_and(|api| api.origins.iter().any(|own| own == origin)) {
            return Ok(());
        }
        Err(Fault::field(Reason::ScopeNotGranted, "http_uri", "is at no origin of the grant's API"))
    }
}

impl Grants {
    /// Signs a proof for the token that was found, with the nonce that the caller was told or the latest of that server.
    ///
    /// # Errors
    /// [`Reason::GrantUnknown`] or [`Reason::TokenExpired`] if grant or token have ended meanwhile, or by the terms of
    /// this decision; otherwise as [`prove`].
    pub fn sign(&self, permitted: ProofPermitted<HandOut>, told: Option<DpopNonce>) -> Result<Signed, Fault> {
        let (hand_out, ask, verdict, terms) = permitted.into_parts();
        let actor = Actor::from(hand_out.caller());
        let (grant, held, _, _) = hand_out.into_parts();
        if grant.is_ended() {
            return Err(Reason::GrantUnknown.into());
        }
        if held.left(&*self.clock, &terms.strictest(grant.terms_of(&held))).is_zero() {
            return Err(Reason::TokenExpired.into());
        }
        grant.proves_to(&ask.origin)?;
        let kept = Arc::clone(&held.kept);
        let bound = grant.kept.begun.bound_key.as_ref().ok_or(Reason::Internal)?;
        let nonce = grant.nonces.for_origin(&ask.origin, told);
        let token = Some(&kept.tokens.access);
        let request = Proven { method: &ask.method, target: &ask.target, nonce: nonce.as_ref(), token };
        let proof = prove(bound, &request, &*self.clock, &*self.entropy)?;
        Ok(Signed { proof, grant, kept, ask, actor, verdict, with_nonce: nonce.is_some() })
    }
}

impl Auditable for Signed {
    fn event(&self, keyed: &KeyedHash) -> Event {
        let kept = &self.kept;
        let mut event = Event::new(Code::ProofSigned, "SignProof").on(&kept.begun, keyed).decided(&self.verdict);
        event = event.acting_for(kept.subject.as_ref(), keyed);
        event.actor = Some(self.actor.clone());
        if self.grant.terms.audit_high || self.grant.terms.notify {
            event.severity = Severity::High;
        }
        event.session = Some(Session {
            reference: keyed.secret_reference("access_token", &kept.tokens.access),
            created: kept.at.1,
            expires: kept.at.1.plus(kept.lifetime),
        });
        event
            .with("phase", "hand_out")
            .with("original_decision_id", kept.decided.id.to_string())
            .with("grant_ref", keyed.reference("grant", self.grant.handle.bits()))
            .with("jkt", self.jkt())
            .with("proof_method", self.ask.method.as_str())
            // Not the path: what is in it is the caller's word, and may be a person's.
            .with("proof_origin", self.ask.origin.as_str())
            .with("proof_nonce", self.with_nonce)
    }
}

// What the proof makes usable is on record as issued (decisions 24).
impl Queueable for Signed {}
