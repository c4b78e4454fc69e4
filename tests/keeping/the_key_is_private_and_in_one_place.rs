use crate::{
    house::{House, get, write},
    kit::{again, build, granted, plan},
};
use std::{fs, os::unix::fs::PermissionsExt};

/// What `check` says of a house's configuration with this change.
async fn says(house: &House, from: &str, to: &str, credentials: Option<&str>) -> String {
    let path = house.path("narrowgate.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from}");
    write(&path, &text.replace(from, to));
    let mut check = house.command("check");
    check.env_remove("CREDENTIALS_DIRECTORY").envs(credentials.map(|folder| ("CREDENTIALS_DIRECTORY", folder)));
    let output = tokio::task::spawn_blocking(move || check.output().unwrap()).await.unwrap();
    write(&path, &text);
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap()
}

// rows: RT-01
#[tokio::test]
async fn anything_else_is_said_at_once() {
    let house = build(plan(""));
    let key = "key_file = \"grants.key\"";
    let wrong = [
        (key, "", "needs one key"),
        (key, "key_file = \"grants.key\"\ncredential = \"grants.key\"", "needs one key"),
        (key, "key_file = \"elsewhere.key\"", "cannot be read"),
        (key, "key_file = \"narrowgate.toml\"", "is longer than 66 bytes"),
        (key, "key_file = \"agents-ca.pem\"", "is longer than 66 bytes"),
        (key, "credential = \"grants.key\"", "there is no $CREDENTIALS_DIRECTORY"),
        (key, "credential = \"../grants.key\"", "must be the name of a credential"),
        ("store = \"file\"", "store = \"files\"", "must be \"memory\" or \"file\""),
        ("store = \"file\"", "", "is of no use without a file"),
        ("file = \"store/grants.redb\"", "", "no file is named"),
    ];
    for (from, to, why) in wrong {
        let said = says(&house, from, to, None).await;
        assert!(said.contains(why), "{to}: {said}");
    }
    for (bytes, mode, why) in [("5a", 0o600, "must hold 32 bytes"), (&*"5a".repeat(32), 0o640, "has mode 0640")] {
        fs::write(house.path("grants.key"), bytes).unwrap();
        fs::set_permissions(house.path("grants.key"), fs::Permissions::from_mode(mode)).unwrap();
        let said = says(&house, key, key, None).await;
        assert!(said.contains(why), "{said}");
        // What is wrong with it is said without a word of it.
        assert!(!said.contains("5a5a"), "{said}");
    }
}

// rows: RT-01
#[tokio::test]
async fn systemd_may_hand_it_over() {
    let (mut house, _, grant) = granted(plan("")).await;
    house.stop().await;
    // As LoadCredential does: in a folder of its own, perhaps with an entry for the service in its access control list.
    let folder = house.path("credentials");
    fs::create_dir(&folder).unwrap();
    fs::rename(house.path("grants.key"), folder.join("grants.key")).unwrap();
    fs::set_permissions(folder.join("grants.key"), fs::Permissions::from_mode(0o440)).unwrap();
    let text = fs::read_to_string(house.path("narrowgate.toml")).unwrap();
    let text = text.replace("key_file = \"grants.key\"", "credential = \"grants.key\"");
    write(&house.path("narrowgate.toml"), &text);
    house.environment(("CREDENTIALS_DIRECTORY", folder.to_str().unwrap()));
    again(&mut house).await;
    get(&mut house.agent().await, &grant).await.unwrap();
    fs::set_permissions(folder.join("grants.key"), fs::Permissions::from_mode(0o444)).unwrap();
    let key = "credential = \"grants.key\"";
    let said = says(&house, key, key, folder.to_str()).await;
    assert!(said.contains("others may use it"), "{said}");
}
