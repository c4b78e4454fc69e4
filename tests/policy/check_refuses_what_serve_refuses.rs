//! Whatever `serve` refuses for the configuration's sake, `check` refuses too, in the same words; it changes nothing.

use crate::{
    check, findings,
    house::{House, Plan, write},
};
use std::{fs, fs::Permissions, os::unix::fs::PermissionsExt};

/// Both refuse, and say this.
fn refused(house: &House, why: &str) {
    let (exit, found) = findings(house);
    assert_eq!((exit, found.len()), (64, 1), "{why}: {found:?}");
    assert!(found[0]["message"].as_str().unwrap().contains(why), "{why:?} is not in {found:?}");
    let serve = house.command("serve").output().unwrap();
    let said = String::from_utf8_lossy(&serve.stderr).into_owned();
    assert!(matches!(serve.status.code(), Some(64 | 69)) && said.contains(why), "{why:?} is not in {said}");
}

fn folder(house: &House, name: &str, mode: u32) {
    fs::create_dir(house.path(name)).unwrap();
    fs::set_permissions(house.path(name), Permissions::from_mode(mode)).unwrap();
}

// rows: CALL-04 TIME-06
#[tokio::test]
async fn a_place_for_a_socket_that_is_not_safe() {
    for mode in [0o777, 0o1777, 0o770] {
        let house = Plan::new().build();
        folder(&house, "run", mode);
        refused(&house, "others could replace the socket");
        assert_eq!(fs::read_dir(house.path("run")).unwrap().count(), 0, "something was left there");
    }
    let house = Plan::new().build();
    folder(&house, "run", 0o750);
    write(&house.path("run/agent.sock"), "someone's file");
    refused(&house, "is not a socket");
    assert_eq!(fs::read_to_string(house.path("run/agent.sock")).unwrap(), "someone's file");

    let house = Plan::new().config("@FOLDER@/run/agent.sock", "@FOLDER@/no/such/agent.sock").build();
    refused(&house, "is missing and cannot be made");

    let metrics = "[metrics]\npath = \"@FOLDER@/numbers/metrics.sock\"\n\n[audit]";
    let house = Plan::new().config("[audit]", metrics).build();
    folder(&house, "numbers", 0o777);
    refused(&house, "others could replace the socket");

    // A folder that serve would make is no mistake, and is not made.
    let house = Plan::new().build();
    assert_eq!(findings(&house).0, 0);
    assert!(!house.path("run").exists() && !house.path("audit").exists());
}

// rows: CALL-04
#[tokio::test]
async fn a_socket_for_a_group_that_is_not_named() {
    refused(&Plan::new().config("mode = \"0600\"", "mode = \"0660\"").build(), "needs `gid`");
    let gid = format!("mode = \"0660\"\ngid = {}", rustix::process::getegid().as_raw());
    assert_eq!(findings(&Plan::new().config("mode = \"0600\"", &gid).build()).0, 0);
}

// rows: JOSE-01
#[tokio::test]
async fn a_list_of_no_algorithms() {
    let house = Plan::new().config("\n[[client]]", "\n[issuer.id_token]\nalgs = []\n\n[[client]]").build();
    refused(&house, "must name at least one algorithm");
}

// rows: TIME-06
#[tokio::test]
async fn a_certificate_that_could_have_issued_none() {
    refused(&Plan::new().config("ca = \"server-ca.pem\"", "ca = \"client.pem\"").build(), "is no authority's");
    let bundle = "trust_bundle = \"agents-ca.pem\"";
    refused(&Plan::new().config(bundle, "trust_bundle = \"daemon.pem\"").build(), "is no authority's");
}

// rows: AUD-09 TIME-06
#[tokio::test]
async fn a_log_that_cannot_be_gone_on_with() {
    let house = Plan::new().build();
    write(&house.path("audit"), "a file");
    let (exit, found) = findings(&house);
    assert_eq!((exit, found.len()), (64, 1), "{found:?}");
    assert!(found[0]["message"].as_str().unwrap().contains("is no folder"), "{found:?}");
    assert_eq!(house.command("serve").output().unwrap().status.code(), Some(64));

    let house = Plan::new().build();
    folder(&house, "audit", 0o700);
    write(&house.path("audit/audit-000000000000-000.jsonl"), "{}\n");
    refused(&house, "is missing beside a log");
    write(&house.path("audit/correlation.key"), "0123");
    refused(&house, "is not 64 hex digits");
    write(&house.path("audit/correlation.key"), &"0".repeat(64));
    fs::set_permissions(house.path("audit/correlation.key"), Permissions::from_mode(0o644)).unwrap();
    refused(&house, "has mode 0644");
}

