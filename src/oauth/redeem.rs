//! The code's one way out: inside a recorded permit, in one POST, in one attempt.

use super::{
    AuthorizationServers, Disposal, Issued, Kept, Tokens, Vouched,
    answer::{self, Bad, Expected, RULE, Success, broken},
    authorization_details::{Silent, hold_to},
    bound::{self, Binding},
    dpop,
    http::{Answer, Broken, Line},
    identity::Presented,
    jose::jwks::KeySet,
    leniency::{CURE, tell_cure},
    revoke::open,
    salvage::Leftover,
    wiped,
};
use crate::{
    audit::Recorded,
    caller::Caller,
    config::Contract,
    model::{Fault, Nonce, Reason, ScopeSet, Subject, TokenBinding, TokenType},
    policy::{Permitted, Verdict},
    transaction::{Begun, Spent},
};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Why there is no token.
pub struct NotIssued {
    /// What the caller is told.
    pub fault: Fault,
    /// The transaction.
    pub begun: Arc<Begun>,
    /// The caller.
    pub caller: Caller,
    /// The decision that let the code go.
    pub decided: Verdict,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// Tokens to be revoked.
    pub disposal: Option<Disposal>,
}

impl AuthorizationServers {
    /// Redeems the code of a recorded permit on an open connection (RFC 6749 §4.1.3, RFC 8705 §2).
    ///
    /// # Errors
    /// The claim is spent in every case; see [`NotIssued`].
    pub async fn redeem(&self, recorded: Recorded<Permitted>, mut line: Line) -> Result<Issued, Box<NotIssued>> {
        let (claim, decided, terms) = recorded.into_inner().into_parts();
        let begun = Arc::clone(claim.begun());
        // From here on the transaction is over whatever happens.
        let spent = match claim.spend() {
            Ok(spent) => spent,
            Err(refused) => {
                let (caller, fault) = *refused;
                return Err(Box::new(NotIssued { fault, begun, caller, decided, status: None, disposal: None }));
            }
        };
        let keys = line.keys.take();
        // Before the code leaves: a token may be as old as that, for instance after a suspend while the answer waits.
        let at = (self.clock.boot(), self.clock.wall());
        let result = self.attempt(line, &form(&spent), &begun, &begun.opening.scopes).await;
        let Spent { caller, closing, required, nonce, .. } = spent;
        let result = match result {
            Ok(success) => self.keep_to_contract(success, &begun, &begun.opening.scopes, keys.as_ref()).await,
            failed => failed,
        };
        let result =
            result.and_then(|success| hold_against(success, &begun, required.as_ref(), is_introspected(&begun)));
        let result = result.and_then(|success| hold_to(success, &begun.opening.details, Silent::Refused));
        let result = match (result, &nonce) {
            (Ok(success), Some(nonce)) => self.with_subject(success, &begun, keys, nonce).await,
            (result, _) => result.map(|success| (success, None)),
        };
        let (Success { access, refresh, lifetime, scopes, tolerated, details, .. }, subject) = match result {
            Ok(success) => success,
            Err(failed) => {
                let Failed { fault, status, leftover } = *failed;
                tell_cure(&begun.opening.issuer, &fault);
                let disposal = Disposal::of_leftover(&begun, leftover);
                return Err(Box::new(NotIssued { fault, begun, caller, decided, status, disposal }));
            }
        };
        let (bound, vouched) = (begun.opening.client.bound_tokens, Vouched::at(at.0, &begun));
        let kept = Kept {
            begun,
            tokens: Tokens { access, refresh, retired: None },
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
        Ok(Issued::new(kept, caller, closing))
    }

    /// An answer and who logged in; without the one, nothing of the other is kept.
    async fn with_subject(
        &self,
        success: Success,
        begun: &Begun,
        keys: Option<Arc<KeySet>>,
        nonce: &Nonce,
    ) -> Result<(Success, Option<Subject>), Box<Failed>> {
        let (nonce, origin) = (Some(nonce), None);
        let presented = Presented { keys, nonce, origin, id_token: success.id_token.as_ref(), access: &success.access };
        match self.identify(begun, presented).await {
            Ok(subject) => Ok((success, Some(subject))),
            Err(fault) => Err(unkept(fault, &success)),
        }
    }
}

/// Why an attempt gave no token that may be kept.
pub(super) struct Failed {
    pub(super) fault: Fault,
    pub(super) status: Option<u16>,
    pub(super) leftover: Leftover,
}

impl AuthorizationServers {
    /// One POST (a second one where the server has only asked for its nonce), and its answer judged. One absolute
    /// deadline covers connection and exchange, whatever trickles in.
    pub(super) async fn attempt(
        &self,
        mut line: Line,
        form: &Zeroizing<String>,
        begun: &Begun,
        allowed: &ScopeSet,
    ) -> Result<Success, Box<Failed>> {
        let issuer = &begun.opening.issuer;
        let unsent = |fault| Box::new(Failed { fault, status: None, leftover: Leftover::default() });
        let proof = match line.proof.take() {
            Some(agents) => Some(agents),
            None => self.token_proof(begun).map_err(unsent)?,
        };
        let request = match self.authenticated(&begun.opening, form) {
            Ok(request) => request,
            Err(fault) => return Err(unsent(fault)),
        };
        let left = issuer.deadline.saturating_sub(line.spent);
        let passage = line.passage.take();
        let mut came = Zeroizing::default();
        let posting = self.post_proven(line, (form, request), proof, begun, &mut came);
        let answered = tokio::time::timeout(left, posting).await;
        if let Some(passage) = passage {
            passage.ended(&answered);
        }
        let fault: Fault = match answered {
            Ok(Ok(answer)) => return judge(&answer, begun, allowed),
            Ok(Err(Broken::Connection)) => Reason::RedeemOutcomeUnknown.into(),
            Ok(Err(Broken::TooLong)) => broken("size"),
            Err(_) => Reason::AsTimeout.into(),
        };
        // A token may have come whole before the answer broke off: it lives at the server all the same.
        Err(Box::new(Failed { fault, status: None, leftover: Leftover::of_fragment(&came) }))
    }
}

fn judge(answer: &Answer, begun: &Begun, allowed: &ScopeSet) -> Result<Success, Box<Failed>> {
    let issuer = &begun.opening.issuer;
    tracing::debug!(issuer = %issuer.alias, status = answer.status.as_u16(), bytes = answer.body.len(), "the token endpoint answered");
    if let Some(bound) = &begun.bound_key {
        let refused = match dpop::given(&answer.headers) {
            // Two nonces, or one that is none (RFC 9449 §8.1): whoever sends that is not to be believed the rest.
            Err(()) => Some(broken("dpop_nonce")),
            Ok(_) if !dpop::is_challenge(answer) => None,
            Ok(None) => Some(broken("dpop_nonce")),
            Ok(Some(_)) if bound.is_agents() => Some(Fault::new(Reason::DpopProofInvalid).with(RULE, "nonce")),
            Ok(Some(_)) => Some(Reason::DpopNonceLoop.into()),
        };
        if let Some(fault) = refused {
            let (status, leftover) = (Some(answer.status.as_u16()), Leftover::of_fragment(&answer.body));
            return Err(Box::new(Failed { fault, status, leftover }));
        }
    }
    let expected = Expected {
        allowed,
        binding: begun.opening.client.bound_tokens,
        assumed_lifetime: issuer.assumed_lifetime,
        accept: &issuer.accept,
        not_applicable: begun.opening.flow.token_type() != TokenType::AccessToken,
    };
    answer::judge(answer, &expected).map_err(|bad| {
        let Bad { fault, leftover } = *bad;
        Box::new(Failed { fault, status: Some(answer.status.as_u16()), leftover: *leftover })
    })
}

/// Whether the issuer is asked about its access tokens.
pub(super) fn is_introspected(begun: &Begun) -> bool {
    begun.opening.issuer.access_tokens.contract == Contract::Introspection
}

/// What the client and the caller demand beyond a well-formed answer. A token that was introspected has been held to its
/// binding there (RFC 8705 §3.2, RFC 9449 §6.2); any other must show it itself.
pub(super) fn hold_against(
    success: Success,
    begun: &Begun,
    required: Option<&ScopeSet>,
    introspected: bool,
) -> Result<Success, Box<Failed>> {
    let client = &begun.opening.client;
    let missing = required.map(|r| r.beyond(&success.scopes)).unwrap_or_default();
    let typ = &begun.opening.issuer.accept.access_token_typ;
    let judged = match (client.bound_tokens, &begun.bound_key) {
        _ if introspected => None,
        (TokenBinding::Unbound, _) => None,
        (TokenBinding::Certificate, _) => {
            Some(client.thumbprint().map_or(Binding::Wrong, |own| bound::judge(&success.access, own, typ)))
        }
        (TokenBinding::Dpop, Some(bound)) => Some(bound::judge_key(&success.access, &bound.jkt, typ)),
        (TokenBinding::Dpop, None) => Some(Binding::Wrong),
    };
    let fault = if judged == Some(Binding::Wrong) {
        Fault::new(Reason::TokenBindingMismatch)
    } else if judged == Some(Binding::OtherTyp) {
        Fault::new(Reason::TokenBindingMismatch).with(CURE, "[issuer.accept] access_token_typ")
    } else if missing.is_empty() {
        return Ok(success);
    } else {
        let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
        Fault::new(Reason::ScopeNarrowed).with("scopes", names.join(" "))
    };
    Err(unkept(fault, &success))
}

/// A well-formed answer of which nothing may be kept.
pub(super) fn unkept(fault: Fault, success: &Success) -> Box<Failed> {
    let leftover = Leftover {
        access: vec![open(&success.access)],
        refresh: success.refresh.as_ref().map(open).into_iter().collect(),
    };
    Box::new(Failed { fault, status: Some(200), leftover })
}

/// The token request, but for what proves the client. Every parameter comes from the transaction; nothing the caller said is in it but the code.
#[expect(clippy::disallowed_methods, reason = "this is the wire")]
fn form(spent: &Spent) -> Zeroizing<String> {
    let opening = &spent.begun.opening;
    let mut form = wiped::roomy_form(&[spent.code.reveal(), spent.verifier.reveal()]);
    form.append_pair("grant_type", "authorization_code").append_pair("code", spent.code.reveal());
    if !opening.issuer.accept.redirect_uri_omitted {
        form.append_pair("redirect_uri", opening.redirect.as_str());
    }
    form.append_pair("code_verifier", spent.verifier.reveal());
    if let Some(resource) = opening.resource() {
        form.append_pair("resource", resource);
    }
    Zeroizing::new(form.finish())
}
