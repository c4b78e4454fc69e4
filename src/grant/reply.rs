//! What goes to the agent, once it is recorded.

use super::Grant;
use crate::{
    audit::{Actor, Auditable, Code, Event, Queueable, Session, Severity},
    caller::Caller,
    model::{AccessToken, ScopeSet, Terms, Wall},
    platform::KeyedHash,
    policy::{IssuedFacts, Releasable, Verdict},
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// A held token that may be handed out again, if policy still says so.
pub struct HandOut {
    grant: Arc<Grant>,
    caller: Caller,
    remaining: Duration,
}

impl HandOut {
    pub(super) const fn new(grant: Arc<Grant>, caller: Caller, remaining: Duration) -> Self {
        Self { grant, caller, remaining }
    }

    pub(super) fn into_parts(self) -> (Arc<Grant>, Caller) {
        (self.grant, self.caller)
    }

    /// The grant.
    #[must_use]
    pub const fn grant(&self) -> &Arc<Grant> {
        &self.grant
    }
}

impl Releasable for HandOut {
    fn caller(&self) -> &Caller {
        &self.caller
    }

    fn facts(&self) -> IssuedFacts<'_> {
        let kept = &self.grant.kept;
        IssuedFacts {
            client: &kept.begun.opening.client,
            api: kept.begun.opening.api.as_deref(),
            allowed: &kept.scopes,
            scopes: &kept.scopes,
            tolerated: &kept.tolerated,
            lifetime: self.remaining,
            bound: kept.bound,
            refreshable: kept.tokens.refresh.is_some(),
            again: true,
            subject: kept.subject.as_ref(),
        }
    }
}

/// The token of a grant on its way to its agent.
pub struct Reply {
    grant: Arc<Grant>,
    actor: Actor,
    verdict: Verdict,
    lease: Duration,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    First,
    Again { recovered: bool },
}

impl Reply {
    pub(super) fn first(grant: Arc<Grant>, caller: &Caller, verdict: Verdict, terms: &Terms) -> Self {
        let lease = grant.lease(terms);
        Self { grant, actor: caller.into(), verdict, lease, kind: Kind::First }
    }

    pub(super) fn again(grant: Arc<Grant>, caller: &Caller, verdict: Verdict, terms: &Terms, recovered: bool) -> Self {
        let lease = grant.lease(terms);
        Self { grant, actor: caller.into(), verdict, lease, kind: Kind::Again { recovered } }
    }

    /// The grant.
    #[must_use]
    pub const fn grant(&self) -> &Arc<Grant> {
        &self.grant
    }

    /// The decision that released it.
    #[must_use]
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The scopes it carries.
    #[must_use]
    pub fn scopes(&self) -> &ScopeSet {
        &self.grant.kept.scopes
    }

    /// When the token ends.
    #[must_use]
    pub fn expires(&self) -> Wall {
        self.grant.kept.at.1.plus(self.grant.kept.lifetime)
    }

    /// When narrowgate stops handing it out.
    #[must_use]
    pub fn lease_ends(&self) -> Wall {
        self.grant.kept.at.1.plus(self.lease)
    }

    /// Whether it answers a repeated request.
    #[must_use]
    pub fn is_recovered(&self) -> bool {
        self.kind == Kind::Again { recovered: true }
    }

    /// The token, for the wire.
    #[must_use]
    pub fn token(&self) -> &AccessToken {
        &self.grant.kept.tokens.access
    }

    /// To be told when the reply is written. Until then the grant counts as undelivered.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        Delivery(Arc::clone(&self.grant))
    }
}

/// The delivery of one reply.
#[derive(Clone)]
pub struct Delivery(Arc<Grant>);

impl Delivery {
    /// The last byte is on its way to the agent.
    pub fn written(self) {
        self.0.delivered.store(true, Ordering::Release);
    }
}

impl Auditable for Reply {
    fn event(&self, keyed: &KeyedHash) -> Event {
        let kept = &self.grant.kept;
        let code = if self.kind == Kind::First { Code::TokenIssued } else { Code::TokenServed };
        let operation = match self.kind {
            Kind::First | Kind::Again { recovered: true } => "RedeemCode",
            Kind::Again { recovered: false } => "GetToken",
        };
        let mut event = Event::new(code, operation).on(&kept.begun, keyed).decided(&self.verdict);
        event = event.acting_for(kept.subject.as_ref(), keyed);
        event.actor = Some(self.actor.clone());
        if self.grant.terms.audit_high || self.grant.terms.notify {
            event.severity = Severity::High;
        }
        event.session = Some(Session {
            reference: keyed.secret_reference("access_token", &kept.tokens.access),
            created: kept.at.1,
            expires: self.expires(),
        });
        // The exchange's own id on the first, so that decision and outcome pair; the hand-out's on later ones.
        event.exchange = Some(if self.kind == Kind::First { kept.decided.id } else { self.verdict.id });
        if !kept.tolerated.is_empty() {
            let tolerated: Vec<String> = kept.tolerated.iter().map(ToString::to_string).collect();
            event = event.with("tolerated_scopes", tolerated);
        }
        event
            .with("phase", if self.kind == Kind::First { "outcome" } else { "hand_out" })
            .with("original_decision_id", kept.decided.id.to_string())
            .with("release_decision_id", self.verdict.id.to_string())
            .with("grant_ref", keyed.reference("grant", self.grant.handle.bits()))
            .with("token_type", "Bearer")
            .with("sender_constraint", if kept.bound { "x5t#S256" } else { "none" })
            .with("lease_seconds", self.lease.as_secs())
            .with("lifetime_seconds", kept.lifetime.as_secs())
            .with("refresh_token_held", kept.tokens.refresh.is_some())
            .with("recovered", self.is_recovered())
    }
}

impl Queueable for Reply {}
