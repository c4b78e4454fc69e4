//! The bundle that was taken last, kept on disk: what a restart begins with while there is no other, and what says which
//! serials are over. One file holds both, so that no crash comes in between.

use super::{BUNDLE_BYTES_MAX, SIGNATURE_BYTES_MAX, Signature, Signed};
use crate::platform::files::{read_bytes, replace, require_private};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Its name in the folder of state.
const NAME: &str = "policy-bundle.kept";

/// Where it is kept, in this folder.
#[must_use]
pub fn kept_in(folder: &Path) -> PathBuf {
    folder.join(NAME)
}

/// The signature of the bundle that was taken last, and by it the highest serial there was.
///
/// # Errors
/// Why it is not known. Nothing may be taken then: it might be older.
pub fn latest(folder: &Path) -> Result<Option<Signature>, String> {
    let path = kept_in(folder);
    let mut head = Vec::new();
    match File::open(&path) {
        Ok(file) => {
            require_private(&path)?;
            file.take(SIGNATURE_BYTES_MAX).read_to_end(&mut head).map_err(|e| format!("cannot be read: {e}"))?;
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(format!("cannot be read: {e}")),
    }
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let damaged = |_| {
        "does not say which bundle was taken last; remove it if any that is signed may be taken, an older one too"
            .to_owned()
    };
    Signature::parse(line).map(Some).map_err(damaged)
}

/// The bundle that was taken last, as it was then; nothing of it is trusted yet.
///
/// # Errors
/// Why it cannot be read.
pub fn load(folder: &Path) -> Result<Option<Signed>, String> {
    let Some(signature) = latest(folder)? else { return Ok(None) };
    let all = read_bytes(&kept_in(folder), BUNDLE_BYTES_MAX + SIGNATURE_BYTES_MAX)
        .map_err(|e| format!("cannot be read: {e}"))?;
    let end = all.iter().position(|byte| *byte == b'\n').ok_or("is cut short")?;
    let archive = all.get(end + 1..).unwrap_or_default().to_vec();
    Ok(Some(Signed { archive, signature }))
}

/// Keeps a bundle as the one that was taken last, durably, unless it is kept already. From here on nothing older is taken.
///
/// # Errors
/// Why it is not kept.
pub fn keep(folder: &Path, signed: &Signed) -> Result<(), String> {
    if load(folder).is_ok_and(|kept| kept.as_ref() == Some(signed)) {
        return Ok(());
    }
    let mut all = signed.signature.to_line().into_bytes();
    all.push(b'\n');
    all.extend_from_slice(&signed.archive);
    replace(&kept_in(folder), &all).map_err(|e| format!("cannot be written: {e}"))
}
