//! The authorization request (RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 8707 §2.1, OIDC Core §3.1.2.1).

use crate::{
    model::{Fault, Reason},
    transaction::Minted,
};
use url::Url;

/// The URL to open in the person's browser.
///
/// # Errors
/// [`Reason::Internal`] if the endpoint is no URL, which configuration and discovery have checked.
#[expect(clippy::disallowed_methods, reason = "state and nonce travel in the URL by design")]
pub fn authorization_url(minted: &Minted) -> Result<String, Fault> {
    let opening = &minted.begun.opening;
    let mut url = Url::parse(&opening.endpoints.authorization).map_err(|_| Fault::new(Reason::Internal))?;
    let mut query = url.query_pairs_mut();
    query
        .append_pair("response_type", "code")
        .append_pair("client_id", &opening.client.client_id)
        .append_pair("redirect_uri", opening.redirect.as_str())
        .append_pair("scope", &opening.scopes.joined())
        .append_pair("state", minted.state.reveal())
        .append_pair("code_challenge", &minted.challenge)
        .append_pair("code_challenge_method", "S256");
    if let Some(bound) = &minted.begun.bound_key {
        // RFC 9449 §10: a code that is stolen on its way is of no use without the key.
        query.append_pair("dpop_jkt", &bound.jkt);
    }
    if let Some(resource) = opening.resource() {
        query.append_pair("resource", resource);
    }
    if let Some(nonce) = &minted.nonce {
        let wanted = &opening.issuer.id_tokens;
        query.append_pair("nonce", nonce.reveal());
        if let Some(max_age) = wanted.max_age {
            query.append_pair("max_age", &max_age.as_secs().to_string());
        }
        if !wanted.acr_values.is_empty() {
            query.append_pair("acr_values", &wanted.acr_values.join(" "));
        }
    }
    drop(query);
    Ok(url.into())
}
