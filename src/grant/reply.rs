//! What goes to the agent, once it is recorded.

use super::{Grant, Held, key::TokenKey};
use crate::{
    audit::{Actor, Auditable, Code, Event, Queueable, Session, Severity},
    caller::Caller,
    model::{AccessToken, Approvable, ScopeSet, Terms, TokenType, Wall},
    oauth::Kept,
    platform::{Clock, KeyedHash},
    policy::{IssuedFacts, Releasable, Verdict},
    transaction::Flow,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// A held token that may be handed out again, if policy still says so.
pub struct HandOut {
    grant: Arc<Grant>,
    held: Arc<Held>,
    key: TokenKey,
    caller: Caller,
    remaining: Duration,
}

impl HandOut {
    pub(super) fn new(
        grant: Arc<Grant>,
        (held, key): (Arc<Held>, TokenKey),
        caller: Caller,
        clock: &dyn Clock,
    ) -> Self {
        let remaining = held.remaining(clock);
        Self { grant, held, key, caller, remaining }
    }

    pub(super) fn into_parts(self) -> (Arc<Grant>, Arc<Held>, TokenKey, Caller) {
        (self.grant, self.held, self.key, self.caller)
    }

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

impl Releasable for HandOut {
    fn caller(&self) -> &Caller {
        &self.caller
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

impl Held {
    /// What policy is told of a token that is held.
    pub(super) fn facts<'a>(&'a self, grant: &'a Grant, remaining: Duration) -> IssuedFacts<'a> {
        IssuedFacts {
            allowed: &self.kept.scopes,
            lifetime: remaining,
            refreshable: grant.is_refreshable(),
            again: true,
            registered_by: grant.kept.begun.opening.registered_by.as_ref(),
            ..self.kept.facts()
        }
    }
}

/// The token of a grant on its way to its agent.
pub struct Reply {
    grant: Arc<Grant>,
    held: Arc<Held>,
    actor: Actor,
    verdict: Verdict,
    /// Milliseconds: shorter, where the terms are stricter by the time that it leaves.
    lease: AtomicU64,
    /// The end of the credential that this caller came with.
    credential_end: Option<Wall>,
    kind: Kind,
    by: By,
}

/// The call that brings a token to its agent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// `RedeemCode`, also where it is repeated for a lost reply.
    Redeem,
    /// `GetToken`.
    Get,
    /// `WatchToken`.
    Watch,
    /// `SignProof`, which brings a proof of a token that the agent has already: no hand-out, and not counted as one.
    Proof,
}

impl By {
    /// The method's name.
    #[must_use]
    pub const fn operation(self) -> &'static str {
        match self {
            Self::Redeem => "RedeemCode",
            Self::Get => "GetToken",
            Self::Watch => "WatchToken",
            Self::Proof => "SignProof",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    First,
    Again,
    Refreshed { ahead: bool },
}

impl Reply {
    pub(super) fn first(grant: Arc<Grant>, held: Arc<Held>, caller: &Caller, verdict: Verdict, terms: &Terms) -> Self {
        Self::new((Kind::First, By::Redeem), grant, held, caller, verdict, terms)
    }

    pub(super) fn again(
        grant: Arc<Grant>,
        held: Arc<Held>,
        caller: &Caller,
        verdict: Verdict,
        terms: &Terms,
        by: By,
    ) -> Self {
        Self::new((Kind::Again, by), grant, held, caller, verdict, terms)
    }

    pub(super) fn refreshed(
        grant: Arc<Grant>,
        held: Arc<Held>,
        caller: &Caller,
        verdict: Verdict,
        terms: &Terms,
        (ahead, by): (bool, By),
    ) -> Self {
        Self::new((Kind::Refreshed { ahead }, by), grant, held, caller, verdict, terms)
    }

    fn new(
        (kind, by): (Kind, By),
        grant: Arc<Grant>,
        held: Arc<Held>,
        caller: &Caller,
        verdict: Verdict,
        terms: &Terms,
    ) -> Self {
        let lease = AtomicU64::new(millis(held.lease(terms)));
        Self { grant, held, actor: caller.into(), verdict, lease, credential_end: caller.credential_end(), kind, by }
    }

    /// The token.
    #[must_use]
    pub fn held(&self) -> &Arc<Held> {
        &self.held
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
        &self.held.kept.scopes
    }

    /// When the token ends.
    #[must_use]
    pub fn expires(&self) -> Wall {
        self.held.kept.at.1.plus(self.held.kept.lifetime)
    }

    /// When narrowgate stops handing it out.
    #[must_use]
    pub fn lease_ends(&self) -> Wall {
        let ends = [self.held.until, self.credential_end].into_iter().flatten();
        ends.fold(self.held.kept.at.1.plus(self.lease()), Wall::min)
    }

    /// How long narrowgate hands the token out in all.
    #[must_use]
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease.load(Ordering::Acquire))
    }

    /// Hands it out for no longer than these terms allow.
    pub fn shorten(&self, terms: &Terms) {
        self.lease.fetch_min(millis(self.held.lease(terms)), Ordering::AcqRel);
    }

    /// Whether it answers a repeated request.
    #[must_use]
    pub fn is_recovered(&self) -> bool {
        self.kind == Kind::Again && self.by == By::Redeem
    }

    /// The token, for the wire.
    #[must_use]
    pub fn token(&self) -> &AccessToken {
        &self.held.kept.tokens.access
    }

    /// Its `token_type`: `N_A` if it is no access token (RFC 8693 §2.2.1).
    #[must_use]
    pub fn token_type(&self) -> &'static str {
        match self.held.kept.begun.opening.flow.token_type() {
            TokenType::AccessToken => self.held.kept.bound.token_type(),
            TokenType::Jwt => "N_A",
        }
    }

    /// To be told when the reply is written. Until then the grant counts as undelivered.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        Delivery(Arc::clone(&self.grant))
    }
}

