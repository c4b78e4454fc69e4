//! The authorization request (RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 8707 §2.1, OIDC Core §3.1.2.1), as it goes through the
//! browser or is pushed (RFC 9126), parameter by parameter or signed (RFC 9101).

use super::{
    AuthorizationServers,
    pushed::Pushed,
    request_object::{key_of, sign},
};
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
    /// When it is of no use any more: the transaction has ended then, or the pushed or signed request.
    pub ends: Wall,
}

impl AuthorizationServers {
    /// The authorization request of a transaction: pushed first where the issuer offers that, else in the URL whole.
    ///
    /// # Errors
    /// [`Reason::ParRequired`], [`Reason::ParResponseMalformed`]; as for a token request if the push fails otherwise, or
    /// if the request is to be signed and is not.
    pub async fn authorization_request(&self, minted: &Minted) -> Result<AuthorizationRequest, Fault> {
        let begun = &minted.begun;
        let mut url = Url::parse(&begun.opening.endpoints.authorization).map_err(|_| Fault::new(Reason::Internal))?;
        let pushed = self.pushed(minted).await?;
        let mut query = url.query_pairs_mut();
        let client_id = &begun.opening.client.client_id;
        let ends = match pushed {
            Some(Pushed { request_uri, lifetime, object_ends }) => {
                // RFC 9126 §4: and nothing else, or it could contradict what was pushed.
                query.append_pair("client_id", client_id).append_pair("request_uri", &request_uri);
                let ends = begun.ends_wall.min(self.clock.wall().plus(lifetime));
                object_ends.map_or(ends, |object| ends.min(object))
            }
            None => {
                query.append_pair("client_id", client_id);
                match key_of(minted) {
                    Some(key) => {
                        // RFC 9101 §5: what is beside it is ignored, or contradicts it.
                        let object = sign(minted, key, &*self.entropy, self.clock.wall())?;
                        query.append_pair("request", &object.jwt);
                        begun.ends_wall.min(object.ends)
                    }
                    None => {
                        append(&mut query, minted);
                        begun.ends_wall
                    }
                }
            }
        };
        drop(query);
        Ok(AuthorizationRequest { url: url.into(), ends })
    }
}

/// The value of a parameter.
pub(super) enum Parameter<'a> {
    /// A text.
    Text(&'a str),
    /// A number of seconds.
    Seconds(u64),
    /// JSON, as text.
    Json(&'a str),
}

/// Puts the parameters of a request into a form or a query, but for `client_id`.
pub(super) fn append<T: Target>(request: &mut Serializer<'_, T>, minted: &Minted) {
    parameters(minted, |name, parameter| {
        match parameter {
            Parameter::Text(text) | Parameter::Json(text) => request.append_pair(name, text),
            Parameter::Seconds(seconds) => request.append_pair(name, &seconds.to_string()),
        };
    });
}

/// Names the parameters of a request, in order, but for `client_id`.
#[expect(clippy::disallowed_methods, reason = "state and nonce travel in the request by design")]
pub(super) fn parameters(minted: &Minted, mut put: impl FnMut(&'static str, Parameter<'_>)) {
    use Parameter::{Json, Seconds, Text};
    let opening = &minted.begun.opening;
    put("response_type", Text("code"));
    put("redirect_uri", Text(opening.redirect.as_str()));
    put("scope", Text(&opening.scopes.joined()));
    put("state", Text(minted.state.reveal()));
    put("code_challenge", Text(&minted.challenge));
    put("code_challenge_method", Text("S256"));
    if let Some(bound) = &minted.begun.bound_key {
        // RFC 9449 §10: a code that is stolen on its way is of no use without the key.
        put("dpop_jkt", Text(&bound.jkt));
    }
    if let Some(resource) = opening.resource() {
        put("resource", Text(resource));
    }
    if !opening.details.is_empty() {
        // RFC 9396 §3.
        put("authorization_details", Json(&opening.details.to_json()));
    }
    let wanted = &opening.login;
    if !wanted.prompt.is_empty() {
        let words: Vec<&str> = wanted.prompt.iter().map(|prompt| prompt.as_str()).collect();
        put("prompt", Text(&words.join(" ")));
    }
    if let Some(hint) = &wanted.hint {
        put("login_hint", Text(hint));
    }
    if let Some(nonce) = &minted.nonce {
        put("nonce", Text(nonce.reveal()));
        if let Some(max_age) = wanted.max_age {
            put("max_age", Seconds(max_age.as_secs()));
        }
        if !wanted.acr_values.is_empty() {
            put("acr_values", Text(&wanted.acr_values.join(" ")));
        }
    }
}
