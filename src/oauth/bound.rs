//! Whether a JWT access token is bound to our certificate (RFC 8705 §3.1) or to the grant's key (RFC 9449 §6.1). Read only where the client is declared
//! bound, and only to refuse: nothing in a token ever widens a decision (RFC 9068 §6).

use super::strict_json;
use crate::model::{AccessToken, TokenBinding};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

/// What a token says of its binding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Binding {
    /// It is bound to our certificate, or to the grant's key.
    Right,
    /// It is not, or does not say.
    Wrong,
    /// It would be, but its `typ` is not that of the issuer's access tokens (RFC 9068 §4): it may be another kind of
    /// JWT altogether.
    OtherTyp,
}

/// Whether the token's `cnf` names this thumbprint, in a JWT of this `typ`.
#[expect(clippy::disallowed_methods, reason = "the confirmation is inside the token")]
pub(super) fn judge(token: &AccessToken, thumbprint: &str, typ: &str) -> Binding {
    let Some(parts) = parts(token.reveal()) else { return Binding::Wrong };
    confirms(&parts, TokenBinding::Certificate, thumbprint, typ)
}

/// Whether a token that came as `DPoP` is bound to this key (RFC 9449 §6.1). One that nobody but its server can read is
/// taken at its `token_type`, which says so (§5); a JWT must say it itself.
#[expect(clippy::disallowed_methods, reason = "the confirmation is inside the token")]
pub(super) fn judge_key(token: &AccessToken, jkt: &str, typ: &str) -> Binding {
    parts(token.reveal()).map_or(Binding::Right, |parts| confirms(&parts, TokenBinding::Dpop, jkt, typ))
}

fn confirms((header, claims): &(Value, Value), binding: TokenBinding, thumbprint: &str, typ: &str) -> Binding {
    let named = claims.get("cnf").and_then(|cnf| cnf.get(binding.confirmation())).and_then(Value::as_str);
    if named != Some(thumbprint) {
        return Binding::Wrong;
    }
    let found = header.get("typ").and_then(Value::as_str).unwrap_or_default();
    if media_type(found) == media_type(typ) { Binding::Right } else { Binding::OtherTyp }
}

/// A `typ` for comparison: without regard to case, and `application/` may be left out (RFC 7515 §4.1.9).
pub(super) fn media_type(typ: &str) -> String {
    let lower = typ.to_ascii_lowercase();
    lower.strip_prefix("application/").map(str::to_owned).unwrap_or(lower)
}

/// Header and claims of a compact JWS: three segments of unpadded base64url.
fn parts(token: &str) -> Option<(Value, Value)> {
    let mut segments = token.split('.');
    let (Some(header), Some(claims), Some(_), None) =
        (segments.next(), segments.next(), segments.next(), segments.next())
    else {
        return None;
    };
    let json = |segment: &str| strict_json::parse(&URL_SAFE_NO_PAD.decode(segment).ok()?);
    Some((json(header)?, json(claims)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(typ: &str, claims: &str) -> AccessToken {
        let header = format!(r#"{{"typ":{typ}}}"#);
        AccessToken::new(format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims)))
    }

    fn token(claims: &str) -> AccessToken {
        typed(r#""at+jwt""#, claims)
    }

    fn is_bound_to(token: &AccessToken, thumbprint: &str) -> bool {
        judge(token, thumbprint, "at+jwt") == Binding::Right
    }

    // rows: MTLS-06 INTR-07
    #[test]
    fn another_kind_of_jwt_is_no_access_token() {
        let claims = r#"{"cnf":{"x5t#S256":"x"}}"#;
        for typ in [r#""at+jwt""#, r#""AT+JWT""#, r#""application/at+jwt""#] {
            assert_eq!(judge(&typed(typ, claims), "x", "at+jwt"), Binding::Right, "{typ}");
        }
        for typ in [r#""JWT""#, r#""logout+jwt""#, r#""dpop+jwt""#, "null", "7", r#""""#] {
            assert_eq!(judge(&typed(typ, claims), "x", "at+jwt"), Binding::OtherTyp, "{typ}");
            // The switch changes which kind it must be, never whose it must be.
            assert_eq!(judge(&typed(typ, claims), "y", "JWT"), Binding::Wrong, "{typ}");
        }
        assert_eq!(judge(&typed(r#""JWT""#, claims), "x", "JWT"), Binding::Right);
        assert_eq!(judge(&typed(r#""at+jwt""#, claims), "x", "JWT"), Binding::OtherTyp);
    }

    // rows: DPOP-09
    #[test]
    fn a_jwt_says_itself_which_key_it_is_bound_to() {
        let is = |claims: &str| judge_key(&token(claims), "k", "at+jwt") == Binding::Right;
        assert!(is(r#"{"cnf":{"jkt":"k"}}"#));
        for other in ["{}", r#"{"cnf":{}}"#, r#"{"cnf":{"jkt":"K"}}"#, r#"{"cnf":{"x5t#S256":"k"}}"#, r#"{"jkt":"k"}"#]
        {
            assert!(!is(other), "{other}");
        }
        assert!(judge_key(&AccessToken::new("opaque".to_owned()), "k", "at+jwt") == Binding::Right);
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
