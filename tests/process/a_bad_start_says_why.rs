//! Files that are half written, unreadable or gone when the daemon starts.

use crate::{
    house::{House, Plan, binary, eventually, reason, write},
    ward::{self, NOBODY, is_root, reachable_binary},
};
use rustix::process::Pid;
use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::{Command, Output, Stdio},
};
use tonic::Code;

const READ: &[&str] = &["customers.read"];

async fn health(house: &House) -> Output {
    let endpoint = house.endpoint();
    let ask = move || binary().args(["health", "--endpoint", &endpoint]).output().unwrap();
    tokio::task::spawn_blocking(ask).await.unwrap()
}

/// The daemon runs and serves nothing; its health and its log say why.
async fn assert_not_serving(house: &House, why: &str) {
    eventually("the socket", || house.path("run/agent.sock").exists().then_some(())).await;
    eventually("the reason", || house.log().contains("no valid policy set: every call is refused").then_some(())).await;
    let output = health(house).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "NOT_SERVING");
    assert!(String::from_utf8_lossy(&output.stderr).contains("no valid policy set"), "{output:?}");
    assert!(house.log().contains(why), "{}", house.log());
    let mut agent = house.agent().await;
    let status = house.begin(&mut agent, READ).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "POLICY_NOT_LOADED"));
}

// rows: POL-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_is_half_written() {
    // Cut in the middle of a statement, of a word, and right after a comma.
    for cut in ["resource", "when {", "@id(\"guard"] {
        let mut house = Plan::new().build();
        let path = house.path("policies/guardrails.cedar");
        let text = fs::read_to_string(&path).unwrap();
        let at = text.rfind(cut).unwrap() + cut.len();
        write(&path, &text[..at]);
        house.start();
        assert_not_serving(&house, "guardrails.cedar:").await;
        assert_eq!(house.server.front_connections(), 0);
    }
}

// rows: POL-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_folder_that_is_none() {
    let mut house = Plan::new().build();
    fs::rename(house.path("policies"), house.path("elsewhere")).unwrap();
    house.start();
    assert_not_serving(&house, "policies").await;
    house.stop().await;
    write(&house.path("policies"), "a file");
    house.start();
    assert_not_serving(&house, "policies").await;
    house.stop().await;
    fs::remove_file(house.path("policies")).unwrap();
    fs::rename(house.path("elsewhere"), house.path("policies")).unwrap();
    house.start();
    house.wait_until_serving().await;
}

// rows: POL-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_that_may_not_be_read() {
    if !is_root("a folder that may not be read") {
        return;
    }
    let mut plan = Plan::new();
    let uid = rustix::process::geteuid().as_raw();
    plan.agents = plan.agents.replace(&format!("uid = {uid}\n"), &format!("uid = {NOBODY}\n"));
    let house = plan.build();
    let program = reachable_binary(&house);
    ward::give_away(house.folder.path());
    for (what, mode) in [("policies/flows.cedar", 0o000), ("policies", 0o000)] {
        let path = house.path(what);
        let before = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let mut command = Command::new(&program);
        command.arg("serve").arg("--config").arg(house.path("narrowgate.toml")).uid(NOBODY).gid(NOBODY);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        eventually("the socket", || house.path("run/agent.sock").exists().then_some(())).await;
        let output = eventually("an answer", || {
            let output = binary().args(["health", "--endpoint", &house.endpoint()]).output().unwrap();
            (!output.stdout.is_empty()).then_some(output)
        })
        .await;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("no valid policy set"), "{output:?}");
        rustix::process::kill_process(Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
        let said = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.contains(what) && said.contains("Permission denied"), "{said}");
        fs::set_permissions(&path, before).unwrap();
    }
}

/// What `serve` says of a configuration; it must end by itself, with the exit code of a wrong one.
async fn refused(house: &House) -> String {
    let mut command = house.command("serve");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(!house.path("run/agent.sock").exists());
    said
}

// rows: TIME-06
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_is_half_written() {
    let house = Plan::new().build();
    let path = house.path("narrowgate.toml");
    let text = fs::read_to_string(&path).unwrap();
    // In a text, in a key, in a table's name, after an equals sign; and between two tables, where what is left parses.
    for cut in ["certificate = \"daem", "trust_doma", "[regis", "client_id =", "apis = \"apis.toml\"\n"] {
        let at = text.find(cut).unwrap() + cut.len();
        write(&path, &text[..at]);
        let said = refused(&house).await;
        let line = text[..at].lines().count();
        let exact = said.contains(&format!("narrowgate.toml:{line}:"));
        let missing = said.contains("[[client]] is configured");
        assert!(exact || missing, "{cut:?} on line {line}:\n{said}");
        assert!(!said.contains("panicked"));
    }
    write(&path, "");
    assert!(refused(&house).await.contains("is missing"));
    // The registry, likewise.
    write(&path, &text);
    let agents = house.path("agents.toml");
    let whole = fs::read_to_string(&agents).unwrap();
    write(&agents, &whole[..whole.find("owner = ").unwrap() + 8]);
    assert!(refused(&house).await.contains("agents.toml:"));
    fs::remove_file(&agents).unwrap();
    assert!(refused(&house).await.contains("agents.toml: cannot be read"));
}
