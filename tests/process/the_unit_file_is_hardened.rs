//! deploy/narrowgate.service: its score, and that it starts what there is to start.

use crate::house::binary;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Ten times the exposure that `systemd-analyze security` may find: 1.5, of 10.
const THRESHOLD: &str = "--threshold=17";

fn unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/narrowgate.service")
}

/// The values of a setting, in their order.
fn values(text: &str, key: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    lines.map(str::to_owned).collect()
}

// rows: TIME-09
#[test]
fn its_exposure_stays_under_the_stated_score() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("SKIPPED: systemd-analyze is needed to score the unit file");
        return;
    }
    let score = |file: &Path| {
        let mut analyze = Command::new("systemd-analyze");
        let output = analyze.args(["security", "--offline=true", "--no-pager", THRESHOLD]).arg(file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), said)
    };
    let (good, said) = score(&unit());
    assert!(good, "{said}");
    // The eyes of this test: without its filters the unit is over the score.
    let folder = tempfile::tempdir().unwrap();
    let open = folder.path().join("narrowgate.service");
    let text = fs::read_to_string(unit()).unwrap();
    let lines = text.lines().filter(|l| !l.starts_with("SystemCall") && !l.starts_with("Restrict"));
    fs::write(&open, lines.collect::<Vec<_>>().join("\n")).unwrap();
    assert!(!score(&open).0);
}

// rows: TIME-09 LEAK-03
#[test]
fn it_says_what_the_daemon_needs() {
    let text = fs::read_to_string(unit()).unwrap();
    let is = |key: &str, value: &str| assert_eq!(values(&text, key), [value], "{key}");
    is("LimitCORE", "0");
    is("MemorySwapMax", "0");
    is("NoNewPrivileges", "yes");
    is("DynamicUser", "yes");
    is("ProtectSystem", "strict");
    is("CapabilityBoundingSet", "");
    // Peers must keep their user ids.
    assert!(values(&text, "PrivateUsers").is_empty());
    // No secret in the environment.
    assert!(values(&text, "Environment").is_empty() && values(&text, "EnvironmentFile").is_empty());
    // The folders that the daemon is given are those of the sample configuration.
    let sample = fs::read_to_string(unit().with_file_name("narrowgate.toml")).unwrap();
    let folder = |key: &str| values(&text, key).pop().unwrap();
    assert!(sample.contains(&format!("path = \"/run/{}/agent.sock\"", folder("RuntimeDirectory"))));
    assert!(sample.contains(&format!("directory = \"/var/lib/{}/audit\"", folder("StateDirectory"))));
}

// rows: TIME-09
#[test]
fn it_starts_the_binary_with_flags_that_it_knows() {
    let text = fs::read_to_string(unit()).unwrap();
    let [start] = values(&text, "ExecStart").try_into().unwrap();
    let mut words = start.split_whitespace();
    assert_eq!(words.next(), Some("/usr/bin/narrowgate"));
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("narrowgate.toml");
    let arguments: Vec<String> =
        words.map(|w| if w.ends_with(".toml") { nowhere.display().to_string() } else { w.to_owned() }).collect();
    let run = |arguments: &[String]| {
        let output = binary().args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    // It got as far as looking for the configuration: every flag was read.
    let (code, said) = run(&arguments);
    assert!(code == Some(64) && said.contains("narrowgate.toml: cannot be read"), "{said}");
    let (_, said) = run(&[arguments, vec!["--no-such-flag".to_owned()]].concat());
    assert!(said.contains("--no-such-flag"), "the eyes of this test: {said}");
}
