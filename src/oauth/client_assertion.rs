//! Assertions of private_key_jwt (RFC 7523 §3, rfc7523bis), and the one place where a client's own key signs.
//!
//! Each assertion is made for one HTTP request and is never kept, cached or logged. Its `aud` comes from the configuration, so
//! that no metadata of an attacker can have it made for another server; an endpoint from metadata is in it only where
//! `legacy_aud` says so.

use super::jose::Kind;
use crate::{
    config::{AssertionKey, AssertionKeyPair, ClientAssertions},
    model::{Algorithm, ClientAssertion, Fault, Reason, Wall},
    platform::{Entropy, entropy::random_base64url},
};
use aws_lc_rs::{
    digest::{SHA1_FOR_LEGACY_USE_ONLY, digest},
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

/// Seconds that an assertion is good for (FAPI 2.0 asks for no more).
const LIFETIME_SECONDS: i64 = 60;
/// Bytes of entropy in `jti`.
pub(super) const JTI_BYTES: usize = 24;

/// Whom an assertion speaks of, and to.
pub(super) struct Speaks<'a> {
    pub(super) client_id: &'a str,
    pub(super) audience: &'a str,
}

/// Signs an assertion that is good for a minute from now.
///
/// # Errors
/// [`Reason::Internal`] without entropy, or if the key does not sign.
pub(super) fn sign(
    key: &AssertionKey,
    settings: &ClientAssertions,
    speaks: &Speaks<'_>,
    entropy: &dyn Entropy,
    now: Wall,
) -> Result<ClientAssertion, Fault> {
    let issued = now.0.div_euclid(1000);
    let claims = json!({
        "iss": speaks.client_id,
        "sub": speaks.client_id,
        // One text, no list: an assertion for two is for whoever gets it first.
        "aud": speaks.audience,
        "iat": issued,
        "exp": issued.saturating_add(LIFETIME_SECONDS),
        "jti": random_base64url::<JTI_BYTES>(entropy)?,
    });
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&header(key, settings)), encode(&claims));
    let signature = signature(key, settings.legacy_rs256, signed.as_bytes())?;
    tracing::debug!(client_id = speaks.client_id, "a client assertion was signed");
    Ok(ClientAssertion::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
}

/// The header (RFC 7515 §4.1). `alg` is that of the key.
fn header(key: &AssertionKey, settings: &ClientAssertions) -> Value {
    let algorithm = if settings.legacy_rs256 { Algorithm::Rs256 } else { key.algorithm() };
    let plain = settings.typ_jwt || settings.legacy_rs256;
    let typ = if plain { "JWT" } else { Kind::ClientAuthentication.typ() };
    let mut header = Map::new();
    header.insert("alg".to_owned(), algorithm.name().into());
    header.insert("typ".to_owned(), typ.into());
    header.extend(key.kid.iter().map(|kid| ("kid".to_owned(), kid.as_str().into())));
    let certificate = key.certificate.iter().filter(|_| settings.legacy_rs256);
    header.extend(certificate.map(|certificate| {
        // RFC 7515 §4.1.7: it names a key, and proves nothing.
        let thumbprint = digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate);
        ("x5t".to_owned(), URL_SAFE_NO_PAD.encode(thumbprint).into())
    }));
    Value::Object(header)
}

/// Signs with a client's key. RSA is RSASSA-PSS, but for `pkcs1`.
///
/// # Errors
/// [`Reason::Internal`] if the key does not sign.
pub(super) fn signature(key: &AssertionKey, pkcs1: bool, message: &[u8]) -> Result<Vec<u8>, Fault> {
    let failed = |_| Fault::new(Reason::Internal);
    // The library's own generator, which salts and nonces of signatures come from.
    let random = SystemRandom::new();
    match &key.pair {
        AssertionKeyPair::P256(pair) => Ok(pair.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
        AssertionKeyPair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        AssertionKeyPair::Rsa(pair) => {
            let mut signature = vec![0; pair.public_modulus_len()];
            let padding: &dyn RsaEncoding = if pkcs1 { &RSA_PKCS1_SHA256 } else { &RSA_PSS_SHA256 };
            pair.sign(padding, &random, message, &mut signature).map_err(failed)?;
            Ok(signature)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::Algorithms,
        oauth::jose::{jwks::KeySet, jws::verify},
        platform::entropy::SystemEntropy,
    };
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

    // rows: PKJ-03
    #[test]
    #[expect(clippy::disallowed_methods, reason = "what is signed here is read here")]
    fn an_assertion_is_no_other_kind_of_token() {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let jwk = json!({ "kty": "EC", "crv": "P-256", "x": part(x), "y": part(y) });
        let keys = KeySet::parse(json!({ "keys": [jwk] }).to_string().as_bytes()).ok().unwrap();
        let key = AssertionKey { pair: AssertionKeyPair::P256(pair), kid: None, certificate: None };
        let speaks = Speaks { client_id: "narrowgate", audience: "https://as.example" };
        let signed = |settings: &ClientAssertions| {
            sign(&key, settings, &speaks, &SystemEntropy::new(), Wall(1_000_000)).ok().unwrap()
        };
        let strict = signed(&ClientAssertions::default());
        for kind in Kind::ALL {
            let verified = verify(strict.reveal(), &keys, &Algorithms::default(), kind);
            assert_eq!(verified.is_ok(), kind == Kind::ClientAuthentication, "{kind:?}");
        }
        // With the opt-out only its claims tell it from an ID token: its iss is a client.
        let plain = signed(&ClientAssertions { typ_jwt: true, ..ClientAssertions::default() });
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::IdToken) {
            assert!(verify(plain.reveal(), &keys, &Algorithms::default(), kind).is_err(), "{kind:?}");
        }
        let claims: Value = strict
            .reveal()
            .split('.')
            .nth(1)
            .map(|c| URL_SAFE_NO_PAD.decode(c).unwrap())
            .map(|c| serde_json::from_slice(&c).unwrap())
            .unwrap();
        assert_eq!((&claims["iss"], &claims["sub"]), (&json!("narrowgate"), &json!("narrowgate")));
        assert_eq!(
            (&claims["aud"], &claims["iat"], &claims["exp"]),
            (&json!("https://as.example"), &json!(1000), &json!(1060))
        );
        assert_eq!(claims["jti"].as_str().unwrap().len(), 32);
    }

    struct Dry;

    impl Entropy for Dry {
        fn fill(&self, _: &mut [u8]) -> Result<(), Fault> {
            Err(Reason::Internal.into())
        }
    }

    // rows: PKJ-02
    #[test]
    fn without_entropy_nothing_is_signed() {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let key = AssertionKey { pair: AssertionKeyPair::P256(pair), kid: None, certificate: None };
        let speaks = Speaks { client_id: "narrowgate", audience: "https://as.example" };
        assert!(sign(&key, &ClientAssertions::default(), &speaks, &Dry, Wall(0)).is_err());
    }
}
