//! Ed25519 (RFC 8032), with keys from PEM files as `openssl genpkey -algorithm ed25519` makes them.

use super::{
    digest::{hex, sha256},
    files::{read_bytes, require_private},
};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, pem::PemObject};
use std::path::Path;

/// Bytes of a key file. One in PEM has 120 or so, and people write comments above.
pub const KEY_FILE_BYTES_MAX: u64 = 16 << 10;
/// What stands before the 32 bytes of a key in its SubjectPublicKeyInfo (RFC 8410 §4).
const PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A public key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyingKey {
    key: [u8; 32],
    id: String,
}

impl VerifyingKey {
    fn of(key: [u8; 32]) -> Self {
        let id = hex(&sha256(&[PREFIX.as_slice(), &key].concat())).chars().take(32).collect();
        Self { key, id }
    }

    /// The one public key in a PEM text.
    ///
    /// # Errors
    /// What is wrong, for a person.
    pub fn parse(pem: &str) -> Result<Self, String> {
        let found: Result<Vec<_>, _> = SubjectPublicKeyInfoDer::pem_slice_iter(pem.as_bytes()).collect();
        let der = match found.as_deref() {
            Ok([one]) => one,
            Ok([]) | Err(_) => {
                return Err("holds no public key in PEM: openssl pkey -in signing.key -pubout makes one".to_owned());
            }
            Ok(_) => return Err("holds more than one public key: put each into a file of its own".to_owned()),
        };
        let key = der.as_ref().strip_prefix(PREFIX.as_slice()).and_then(|key| <[u8; 32]>::try_from(key).ok());
        key.map(Self::of).ok_or_else(|| "holds a public key that is not Ed25519's (RFC 8410)".to_owned())
    }

    /// What it is called by: the first half of the SHA-256 of its SubjectPublicKeyInfo, in hex.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether a signature of these bytes is by this key.
    #[must_use]
    pub fn has_signed(&self, bytes: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.key).verify(bytes, signature).is_ok()
    }
}

/// A private key.
pub struct PrivateKey(Ed25519KeyPair);

impl PrivateKey {
    /// Reads a file of PKCS#8 in PEM, which nobody else may read.
    ///
    /// # Errors
    /// What is wrong, for a person.
    pub fn load(path: &Path) -> Result<Self, String> {
        require_private(path)?;
        let text = read_bytes(path, KEY_FILE_BYTES_MAX).map_err(|e| format!("cannot be read: {e}"))?;
        let der = PrivatePkcs8KeyDer::from_pem_slice(&text)
            .map_err(|_| "holds no private key in PEM (PKCS#8): openssl genpkey -algorithm ed25519 makes one")?;
        let pair = Ed25519KeyPair::from_pkcs8(der.secret_pkcs8_der());
        pair.map(Self).map_err(|_| "holds a private key that is not Ed25519's (RFC 8410)".to_owned())
    }

    /// Its public key.
    ///
    /// # Errors
    /// Never: a key of Ed25519 has 32 bytes.
    pub fn public(&self) -> Result<VerifyingKey, String> {
        let key = <[u8; 32]>::try_from(self.0.public_key().as_ref());
        key.map(VerifyingKey::of).map_err(|_| "has a public key of another length".to_owned())
    }

    /// Signs.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.0.sign(bytes).as_ref().to_vec()
    }
}
