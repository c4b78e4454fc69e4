//! Where a [`Released`] is minted: Cedar allowed handing out exactly this token, as it was really issued, now.

use super::{
    Facts, Policies, Refused, Snapshot, Verdict,
    advice::approved,
    asked::Keeping,
    context::{Base, audiences, boolean, moving, proof, record, scopes, text},
    entities::{DAEMON, user},
    panel::Panel,
    value::{Uid, Value},
};
use crate::{
    caller::Caller,
    config::{Api, Client},
    model::{
        AgentId, Approvable, AuthorizationDetails, Boot, Claimed, DecisionId, Fault, Reason, Scope, ScopeSet, Subject,
        Terms, TokenBinding,
    },
    transaction::Flow,
};
use std::time::Duration;

/// What is known of a token that may be handed out.
pub struct IssuedFacts<'a> {
    /// Its client.
    pub client: &'a Client,
    /// Its API, where it has one.
    pub api: Option<&'a Api>,
    /// The scopes that were allowed.
    pub allowed: &'a ScopeSet,
    /// The scopes it carries.
    pub scopes: &'a ScopeSet,
    /// The authorization details it carries.
    pub details: &'a AuthorizationDetails,
    /// Scopes it carries besides, which the issuer's switch tolerates.
    pub tolerated: &'a [Scope],
    /// How long it still lives, by the server's word.
    pub lifetime: Duration,
    /// What it is bound to.
    pub bound: TokenBinding,
    /// Whether a refresh token came with it.
    pub refreshable: bool,
    /// Whether it was handed out before.
    pub again: bool,
    /// The person it acts for, where a verified ID token named them.
    pub subject: Option<&'a Subject>,
    /// When the transaction began that it came from.
    pub begun: Boot,
    /// The front end that registered that transaction, where one did: what is frozen with it is not handed out.
    pub registered_by: Option<&'a AgentId>,
}

/// Something that holds a token: freshly issued, or kept in a grant. It gives facts only; nothing it says mints a ticket.
pub trait Releasable {
    /// Who would get it.
    fn caller(&self) -> &Caller;
    /// What is known of it.
    fn facts(&self) -> IssuedFacts<'_>;
    /// The grant that brought it.
    fn flow(&self) -> &Flow;
    /// What can be approved of what it was begun with, and the approval.
    fn approvable(&self) -> &Approvable;
}

/// Cedar allowed handing out exactly this.
pub struct Released<T> {
    subject: T,
    verdict: Verdict,
    terms: Terms,
}

impl<T> Released<T> {
    /// The decision.
    #[must_use]
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Takes it apart to keep it. For `grant/` alone.
    pub(crate) fn into_parts(self) -> (T, Verdict, Terms) {
        (self.subject, self.verdict, self.terms)
    }
}

/// Whether the set still declares the token's API, and what the token carries for it. A scope that has moved to another
/// API is in policy what it is there; a token for the former one is not judged by that.
fn is_at_home(set: &Snapshot, token: &IssuedFacts<'_>) -> bool {
    let carried = (token.scopes, token.details);
    set.estate.catalog.declares(carried, (token.api, &token.client.issuer))
}

impl Policies {
    /// Asks whether this token may be handed out: `grant_scope` for each scope in it, and `release_token`.
    ///
    /// # Errors
    /// The subject, to be revoked or kept, and the decision.
    pub fn release<T: Releasable>(
        &self,
        subject: T,
        claimed: &Claimed,
        id: DecisionId,
    ) -> Result<Released<T>, Box<(T, Refused)>> {
        let Some(snapshot) = self.current() else { return Err(Box::new((subject, Refused::not_loaded()))) };
        match self.releasable(&snapshot, &subject, claimed, (id, true)) {
            Ok((verdict, terms)) => Ok(Released { subject, verdict, terms }),
            Err(refused) => Err(Box::new((subject, *refused))),
        }
    }

