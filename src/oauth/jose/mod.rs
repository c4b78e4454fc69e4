//! Tokens that others signed, and the keys to believe them with (RFC 7515, 7517, 8725). Pure: bytes in, a typed
//! answer out; no clock, no network, no log.
//!
//! Invariant: an [`jws::Verified`] exists only for a compact JWS of the asked kind whose signature was checked with
//! exactly one key, of exactly one allowed algorithm, out of one issuer's [`jwks::KeySet`]. Nothing in a token's header
//! chooses the trust: it may only name a key that is there.
//!
//! The signature itself is checked by aws-lc-rs; jsonwebtoken's claim validation is not used, because it accepts
//! tokens that OIDC Core §3.1.3.7 refuses.

mod fuzz;
pub(crate) mod id_token;
pub(crate) mod jwks;
pub(crate) mod jws;
#[cfg(test)]
mod testing;

pub use fuzz::{fuzz_id_token, fuzz_keys};

use aws_lc_rs::digest;
use serde_json::Value;

/// A signature algorithm (RFC 7518 §3.1, RFC 8037 §3.1). There is no symmetric one and no `none`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256. Allowed where the issuer's configuration says so.
    Rs256,
    /// RSASSA-PSS with SHA-256 and a salt of 32 bytes.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// Every algorithm.
    pub(crate) const ALL: [Self; 5] = [Self::Rs256, Self::Ps256, Self::Es256, Self::Es384, Self::EdDsa];

    /// The name in `alg`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of this name, letter for letter.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    const fn is_rsa(self) -> bool {
        matches!(self, Self::Rs256 | Self::Ps256)
    }

    /// The hash of `at_hash` (OIDC Core §3.1.3.6): the one inside the signature algorithm.
    fn hash(self) -> &'static digest::Algorithm {
        match self {
            Self::Rs256 | Self::Ps256 | Self::Es256 => &digest::SHA256,
            Self::Es384 => &digest::SHA384,
            Self::EdDsa => &digest::SHA512,
        }
    }
}

/// The algorithms one issuer may sign with: never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Algorithms(Vec<Algorithm>);

/// Why a list in the configuration is no allow-list.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum AlgorithmsRejected {
    /// The list is empty.
    #[error("no algorithm is listed")]
    Empty,
    /// A word is not the name of a supported algorithm.
    #[error("`{0}` is not one of RS256, PS256, ES256, ES384, EdDSA")]
    Unknown(String),
}

impl Default for Algorithms {
    /// PS256, ES256 and EdDSA.
    fn default() -> Self {
        Self(vec![Algorithm::Ps256, Algorithm::Es256, Algorithm::EdDsa])
    }
}

impl Algorithms {
    /// Reads the words of the configuration.
    pub(crate) fn parse<'w>(words: impl IntoIterator<Item = &'w str>) -> Result<Self, AlgorithmsRejected> {
        let mut algorithms = Vec::new();
        for word in words {
            let algorithm = Algorithm::parse(word).ok_or_else(|| AlgorithmsRejected::Unknown(word.to_owned()))?;
            if !algorithms.contains(&algorithm) {
                algorithms.push(algorithm);
            }
        }
        if algorithms.is_empty() { Err(AlgorithmsRejected::Empty) } else { Ok(Self(algorithms)) }
    }

    /// Whether the issuer may use this one.
    pub(crate) fn allow(&self, algorithm: Algorithm) -> bool {
        self.0.contains(&algorithm)
    }

    /// What an RSA key without `alg` is for: the one RSA algorithm listed. Two listed leave it without any.
    fn sole_rsa(&self) -> Option<Algorithm> {
        let mut rsa = self.0.iter().copied().filter(|algorithm| algorithm.is_rsa());
        match (rsa.next(), rsa.next()) {
            (Some(one), None) => Some(one),
            _ => None,
        }
    }
}

/// What a token is for. Told by `typ`, so that none passes for another (RFC 8725 §3.11, §3.12).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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
}

impl Kind {
    /// Every kind.
    pub(crate) const ALL: [Self; 7] = [
        Self::IdToken,
        Self::AccessToken,
        Self::DpopProof,
        Self::Introspection,
        Self::Logout,
        Self::Transaction,
        Self::IdentityGrant,
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

    // rows: JOSE-01 IDT-04
    #[test]
    fn only_known_algorithms_can_be_configured() {
        let defaults = Algorithms::default();
        for algorithm in Algorithm::ALL {
            let allowed = !matches!(algorithm, Algorithm::Rs256 | Algorithm::Es384);
            assert_eq!(defaults.allow(algorithm), allowed, "{algorithm:?}");
            assert_eq!(Algorithms::parse([algorithm.name()]).map(|a| a.0), Ok(vec![algorithm]));
        }
        assert_eq!(Algorithms::parse([]), Err(AlgorithmsRejected::Empty));
        for word in ["none", "nOnE", "HS256", "RS512", "rs256", "ES512", "ES256K", "RSA1_5", "Ed25519", "", " ES256"] {
            assert_eq!(Algorithms::parse(["ES256", word]), Err(AlgorithmsRejected::Unknown(word.to_owned())), "{word}");
        }
        assert_eq!(Algorithms::parse(["RS256", "RS256"]).ok().and_then(|a| a.sole_rsa()), Some(Algorithm::Rs256));
        assert_eq!(Algorithms::parse(["RS256", "PS256"]).ok().and_then(|a| a.sole_rsa()), None);
        assert_eq!(Algorithms::parse(["ES256"]).ok().and_then(|a| a.sole_rsa()), None);
    }

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
