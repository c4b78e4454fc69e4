//! Authorization requests that a front end began itself and registered here: their PKCE challenge, the hash of their
//! state, their nonce. `nonce` alone never replaces PKCE (RFC 9700 §2.1.1).

use super::{
    Presented,
    callback::Answer,
    entry::{Expected, Pkce},
    store::s256,
};
use crate::{
    model::{CodeVerifier, Fault, Nonce, Reason, StateValue, fault::Detection},
    platform::digest::sha256,
};
use subtle::ConstantTimeEq;

/// The length of an S256 challenge, and of any unpadded base64url of 32 bytes.
const S256_LENGTH: usize = 43;
/// The lengths of a code verifier (RFC 7636 §4.1).
const VERIFIER_LENGTHS: std::ops::RangeInclusive<usize> = 43..=128;
/// The longest nonce, in bytes.
const NONCE_BYTES_MAX: usize = 512;

/// What identifies the answer to a request that was begun elsewhere.
pub struct Registration {
    pub(super) challenge: String,
    pub(super) state_hash: [u8; 32],
    pub(super) nonce: Option<Nonce>,
}

impl Registration {
    /// Reads what a front end says of its request.
    ///
    /// # Errors
    /// [`Reason::PkceRequired`] without an S256 challenge, [`Reason::FieldInvalid`] naming the field.
    pub fn read(challenge: String, method: &str, state_hash: &[u8], nonce: String) -> Result<Self, Fault> {
        if challenge.is_empty() || method != "S256" {
            return Err(Reason::PkceRequired.into());
        }
        if challenge.len() != S256_LENGTH || !challenge.bytes().all(is_base64url) {
            return Err(Fault::field(
                Reason::FieldInvalid,
                "code_challenge",
                "must be BASE64URL(SHA256(code_verifier))",
            ));
        }
        let state_hash = state_hash
            .try_into()
            .map_err(|_| Fault::field(Reason::FieldInvalid, "state_hash", "must be the 32 bytes of SHA256(state)"))?;
        if nonce.len() > NONCE_BYTES_MAX {
            return Err(Fault::field(Reason::FieldInvalid, "nonce", "must have at most 512 bytes"));
        }
        let nonce = (!nonce.is_empty()).then(|| Nonce::new(nonce));
        Ok(Self { challenge, state_hash, nonce })
    }

    /// Whether it has a nonce.
    #[must_use]
    pub const fn has_nonce(&self) -> bool {
        self.nonce.is_some()
    }
}

impl CodeVerifier {
    /// Reads a verifier; anything that cannot be one is wiped.
    #[must_use]
    pub fn parse(value: String) -> Option<Self> {
        let fits =
            VERIFIER_LENGTHS.contains(&value.len()) && value.bytes().all(|b| is_base64url(b) || b == b'.' || b == b'~');
        let verifier = Self::new(value);
        fits.then_some(verifier)
    }
}

const fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

impl Expected {
    /// Whether this state is the expected one, in constant time.
    #[expect(clippy::disallowed_methods, reason = "the state of a registered request is known by its hash alone")]
    pub(super) fn is(&self, state: &StateValue) -> bool {
        match self {
            Self::State(expected) => state.matches(expected),
            Self::Hash(expected) => sha256(state.reveal().as_bytes()).ct_eq(expected).into(),
        }
    }
}

impl Pkce {
    /// Whether the code may be tried with what was presented beside it.
    ///
    /// # Errors
    /// [`Reason::PkceMismatch`]; [`Reason::FieldRequired`] or [`Reason::FieldInvalid`] where a verifier is missing, or
    /// presented for a request that narrowgate began.
    #[expect(clippy::disallowed_methods, reason = "a verifier is hashed to be compared with its challenge")]
    pub(super) fn admits(&self, presented: &Presented<'_>) -> Result<(), Fault> {
        if matches!(presented.callback.answer, Answer::Error(_)) {
            // There is no code to try.
            return Ok(());
        }
        match (self, &presented.code_verifier) {
            (Self::Ours(_), None) => Ok(()),
            (Self::Ours(_), Some(_)) => {
                Err(Fault::field(Reason::FieldInvalid, "code_verifier", "is narrowgate's own here: leave it empty"))
            }
            (Self::Registered(_), None) => Err(Fault::field(
                Reason::FieldRequired,
                "code_verifier",
                "is the front end's, which registered its S256",
            )),
            (Self::Registered(challenge), Some(verifier)) => {
                let same = s256(verifier.reveal()).as_bytes().ct_eq(challenge.as_bytes());
                if same.into() {
                    Ok(())
                } else {
                    Err(Fault::new(Reason::PkceMismatch).detected(Detection::PkceMismatch))
                }
            }
        }
    }
}
