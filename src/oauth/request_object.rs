//! Request objects (RFC 9101): an authorization request as a JWT that its client has signed, so that nobody on its way
//! through the browser can change it.
//!
//! It is no assertion: its type is another, and it has no `sub`, or whoever sees it in the browser could present it as one
//! (RFC 9101 §10.8).

use super::{
    authorize::{Parameter, parameters},
    client_assertion::{JTI_BYTES, signature},
};
use crate::{
    config::{AssertionKey, ClientAuth},
    model::{Fault, Wall},
    platform::{Entropy, entropy::random_base64url},
    transaction::Minted,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};
use std::time::Duration;
use zeroize::Zeroizing;

/// `typ` (RFC 9101 §10.8).
const TYP: &str = "oauth-authz-req+jwt";
/// What one is good for: a person has yet to open it. A server may look at it when it is pushed and once more when it is
/// opened.
const LIFETIME: Duration = Duration::from_secs(300);

/// A signed request, and when it ends.
pub(super) struct RequestObject {
    pub(super) jwt: Zeroizing<String>,
    pub(super) ends: Wall,
}

/// The key that signs the requests of a transaction's client, where they are signed.
pub(super) fn key_of(minted: &Minted) -> Option<&AssertionKey> {
    let client = &minted.begun.opening.client;
    match &client.auth {
        ClientAuth::PrivateKeyJwt(key) if client.signs_requests => Some(key),
        _ => None,
    }
}

/// Signs the request of a transaction.
///
/// # Errors
/// [`Reason::Internal`](crate::model::Reason::Internal) without entropy, or if the key does not sign.
pub(super) fn sign(
    minted: &Minted,
    key: &AssertionKey,
    entropy: &dyn Entropy,
    now: Wall,
) -> Result<RequestObject, Fault> {
    let opening = &minted.begun.opening;
    let ends = now.plus(LIFETIME);
    let seconds = |at: Wall| at.0.div_euclid(1000);
    let mut claims = Map::new();
    for (name, value) in [
        ("iss", json!(opening.client.client_id)),
        ("client_id", json!(opening.client.client_id)),
        ("aud", json!(opening.issuer.url)),
        ("iat", json!(seconds(now))),
        ("nbf", json!(seconds(now))),
        ("exp", json!(seconds(ends))),
        ("jti", json!(random_base64url::<JTI_BYTES>(entropy)?)),
    ] {
        claims.insert(name.to_owned(), value);
    }
    parameters(minted, |name, parameter| {
        let value = match parameter {
            Parameter::Text(text) => json!(text),
            Parameter::Seconds(seconds) => json!(seconds),
            // RFC 9396 §3: an array in a JWT, where it is no text.
            Parameter::Json(text) => serde_json::from_str(text).unwrap_or(Value::Null),
        };
        claims.insert(name.to_owned(), value);
    });
    let mut header = Map::new();
    header.insert("alg".to_owned(), json!(key.algorithm().name()));
    header.insert("typ".to_owned(), json!(TYP));
    header.extend(key.kid.iter().map(|kid| ("kid".to_owned(), json!(kid))));
    let encode = |value: Map<String, Value>| URL_SAFE_NO_PAD.encode(Value::Object(value).to_string());
    let signed = Zeroizing::new(format!("{}.{}", encode(header), encode(claims)));
    let signature = signature(key, false, signed.as_bytes())?;
    tracing::debug!(client_id = opening.client.client_id, "an authorization request was signed");
    let jwt = Zeroizing::new(format!("{}.{}", signed.as_str(), URL_SAFE_NO_PAD.encode(signature)));
    Ok(RequestObject { jwt, ends })
}
