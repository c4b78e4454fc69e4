use crate::{
    house::{binary, write},
    kit::{DELETE, Key, asking, begin, plan, wanted},
};
use serde_json::Value;
use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

fn run(command: &mut Command, input: &str) -> Output {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

// rows: AGNT-07 (the way to evidence)
#[tokio::test]
async fn what_is_signed_there_counts_here() {
    let key = Key::new();
    let house = plan(&key).open().await;
    let mut agent = house.agent().await;
    write(&house.path("ann.key"), &key.pem());
    let told = wanted(&mut agent, &[DELETE]).await;
    let printed = run(binary().args(["approve", "key", "--key"]).arg(house.path("ann.key")), "");
    let jwk: Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(jwk["x"], serde_json::from_str::<Value>(&key.jwk()).unwrap()["x"]);
    let sign = |more: &[&str], input: &str| {
        let mut command = binary();
        command.args(["approve", "sign", "--approver", "ann", "--key"]).arg(house.path("ann.key"));
        command.args(["--policy-digest", &told.policy_digest]).args(more);
        run(&mut command, input)
    };
    let signed = sign(&["--request", "-", "--ticket", "CHG-17"], &format!("{}\n", told.request));
    assert!(signed.status.success(), "{signed:?}");
    // The approver sees what they sign.
    let shown = text(&signed.stderr);
    for fact in ["ann approves, for 900 s", "\"agent\": \"quoter\"", "customers.delete", "sales-crm"] {
        assert!(shown.contains(fact), "{shown}");
    }
    begin(&mut agent, asking(&[DELETE], text(&signed.stdout).trim())).await.unwrap();
    let json = sign(&["--output", "json", "--request", &told.request], "");
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["request_digest"], told.request_digest.as_str());
    begin(&mut agent, asking(&[DELETE], json["approval"].as_str().unwrap())).await.unwrap();
    // What is no request, or would count for too long, is not signed.
    for more in [
        ["--request", "no JSON"].as_slice(),
        &["--request", "[]"],
        &["--request", &told.request, "--lifetime", "2h"],
        &["--request", &told.request, "--ticket", "two words"],
    ] {
        let output = sign(more, "");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(64), 0), "{more:?} {output:?}");
    }
    assert!(!shown.contains("PRIVATE KEY"));
}
