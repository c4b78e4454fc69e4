//! `published_jwks`: the key set that an issuer knows a self-signed client by (RFC 8705 §2.2).
//!
//! The issuer accepts exactly the certificates in that set, so one that is not in it yet would fail every exchange, and
//! spend every code. During a rotation both certificates are in the set, the old one until no daemon uses it. The set
//! is read as a file, the one that is served at `jwks_uri` or registered as `jwks`: what is published is decided by
//! whoever deploys, and a daemon that fetches its own key set would only learn what it was told.

use super::{pem::CertificateAndKey, reader::Table};
use crate::platform::files;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use std::path::Path;

/// The longest key set, in bytes.
const JWKS_BYTES_MAX: u64 = 256 * 1024;

/// Whether the certificate is in the published set; a mistake of the table if not.
pub(super) fn check(table: &Table<'_>, jwks: Option<&Path>, identity: &CertificateAndKey) -> Option<()> {
    let Some(jwks) = jwks else {
        table.wrong(
            "self_signed_tls_client_auth needs `published_jwks`, the key set registered at the issuer (RFC 8705 §2.2)",
            Some("write for example: published_jwks = \"tls/client.jwks.json\""),
        );
        return None;
    };
    let certificates = certificates(jwks).map_err(|wrong| table.wrong_at("published_jwks", wrong, None)).ok()?;
    let leaf = identity.chain.first()?;
    if certificates.iter().any(|published| **published == **leaf) {
        return Some(());
    }
    let hint = format!(
        "add a key whose x5c is the certificate with x5t#S256 {} beside the one in use, publish the set, and switch \
         once the issuer has it",
        identity.thumbprint
    );
    table.wrong_at(
        "published_jwks",
        "does not hold the client's certificate, so the issuer would refuse it (CERT_NOT_PUBLISHED)",
        Some(&hint),
    );
    None
}

/// The first certificate of each key (RFC 7517 §4.7), in DER.
fn certificates(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    files::require_guarded(path).map_err(|wrong| format!("{} {wrong}", path.display()))?;
    let text = files::read_text(path, JWKS_BYTES_MAX).map_err(|e| format!("{} cannot be read: {e}", path.display()))?;
    let wrong = || format!("{} is not a JSON Web Key Set (RFC 7517 §5)", path.display());
    let set: Value = serde_json::from_str(&text).map_err(|_| wrong())?;
    let keys = set.get("keys").and_then(Value::as_array).ok_or_else(wrong)?;
    let first = |key: &Value| {
        let certificate = key.get("x5c")?.get(0)?.as_str()?;
        STANDARD.decode(certificate).ok()
    };
    Ok(keys.iter().filter_map(first).collect())
}
