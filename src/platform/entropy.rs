//! Random bits.

use crate::model::{Fault, Reason};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// A source of unpredictable bits.
pub trait Entropy: Send + Sync + 'static {
    /// Fills the buffer.
    ///
    /// # Errors
    /// [`Reason::Internal`] if the system has no entropy: nothing may be minted then.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), Fault>;
}

/// The cryptographic library's generator.
pub struct SystemEntropy(SystemRandom);

impl SystemEntropy {
    /// Opens the generator.
    #[must_use]
    pub fn new() -> Self {
        Self(SystemRandom::new())
    }
}

impl Default for SystemEntropy {
    fn default() -> Self {
        Self::new()
    }
}

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), Fault> {
        self.0.fill(buffer).map_err(|_| Fault::new(Reason::Internal))
    }
}

/// `BYTES` random bytes as unpadded base64url: 32 give 43 characters of the unreserved set (RFC 7636 §4.1).
///
/// # Errors
/// As [`Entropy::fill`].
pub fn random_base64url<const BYTES: usize>(entropy: &dyn Entropy) -> Result<String, Fault> {
    let mut bytes = zeroize::Zeroizing::new([0u8; BYTES]);
    entropy.fill(bytes.as_mut_slice())?;
    Ok(URL_SAFE_NO_PAD.encode(bytes.as_slice()))
}

/// A UUIDv7 (RFC 9562 §5.7): sorts by time, and 74 bits cannot be guessed. An id, never a secret.
///
/// # Errors
/// As [`Entropy::fill`].
pub fn uuid_v7(entropy: &dyn Entropy, wall_millis: i64) -> Result<uuid::Uuid, Fault> {
    let mut bits = [0u8; 10];
    entropy.fill(&mut bits)?;
    let millis = u64::try_from(wall_millis).unwrap_or(0);
    Ok(uuid::Builder::from_unix_timestamp_millis(millis, &bits).into_uuid())
}
