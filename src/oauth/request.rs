//! Token requests without a person at the front channel: token exchange (RFC 8693), JWT assertions (RFC 7523 §2.1) and
//! client credentials (RFC 6749 §4.4). Each leaves inside a recorded permit, in one POST, in one attempt.

use super::{
    AuthorizationServers, Disposal, Kept, Obtained, Passage, Tokens, VerifiedSubject, Vouched,
    answer::Success,
    authorization_details::{Silent, hold_to},
    delegated_answer::{self, Asked},
    http::Line,
    jose::sign::sign,
    leniency::tell_cure,
    redeem::{Failed, hold_against, is_introspected, unkept},
    revoke::open,
    salvage::Leftover,
    wiped,
};
use crate::{
    audit::Recorded,
    caller::Caller,
    config::SigningKey,
    model::{Fault, Reason, TokenType, Wall},
    platform::{Entropy, entropy::random_base64url},
    policy::{RequestPermitted, Requestable, SubjectFacts, Verdict},
    transaction::{Begun, Flow, Opening},
};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use zeroize::Zeroizing;

/// How long an actor token lives: it is made for one POST.
const ACTOR_TOKEN_LIFETIME: Duration = Duration::from_secs(60);

/// A token request, and what it stands on.
pub struct TokenRequest {
    caller: Caller,
    begun: Arc<Begun>,
    subject: Option<VerifiedSubject>,
}

/// Why there is no token.
pub struct NotObtained {
    /// What the caller is told.
    pub fault: Fault,
    /// The caller.
    pub caller: Caller,
    /// The decision that let the request go.
    pub decided: Verdict,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// Tokens to be revoked.
    pub disposal: Option<Disposal>,
}

impl TokenRequest {
    /// A request of this caller. Without a subject it is the client's own.
    #[must_use]
    pub const fn new(caller: Caller, begun: Arc<Begun>, subject: Option<VerifiedSubject>) -> Self {
        Self { caller, begun, subject }
    }
}

impl Requestable for TokenRequest {
    fn caller(&self) -> &Caller {
        &self.caller
    }

    fn begun(&self) -> &Arc<Begun> {
        &self.begun
    }

    fn ground(&self) -> Option<&Arc<Begun>> {
        self.subject.as_ref()?.begun()
    }

    fn subject(&self) -> Option<SubjectFacts<'_>> {
        self.subject.as_ref().map(|subject| SubjectFacts {
            issuer: subject.issuer(),
            token_type: subject.token_type().urn(),
            person: subject.person(),
            requested: self.begun.opening.flow.token_type().urn(),
            impersonation: actor_key(&self.begun.opening).is_none(),
        })
    }
}

/// The key of actor tokens, where the client's are signed.
fn actor_key(opening: &Opening) -> Option<&SigningKey> {
    opening.client.delegations.exchange.as_ref()?.actor_key.as_ref()
}

impl AuthorizationServers {
    /// Opens a connection for a token request. Nothing is sent.
    ///
    /// # Errors
    /// [`Reason::AsUnreachable`], [`Reason::AsTlsUntrusted`], [`Reason::IssuerEndpointChanged`].
    pub async fn request_line(&self, begun: &Begun, passage: Passage) -> Result<Line, Fault> {
        let line = self.token_line(begun, passage).await?;
        // Already now: nothing may be waited for between the last look at the policies and the first byte.
        self.contract_keys(begun).await?;
        Ok(line)
    }

    /// Makes a recorded token request on an open connection.
    ///
    /// # Errors
    /// See [`NotObtained`].
    pub async fn request(
        &self,
        recorded: Recorded<RequestPermitted<TokenRequest>>,
        line: Result<Line, Fault>,
        entropy: &dyn Entropy,
    ) -> Result<Obtained, Box<NotObtained>> {
        let (request, decided, terms) = recorded.into_inner().into_parts();
        // Before it leaves: the token may be as old as that.
        let at = (self.clock.boot(), self.clock.wall());
        let result = self.one_request(line, &request, at.1, entropy).await;
        let TokenRequest { caller, begun, subject, .. } = request;
        let Success { access, refresh, lifetime, scopes, tolerated, details, not_applicable, .. } = match result {
            Ok(success) => success,
            Err(failed) => {
                let Failed { fault, status, leftover } = *failed;
                tell_cure(&begun.opening.issuer, &fault);
                let disposal = Disposal::of_leftover(&begun, leftover);
                return Err(Box::new(NotObtained { fault: as_told(fault), caller, decided, status, disposal }));
            }
        };
        let refresh = Leftover { access: Vec::new(), refresh: refresh.as_ref().map(open).into_iter().collect() };
        let unexpected = Disposal::of_leftover(&begun, refresh);
        let bound = begun.opening.client.bound_tokens;
        let vouched = if not_applicable { Vouched::always() } else { Vouched::at(at.0, &begun) };
        // What a grant was given on binds what is exchanged from it.
        let terms = subject.as_ref().map_or(terms.clone(), |subject| terms.strictest(subject.terms.clone()));
        let subject = subject.and_then(|subject| subject.subject_at(&begun.opening.issuer.alias));
        let tokens = Tokens { access, refresh: None, retired: None };
        let nonce = None;
        let kept = Kept {
            begun,
            tokens,
            scopes,
            details,
            tolerated,
            lifetime,
            at,
            bound,
            vouched,
            subject,
            nonce,
            decided,
            terms,
        };
        Ok(Obtained::new(kept, caller, unexpected))
    }

