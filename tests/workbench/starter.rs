//! The set that `narrowgate policy init` writes, in a folder of its own, and the commands that look at it.

use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// A folder with a set.
pub(crate) struct Starter(TempDir);

/// What a command said.
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}\n{}", self.out, self.err))
    }
}

/// Runs `narrowgate policy ...`.
pub(crate) fn policy(arguments: &[&str]) -> Answer {
    let output = Command::new(env!("CARGO_BIN_EXE_narrowgate"))
        .arg("policy")
        .args(arguments)
        .env_remove("NARROWGATE_CONFIG")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Answer { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// An empty folder that only its owner may write to.
pub(crate) fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("narrowgate-").tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    folder
}

/// Writes a file that only its owner may write to.
pub(crate) fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}

impl Starter {
    pub(crate) fn new() -> Self {
        let it = Self(folder());
        let said = policy(&["init", it.path("").to_str().unwrap()]);
        assert_eq!(said.code, 0, "{}{}", said.out, said.err);
        it
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        write(&self.path(name), text);
    }

    pub(crate) fn edit(&self, name: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{name} has no {from:?}");
        self.write(name, &text.replacen(from, to, 1));
    }

    /// Runs `narrowgate policy COMMAND --config ...`.
    pub(crate) fn run(&self, command: &str, arguments: &[&str]) -> Answer {
        let config = self.path("narrowgate.toml").display().to_string();
        policy(&[&[command, "--config", &config], arguments].concat())
    }
}

/// The samples of Cedar's own command line, where `tests/run` has put them.
pub(crate) fn cedar_samples() -> Option<PathBuf> {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-env/cedar/sample-data");
    if !samples.is_dir() {
        eprintln!("SKIPPED: Cedar's samples are not here; tests/run brings them");
        return None;
    }
    Some(samples)
}

/// Cedar's own command line, where it is.
pub(crate) fn cedar() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-env/cedar/bin/cedar");
    let program = std::env::var_os("NARROWGATE_TEST_CEDAR").map_or(here, PathBuf::from);
    if !program.is_file() {
        eprintln!("SKIPPED: there is no cedar command line here; tests/run brings it");
        return None;
    }
    Some(program)
}