/// Two mistakes of one table, each told at its own line, at once.
// rows: TIME-06
#[tokio::test]
async fn certificate_and_key_each_have_their_own_mistake() {
    for (name, table) in [("client", "client"), ("daemon", "listen.tcp")] {
        let house = Plan::new().build();
        write(&house.path(&format!("{name}.pem")), "nothing");
        fs::set_permissions(house.path(&format!("{name}.key")), Permissions::from_mode(0o644)).unwrap();
        let (exit, found) = findings(&house);
        assert_eq!((exit, found.len()), (64, 2), "{found:?}");
        let text = fs::read_to_string(house.path("narrowgate.toml")).unwrap();
        for (key, file, why) in [("certificate", "pem", "holds no certificate"), ("key", "key", "has mode 0644")] {
            let line = text.lines().position(|l| l == format!("{key} = \"{name}.{file}\"")).unwrap() + 1;
            let finding = found.iter().find(|f| f["line"] == line).unwrap_or_else(|| panic!("line {line}: {found:?}"));
            let message = finding["message"].as_str().unwrap();
            assert!(message.starts_with(&format!("`{table}.{key}` ")) && message.contains(why), "{message}");
        }
    }
    // A key of another certificate is the key's mistake.
    let house = Plan::new().build();
    write(&house.path("client.key"), &fs::read_to_string(house.path("daemon.key")).unwrap());
    let (_, found) = findings(&house);
    assert_eq!(found.len(), 1, "{found:?}");
    let message = found[0]["message"].as_str().unwrap();
    assert!(message.starts_with("`client.key` ") && message.contains("does not belong to"), "{message}");
}

// rows: TIME-06
#[tokio::test]
async fn a_wrong_span_is_told_what_may_be_written() {
    for wrong in ["20 seconds", "20", "-1s", "0s", "2h", "1ms"] {
        let house = Plan::new().config("call_deadline = \"20s\"", &format!("call_deadline = \"{wrong}\"")).build();
        let (_, found) = findings(&house);
        let message = found[0]["message"].as_str().unwrap();
        assert!(message.contains("between 100ms and 5m, such as \"30s\""), "{wrong}: {message}");
        assert_eq!(message.contains("a span of time (ms, s, m, h or d)"), !["2h", "1ms"].contains(&wrong), "{message}");
    }
}

// rows: TIME-06
#[tokio::test]
async fn one_slip_is_one_finding() {
    let sole_agent = |plan: &mut Plan, uid: &str| {
        plan.agents =
            format!("[[agent]]\nid = \"quoter\"\n{uid}\nowner = \"sales\"\nenvironment = \"prod\"\ntrust = 3\n");
    };
    let of_agents: [&dyn Fn(&mut Plan); 3] = [
        &|plan| sole_agent(plan, "uid = -1"),
        &|plan| sole_agent(plan, "spiffe_id = \"https://acme.test/x\""),
        &|plan| sole_agent(plan, "uid = 65534"),
    ];
    let main = |from: &'static str, to: &'static str| {
        move |plan: &mut Plan| {
            assert!(plan.config.contains(from), "{from}");
            plan.config = plan.config.replacen(from, to, 1);
        }
    };
    let apis = |from: &'static str, to: &'static str| {
        move |plan: &mut Plan| {
            assert!(plan.apis.contains(from), "{from}");
            plan.apis = plan.apis.replacen(from, to, 1);
        }
    };
    let redirect = main("\"http://127.0.0.1/callback\"", "\"http://localhost/callback\"");
    let no_redirect = main("redirect_uris = [\"http://127.0.0.1/callback\"]", "redirect_uris = []");
    let issuer_alias = main("[[issuer]]\nalias = \"corp\"", "[[issuer]]\nalias = \"Corp Ltd\"");
    let issuer_nameless = main("[[issuer]]\nalias = \"corp\"", "[[issuer]]");
    let issuer_roots = main("ca = \"server-ca.pem\"", "ca = \"gone.pem\"");
    let subject = main("{ san_uri = \"spiffe://acme.test/narrowgate\" }", "{ san_uri = \"a\", san_dns = \"x\" }");
    let (key, table) = (main("auth = \"tls", "auht = \"tls"), main("[audit]", "[audits]"));
    let (risk, no_api) = (apis("risk = 4", "risk = 9"), apis("alias = \"mail\"", "alias = \"m@il\""));
    let of_files: [&dyn Fn(&mut Plan); 10] = [
        &redirect,
        &no_redirect,
        &issuer_alias,
        &issuer_nameless,
        &issuer_roots,
        &risk,
        &no_api,
        &subject,
        &key,
        &table,
    ];
    for change in of_agents.into_iter().chain(of_files) {
        let mut plan = Plan::new();
        change(&mut plan);
        let house = plan.build();
        let (exit, found) = findings(&house);
        assert_eq!((exit, found.len()), (64, 1), "{found:?}");
        assert!(check(&house, &[]).text.contains("\n1 mistake\n"));
    }
    // A wrong listener listens all the same.
    let alone = "[listen.unix]\npath = \"agent.sock\"\n";
    let mut plan = Plan::new();
    let from = plan.config.find("[listen.unix]").unwrap();
    let to = plan.config.find("[audit]").unwrap();
    plan.config.replace_range(from..to, alone);
    let (_, found) = findings(&plan.build());
    assert_eq!(found.len(), 1, "{found:?}");
}
