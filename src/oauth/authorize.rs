//! The authorization request (RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 8707 §2.1, OIDC Core §3.1.2.1), as it goes through the
//! browser or is pushed (RFC 9126).

use super::{AuthorizationServers, pushed::Pushed};
use crate::{
    model::{Fault, Reason, Wall},
    transaction::Minted,
};
use url::{
    Url,
    form_urlencoded::{Serializer, Target},
};

/// What the person's browser is to open.
pub struct AuthorizationRequest {
    /// The URL.
    pub url: String,
    /// When it is of no use any more: the transaction has ended then, or the pushed request.
    pub ends: Wall,
}

impl AuthorizationServers {
    /// The authorization request of a transaction: pushed first where the issuer offers that, else in the URL whole.
    ///
    /// # Errors
    /// [`Reason::ParRequired`], [`Reason::ParResponseMalformed`]; as for a token request if the push fails otherwise.
    pub async fn authorization_request(&self, minted: &Minted) -> Result<AuthorizationRequest, Fault> {
        let begun = &minted.begun;
        let mut url = Url::parse(&begun.opening.endpoints.authorization).map_err(|_| Fault::new(Reason::Internal))?;
        let pushed = self.pushed(minted).await?;
        let mut query = url.query_pairs_mut();
        let client_id = &begun.opening.client.client_id;
        let ends = match pushed {
            Some(Pushed { request_uri, lifetime }) => {
                // RFC 9126 §4: and nothing else, or it could contradict what was pushed.
                query.append_pair("client_id", client_id).append_pair("request_uri", &request_uri);
                begun.ends_wall.min(self.clock.wall().plus(lifetime))
            }
            None => {
                query.append_pair("client_id", client_id);
                append(&mut query, minted);
                begun.ends_wall
            }
        };
        drop(query);
        Ok(AuthorizationRequest { url: url.into(), ends })
    }
}

/// The parameters of a request but for `client_id`.
#[expect(clippy::disallowed_methods, reason = "state and nonce travel in the request by design")]
pub(super) fn append<T: Target>(request: &mut Serializer<'_, T>, minted: &Minted) {
    let opening = &minted.begun.opening;
    request
        .append_pair("response_type", "code")
        .append_pair("redirect_uri", opening.redirect.as_str())
        .append_pair("scope", &opening.scopes.joined())
        .append_pair("state", minted.state.reveal())
        .append_pair("code_challenge", &minted.challenge)
        .append_pair("code_challenge_method", "S256");
    if let Some(bound) = &minted.begun.bound_key {
        // RFC 9449 §10: a code that is stolen on its way is of no use without the key.
        request.append_pair("dpop_jkt", &bound.jkt);
    }
    if let Some(resource) = opening.resource() {
        request.append_pair("resource", resource);
    }
    if !opening.details.is_empty() {
        // RFC 9396 §3.
        request.append_pair("authorization_details", &opening.details.to_json());
    }
    let wanted = &opening.login;
    if !wanted.prompt.is_empty() {
        let words: Vec<&str> = wanted.prompt.iter().map(|prompt| prompt.as_str()).collect();
        request.append_pair("prompt", &words.join(" "));
    }
    if let Some(hint) = &wanted.hint {
        request.append_pair("login_hint", hint);
    }
    if let Some(nonce) = &minted.nonce {
        request.append_pair("nonce", nonce.reveal());
        if let Some(max_age) = wanted.max_age {
            request.append_pair("max_age", &max_age.as_secs().to_string());
        }
        if !wanted.acr_values.is_empty() {
            request.append_pair("acr_values", &wanted.acr_values.join(" "));
        }
    }
}
