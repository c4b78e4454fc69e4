//! `[grants] store`: where grants are kept.

use super::reader::Table;
use crate::platform::{
    files::{read_bytes, require_handed_over, require_private},
    vault::VaultKey,
};
use std::path::{Path, PathBuf};

/// The longest key file: 64 hex digits and a line break.
const KEY_BYTES_MAX: u64 = 66;

/// A file in which grants are kept across restarts.
#[derive(Debug, Clone)]
pub struct GrantStore {
    /// The file.
    pub file: PathBuf,
    /// Its key.
    pub key: VaultKey,
}

/// Reads the keys of `[grants]` that are about its store. `None`: grants are kept in memory.
pub(super) fn grant_store(table: &Table<'_>) -> Option<GrantStore> {
    let in_file = table.optional("store", |text| match text {
        "memory" => Ok(false),
        "file" => Ok(true),
        _ => Err("must be \"memory\" or \"file\"".to_owned()),
    });
    let (file, key_file) = (table.path("file"), table.path("key_file"));
    let credential = table.optional("credential", credential);
    if in_file != Some(true) {
        for key in ["file", "key_file", "credential"].into_iter().filter(|key| table.holds(key)) {
            table.wrong_at(key, "is of no use without a file", Some("add store = \"file\""));
        }
        return None;
    }
    if !table.holds("file") {
        table.wrong_at(
            "store",
            "is \"file\", and no file is named",
            Some("add file = \"...\", a path in a folder of its own"),
        );
    }
    let key = match (table.holds("key_file"), table.holds("credential")) {
        (true, false) => key_file.and_then(|path| table_key(table, "key_file", &path, require_private(&path))),
        (false, true) => credential.and_then(|path| table_key(table, "credential", &path, require_handed_over(&path))),
        _ => {
            let hint = "add key_file = \"...\", a file of 32 random bytes: head -c 32 /dev/urandom > grants.key";
            table.wrong_at("store", "needs one key: either key_file or credential", Some(hint));
            None
        }
    };
    Some(GrantStore { file: file?, key: key? })
}

/// The path of a credential that systemd hands over (LoadCredential, LoadCredentialEncrypted).
fn credential(name: &str) -> Result<PathBuf, String> {
    let plain = !name.is_empty() && !name.starts_with('.') && name.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
    if !plain {
        return Err("must be the name of a credential, without a path".to_owned());
    }
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|folder| Path::new(folder).is_absolute());
    let folder = folder.ok_or("is handed over by systemd, and there is no $CREDENTIALS_DIRECTORY: add LoadCredential or LoadCredentialEncrypted to the unit, or use key_file")?;
    Ok(Path::new(&folder).join(name))
}

fn table_key(table: &Table<'_>, key: &'static str, path: &Path, private: Result<(), String>) -> Option<VaultKey> {
    let read = private.and_then(|()| read_bytes(path, KEY_BYTES_MAX).map_err(|e| format!("cannot be read: {e}")));
    let parsed = read.and_then(|bytes| {
        VaultKey::parse(&bytes).ok_or_else(|| "must hold 32 bytes, or 64 hex digits, and nothing else".to_owned())
    });
    parsed.map_err(|wrong| table.wrong_at(key, format!("{} {wrong}", path.display()), None)).ok()
}