    async fn one_request(
        &self,
        line: Result<Line, Fault>,
        request: &TokenRequest,
        now: Wall,
        entropy: &dyn Entropy,
    ) -> Result<Success, Box<Failed>> {
        let unsent = |fault| Box::new(Failed { fault, status: None, leftover: Leftover::default() });
        let mut line = line.map_err(unsent)?;
        if !line.stands().await {
            return Err(unsent(Reason::AsUnreachable.into()));
        }
        let form = form(request, now, entropy).map_err(unsent)?;
        let (begun, scopes) = (&request.begun, &request.begun.opening.scopes);
        // Before it leaves: what comes for it must be verified.
        let keys = self.contract_keys(begun).await.map_err(unsent)?;
        let mut success = self.attempt(line, &form, begun, scopes).await?;
        // The answer says whether it brings an access token, whatever was asked for: every one is held to the contract.
        let by_contract = !success.not_applicable;
        if by_contract {
            success = self.keep_to_contract(success, begun, scopes, keys.as_ref()).await?;
        }
        let success = hold_against(success, begun, None, by_contract && is_introspected(begun))?;
        let success = hold_to(success, &begun.opening.details, Silent::Refused)?;
        let Flow::TokenExchange(delegation, token_type) = &request.begun.opening.flow else { return Ok(success) };
        let exchange = request.begun.opening.client.delegations.exchange.as_ref();
        let delegated = exchange.filter(|exchange| exchange.actor_key.is_some());
        let asked = Asked {
            token_type: *token_type,
            actors: &delegation.actors.chain,
            actors_max: exchange.map_or(0, |exchange| exchange.subjects.max_actors),
            act: delegated.is_some_and(|exchange| exchange.act_in_token),
        };
        match delegated_answer::judge(&success, &asked) {
            Ok(()) => Ok(success),
            Err(fault) => {
                if fault.reason == Reason::ActMissing {
                    tracing::error!(client = %request.begun.opening.client.alias, "the issued token does not show its actors, so it was revoked; if the issuer's tokens are opaque, write act_in_token = false in [client.token_exchange]");
                }
                Err(unkept(fault, &success))
            }
        }
    }
}

/// The reasons of a code's redemption in the words of these requests.
fn as_told(fault: Fault) -> Fault {
    let reason = match fault.reason {
        Reason::RedeemOutcomeUnknown => Reason::RequestOutcomeUnknown,
        other => other,
    };
    Fault { reason, ..fault }
}

/// The request. What it names comes from the configuration, the decision and the verified subject.
#[expect(clippy::disallowed_methods, reason = "this is the wire")]
fn form(request: &TokenRequest, now: Wall, entropy: &dyn Entropy) -> Result<Zeroizing<String>, Fault> {
    let opening = &request.begun.opening;
    let subject = request.subject.as_ref();
    let secret = subject.map_or("", |subject| subject.token.reveal());
    let actor = match (&opening.flow, actor_key(opening)) {
        (Flow::TokenExchange(..), Some(key)) => Some(actor_token(request, key, now, entropy)?),
        _ => None,
    };
    let mut form = wiped::roomy_form(&[secret, actor.as_ref().map_or("", |token| token.as_str())]);
    form.append_pair("grant_type", opening.flow.grant_type());
    if let (Flow::JwtBearer(_), Some(_)) = (&opening.flow, subject) {
        form.append_pair("assertion", secret);
    }
    if let (Flow::TokenExchange(_, wanted), Some(subject)) = (&opening.flow, subject) {
        form.append_pair("subject_token", secret)
            .append_pair("subject_token_type", subject.token_type().urn())
            .append_pair("requested_token_type", wanted.urn());
        if let Some(actor) = &actor {
            form.append_pair("actor_token", actor).append_pair("actor_token_type", TokenType::Jwt.urn());
        }
    }
    form.append_pair("scope", &opening.scopes.joined());
    let audiences = opening.flow.audiences();
    for audience in audiences {
        form.append_pair("audience", audience);
    }
    if let Some(resource) = opening.resource().filter(|_| audiences.is_empty()) {
        form.append_pair("resource", resource);
    }
    Ok(Zeroizing::new(form.finish()))
}

/// The actor token: the attested caller, in our words (RFC 8693 §2.1, RFC 7519).
fn actor_token(
    request: &TokenRequest,
    key: &SigningKey,
    now: Wall,
    entropy: &dyn Entropy,
) -> Result<Zeroizing<String>, Fault> {
    let opening = &request.begun.opening;
    let actor = opening.flow.actors().chain.first().ok_or(Reason::Internal)?;
    let seconds = |at: Wall| at.0.div_euclid(1000);
    let claims = json!({
        "iss": opening.client.client_id,
        "sub": actor,
        "aud": opening.issuer.url,
        "iat": seconds(now),
        "exp": seconds(now.plus(ACTOR_TOKEN_LIFETIME)),
        "jti": random_base64url::<16>(entropy)?,
    });
    sign(key, &claims).ok_or_else(|| Reason::Internal.into())
}
