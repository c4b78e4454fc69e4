//! What a bundle says of itself.

use super::names::require_proper;
use crate::platform::digest::{hex, sha256};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The format of bundles that is written and read.
pub const FORMAT: u64 = 1;
/// The highest serial: whole numbers above are not the same to every reader of JSON (RFC 8259 §6).
pub const SERIAL_MAX: u64 = (1 << 53) - 1;

/// The table of contents of a bundle, `manifest.json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u64,
    /// What orders bundles: a daemon takes none that is older than one it had.
    pub serial: u64,
    /// When it was made, if it says so (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The oldest narrowgate that may take it.
    pub minimum_version: String,
    /// SHA-256 of the schema that its policies were valid under, in hex. For people: a daemon validates them anew, under
    /// its own.
    pub schema_sha256: String,
    /// Its files, in order of name.
    pub files: Vec<Listed>,
}

/// A file of a bundle.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// Its name in the bundle.
    pub name: String,
    /// Its bytes.
    pub size: u64,
    /// SHA-256 of it, in hex.
    pub sha256: String,
}

/// What every format has.
#[derive(Deserialize)]
struct Head {
    format: u64,
    minimum_version: String,
}

impl Manifest {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong, for a person.
    pub fn parse(text: &str) -> Result<Self, String> {
        let cannot = |e: serde_json::Error| format!("holds a manifest.json that cannot be read: {e}");
        // Before the rest: a later format may have other members.
        let Head { format, minimum_version } = serde_json::from_str(text).map_err(cannot)?;
        let least = version(&minimum_version)
            .ok_or_else(|| format!("has a minimum_version that is no version: {minimum_version:?}"))?;
        let own = env!("CARGO_PKG_VERSION");
        if version(own).is_none_or(|own| least > own) {
            return Err(format!("needs narrowgate {minimum_version} or later, and this is {own}"));
        }
        if format != FORMAT {
            return Err(format!("is of format {format}, and this narrowgate reads format {FORMAT}"));
        }
        let manifest: Self = serde_json::from_str(text).map_err(cannot)?;
        manifest.require_sound().map(|()| manifest)
    }

    fn require_sound(&self) -> Result<(), String> {
        if self.serial > SERIAL_MAX {
            return Err(format!("has serial {}, and the highest there is is {SERIAL_MAX}", self.serial));
        }
        let mut before: Option<&str> = None;
        for Listed { name, .. } in &self.files {
            require_proper(name)?;
            match before.map(|before| before.cmp(name)) {
                Some(std::cmp::Ordering::Equal) => {
                    return Err(format!("has a manifest.json that names {name:?} twice"));
                }
                Some(std::cmp::Ordering::Greater) => {
                    return Err(format!("has a manifest.json that is not in order of name, at {name:?}"));
                }
                _ => before = Some(name),
            }
        }
        Ok(())
    }

    /// The table of these files.
    #[must_use]
    pub fn list(files: &BTreeMap<String, String>) -> Vec<Listed> {
        let listed = |(name, text): (&String, &String)| Listed {
            name: name.clone(),
            size: text.len() as u64,
            sha256: hex(&sha256(text.as_bytes())),
        };
        files.iter().map(listed).collect()
    }

    /// Whether these are its files, byte for byte.
    ///
    /// # Errors
    /// The first that is not, for a person.
    pub fn require_files(&self, files: &BTreeMap<String, String>) -> Result<(), String> {
        let listed: BTreeMap<&str, &Listed> = self.files.iter().map(|file| (file.name.as_str(), file)).collect();
        if let Some(name) = files.keys().find(|name| !listed.contains_key(name.as_str())) {
            return Err(format!("holds {name:?}, which its manifest.json does not name"));
        }
        for Listed { name, size, sha256: expected } in &self.files {
            let Some(text) = files.get(name) else {
                return Err(format!("does not hold {name:?}, which its manifest.json names"));
            };
            if text.len() as u64 != *size || hex(&sha256(text.as_bytes())) != *expected {
                return Err(format!("holds another {name:?} than its manifest.json says: size or SHA-256 differs"));
            }
        }
        Ok(())
    }
}

/// A version as three numbers. Others are not in use here.
#[must_use]
pub fn version(text: &str) -> Option<[u32; 3]> {
    let mut parts = text.split('.').map(|part| {
        let is_number = !part.is_empty() && part.len() <= 9 && part.bytes().all(|b| b.is_ascii_digit());
        part.parse().ok().filter(|_| is_number)
    });
    let found = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(found)
}