/// A reply whose release is asked again: of the same token, for the same hand-out.
pub struct AskedAgain<'r> {
    reply: &'r Reply,
    caller: &'r Caller,
    remaining: Duration,
}

impl Reply {
    /// The question of its release, again.
    #[must_use]
    pub fn asked_again<'r>(&'r self, caller: &'r Caller, clock: &dyn Clock) -> AskedAgain<'r> {
        AskedAgain { reply: self, caller, remaining: self.held.remaining(clock) }
    }
}

impl Releasable for AskedAgain<'_> {
    fn caller(&self) -> &Caller {
        self.caller
    }

    fn flow(&self) -> &Flow {
        &self.reply.held.kept.begun.opening.flow
    }

    fn approvable(&self) -> &Approvable {
        &self.reply.held.kept.begun.opening.approvable
    }

    fn facts(&self) -> IssuedFacts<'_> {
        let facts = self.reply.held.facts(&self.reply.grant, self.remaining);
        IssuedFacts { again: self.reply.kind == Kind::Again, ..facts }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
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
        let kept = &self.held.kept;
        let (code, phase) = match self.kind {
            Kind::First => (Code::TokenIssued, "outcome"),
            Kind::Again => (Code::TokenServed, "hand_out"),
            Kind::Refreshed { .. } => (Code::TokenRefreshed, "outcome"),
        };
        let operation = match self.kind {
            Kind::First => kept.begun.opening.flow.operation(),
            _ => self.by.operation(),
        };
        let from_cache = self.kind == Kind::Again;
        let mut event = Event::new(code, operation).on(&kept.begun, keyed).decided(&self.verdict);
        event = event.acting_for(kept.subject.as_ref(), keyed);
        event.actor = Some(self.actor.clone());
        // A token that was exchanged for has terms of its own besides.
        if [&self.grant.terms, &kept.terms].iter().any(|terms| terms.audit_high || terms.notify) {
            event.severity = Severity::High;
        }
        event.session = Some(Session {
            reference: keyed.secret_reference("access_token", &kept.tokens.access),
            created: kept.at.1,
            expires: self.expires(),
        });
        // The exchange's own id on an outcome, so that decision and outcome pair; the hand-out's on later ones.
        event.exchange = Some(if from_cache { self.verdict.id } else { kept.decided.id });
        if let Kind::Refreshed { ahead } = self.kind {
            event = event.with("grant_type", "refresh_token").with("ahead", ahead);
        }
        if !kept.tolerated.is_empty() {
            let tolerated: Vec<String> = kept.tolerated.iter().map(ToString::to_string).collect();
            event = event.with("tolerated_scopes", tolerated);
        }
        event
            .with("phase", phase)
            .with("cache", if from_cache { "hit" } else { "miss" })
            .with("original_decision_id", kept.decided.id.to_string())
            .with("release_decision_id", self.verdict.id.to_string())
            .with("grant_ref", keyed.reference("grant", self.grant.handle.bits()))
            .with("token_type", self.token_type())
            .with("sender_constraint", kept.bound.confirmation())
            .with("lease_seconds", self.lease().as_secs())
            .with("lifetime_seconds", kept.lifetime.as_secs())
            .with("refresh_token_held", self.grant.is_refreshable())
            .with("recovered", self.is_recovered())
    }
}

impl Queueable for Reply {}
