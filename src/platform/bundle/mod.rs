//! Signed bundles: named texts in one archive, a manifest with their digests, and a detached Ed25519 signature. What they
//! are texts of is not known here.
//!
//! Invariant: [`Signed::open`] gives texts only of an archive that one of the given keys has signed, under a serial that
//! is not over; no byte of it is unpacked before that is known. Nothing of a bundle is ever unpacked to disk.

mod archive;
mod kept;
mod manifest;
mod names;
mod signature;

pub use kept::{keep, kept_in, latest, load};
pub use manifest::{FORMAT, Listed, Manifest, SERIAL_MAX, version};
pub use names::{AGENTS, APIS, CUSTOM_SCHEMA, MANIFEST, POLICIES};
pub use signature::{SIGNATURE_BYTES_MAX, Signature};

use crate::platform::{ed25519::VerifyingKey, files::read_guarded_bytes};
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

/// Bytes of a packed bundle.
pub const BUNDLE_BYTES_MAX: u64 = 16 << 20;

/// What is in a bundle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contents {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Its texts, by name.
    pub files: BTreeMap<String, String>,
}

impl Contents {
    /// Packs it: the same contents are the same bytes.
    ///
    /// # Errors
    /// What cannot be packed, for a person.
    pub fn pack(&self) -> Result<Vec<u8>, String> {
        archive::pack(&self.manifest, &self.files)
    }

    /// Unpacks an archive that nobody has vouched for, such as one that is about to be signed.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn unpack(archive: &[u8]) -> Result<Self, String> {
        archive::unpack(archive)
    }
}

/// Unpacks an archive, or reads a tar that is not packed, for the fuzzer: it must never panic.
#[must_use]
pub fn fuzz_bundle(bytes: &[u8]) -> Option<Contents> {
    archive::unpack(bytes).or_else(|_| archive::read(bytes)).ok()
}

/// An archive and a signature, whatever they are worth.
#[derive(Clone, PartialEq, Eq)]
pub struct Signed {
    /// The archive.
    pub archive: Vec<u8>,
    /// The signature.
    pub signature: Signature,
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signed({} bytes, {:?})", self.archive.len(), self.signature)
    }
}

impl Signed {
    /// Reads both files, which nobody may change but those who may change the configuration.
    ///
    /// # Errors
    /// The file, and what is wrong with it, for a person.
    pub fn read(path: &Path, owner: Option<u32>) -> Result<Self, (PathBuf, String)> {
        let signature_file = signature_of(path);
        let archive = read_guarded_bytes(path, BUNDLE_BYTES_MAX, owner).map_err(|wrong| (path.to_owned(), wrong))?;
        let text = read_guarded_bytes(&signature_file, SIGNATURE_BYTES_MAX, owner);
        let signature = text.and_then(|text| Signature::parse(&text)).map_err(|wrong| (signature_file, wrong))?;
        Ok(Self { archive, signature })
    }

    /// Opens it: signed by one of these keys, and not older than the latest that was taken.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn open(&self, keys: &[VerifyingKey], latest: Option<&Signature>) -> Result<Contents, String> {
        self.signature.require_of(keys)?;
        self.signature.require_for(&self.archive)?;
        if let Some(latest) = latest {
            require_no_rollback(&self.signature, latest)?;
        }
        let contents = archive::unpack(&self.archive)?;
        let (inside, outside) = (contents.manifest.serial, self.signature.serial);
        if inside != outside {
            return Err(format!("has serial {inside} in its manifest.json, and was signed as serial {outside}"));
        }
        Ok(contents)
    }
}

fn require_no_rollback(found: &Signature, latest: &Signature) -> Result<(), String> {
    if found.serial < latest.serial {
        return Err(format!(
            "has serial {}, and serial {} was taken before: an older bundle is not taken; give what is to be in force a \
             higher serial",
            found.serial, latest.serial
        ));
    }
    if found.serial == latest.serial && found.archive_sha256 != latest.archive_sha256 {
        return Err(format!(
            "has serial {}, under which another bundle was taken (SHA-256 {}): give it a higher serial",
            found.serial, latest.archive_sha256
        ));
    }
    Ok(())
}

/// The file of a bundle's signature: `NAME.sig`.
#[must_use]
pub fn signature_of(bundle: &Path) -> PathBuf {
    let mut name = bundle.as_os_str().to_owned();
    name.push(".sig");
    PathBuf::from(name)
}
