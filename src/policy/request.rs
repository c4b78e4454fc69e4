//! Where a [`RequestPermitted`] is minted: Cedar allowed this caller to ask for a token without a person at the front
//! channel, for exactly these scopes.

use super::{
    Facts, Policies, Refused, Verdict,
    advice::approved,
    asked::Keeping,
    context::{Base, boolean, entity, text},
    panel::Panel,
    value::Value,
};
use crate::{
    caller::Caller,
    model::{Claimed, DecisionId, Fault, IssuerAlias, Reason, Terms},
    transaction::{Begun, Flow},
};
use std::sync::Arc;

/// What is known of a verified subject token, or assertion.
pub struct SubjectFacts<'a> {
    /// Who issued it.
    pub issuer: &'a IssuerAlias,
    /// Its type (RFC 8693 §3).
    pub token_type: &'static str,
    /// The type of token that is asked for.
    pub requested: &'static str,
    /// Whether the result will show no actor (RFC 8693 §1.1).
    pub impersonation: bool,
    /// What the log's reference to the person is made of: the issuer, a line break, and its `sub`.
    pub person: Option<&'a str>,
}

/// A token request that may be made. It gives facts only; nothing it says mints a ticket.
pub trait Requestable {
    /// Who would get the token.
    fn caller(&self) -> &Caller;
    /// What is asked for.
    fn begun(&self) -> &Arc<Begun>;
    /// What began the grant whose token it stands on, where it does.
    fn ground(&self) -> Option<&Arc<Begun>>;
    /// On whose behalf, where it is on somebody's.
    fn subject(&self) -> Option<SubjectFacts<'_>>;
}

/// Cedar allowed exactly this request, with these terms.
pub struct RequestPermitted<T> {
    request: T,
    verdict: Verdict,
    terms: Terms,
}

impl<T> RequestPermitted<T> {
    /// The decision.
    #[must_use]
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// What is permitted.
    #[must_use]
    pub const fn request(&self) -> &T {
        &self.request
    }

    /// Takes the permit apart to spend it. For `oauth/` alone.
    pub(crate) fn into_parts(self) -> (T, Verdict, Terms) {
        (self.request, self.verdict, self.terms)
    }
}

impl Policies {
    /// Asks whether this request may be made: `exchange_token`, `jwt_bearer` or `client_credentials`, and `grant_scope`
    /// for each scope.
    ///
    /// # Errors
    /// The request, and the decision.
    pub fn request<T: Requestable>(
        &self,
        request: T,
        claimed: &Claimed,
        id: DecisionId,
    ) -> Result<RequestPermitted<T>, Box<(T, Refused)>> {
        let Some(snapshot) = self.current() else { return Err(Box::new((request, Refused::not_loaded()))) };
        let begun = Arc::clone(request.begun());
        if let Err(fault) = self.stands_on(&begun, request.ground().map(|ground| &**ground)) {
            return Err(Box::new((request, fault.into())));
        }
        let opening = &begun.opening;
        let facts = Facts::from(request.caller());
        let mut panel = Panel::new(&snapshot, request.caller(), &opening.client, id).approvable(&opening.approvable);
        let now = self.clock.wall();
        let approval = approved(&opening.approvable, &snapshot, &*self.clock);
        let base = Base { approval, ..Base::of(opening, now, &facts, claimed) };
        let action = match opening.flow {
            Flow::TokenExchange(..) => "exchange_token",
            Flow::JwtBearer(_) => "jwt_bearer",
            // Codes are decided by permits of their own; asked here, they are what they are not: an agent's own.
            Flow::ClientCredentials | Flow::AuthorizationCode => "client_credentials",
        };
        panel.gate(action, &base, about(action, request.subject()));
        panel.scopes(&base, opening.flow.word());
        panel.details(&base, opening.flow.word(), &opening.details);
        panel.keep_terms(Keeping { bound: opening.client.bound_tokens, audience: opening.api.is_some() });
        match panel.close(Reason::PolicyDenied) {
            Ok((verdict, terms)) => Ok(RequestPermitted { request, verdict, terms }),
            Err(refused) => Err(Box::new((request, *refused))),
        }
    }
}

impl Policies {
    /// Whether no freeze has come over a request, nor over the grant whose token it stands on.
    ///
    /// # Errors
    /// [`Reason::Frozen`].
    pub fn stands_on(&self, begun: &Begun, ground: Option<&Begun>) -> Result<(), Fault> {
        self.stands(begun)?;
        ground.map_or(Ok(()), |ground| self.stands(ground))
    }
}

/// What the gate's question says of the subject.
fn about<'a>(action: &str, subject: Option<SubjectFacts<'a>>) -> Vec<(&'static str, Value<'a>)> {
    let Some(subject) = subject else { return Vec::new() };
    let issuer = ("subjectIssuer", entity("Issuer", subject.issuer.as_str()));
    if action == "jwt_bearer" {
        return vec![issuer];
    }
    vec![
        issuer,
        ("subjectTokenType", text(subject.token_type)),
        ("requestedTokenType", text(subject.requested)),
        ("impersonation", boolean(subject.impersonation)),
    ]
}
