//! Keys that narrowgate signs JWTs with.

use crate::{
    model::Algorithm,
    platform::files::{read_text, require_private},
};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use std::{fmt, path::Path, sync::Arc};
use zeroize::Zeroizing;

const PEM_BYTES_MAX: u64 = 64 * 1024;

/// A private key, and what it is called.
#[derive(Clone)]
pub struct SigningKey {
    pair: Arc<Pair>,
    /// Its `kid` (RFC 7515 §4.1.4), where it has one.
    pub kid: Option<String>,
}

enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?})", self.kid)
    }
}

impl SigningKey {
    /// Reads a P-256 or Ed25519 key in PKCS#8. The file must be private.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn load(path: &Path, kid: Option<String>) -> Result<Self, String> {
        require_private(path).map_err(|wrong| format!("{} {wrong}", path.display()))?;
        let text = read_text(path, PEM_BYTES_MAX).map_err(|e| format!("{}: {e}", path.display()))?;
        let text = Zeroizing::new(text);
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes())
            .map_err(|_| format!("{} holds no private key in PEM", path.display()))?;
        let der = key.secret_der();
        let p256 = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map(Pair::P256);
        let pair = p256.or_else(|_| Ed25519KeyPair::from_pkcs8(der).map(Pair::Ed25519));
        let pair = pair.map_err(|_| format!("{} holds neither a P-256 nor an Ed25519 key", path.display()))?;
        Ok(Self { pair: Arc::new(pair), kid })
    }

    /// The public key as a JWK (RFC 7517 §4), with the members that RFC 7638 §3.2 digests, in its order.
    #[must_use]
    pub fn jwk(&self) -> String {
        let encode = |octets: &[u8]| URL_SAFE_NO_PAD.encode(octets);
        match &*self.pair {
            Pair::Ed25519(pair) => {
                format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encode(pair.public_key().as_ref()))
            }
            Pair::P256(pair) => {
                // An uncompressed point (SEC 1 §2.3.3): 4, then both coordinates of 32 octets.
                let point = pair.public_key().as_ref();
                let [x, y] = [point.get(1..33), point.get(33..)].map(|half| encode(half.unwrap_or_default()));
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
        }
    }

    /// What it signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match *self.pair {
            Pair::P256(_) => Algorithm::Es256,
            Pair::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// Signs (RFC 7515 §5.1). `None` if the library cannot.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match &*self.pair {
            // aws-lc draws what it needs from its own generator.
            Pair::P256(pair) => pair.sign(&SystemRandom::new(), message).ok().map(|s| s.as_ref().to_vec()),
            Pair::Ed25519(pair) => Some(pair.sign(message).as_ref().to_vec()),
        }
    }
}
