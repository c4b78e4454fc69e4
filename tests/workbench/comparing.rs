//! `narrowgate policy diff`, and the solver that it asks.

use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// What the command said.
pub(crate) struct Compared {
    pub(crate) exit: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Compared {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}{}", self.out, self.err))
    }
}

/// Runs the command, with no solver but one that the arguments name.
pub(crate) fn diff(old: &Path, new: &Path, arguments: &[&str]) -> Compared {
    let mut command = Command::new(env!("CARGO_BIN_EXE_narrowgate"));
    command.args(["policy", "diff"]).arg(old).arg(new).args(arguments).env_remove("CVC5").env("PATH", "/usr/bin:/bin");
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Compared { exit: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// A solver, where there is one: the one that CVC5 names, or that of `tests/run`.
pub(crate) fn solver() -> Option<String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/solver/cvc5");
    let program = std::env::var_os("CVC5").map_or(here, PathBuf::from);
    let works = Command::new(&program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !works.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: there is no solver here; tests/run brings one");
        return None;
    }
    Some(program.display().to_string())
}

/// Files of a foreign set in a folder of their own.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let it = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            it.write(name, text);
        }
        it
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Writes a program. A shell does it, so that no other test's child holds the file open while it is run.
    pub(crate) fn program(&self, name: &str, text: &str) -> String {
        let path = self.path(name).display().to_string();
        let script = "printf '%s' \"$1\" >\"$2\" && chmod 755 \"$2\"";
        assert!(Command::new("sh").args(["-c", script, "sh", text, &path]).status().unwrap().success());
        path
    }

    pub(crate) fn diff(&self, old: &str, new: &str, arguments: &[&str]) -> Compared {
        let schema = self.path("schema.cedarschema").display().to_string();
        diff(&self.path(old), &self.path(new), &[&["--schema", &schema], arguments].concat())
    }

    pub(crate) fn json(&self, old: &str, new: &str, arguments: &[&str]) -> (i32, Value) {
        let compared = self.diff(old, new, &[&["--output", "json"], arguments].concat());
        (compared.exit, compared.json())
    }
}
