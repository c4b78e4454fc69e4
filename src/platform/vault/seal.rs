//! Sealing of records.

use crate::platform::{Entropy, KeyedHash};
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use std::{fmt, sync::Arc};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What a file of this kind begins its description with.
pub(super) const KIND: &[u8] = b"narrowgate-vault";
/// The format that is written.
pub(super) const VERSION: u8 = 1;
pub(super) const SALT_BYTES: usize = 32;

/// The id of a record.
pub type Id = [u8; 32];

/// The configured key of a vault.
#[derive(Clone)]
pub struct VaultKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for VaultKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VaultKey")
    }
}

impl VaultKey {
    /// Reads 32 raw bytes, or 64 hex digits and perhaps a line break.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if let Ok(raw) = <[u8; 32]>::try_from(bytes) {
            return Some(Self(Zeroizing::new(raw)));
        }
        let digits = bytes.trim_ascii_end();
        if digits.len() != 64 {
            return None;
        }
        let mut key = Zeroizing::new([0u8; 32]);
        for (byte, pair) in key.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.bytes().all(|b| b.is_ascii_hexdigit()))?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        Some(Self(key))
    }
}

/// The keys of one file.
pub(super) struct Sealer {
    key: LessSafeKey,
    ids: KeyedHash,
    check: [u8; 32],
    entropy: Arc<dyn Entropy>,
}

impl Sealer {
    /// Derives them. `None` only if the library refuses 32 bytes as a key.
    pub(super) fn new(key: &VaultKey, salt: &[u8], entropy: Arc<dyn Entropy>) -> Option<Self> {
        let master = KeyedHash::new(&key.0);
        let sealing = Zeroizing::new(master.of("vault-seal", salt));
        let naming = Zeroizing::new(master.of("vault-id", salt));
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, sealing.as_slice()).ok()?);
        Some(Self { key, ids: KeyedHash::new(&naming), check: master.of("vault-check", salt), entropy })
    }

    /// What tells this key from another, and nothing else.
    pub(super) const fn check(&self) -> &[u8; 32] {
        &self.check
    }

    /// Whether a file was written with this key.
    pub(super) fn is_of(&self, check: &[u8]) -> bool {
        self.check.ct_eq(check).into()
    }

    pub(super) fn id(&self, kind: &str, name: &[u8]) -> Id {
        self.ids.of(kind, name)
    }

    /// Seals a record: nonce, then ciphertext and tag. `None` without entropy.
    pub(super) fn seal(&self, id: &Id, plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0u8; NONCE_LEN];
        self.entropy.fill(&mut nonce).ok()?;
        // The plain text is wiped with its buffer; sealing in place leaves none of it there.
        let mut buffer = Vec::with_capacity(NONCE_LEN + plain.len() + AES_256_GCM_SIV.tag_len());
        buffer.extend_from_slice(&nonce);
        buffer.extend_from_slice(plain);
        let body = buffer.get_mut(NONCE_LEN..)?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(bound(id)), body).ok()?;
        buffer.extend_from_slice(tag.as_ref());
        Some(buffer)
    }

    /// Opens a record; `None` if it was not sealed as this one with this key.
    pub(super) fn open(&self, id: &Id, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut plain = Zeroizing::new(body.to_vec());
        let length = self.key.open_in_place(nonce, Aad::from(bound(id)), plain.as_mut_slice()).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

/// What is authenticated with a record.
fn bound(id: &Id) -> Vec<u8> {
    [KIND, &[VERSION], id].concat()
}
