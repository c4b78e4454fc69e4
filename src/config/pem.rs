//! Certificates and keys from PEM files.

use crate::platform::{
    digest::sha256,
    files::{read_text, require_private},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{fmt, path::Path, sync::Arc};

const PEM_BYTES_MAX: u64 = 1 << 20;

/// A certificate chain and its private key.
#[derive(Clone)]
pub struct CertificateAndKey {
    /// The chain, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key.
    pub key: Arc<PrivateKeyDer<'static>>,
    /// `x5t#S256` of the leaf: unpadded base64url of the SHA-256 of its DER (RFC 8705 §3.1).
    pub thumbprint: String,
}

impl fmt::Debug for CertificateAndKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateAndKey({})", self.thumbprint)
    }
}

impl CertificateAndKey {
    /// Reads both files. The key file must be private.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, String> {
        let chain = certificates(certificate)?;
        let leaf = chain.first().ok_or_else(|| format!("{} holds no certificate", certificate.display()))?;
        let thumbprint = thumbprint(leaf);
        require_private(key).map_err(|wrong| format!("{} {wrong}", key.display()))?;
        let text =
            zeroize::Zeroizing::new(read_text(key, PEM_BYTES_MAX).map_err(|e| format!("{}: {e}", key.display()))?);
        let key_der = PrivateKeyDer::from_pem_slice(text.as_bytes())
            .map_err(|_| format!("{} holds no private key in PEM", key.display()))?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let signing = provider.key_provider.load_private_key(key_der.clone_key());
        let signing = signing.map_err(|e| format!("{} holds a key that cannot be used: {e}", key.display()))?;
        let pair = rustls::sign::CertifiedKey::new(chain.clone(), signing);
        pair.keys_match().map_err(|_| format!("{} does not belong to {}", key.display(), certificate.display()))?;
        Ok(Self { chain, key: Arc::new(key_der), thumbprint })
    }
}

/// The `x5t#S256` thumbprint of a certificate (RFC 8705 §3.1).
#[must_use]
pub fn thumbprint(certificate: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(sha256(certificate))
}

/// Every certificate in a PEM file, of which there must be one.
///
/// # Errors
/// What is wrong with the file.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read_text(path, PEM_BYTES_MAX).map_err(|e| format!("{} cannot be read: {e}", path.display()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match found {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(format!("{} holds no certificate in PEM", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // rows: MTLS-08
    #[test]
    fn a_thumbprint_is_unpadded_base64url_of_sha_256() {
        // SHA-256 of nothing and of "abc" (FIPS 180-4 examples).
        assert_eq!(thumbprint(b""), "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU");
        assert_eq!(thumbprint(b"abc"), "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0");
    }
}
