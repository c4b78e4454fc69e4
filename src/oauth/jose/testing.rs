//! Keys that sign, for the tests of this module.

use super::{Algorithm, Algorithms, jwks::KeySet};
use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
        RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::sync::LazyLock;

static RSA_PAIR: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());

enum Pair {
    Rsa(&'static RsaKeyPair),
    Curve(EcdsaKeyPair),
    Edwards(Ed25519KeyPair),
}

/// A private key and the algorithm it signs with.
pub(super) struct Signer {
    pub(super) algorithm: Algorithm,
    pair: Pair,
}

pub(super) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    /// A fresh key; all RSA signers share one.
    pub(super) fn new(algorithm: Algorithm) -> Self {
        let pair = match algorithm {
            Algorithm::Rs256 | Algorithm::Ps256 => Pair::Rsa(&RSA_PAIR),
            Algorithm::Es256 => Pair::Curve(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
            Algorithm::Es384 => Pair::Curve(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap()),
            Algorithm::EdDsa => Pair::Edwards(Ed25519KeyPair::generate().unwrap()),
        };
        Self { algorithm, pair }
    }

    /// The public key, without `alg`.
    pub(super) fn bare_jwk(&self, kid: &str) -> Value {
        match &self.pair {
            Pair::Rsa(pair) => {
                // RFC 8017 A.1.1: SEQUENCE { INTEGER n (257 octets, the first zero), INTEGER e (3 octets) }.
                let der = pair.public_key().as_ref();
                json!({"kty": "RSA", "kid": kid, "n": b64(&der[9..265]), "e": b64(&der[267..270])})
            }
            Pair::Curve(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
                let crv = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({"kty": "EC", "crv": crv, "kid": kid, "x": b64(x), "y": b64(y)})
            }
            Pair::Edwards(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64(pair.public_key().as_ref())})
            }
        }
    }

    /// The public key, with `alg` and `use`.
    pub(super) fn jwk(&self, kid: &str) -> Value {
        with(self.bare_jwk(kid), json!({"alg": self.algorithm.name(), "use": "sig"}))
    }

    pub(super) fn signature(&self, message: &[u8]) -> Vec<u8> {
        let rng = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut out = vec![0; pair.public_modulus_len()];
                let padding: &'static dyn aws_lc_rs::signature::RsaEncoding =
                    if self.algorithm == Algorithm::Ps256 { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                pair.sign(padding, &rng, message, &mut out).unwrap();
                out
            }
            Pair::Curve(pair) => pair.sign(&rng, message).unwrap().as_ref().to_vec(),
            Pair::Edwards(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A compact JWS of exactly this header and payload.
    pub(super) fn sign_raw(&self, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", b64(header), b64(payload));
        format!("{signed}.{}", b64(self.signature(signed.as_bytes())))
    }

    /// A compact JWS with a usual header; more members may be added or replaced.
    pub(super) fn sign(&self, kid: &str, header: Value, payload: &Value) -> String {
        let header = with(json!({"alg": self.algorithm.name(), "kid": kid}), header);
        self.sign_raw(&header.to_string(), &payload.to_string())
    }
}

/// The first object with the members of the second; null removes.
pub(super) fn with(mut object: Value, more: Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(name);
        } else {
            object[name] = value.clone();
        }
    }
    object
}

/// A key set document.
pub(super) fn document(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into_bytes()
}

/// A key set.
pub(super) fn key_set(keys: &[Value]) -> KeySet {
    KeySet::parse(&document(keys)).ok().unwrap()
}

/// All five, or these.
pub(super) fn algorithms(some: &[Algorithm]) -> Algorithms {
    Algorithms::new(some.iter().copied()).unwrap()
}
