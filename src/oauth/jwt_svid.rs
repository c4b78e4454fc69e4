//! The JWT-SVID that a client proves itself with (draft-ietf-oauth-spiffe-client-auth, SPIFFE JWT-SVID §3).
//!
//! Whoever talks to the SPIFFE Workload API keeps a file fresh. It is read for each request, so a new one counts at
//! once and an old one is never kept. Its signature is for the authorization server to judge; what is looked at here is
//! whether it would be refused, or would be of use to somebody else.

use super::strict_json;
use crate::{
    config::Issuer,
    model::{ClientAssertion, Fault, Reason, Wall, id::parse_spiffe_id},
    platform::files,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use std::path::Path;
use zeroize::Zeroizing;

/// Bytes of a JWT-SVID.
const SVID_BYTES_MAX: u64 = 16 * 1024;
/// How much longer it must last, in seconds: a request takes its time.
const LEFT_SECONDS_MIN: i64 = 5;

/// Reads the file and judges what is in it.
///
/// # Errors
/// [`Reason::ClientCredentialUnusable`].
pub(super) fn read(file: &Path, issuer: &Issuer, now: Wall) -> Result<ClientAssertion, Fault> {
    let refuse = |why: &'static str| {
        tracing::error!(issuer = %issuer.alias, file = %file.display(), why, "the JWT-SVID cannot be used; nothing was sent");
        Fault::new(Reason::ClientCredentialUnusable).with("issuer", issuer.alias.as_str()).with("rule", why)
    };
    files::require_private(file).map_err(|_| refuse("file"))?;
    // A few kilobytes on a local disk.
    let mut text = Zeroizing::new(files::read_text(file, SVID_BYTES_MAX).map_err(|_| refuse("file"))?);
    let length = text.trim_end().len();
    text.truncate(length);
    judge(&text, &issuer.url, now).map_err(refuse)?;
    Ok(ClientAssertion::new(std::mem::take(&mut *text)))
}

/// What is wrong with it, if anything: its `exp` has come, its `aud` is not this issuer alone, or it is no JWT-SVID.
fn judge(token: &str, issuer: &str, now: Wall) -> Result<(), &'static str> {
    let claims = claims(token).ok_or("format")?;
    let expires = claims.get("exp").and_then(Value::as_i64).ok_or("exp")?;
    if expires <= now.0.div_euclid(1000).saturating_add(LEFT_SECONDS_MIN) {
        return Err("exp");
    }
    let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
    if parse_spiffe_id(subject).is_err() {
        return Err("sub");
    }
    let audience = match claims.get("aud") {
        Some(Value::String(one)) => Some(one.as_str()),
        Some(Value::Array(list)) if list.len() == 1 => list.first().and_then(Value::as_str),
        _ => None,
    };
    if audience == Some(issuer) { Ok(()) } else { Err("aud") }
}

/// The claims of a compact JWS.
fn claims(token: &str) -> Option<Value> {
    let mut segments = token.split('.');
    let (Some(_), Some(claims), Some(signature), None) =
        (segments.next(), segments.next(), segments.next(), segments.next())
    else {
        return None;
    };
    let fit =
        |segment: &str| !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    (token.split('.').all(fit) && !signature.is_empty())
        .then(|| strict_json::parse(&URL_SAFE_NO_PAD.decode(claims).ok()?))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    // rows: PKJ-01 (a JWT-SVID)
    #[test]
    fn an_svid_is_for_this_server_alone_and_lasts() {
        let now = Wall(1_000_000_000);
        let token = |claims: &Value| {
            let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
            format!("{}.{}.{}", part(r#"{"alg":"ES256"}"#), part(&claims.to_string()), part("signature"))
        };
        let (issuer, sub) = ("https://as.example", "spiffe://acme.test/narrowgate");
        let judged = |claims: Value| judge(&token(&claims), issuer, now);
        assert_eq!(judged(json!({"sub": sub, "aud": [issuer], "exp": 1_000_300})), Ok(()));
        assert_eq!(judged(json!({"sub": sub, "aud": issuer, "exp": 1_000_300})), Ok(()));
        for exp in [json!(1_000_000), json!(999_999), json!(1_000_005), json!("1000300"), json!(null)] {
            assert_eq!(judged(json!({"sub": sub, "aud": issuer, "exp": exp})), Err("exp"));
        }
        let others = [json!([issuer, "https://other.example"]), json!([]), json!("https://as.example/"), json!(null)];
        for aud in others {
            assert_eq!(judged(json!({"sub": sub, "aud": aud, "exp": 1_000_300})), Err("aud"));
        }
        assert_eq!(judged(json!({"sub": "narrowgate", "aud": issuer, "exp": 1_000_300})), Err("sub"));
        for odd in ["", "a.b", "a.b.c.d", "a..c", "a.b.", "not a token"] {
            assert_eq!(judge(odd, issuer, now), Err("format"), "{odd}");
        }
    }
}
