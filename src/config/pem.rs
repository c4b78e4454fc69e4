//! Certificates and keys from PEM files.

use super::reader::Table;
use crate::platform::{
    digest::sha256,
    files::{read_text, require_private},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{fmt, path::Path, sync::Arc};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

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
    /// What is wrong with each of them.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, Vec<Mistake>> {
        let (chain, private) = match (certificates(certificate), private_key(key)) {
            (Ok(chain), Ok(private)) => (chain, private),
            (chain, private) => {
                let mistakes = [chain.err().map(Mistake::Certificate), private.err().map(Mistake::Key)];
                return Err(mistakes.into_iter().flatten().collect());
            }
        };
        let (key_der, signing) = private;
        let pair = rustls::sign::CertifiedKey::new(chain.clone(), signing);
        let foreign = || Mistake::Key(format!("{} does not belong to {}", key.display(), certificate.display()));
        pair.keys_match().map_err(|_| vec![foreign()])?;
        let none = || Mistake::Certificate(format!("{} holds no certificate", certificate.display()));
        let thumbprint = thumbprint(chain.first().ok_or_else(|| vec![none()])?);
        Ok(Self { chain, key: Arc::new(key_der), thumbprint })
    }
}

/// What is wrong with one of the two files.
#[derive(Debug, PartialEq, Eq)]
pub enum Mistake {
    /// The certificate's.
    Certificate(String),
    /// The key's.
    Key(String),
}

/// Reads the files that `certificate` and `key` of a table name; each mistake is told at its own key.
pub(super) fn identity(table: &Table<'_>) -> Option<CertificateAndKey> {
    let (certificate, key) = match (table.path("certificate"), table.path("key")) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) => return None,
        _ => {
            for name in ["certificate", "key"] {
                table.required_path(name);
            }
            return None;
        }
    };
    let told = |mistakes: Vec<Mistake>| {
        for mistake in mistakes {
            match mistake {
                Mistake::Certificate(wrong) => table.wrong_at("certificate", wrong, None),
                Mistake::Key(wrong) => table.wrong_at("key", wrong, None),
            }
        }
    };
    CertificateAndKey::load(&certificate, &key).map_err(told).ok()
}

type SigningKey = Arc<dyn rustls::sign::SigningKey>;

fn private_key(path: &Path) -> Result<(PrivateKeyDer<'static>, SigningKey), String> {
    require_private(path).map_err(|wrong| format!("{} {wrong}", path.display()))?;
    let text = read_text(path, PEM_BYTES_MAX).map_err(|e| format!("{}: {e}", path.display()))?;
    let text = zeroize::Zeroizing::new(text);
    let der = PrivateKeyDer::from_pem_slice(text.as_bytes())
        .map_err(|_| format!("{} holds no private key in PEM", path.display()))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let signing = provider.key_provider.load_private_key(der.clone_key());
    let signing = signing.map_err(|e| format!("{} holds a key that cannot be used: {e}", path.display()))?;
    Ok((der, signing))
}

/// The certificates of a file that are trusted to have issued others'. One that could not have issued any is a mistake,
/// unless it vouches for itself: a self-signed certificate may be pinned as it is.
///
/// # Errors
/// What is wrong with the file.
pub(super) fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = certificates(path)?;
    match found.iter().find_map(|der| no_authority(der)) {
        None => Ok(found),
        Some(why) => Err(format!("{} {why}", path.display())),
    }
}

fn no_authority(der: &[u8]) -> Option<String> {
    let Ok((_, parsed)) = X509Certificate::from_der(der) else {
        return Some("holds a certificate that cannot be read (RFC 5280)".to_owned());
    };
    let is_authority = parsed.basic_constraints().ok().flatten().is_some_and(|constraints| constraints.value.ca);
    if is_authority || parsed.subject().as_raw() == parsed.issuer().as_raw() {
        return None;
    }
    let (subject, issuer) = (parsed.subject().to_string(), parsed.issuer().to_string());
    Some(format!(
        "holds the certificate of {subject:?}, which is no authority's, so nothing it issued could be trusted; name the \
         file with that of its issuer, {issuer:?}"
    ))
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
