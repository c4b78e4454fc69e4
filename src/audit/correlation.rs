//! `correlation.key`: the key of the keyed references, made at the first start and kept beside the log, private.
//!
//! A log and its key belong together: with another key one token would have two references. So a log without its key
//! is refused at start, and a daemon whose folder is removed and made anew puts the key back beside the new log.

use super::segment::has_log;
use crate::platform::{
    Entropy, KeyedHash,
    digest::hex,
    files::{read_text, require_private},
};
use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

const NAME: &str = "correlation.key";
const DIGITS: usize = 64;

/// The key, as its file holds it.
pub struct CorrelationKey(Zeroizing<String>);

impl CorrelationKey {
    /// The key's file in a log's folder.
    #[must_use]
    pub fn path(directory: &Path) -> PathBuf {
        directory.join(NAME)
    }

    /// Reads the key, or makes it where there is no log yet; the folder too, for its owner alone.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn open(directory: &Path, entropy: &dyn Entropy) -> Result<Self, String> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|e| format!("its folder cannot be made: {e}"))?;
        if let Some(found) = Self::find(directory)? {
            return Ok(found);
        }
        let mut bits = Zeroizing::new([0u8; DIGITS / 2]);
        entropy.fill(bits.as_mut_slice()).map_err(|_| "no entropy".to_owned())?;
        let key = Self(Zeroizing::new(hex(bits.as_slice())));
        key.write(directory).map_err(|e| format!("cannot be written: {e}"))?;
        // What counts is what the next start will read.
        Self::find(directory)?.ok_or_else(|| "is gone again".to_owned())
    }

    /// Reads the key; `None` where a start would make it. Nothing is changed.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn find(directory: &Path) -> Result<Option<Self>, String> {
        let path = Self::path(directory);
        if !path.exists() {
            if has_log(directory) {
                // Made anew it would silently break the thread between the references of before and after.
                let missing = "is missing beside a log that was written with it; put it back, or move the log away";
                return Err(missing.to_owned());
            }
            return Ok(None);
        }
        require_private(&path)?;
        let text = Zeroizing::new(read_text(&path, 1024).map_err(|e| e.to_string())?);
        let digits = text.trim();
        if digits.len() != DIGITS || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err("is not 64 hex digits".to_owned());
        }
        Ok(Some(Self(Zeroizing::new(digits.to_owned()))))
    }

    /// The key as it is used.
    #[must_use]
    pub fn keyed(&self) -> KeyedHash {
        let mut key = Zeroizing::new([0u8; DIGITS / 2]);
        for (byte, pair) in key.iter_mut().zip(self.0.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).unwrap_or_default();
            // Every one is two hex digits.
            *byte = u8::from_str_radix(pair, 16).unwrap_or_default();
        }
        KeyedHash::new(&key)
    }

    /// Puts the key back beside a log that goes on without it. What is there already is left alone.
    pub(super) fn put_back(&self, directory: &Path) {
        let path = Self::path(directory);
        if fs::symlink_metadata(&path).is_ok() {
            return;
        }
        match self.write(directory) {
            Ok(()) => tracing::warn!(file = %path.display(), "the key of the audit log was gone and was put back"),
            Err(error) => {
                tracing::error!(%error, file = %path.display(), "the key of the audit log is gone and cannot be put back: the next start will refuse");
            }
        }
    }

    /// Writes it whole under another name first: a crash leaves no half key.
    fn write(&self, directory: &Path) -> io::Result<()> {
        let draft = directory.join("correlation.key.new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()).open(&draft)?;
        file.write_all(self.0.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, Self::path(directory))
    }
}
