//! The detached signature of a bundle: who signed which archive, as which serial.

use super::BUNDLE_BYTES_MAX;
use crate::platform::{
    digest::{hex, sha256},
    ed25519::{PrivateKey, VerifyingKey},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

/// Bytes of a signature file.
pub const SIGNATURE_BYTES_MAX: u64 = 4 << 10;
/// What is signed begins with it, so that no signature over anything else can be taken for one of a bundle.
const DOMAIN: &[u8] = b"narrowgate policy bundle signature v1\0";
const FORMAT: u64 = 1;
const ALGORITHM: &str = "Ed25519";

/// A detached signature.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signature {
    /// The id of the key that made it, by its own account.
    pub key_id: String,
    /// The serial of the bundle.
    pub serial: u64,
    /// SHA-256 of the archive, in hex.
    pub archive_sha256: String,
    signature: Vec<u8>,
}

/// As it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: u64,
    algorithm: String,
    key_id: String,
    serial: u64,
    archive_sha256: String,
    signature: String,
}

impl Signature {
    /// Signs an archive as this serial.
    ///
    /// # Errors
    /// What is wrong with the key.
    pub fn make(archive: &[u8], serial: u64, key: &PrivateKey) -> Result<Self, String> {
        let key_id = key.public()?.id().to_owned();
        let archive_sha256 = hex(&sha256(archive));
        let signature = key.sign(&message(serial, &archive_sha256));
        Ok(Self { key_id, serial, archive_sha256, signature })
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong, for a person.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let written: Written =
            serde_json::from_slice(text).map_err(|e| format!("is no signature of a bundle, or is cut short: {e}"))?;
        if (written.format, written.algorithm.as_str()) != (FORMAT, ALGORITHM) {
            let Written { format, algorithm, .. } = written;
            return Err(format!(
                "is of format {format} and algorithm {algorithm:?}; this narrowgate reads {FORMAT} and {ALGORITHM:?}"
            ));
        }
        let Written { key_id, serial, archive_sha256, signature, .. } = written;
        let is_hex = |text: &str, length| {
            text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        if !is_hex(&key_id, 32) || !is_hex(&archive_sha256, 64) {
            return Err("has a `key_id` or `archive_sha256` that is not lower-case hex".to_owned());
        }
        let signature = STANDARD.decode(signature).ok().filter(|bytes| bytes.len() == 64);
        let signature = signature.ok_or("has a `signature` that is not 64 bytes in base64")?;
        Ok(Self { key_id, serial, archive_sha256, signature })
    }

    fn written(&self) -> Written {
        Written {
            format: FORMAT,
            algorithm: ALGORITHM.to_owned(),
            key_id: self.key_id.clone(),
            serial: self.serial,
            archive_sha256: self.archive_sha256.clone(),
            signature: STANDARD.encode(&self.signature),
        }
    }

    /// For a file of its own.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::to_string_pretty(&self.written()).unwrap_or_default() + "\n"
    }

    /// The same in one line, without its end.
    #[must_use]
    pub fn to_line(&self) -> String {
        serde_json::to_string(&self.written()).unwrap_or_default()
    }

    /// Whether one of these keys made it; which is the question before any byte of the archive is looked at.
    ///
    /// # Errors
    /// That none did, for a person.
    pub fn require_of(&self, keys: &[VerifyingKey]) -> Result<(), String> {
        let message = message(self.serial, &self.archive_sha256);
        if keys.iter().any(|key| key.has_signed(&message, &self.signature)) {
            return Ok(());
        }
        if keys.iter().any(|key| key.id() == self.key_id) {
            return Err(format!(
                "has a wrong signature: it says it is by key {}, and that key did not make it",
                self.key_id
            ));
        }
        let pinned: Vec<&str> = keys.iter().map(VerifyingKey::id).collect();
        Err(format!(
            "is signed by key {}, which is not trusted: the public keys given are {}",
            self.key_id,
            pinned.join(", ")
        ))
    }

    /// Whether it is of this archive.
    ///
    /// # Errors
    /// That it is not, for a person.
    pub fn require_for(&self, archive: &[u8]) -> Result<(), String> {
        if archive.len() as u64 > BUNDLE_BYTES_MAX {
            return Err(format!("is {} bytes long, and a bundle may have {BUNDLE_BYTES_MAX}", archive.len()));
        }
        let found = hex(&sha256(archive));
        if found == self.archive_sha256 {
            return Ok(());
        }
        Err(format!(
            "is not the archive that was signed, or is cut short: its SHA-256 is {found}, and the signature is of {}",
            self.archive_sha256
        ))
    }
}

/// What is signed: of one length, so that no two parts run into each other.
fn message(serial: u64, archive_sha256: &str) -> Vec<u8> {
    [DOMAIN, &serial.to_be_bytes(), archive_sha256.as_bytes()].concat()
}
