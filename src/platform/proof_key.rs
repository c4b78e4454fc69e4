//! Keys that prove possession: P-256 pairs that sign, and never leave the process.

use super::digest::sha256;
use crate::model::{Fault, Reason};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// A private key for ES256 (RFC 7518 §3.4). Like a [`crate::model::Secret`] it has no Debug, Clone or Serialize; the
/// cryptographic library wipes it when it is dropped.
///
/// It lives in memory alone. Whoever keeps grants over a restart must keep this too, or a bound refresh token is of no
/// use: the way out is the library's `to_pkcs8v1` on the pair in here and `from_pkcs8` back, into memory that is wiped
/// and a store that is encrypted. That is left to that store, so that nothing has the way out before it is needed.
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
        // An uncompressed point (SEC 1 §2.3.3): 4, then both coordinates of 32 octets.
        let (_, point) = pair.public_key().as_ref().split_first().ok_or_else(internal)?;
        let (x, y) = point.split_at_checked(32).ok_or_else(internal)?;
        let [x, y] = [x, y].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
        // The members that RFC 7638 §3.2 digests, in its order: the thumbprint is of this very text.
        let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let thumbprint = URL_SAFE_NO_PAD.encode(sha256(jwk.as_bytes()));
        Ok(Self { pair, jwk, thumbprint })
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
