//! The log is at TRACE, TLS is asked to write its keys down, and the server echoes what it was sent. What the server knows
//! as a secret is in no sink: the house looks through all of them at its end.

use crate::kit::*;

#[tokio::test]
async fn an_echo_stops_at_the_wire() {
    let mut plan = Plan::new();
    let keys = tempfile::NamedTempFile::new().unwrap();
    plan.environment.push(("SSLKEYLOGFILE".to_owned(), keys.path().display().to_string()));
    plan.environment.push(("RUST_LOG".to_owned(), "trace".to_owned()));
    let house = plan.open().await;
    let mut agent = house.agent().await;
    house.login(&mut agent, &[READ]).await.unwrap();
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let echo = Behaviour::OAuthError {
        status: 400,
        error: "invalid_grant".to_owned(),
        description: Some(format!("code {} with verifier and all", callback.code)),
    };
    house.server.behave(Script::Token(echo));
    let status = refused(redeem(&mut agent, &transaction, &callback).await, Code::FailedPrecondition, "GRANT_REJECTED");
    let mut told = vec![format!("{status:?}")];
    for url in [callback.url.replace("state=", "state=x"), callback.url.replace("/callback", "/other")] {
        told.push(format!("{:?}", ask(&mut agent, redeem_request(&transaction, &url)).await.err().unwrap()));
    }
    let broken = body(200, &format!("{{\"access_token\": \"{}\", ", callback.code));
    told.push(format!("{:?}", answered(&house, &mut agent, broken).await));
    for secret in house.server.secrets() {
        assert!(told.iter().all(|status| !status.contains(&secret)), "a secret is in a status");
    }
    assert_eq!(fs::metadata(keys.path()).unwrap().len(), 0, "the keys of a connection were written down");
    assert!(house.log().contains("\"level\":\"TRACE\"") || house.log().contains("\"level\":\"DEBUG\""));
    house.assert_no_secret_leaked();
}
