//! `policy init` writes a set that passes its own cases and every check; it overwrites nothing.

use crate::starter::{Starter, folder, policy};
use std::{fs, os::unix::fs::PermissionsExt, process::Command};

#[test]
fn the_starter_set_passes_every_check() {
    // In a folder that is empty, and in one that is not there yet.
    let (empty, above) = (folder(), folder());
    for place in [empty.path().to_owned(), above.path().join("a/new/one")] {
        let said = policy(&["init", place.to_str().unwrap()]);
        assert_eq!(said.code, 0, "{}{}", said.out, said.err);
        let config = place.join("narrowgate.toml").display().to_string();
        for next in ["policy test --config", "policy check --config", "narrowgate check --config"] {
            assert!(said.out.contains(&format!("{next} {config}")), "{}", said.out);
        }
        assert!(said.out.lines().all(|line| line.chars().count() <= 100 || line.contains('/')), "{}", said.out);
        let checked = policy(&["check", "--config", &config, "--deny-warnings", "--output", "json"]);
        assert_eq!(checked.code, 0, "{}{}", checked.out, checked.err);
        let value = checked.json();
        assert_eq!((&value["errors"], &value["warnings"], &value["valid"]), (&0.into(), &0.into(), &true.into()));
        assert!(value["policies"].as_u64().unwrap() >= 20, "{value:#}");
        let tested = policy(&["test", "--config", &config, "--min-coverage", "80"]);
        assert_eq!(tested.code, 0, "{}{}", tested.out, tested.err);
        assert!(tested.out.contains(" 0 failed\n"), "{}", tested.out);
        let whole =
            Command::new(env!("CARGO_BIN_EXE_narrowgate")).args(["check", "--config", &config]).output().unwrap();
        assert_eq!(whole.status.code(), Some(0), "{whole:?}");
        let mode = |name: &str| fs::metadata(place.join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode("client.key"), 0o600);
        assert_eq!(mode("policies") & 0o022, 0);
    }
}

#[test]
fn two_sets_have_two_keys() {
    let keys = [Starter::new(), Starter::new()].map(|set| fs::read_to_string(set.path("client.key")).unwrap());
    assert!(keys.iter().all(|key| key.starts_with("-----BEGIN PRIVATE KEY-----\n")));
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn nothing_is_overwritten() {
    let folder = folder();
    fs::create_dir(folder.path().join("policies")).unwrap();
    let mine = folder.path().join("policies/flows.cedar");
    fs::write(&mine, "mine").unwrap();
    let said = policy(&["init", folder.path().to_str().unwrap()]);
    assert_eq!(said.code, 64);
    assert!(said.err.contains("policies/flows.cedar") && said.err.contains("nothing is overwritten"), "{}", said.err);
    assert_eq!(fs::read_to_string(&mine).unwrap(), "mine");
    assert!(!folder.path().join("narrowgate.toml").exists());
}
