use crate::{
    house::{
        House, Plan, fact, get, reason,
        scripted_as::behaviour::{Behaviour, Script},
    },
    kit::{BOTH, MALFORMED, READ, plan, raw, refuses, settled},
};
use narrowgate::api::proto::Token;
use serde_json::json;
use std::time::Duration;
use tonic::Code;

const TEN_YEARS: u64 = 315_360_000;

/// Seconds that the token lives, and that narrowgate serves it, counted from the server's clock at issue.
fn spans(house: &House, token: &Token) -> (i64, i64) {
    let issued = house.events("token.issued").pop().unwrap();
    let at = issued["session"]["created_time"].as_i64().unwrap() / 1000;
    (token.expire_time.unwrap().seconds - at, token.lease_time.unwrap().seconds - at)
}

// rows: TOK-06 INTR-01
#[tokio::test]
async fn a_lifetime_that_is_no_positive_whole_number_is_refused() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    let bad = [
        json!(-1),
        json!(0),
        json!("3600"),
        json!(9_223_372_036_854_775_808_u64),
        json!(1.5),
        json!(true),
        json!([3600]),
        json!(1_000_000_001),
    ];
    for value in bad {
        refuses(&house, &mut agent, Behaviour::Lifetime(value), MALFORMED, BOTH).await;
    }
    for value in ["1e309", "-1e309", "0x10", "NaN"] {
        let body = format!(r#"{{"access_token":"canary-at-for","token_type":"Bearer","expires_in":{value}}}"#);
        refuses(&house, &mut agent, raw(200, &body), MALFORMED, &["access_token"]).await;
    }
    settled(&house, &mut agent).await;
}

// rows: TOK-06
#[tokio::test]
async fn a_missing_lifetime_is_the_issuers_default() {
    let house = Plan::new().config("[[issuer]]\n", "[[issuer]]\nassumed_lifetime = \"7m\"\n").open().await;
    let mut agent = house.agent().await;
    house.server.behave(Script::Token(Behaviour::NoExpiresIn));
    let token = house.login(&mut agent, &[READ]).await.unwrap().token.unwrap();
    // The last five seconds of its life are left for its way.
    assert_eq!(spans(&house, &token), (420, 415));
    house.assert_no_secret_leaked();
}

// rows: TOK-06 INTR-01
#[tokio::test]
async fn a_token_beyond_the_clients_ceiling_is_refused_and_revoked() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    let denied = (Code::PermissionDenied, "POLICY_DENIED");
    for seconds in [3601, TEN_YEARS] {
        let status = refuses(&house, &mut agent, Behaviour::Lifetime(json!(seconds)), denied, BOTH).await;
        assert_eq!(fact(&status, "policy_code").as_deref(), Some("issued_token_out_of_bounds"));
    }
    settled(&house, &mut agent).await;
}

// rows: TOK-06
#[tokio::test]
async fn policy_caps_how_long_a_long_token_is_served() {
    let mut plan = Plan::new();
    for (_, text) in &mut plan.policies {
        *text = text.replace(" ||\n  context.token.lifetime > resource.lifetimeCeiling", "");
    }
    let house = plan.open().await;
    let mut agent = house.agent().await;
    house.server.behave(Script::Token(Behaviour::Lifetime(json!(TEN_YEARS))));
    let token = house.login(&mut agent, &[READ]).await.unwrap().token.unwrap();
    assert_eq!(spans(&house, &token), (i64::try_from(TEN_YEARS).unwrap(), 600));

    let house = Plan::new().config("owner = \"sales\"", "owner = \"sales\"\nmax_token_lifetime = \"30d\"").open().await;
    let mut agent = house.agent().await;
    house.server.behave(Script::Token(Behaviour::Lifetime(json!(30 * 86_400))));
    let redeemed = house.login(&mut agent, &[READ, "customers.write"]).await.unwrap();
    // The strictest term of both scopes.
    assert_eq!(spans(&house, &redeemed.token.unwrap()), (30 * 86_400, 300));
    let again = get(&mut agent, &redeemed.grant).await.unwrap().token.unwrap();
    assert_eq!(spans(&house, &again), (30 * 86_400, 300));
    house.assert_no_secret_leaked();
}

// rows: TOK-06 (decisions 9)
#[tokio::test]
async fn at_the_end_of_its_lease_a_token_is_served_no_more_and_not_revoked() {
    let short = r#"@id("test.short")
        @max_lifetime("1s")
        @no_refresh
        permit (principal, action == Narrowgate::Action::"grant_scope", resource);"#;
    let house = Plan::new().policy(short).open().await;
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &[READ]).await.unwrap();
    assert_eq!(spans(&house, &redeemed.token.unwrap()), (3600, 1));
    get(&mut agent, &redeemed.grant).await.unwrap();
    let ended = async {
        loop {
            match get(&mut agent, &redeemed.grant).await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(25)).await,
                Err(status) => return status,
            }
        }
    };
    let status = tokio::time::timeout(Duration::from_secs(5), ended).await.unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "TOKEN_EXPIRED"));
    assert_eq!(house.server.revocation_posts(), 0);
    house.assert_no_secret_leaked();
}
