use crate::{
    house::{House, Plan},
    small_disk::SmallDisk,
    ward::is_root,
};
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt};

/// The warnings, which are told in both formats, and make nothing wrong.
fn warnings(house: &House) -> Vec<String> {
    let text = house.command("check").output().unwrap();
    let json = house.command("check").args(["--output", "json"]).output().unwrap();
    assert_eq!((text.status.code(), json.status.code()), (Some(0), Some(0)), "{text:?}");
    let value: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(value["valid"], true);
    let said = String::from_utf8(text.stderr).unwrap();
    let list: Vec<String> = value["warnings"].as_array().unwrap().iter().map(|w| w["message"].to_string()).collect();
    assert_eq!(said.matches("warning: ").count(), list.len(), "{said}");
    list
}

fn mode(house: &House, name: &str, mode: u32) {
    fs::set_permissions(house.path(name), fs::Permissions::from_mode(mode)).unwrap();
}

// rows: AUD-10 MTLS-11 TIME-06
#[tokio::test]
async fn of_folders_that_others_can_use() {
    let house = Plan::new().build();
    // Room on the disk of the tests is not what is looked at here.
    let about_modes = || {
        let all = warnings(&house);
        all.into_iter().filter(|w| w.contains("has mode")).collect::<Vec<_>>()
    };
    assert_eq!(about_modes(), Vec::<String>::new());
    fs::create_dir(house.path("audit")).unwrap();
    mode(&house, "audit", 0o755);
    let [said] = about_modes().try_into().unwrap();
    assert!(said.contains("0755") && said.contains("anyone may look into it"), "{said}");
    mode(&house, "audit", 0o750);
    assert_eq!(about_modes(), Vec::<String>::new());
    // The folder of the keys, each of which is private.
    fs::set_permissions(house.folder.path(), fs::Permissions::from_mode(0o720)).unwrap();
    let [said] = about_modes().try_into().unwrap();
    assert!(said.contains("0720") && said.contains("others can replace"), "{said}");
    fs::set_permissions(house.folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
}

// rows: AUD-03
#[tokio::test]
async fn of_a_disk_that_is_nearly_full() {
    if !is_root("a small disk") {
        return;
    }
    let house = Plan::new().build();
    let Some(disk) = SmallDisk::mount(&house.path("audit"), "4m") else { return };
    let warnings = warnings(&house);
    drop(disk);
    assert!(warnings.iter().any(|w| w.contains("4 MiB are left for the audit log")), "{warnings:?}");
}
