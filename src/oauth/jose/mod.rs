//! Tokens that others signed, and the keys to believe them with (RFC 7515, 7517, 8725). Pure: bytes in, a typed
//! answer out; no clock, no network, no log.
//!
//! Invariant: an [`jws::Verified`] exists only for a compact JWS of the asked kind whose signature was checked with
//! exactly one key, of exactly one allowed algorithm, out of one issuer's [`jwks::KeySet`]. Nothing in a token's header
//! chooses the trust: it may only name a key that is there.
//!
//! The signature itself is checked by aws-lc-rs; jsonwebtoken's claim validation is not used, because it accepts
//! tokens that OIDC Core §3.1.3.7 refuses.

pub(crate) mod delegated;
mod fuzz;
pub(crate) mod id_token;
pub(crate) mod jwks;
pub(crate) mod jws;
pub(crate) mod sign;
#[cfg(test)]
mod testing;

pub use fuzz::{fuzz_id_token, fuzz_keys};

use crate::model::{Algorithm, Algorithms};
use aws_lc_rs::digest;
use serde_json::Value;

/// The hash of `at_hash` (OIDC Core §3.1.3.6): the one inside the signature algorithm.
fn hash_of(algorithm: Algorithm) -> &'static digest::Algorithm {
    match algorithm {
        Algorithm::Rs256 | Algorithm::Ps256 | Algorithm::Es256 => &digest::SHA256,
        Algorithm::Es384 => &digest::SHA384,
        Algorithm::EdDsa => &digest::SHA512,
    }
}

/// What a token is for. Told by `typ`, so that none passes for another (RFC 8725 §3.11, §3.12).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(test), expect(dead_code, reason = "those that nobody reads must not pass for one that somebody does"))]
pub(crate) enum Kind {
    /// An ID token: `typ` absent or `JWT` (OIDC Core §2).
    IdToken,
    /// An access token (RFC 9068 §2.1).
    AccessToken,
    /// A DPoP proof (RFC 9449 §4.2).
    DpopProof,
    /// An introspection answer (RFC 9701 §5).
    Introspection,
    /// A logout token (OIDC Back-Channel Logout §2.4).
    Logout,
    /// A transaction token.
    Transaction,
    /// An identity assertion authorization grant.
    IdentityGrant,
    /// A client's proof of who it is (rfc7523bis).
    ClientAuthentication,
    /// An approver's record of what they approve.
    Approval,
}

impl Kind {
    /// Every kind.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 9] = [
        Self::IdToken,
        Self::AccessToken,
        Self::DpopProof,
        Self::Introspection,
        Self::Logout,
        Self::Transaction,
        Self::IdentityGrant,
        Self::ClientAuthentication,
        Self::Approval,
    ];

    /// The `typ` of this kind.
    pub(crate) const fn typ(self) -> &'static str {
        match self {
            Self::IdToken => "JWT",
            Self::AccessToken => "at+jwt",
            Self::DpopProof => "dpop+jwt",
            Self::Introspection => "token-introspection+jwt",
            Self::Logout => "logout+jwt",
            Self::Transaction => "txntoken+jwt",
            Self::IdentityGrant => "oauth-id-jag+jwt",
            Self::ClientAuthentication => "client-authentication+jwt",
            Self::Approval => "narrowgate-approval+jwt",
        }
    }

    /// Whether a header with this `typ` is of this kind. Media types know no case and may leave `application/` out
    /// (RFC 7515 §4.1.9); an ID token's may not have it.
    fn accepts(self, typ: Option<&Value>) -> bool {
        match (self, typ) {
            (Self::IdToken, None) => true,
            (Self::IdToken, Some(Value::String(typ))) => typ.eq_ignore_ascii_case(self.typ()),
            (_, Some(Value::String(typ))) => {
                let short = match typ.split_once('/') {
                    Some((top, rest)) if top.eq_ignore_ascii_case("application") => rest,
                    _ => typ,
                };
                short.eq_ignore_ascii_case(self.typ())
            }
            (_, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // rows: JOSE-09
    #[test]
    fn a_type_belongs_to_one_kind() {
        for kind in Kind::ALL {
            for other in Kind::ALL {
                for typ in [other.typ().to_owned(), other.typ().to_uppercase()] {
                    assert_eq!(kind.accepts(Some(&Value::String(typ))), kind == other, "{kind:?} {other:?}");
                }
                let long = Value::String(format!("application/{}", other.typ()));
                assert_eq!(kind.accepts(Some(&long)), kind == other && kind != Kind::IdToken, "{kind:?} {other:?}");
            }
            assert_eq!(kind.accepts(None), kind == Kind::IdToken, "{kind:?}");
            for odd in [Value::Null, Value::from(1), Value::from(""), Value::from("JOSE"), Value::from("text/at+jwt")] {
                assert!(!kind.accepts(Some(&odd)), "{kind:?} {odd}");
            }
            assert!(!kind.accepts(Some(&serde_json::json!([kind.typ()]))));
            assert!(!kind.accepts(Some(&Value::String(format!(" {}", kind.typ())))));
            assert!(!kind.accepts(Some(&Value::String(format!("application/application/{}", kind.typ())))));
        }
    }
}
