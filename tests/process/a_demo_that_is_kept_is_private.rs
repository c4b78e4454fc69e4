//! What `narrowgate demo --keep` leaves behind is its owner's alone, and a second one there says what to do.

use crate::house::binary;
use std::{fs, os::unix::fs::PermissionsExt};

// rows: AUD-10
#[test]
fn every_folder_and_the_way_on() {
    let above = tempfile::tempdir().unwrap();
    let kept = above.path().join("kept");
    let demo = || {
        let mut command = binary();
        command.arg("demo").arg("--keep").arg(&kept);
        command.output().unwrap()
    };
    let output = demo();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for name in ["", "audit", "policies"] {
        let mode = fs::metadata(kept.join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, 0o700, "{name:?} has mode {mode:04o}");
    }
    let mut check = binary();
    let check = check.arg("check").arg("--config").arg(kept.join("narrowgate.toml")).output().unwrap();
    assert_eq!(check.status.code(), Some(0), "{check:?}");
    let again = demo();
    let said = String::from_utf8_lossy(&again.stderr);
    assert_eq!(again.status.code(), Some(69), "{said}");
    assert!(said.contains("is there already") && said.contains("a new folder") && said.contains("rm -r "), "{said}");
    let missing = binary().args(["demo", "--keep"]).arg(above.path().join("no/such")).output().unwrap();
    assert!(String::from_utf8_lossy(&missing.stderr).contains("make that first"), "{missing:?}");
}
