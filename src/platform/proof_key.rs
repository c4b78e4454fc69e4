//! Keys that prove possession: P-256 pairs that sign, and never leave the process.

use super::digest::sha256;
use crate::model::{Fault, Reason};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use zeroize::Zeroizing;

/// A private key for ES256 (RFC 7518 §3.4). Like a [`crate::model::Secret`] it has no Debug, Clone or Serialize; the
/// cryptographic library wipes it when it is dropped.
///
/// Whoever keeps grants over a restart must keep this too, or a bound refresh token is of no use: that store, which is
/// encrypted, and nothing else has the way out ([`ProofKey::to_pkcs8`]).
pub struct ProofKey {
    pair: EcdsaKeyPair,
    jwk: String,
    thumbprint: String,
}

impl ProofKey {
    /// A fresh key, from the cryptographic library's own generator.
    ///
    /// # Errors
    /// [`Reason::Internal`] without entropy.
    pub fn generate() -> Result<Self, Fault> {
        let internal = || Fault::new(Reason::Internal);
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| internal())?;
        Self::of(pair).ok_or_else(internal)
    }

    /// A key that was kept; `None` if these bytes are none.
    #[must_use]
    pub fn from_pkcs8(bytes: &[u8]) -> Option<Self> {
        Self::of(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes).ok()?)
    }

    /// The private key, for the encrypted store (RFC 5958). `None` if the library cannot.
    #[must_use]
    pub fn to_pkcs8(&self) -> Option<Zeroizing<Vec<u8>>> {
        // The library wipes its own copy.
        self.pair.to_pkcs8v1().ok().map(|document| Zeroizing::new(document.as_ref().to_vec()))
    }

    fn of(pair: EcdsaKeyPair) -> Option<Self> {
        // An uncompressed point (SEC 1 §2.3.3): 4, then both coordinates of 32 octets.
        let (_, point) = pair.public_key().as_ref().split_first()?;
        let (x, y) = point.split_at_checked(32)?;
        let [x, y] = [x, y].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
        // The members that RFC 7638 §3.2 digests, in its order: the thumbprint is of this very text.
        let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let thumbprint = URL_SAFE_NO_PAD.encode(sha256(jwk.as_bytes()));
        Some(Self { pair, jwk, thumbprint })
    }

    /// The public key as a JWK (RFC 7517 §4), in JSON. There is no private member in it, nor could there be.
    #[must_use]
    pub fn jwk(&self) -> &str {
        &self.jwk
    }

    /// The public key's SHA-256 thumbprint (RFC 7638), in base64url: `jkt`.
    #[must_use]
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// Signs (ES256): 64 octets, R and S.
    ///
    /// # Errors
    /// [`Reason::Internal`] without entropy.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Fault> {
        let signed = self.pair.sign(&SystemRandom::new(), message);
        signed.map(|signature| signature.as_ref().to_vec()).map_err(|_| Fault::new(Reason::Internal))
    }
}

/// A fresh private key of P-256 for a file: PKCS#8 in PEM (RFC 7468 §10).
///
/// # Errors
/// [`Reason::Internal`] without entropy.
pub fn private_key_pem() -> Result<Zeroizing<String>, Fault> {
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
        .map_err(|_| Fault::new(Reason::Internal))?;
    let encoded = Zeroizing::new(STANDARD.encode(document.as_ref()));
    // With room for all of it: a text that grows leaves copies behind.
    let mut pem = Zeroizing::new(String::with_capacity(encoded.len() + 128));
    pem.push_str("-----BEGIN PRIVATE KEY-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at_checked(64).unwrap_or((rest, ""));
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    Ok(pem)
}