    /// The questions of [`Self::release`]. The answer alone is no ticket. `recorded`: its yes goes on record under this id;
    /// before another decision of the same id it does not.
    pub(super) fn releasable<T: Releasable>(
        &self,
        snapshot: &Snapshot,
        subject: &T,
        claimed: &Claimed,
        (id, recorded): (DecisionId, bool),
    ) -> Result<(Verdict, Terms), Box<Refused>> {
        let token = subject.facts();
        let at = (&token.client.alias, &token.client.issuer);
        for agent in [&subject.caller().agent().id].into_iter().chain(token.registered_by) {
            self.freezes().admit(agent, at, Some(token.begun)).map_err(Refused::from)?;
        }
        if !is_at_home(snapshot, &token) {
            return Err(Box::new(Refused::from(Fault::new(Reason::ScopeNoLongerAllowed))));
        }
        let facts = Facts::from(subject.caller());
        let panel = Panel::new(snapshot, subject.caller(), token.client, id).approvable(subject.approvable());
        let mut panel = if recorded { panel } else { panel.beforehand() };
        let now = self.clock.wall();
        let approval = approved(subject.approvable(), snapshot, &*self.clock);
        let base = Base { approval, ..Base::of_token(&token, subject.flow().actors(), now, (&facts, claimed)) };
        let hand_out = if token.again { "again" } else { "first" };
        let mut extra = vec![("handOut", text(hand_out)), ("token", issued(&token))];
        if let Some(person) = token.subject {
            let issuer = &token.client.issuer;
            panel.about(user(issuer, person));
            extra.push(("subject", super::context::subject(issuer, person)));
        }
        panel.gate("release_token", &base, extra);
        let carried = Base { scopes: token.scopes.iter().collect(), ..base };
        let flow = if token.again { "hold" } else { subject.flow().word() };
        panel.scopes(&carried, flow);
        panel.details(&carried, flow, token.details);
        panel.keep_terms(Keeping { bound: token.client.bound_tokens, audience: token.api.is_some() });
        panel.close(Reason::PolicyDenied)
    }
}

impl Policies {
    /// Asks whether this caller may end a grant of this client. Revocation makes things safer, so guards on obtaining
    /// tokens do not touch it.
    ///
    /// # Errors
    /// The decision and what to tell the caller.
    pub fn revoke(&self, caller: &Caller, client: &Client, id: DecisionId) -> Result<Verdict, Box<Refused>> {
        let snapshot = self.current().ok_or_else(Refused::not_loaded)?;
        let facts = Facts::from(caller);
        let mut panel = Panel::new(&snapshot, caller, client, id);
        panel.bare_gate("revoke_token", self.clock.wall(), &facts);
        panel.close_gate()
    }

    /// Asks whether a person may call as this agent.
    ///
    /// # Errors
    /// The decision and what to tell the caller.
    pub fn break_glass(&self, caller: &Caller, id: DecisionId) -> Result<Verdict, Box<Refused>> {
        let snapshot = self.current().ok_or_else(Refused::not_loaded)?;
        let facts = Facts::from(caller);
        let mut panel = Panel::on(&snapshot, caller, Uid::new("Daemon", DAEMON), id);
        panel.bare_gate("break_glass", self.clock.wall(), &facts);
        panel.close_gate()
    }
}

fn issued<'a>(token: &IssuedFacts<'a>) -> Value<'a> {
    record([
        ("scopes", scopes(token.scopes.iter())),
        ("lifetime", moving(token.lifetime)),
        ("audiences", audiences(token.api)),
        ("proof", proof(token.bound)),
        ("refreshable", boolean(token.refreshable)),
        // Scopes that nobody declared never come this far: the answer's judge refuses them.
        ("unknownScopes", boolean(false)),
        ("toleratedScopes", Value::set(token.tolerated.iter().map(|scope| text(scope.as_str())))),
    ])
}
