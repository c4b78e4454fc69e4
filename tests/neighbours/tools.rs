//! The tools that `tests/run` brings.

use std::{
    env,
    path::{Path, PathBuf},
};

pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Python that has grpcio and the audit validator's packages.
pub(crate) fn python() -> PathBuf {
    let made = repository().join("target/test-env/bin/python");
    let python = env::var_os("NARROWGATE_TEST_PYTHON").map_or(made, PathBuf::from);
    assert!(python.exists(), "there is no {}: run tests/run, which makes it", python.display());
    python
}

/// A Node script below `tests/` whose packages are there.
pub(crate) fn node_script(folder: &str, script: &str) -> PathBuf {
    let folder = repository().join("tests").join(folder);
    let modules = folder.join("node_modules");
    assert!(modules.exists(), "there is no {}: run tests/run, which makes it", modules.display());
    folder.join(script)
}
