//! Whether a JWT access token is bound to our certificate (RFC 8705 §3.1). Read only where the client is declared
//! bound, and only to refuse: nothing in a token ever widens a decision (RFC 9068 §6).

use super::strict_json;
use crate::model::AccessToken;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

/// Whether the token's `cnf` names this thumbprint.
#[expect(clippy::disallowed_methods, reason = "the confirmation is inside the token")]
pub(super) fn is_bound_to(token: &AccessToken, thumbprint: &str) -> bool {
    confirmation(token.reveal()).is_some_and(|found| found == thumbprint)
}

/// The `x5t#S256` of a compact JWS: three segments of unpadded base64url.
fn confirmation(token: &str) -> Option<String> {
    let mut segments = token.split('.');
    let (Some(_), Some(payload), Some(_), None) = (segments.next(), segments.next(), segments.next(), segments.next())
    else {
        return None;
    };
    let claims = strict_json::parse(&URL_SAFE_NO_PAD.decode(payload).ok()?)?;
    claims.get("cnf")?.get("x5t#S256").and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> AccessToken {
        AccessToken::new(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)))
    }

    // rows: MTLS-06 MTLS-08
    #[test]
    fn only_the_exact_thumbprint_counts() {
        let ours = crate::config::thumbprint(b"a certificate");
        assert!(is_bound_to(&token(&format!(r#"{{"cnf":{{"x5t#S256":"{ours}"}}}}"#)), &ours));
        let padded = format!(r#"{{"cnf":{{"x5t#S256":"{ours}="}}}}"#);
        let hex = format!(
            r#"{{"cnf":{{"x5t#S256":"{}"}}}}"#,
            crate::platform::digest::hex(&crate::platform::digest::sha256(b"a certificate"))
        );
        let twice = format!(r#"{{"cnf":{{"x5t#S256":"x"}},"cnf":{{"x5t#S256":"{ours}"}}}}"#);
        for other in
            ["{}", r#"{"cnf":{}}"#, r#"{"cnf":{"x5t#S256":["x"]}}"#, r#"{"cnf":{"jkt":"x"}}"#, &padded, &hex, &twice]
        {
            assert!(!is_bound_to(&token(other), &ours), "{other}");
        }
        assert!(!is_bound_to(&AccessToken::new("opaque".to_owned()), &ours));
        assert!(!is_bound_to(&AccessToken::new("a.b.c.d.e".to_owned()), &ours));
    }
}
