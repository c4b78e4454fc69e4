//! A set to start from: the samples of `policies/`, with a configuration that loads them.

use crate::platform::proof_key::private_key_pem;
use std::{
    fs, io,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The configuration, in the folder itself.
pub const STARTER_CONFIG: &str = "narrowgate.toml";
const KEY: &str = "client.key";

/// What is written, by name.
const FILES: [(&str, &str); 12] = [
    (STARTER_CONFIG, include_str!("narrowgate.toml")),
    ("placeholder-ca.pem", include_str!("placeholder-ca.pem")),
    ("agents.toml", include_str!("../../../../policies/agents.toml")),
    ("apis.toml", include_str!("../../../../policies/apis.toml")),
    ("policies/guardrails.cedar", include_str!("../../../../policies/base/guardrails.cedar")),
    ("policies/guardrails.cases.toml", include_str!("../../../../policies/base/guardrails.cases.toml")),
    ("policies/flows.cedar", include_str!("../../../../policies/base/flows.cedar")),
    ("policies/flows.cases.toml", include_str!("../../../../policies/base/flows.cases.toml")),
    ("policies/grants.cedar", include_str!("../../../../policies/base/grants.cedar")),
    ("policies/grants.cases.toml", include_str!("../../../../policies/base/grants.cases.toml")),
    ("policies/operators.cedar", include_str!("../../../../policies/base/operators.cedar")),
    ("policies/operators.cases.toml", include_str!("../../../../policies/base/operators.cases.toml")),
];

/// Writes the starter set into a folder, which is made if it is not there. The files written.
///
/// # Errors
/// Why not, for a person. Where one of the files is there already, nothing is written.
pub fn write_starter(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let names = FILES.iter().map(|(name, _)| *name).chain([KEY]);
    let there: Vec<&str> = names.filter(|name| fs::symlink_metadata(folder.join(name)).is_ok()).collect();
    if !there.is_empty() {
        return Err(format!("{}: there already, and nothing is overwritten: {}", folder.display(), there.join(", ")));
    }
    let key = private_key_pem().map_err(|_| "no key could be made: the system gives no entropy".to_owned())?;
    let mut written = Vec::new();
    for (name, text, mode) in FILES.iter().map(|(name, text)| (*name, *text, 0o644)).chain([(KEY, key.as_str(), 0o600)])
    {
        let path = folder.join(name);
        write(&path, text, mode).map_err(|e| format!("{} cannot be written: {e}", path.display()))?;
        written.push(path);
    }
    Ok(written)
}

/// Writes a new file, and makes its folder.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        // Whoever may write there may change what is allowed.
        fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())
}
