//! Keyed references: how a secret is recognised again without being kept or guessed.

use crate::model::Secret;
use aws_lc_rs::{digest, hmac};
use std::fmt::Write;

/// HMAC-SHA-256 under a key of this installation.
pub struct KeyedHash(hmac::Key);

impl KeyedHash {
    /// Uses this key.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The keyed hash of a value of some kind. Kind and value cannot run into each other.
    #[must_use]
    pub fn of(&self, kind: &str, value: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in [b"narrowgate-ref-v1".as_slice(), b"\0", kind.as_bytes(), b"\0", value] {
            context.update(part);
        }
        let mut out = [0u8; 32];
        for (to, from) in out.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        out
    }

    /// The keyed hash of a secret.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "hashing is how a secret is named without showing it")]
    pub fn of_secret<Kind>(&self, kind: &str, secret: &Secret<Kind>) -> [u8; 32] {
        self.of(kind, secret.reveal().as_bytes())
    }

    /// The form in the audit log: `hk1:` and 128 bits in hex.
    #[must_use]
    pub fn reference(&self, kind: &str, value: &[u8]) -> String {
        reference_text(&self.of(kind, value))
    }

    /// The form in the audit log, of a secret.
    #[must_use]
    pub fn secret_reference<Kind>(&self, kind: &str, secret: &Secret<Kind>) -> String {
        reference_text(&self.of_secret(kind, secret))
    }
}

fn reference_text(hash: &[u8; 32]) -> String {
    hash.iter().take(16).fold(String::from("hk1:"), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0u8; 32];
    for (to, from) in out.iter_mut().zip(digest::digest(&digest::SHA256, bytes).as_ref()) {
        *to = *from;
    }
    out
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
