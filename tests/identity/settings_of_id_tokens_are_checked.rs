use crate::{
    house::{House, Plan, reason},
    kit::{BOTH, READ, object, plan},
};
use serde_json::json;
use tonic::Code;

/// Fails unless both `check` and `serve` refuse the configuration and say this.
fn assert_refused(house: &House, says: &str) {
    for command in ["check", "serve"] {
        let output = house.command(command).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{command}: {output:?}");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains(says), "{command} does not say {says:?}: {told}");
    }
}

// rows: TIME-01 IDT-04
#[test]
fn what_cannot_be_right_is_refused() {
    for (settings, says) in [
        ("clock_skew = \"61s\"", "`issuer.id_token.clock_skew` must be between 1ms and 1m, such as"),
        ("clock_skew = \"10m\"", "must be between"),
        ("clock_skew = 10", "must be a text"),
        ("algs = [\"none\"]", "\"none\" is not one of RS256"),
        ("algs = [\"HS256\"]", "is not one of RS256"),
        ("algs = [\"RS512\", \"ES256\"]", "\"RS512\" is not one of RS256"),
        ("groups = [\"a\", \"a\"]", "each once"),
        ("groups = [\"\"]", "1 to 128 visible ASCII"),
        ("acr_values = [\"two words\"]", "1 to 128 visible ASCII"),
        ("keys_ttl = \"2d\"", "must be between"),
        ("keys_refresh = \"500ms\"", "must be between"),
        ("keys_tll = \"1m\"", "did you mean `keys_ttl`?"),
    ] {
        assert_refused(&plan(settings).build(), says);
    }
}

// rows: SCOP-08
#[test]
fn a_capability_belongs_to_issuers() {
    for (from, to, says) in [
        ("issuers = [\"corp\"]", "api = \"crm\"", "is a capability of the issuer"),
        ("issuers = [\"corp\"]", "issuers = [\"other\"]", "names no configured issuer: \"other\""),
        ("issuers = [\"corp\"]", "issuers = []", "exactly one of `api`"),
        ("issuers = [\"corp\"]", "issuers = [\"corp\"]\napi = \"crm\"", "exactly one of `api`"),
        ("issuers = [\"corp\"]", "", "exactly one of `api`"),
        ("issuers = [\"corp\"]", "issuers = \"corp\"", "must be a list of texts"),
    ] {
        let mut plan = Plan::new();
        assert!(plan.apis.contains(from));
        plan.apis = plan.apis.replace(from, to);
        assert_refused(&plan.build(), says);
    }
}

#[tokio::test]
async fn an_issuer_without_usable_keys_is_not_asked_for_id_tokens() {
    for jwks_uri in [json!(null), json!("https://elsewhere.test/jwks"), json!("http://127.0.0.1/jwks"), json!(1)] {
        let members = object(json!({ "jwks_uri": jwks_uri }));
        let house = Plan::new().server(move |setup| setup.metadata_override = members.clone()).open().await;
        let mut agent = house.agent().await;
        let status = house.begin(&mut agent, &BOTH).await.err().unwrap();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "OPENID_UNSUPPORTED"));
        assert!(house.log().contains("allowed_hosts"), "the log names the line to add");
        // Nobody else is disturbed.
        house.login(&mut agent, &[READ]).await.unwrap();
        assert_eq!(house.server.jwks_requests(), 0);
    }
}

#[tokio::test]
async fn keys_of_a_configured_endpoint_are_used() {
    let endpoints =
        "endpoints = { authorization = \"@ISSUER@/authorize\", token = \"@TOKEN@\", jwks = \"@ISSUER@/jwks\" }";
    let mut house = Plan::new().config("issuer = \"@ISSUER@\"", &format!("issuer = \"@ISSUER@\"\n{endpoints}")).build();
    let file = house.path("narrowgate.toml");
    let config = std::fs::read_to_string(&file).unwrap().replace("@TOKEN@", &house.server.token_url());
    crate::house::write(&file, &config);
    house.start();
    house.wait_until_serving().await;
    let mut agent = house.agent().await;
    house.login(&mut agent, &BOTH).await.unwrap();
    assert_eq!((house.server.jwks_requests(), house.server.metadata_requests()), (1, 0));
}
