//! Signs a JWT with a key of ours (RFC 7515 §3.1).

use crate::config::SigningKey;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// A compact JWS of these claims. `None` if the library cannot sign.
pub(crate) fn sign(key: &SigningKey, claims: &Value) -> Option<Zeroizing<String>> {
    let mut header = json!({ "typ": "JWT", "alg": key.algorithm().name() });
    if let (Some(kid), Some(members)) = (&key.kid, header.as_object_mut()) {
        members.insert("kid".to_owned(), json!(kid));
    }
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let signed = format!("{}.{}", part(&header), part(claims));
    let signature = key.sign(signed.as_bytes())?;
    Some(Zeroizing::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
}
