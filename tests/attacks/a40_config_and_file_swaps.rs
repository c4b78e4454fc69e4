//! A check is switched off by a typo, a file is laid where anyone may change it, a secret is in plain sight. Nothing starts
//! on such a configuration. (A signed set is the workbench's.)

use crate::kit::*;
use std::os::unix::fs::PermissionsExt;

fn mode(house: &House, name: &str, mode: u32) {
    fs::set_permissions(house.path(name), fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn a_configuration_that_is_not_understood_is_not_used() {
    for (from, to, word) in [
        ("trust_domain =", "trust_domian =", "trust_domian"),
        ("auth = \"tls_client_auth\"", "auth = \"none\"", "auth"),
        ("mode = \"0600\"", "mode = \"0666\"", "mode"),
        ("key = \"client.key\"", "key = \"client.key\"\nclient_secret = \"canary-inline-0123456789\"", "client_secret"),
        ("alias = \"corp\"", "alias = \"corp\"\nenvironment = \"dev\"", "dev"),
        ("issuer = \"@ISSUER@\"", "issuer = \"http://127.0.0.1:1\"", "https"),
    ] {
        let house = Plan::new().config(from, to).build();
        let (exit, words) = stays_down(&house).await;
        assert_eq!(exit, Some(64), "{to}: {words}");
        assert!(words.contains(word) && !words.contains("canary-inline"), "{words}");
        assert!(!house.path("run").exists());
    }
}

#[tokio::test]
async fn a_file_that_others_can_change_or_read_is_not_used() {
    let house = Plan::new().build();
    mode(&house, "client.key", 0o644);
    assert_eq!(stays_down(&house).await.0, Some(64));
    mode(&house, "client.key", 0o600);
    for (name, loose, tight) in [("policies/grants.cedar", 0o666, 0o600), ("policies", 0o777, 0o700)] {
        mode(&house, name, loose);
        let checked = run(house.command("check")).await;
        assert_eq!(checked.status.code(), Some(65), "{name}: {}", words(&checked));
        mode(&house, name, tight);
    }
    for name in ["agents.toml", "narrowgate.toml"] {
        mode(&house, name, 0o666);
        assert_eq!(run(house.command("check")).await.status.code(), Some(64), "{name}");
        mode(&house, name, 0o600);
    }
    assert_eq!(run(house.command("check")).await.status.code(), Some(0));
}
