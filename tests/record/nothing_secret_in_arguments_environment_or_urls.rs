use crate::house::{Plan, eventually};
use narrowgate::api::proto::RevokeGrantRequest;
use std::fs;

// rows: LEAK-02
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_daemon() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &["customers.read"]).await.unwrap();
    let read =
        |name: &str| String::from_utf8_lossy(&fs::read(format!("/proc/{}/{name}", house.pid())).unwrap()).into_owned();
    let (arguments, environment) = (read("cmdline"), read("environ"));
    assert!(arguments.contains("serve"), "this is the daemon");
    let secrets = house.server.secrets();
    assert!(secrets.len() >= 5, "code, state, verifier, tokens: {}", secrets.len());
    let keys: Vec<String> = ["client.key", "daemon.key", "audit/correlation.key"]
        .iter()
        .flat_map(|name| fs::read_to_string(house.path(name)).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
        .filter(|line| line.len() >= 16 && !line.starts_with("-----"))
        .collect();
    for secret in secrets.iter().chain(&keys) {
        assert!(!arguments.contains(secret) && !environment.contains(secret));
    }
    // Of all that goes to the server, URLs carry the authorization request alone.
    agent.revoke_grant(RevokeGrantRequest { grant: redeemed.grant, ..RevokeGrantRequest::default() }).await.unwrap();
    eventually("the revocation", || (house.server.revocation_posts() >= 2).then_some(())).await;
    for target in house.server.requests() {
        assert!(!target.contains('?'), "{target}");
        assert!(secrets.iter().all(|s| !target.contains(s.as_str())));
    }
    for request in house.server.token_requests().iter().chain(&house.server.revocation_requests()) {
        for (name, value) in &request.headers {
            assert!(secrets.iter().all(|s| !value.contains(s.as_str())), "{name}");
        }
    }
}

// rows: LEAK-02
#[tokio::test]
async fn the_authorization_url_holds_a_challenge_and_no_verifier() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let begun = house.begin(&mut agent, &["customers.read"]).await.unwrap();
    let callback = house.server.approve(&begun.authorization_url);
    crate::house::redeem(&mut agent, &begun.transaction, &callback).await.unwrap();
    let request = house.server.last_token_request().unwrap();
    let verifier = request.param("code_verifier").unwrap();
    assert!(!begun.authorization_url.contains(verifier) && verifier.len() >= 43);
    for forbidden in ["code_verifier", "client_secret", "access_token", "client_assertion"] {
        assert!(!begun.authorization_url.contains(forbidden));
    }
}

// rows: LEAK-02
#[tokio::test]
async fn the_command_line_takes_no_secret_as_an_argument() {
    let house = Plan::new().open().await;
    let callback = "http://127.0.0.1/callback?code=canary-argument-0123456789&state=s";
    for arguments in [vec![callback], vec!["--callback-url", callback], vec!["--code", "canary-argument-0123456789"]] {
        let output = crate::house::binary()
            .args(["token", "redeem", "--endpoint", &house.endpoint(), "--transaction", "txn_0"])
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(64));
    }
    // A secret in a variable of the environment has no meaning either.
    let mut command = house.command("check");
    command.env("NARROWGATE_CLIENT_SECRET", "canary-variable-0123456789").env("NARROWGATE_LOG", "trace");
    let output = command.output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains("canary-variable"));
}
