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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    // rows: PKCE-02 CODE-02
    #[test]
    fn ten_thousand_verifiers_are_all_different_and_43_unreserved_characters() {
        let entropy = SystemEntropy::new();
        let mut seen = HashSet::new();
        for _ in 0..10_000 {
            let text = random_base64url::<32>(&entropy).unwrap();
            assert_eq!(text.len(), 43);
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{text}");
            assert!(seen.insert(text));
        }
        // Every position varies: no bits are fixed or left out. The last character holds four bits.
        for position in 0..43 {
            let there: HashSet<u8> = seen.iter().map(|text| text.as_bytes()[position]).collect();
            assert_eq!(there.len(), if position == 42 { 16 } else { 64 }, "position {position}");
        }
    }

    struct Dry;

    impl Entropy for Dry {
        fn fill(&self, _: &mut [u8]) -> Result<(), Fault> {
            Err(Fault::new(Reason::Internal))
        }
    }

    // rows: PKCE-02 CODE-02
    #[test]
    fn without_entropy_nothing_is_minted() {
        assert!(random_base64url::<32>(&Dry).is_err());
        assert!(uuid_v7(&Dry, 0).is_err());
    }
}
