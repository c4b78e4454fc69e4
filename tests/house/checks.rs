//! What tests ask of a house from outside: its health, its events' validity.

use super::{House, binary, write};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

impl House {
    /// What `narrowgate health` says of the daemon in a word.
    pub(crate) fn health(&self) -> String {
        let output = binary().args(["health", "--endpoint", &self.endpoint()]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Fails unless every event is valid OCSF, these codes are among them, and no secret of the server's, nor one of
    /// `canaries`, is in any. The validator is Python's, which `tests/run` makes and names.
    pub(crate) fn assert_valid_ocsf(&self, codes: &[&str], canaries: &[&str]) {
        let python = std::env::var_os("NARROWGATE_TEST_PYTHON").expect(
            "NARROWGATE_TEST_PYTHON is not set: run tests/run, which prepares the Python that knows the OCSF schema",
        );
        let mut secrets: Vec<String> = self.server.secrets().into_iter().collect();
        secrets.extend(canaries.iter().map(|canary| (*canary).to_owned()));
        write(&self.path("canaries"), &secrets.join("\n"));
        let mut logs: Vec<PathBuf> =
            fs::read_dir(self.path("audit")).unwrap().map(|entry| entry.unwrap().path()).collect();
        logs.retain(|path| path.extension().is_some_and(|e| e == "jsonl"));
        let output = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audit/validate.py"))
            .args(logs)
            .arg("--canaries")
            .arg(self.path("canaries"))
            .args(["--require-codes", &codes.join(",")])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("valid"), "{said}");
    }
}
