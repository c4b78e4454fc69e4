use crate::{
    asking::{READ, WRITE, lasting, narrow, refused, until},
    house::{
        House, Plan, eventually, fact, get, reason, redeem,
        scripted_as::behaviour::{Behaviour, Script},
    },
};
use serde_json::{Map, Value, json};
use tonic::Code;

/// A house whose issuer is asked about its tokens, and whose word is believed for this long.
fn asking(cache: &str) -> Plan {
    let lines = format!(
        "deadline = \"5s\"\ncircuit_breaker = false\n\n[issuer.access_token]\ncontract = \"introspection\"\nintrospection_cache = \"{cache}\"\n"
    );
    Plan::new().config("deadline = \"5s\"\n", &lines)
}

fn members(changes: &Value) -> Behaviour {
    let Value::Object(changes) = changes.clone() else { panic!("no object") };
    Behaviour::Members(changes)
}

/// A login whose token the issuer speaks of so: it is refused, and all that came with it revoked.
async fn refuses(house: &House, behaviour: Behaviour, why: &str, rule: Option<&str>) {
    let (mut agent, what) = (house.agent().await, format!("{behaviour:?}"));
    let revoked = house.server.revocations().len();
    house.server.always(Script::Introspection(behaviour));
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let status = redeem(&mut agent, &transaction, &callback).await.err().expect(&what);
    assert_eq!((reason(&status).as_str(), fact(&status, "rule").as_deref()), (why, rule), "{what}");
    eventually(&what, || (house.server.revocations().len() == revoked + 2).then_some(())).await;
    house.server.always(Script::Introspection(Behaviour::Honest));
}

// rows: INTR-04 INTR-01
#[tokio::test]
async fn nothing_but_true_is_active() {
    let house = asking("5m").open().await;
    for active in [json!("true"), json!(1), json!(null), json!(false), json!([true]), json!("TRUE"), json!({})] {
        refuses(&house, members(&json!({ "active": active })), "AT_CONTRACT_VIOLATION", Some("active")).await;
    }
    house.login(&mut house.agent().await, &[READ]).await.unwrap();
    house.assert_no_secret_leaked();
}

// rows: INTR-07 INTR-08 RES-04
#[tokio::test]
async fn what_the_issuer_says_must_fit() {
    let house = asking("5m").open().await;
    for (changes, rule) in [
        (json!({"iss": "https://elsewhere.example"}), "iss"),
        (json!({"client_id": "somebody-else"}), "client_id"),
        (json!({"exp": 1_700_000_000}), "exp"),
        (json!({"scope": "customers.read customers.delete"}), "scope"),
        (json!({"scope": ["customers.read"]}), "scope"),
    ] {
        refuses(&house, members(&changes), "AT_CONTRACT_VIOLATION", Some(rule)).await;
    }
    let other = members(&json!({"aud": "https://mail.example.test/api"}));
    refuses(&house, other, "AUDIENCE_MISMATCH", Some("aud")).await;
    // It need not say any of that, and what it says counts for less.
    let little = json!({"iss": null, "client_id": null, "exp": null, "scope": READ});
    house.server.always(Script::Introspection(members(&little)));
    let token = house.login(&mut house.agent().await, &[READ, WRITE]).await.unwrap().token.unwrap();
    assert_eq!(token.scopes, [READ]);
}

// rows: INTR-04 INTR-06 (no JWT is asked for, so none is an answer) TOK-02
#[tokio::test]
async fn what_is_no_answer_lets_nothing_through() {
    let house = asking("5m").open().await;
    let raw = |kind: &str, body: &str| Behaviour::Raw {
        status: 200,
        headers: vec![("Content-Type".to_owned(), kind.to_owned())],
        body: body.as_bytes().to_vec(),
    };
    let location = format!("https://127.0.0.1:{}/introspect", house.server.front_port());
    for behaviour in [
        raw("application/json", r#"{"active":true,"active":true}"#),
        raw("application/json", r#"{"active":true} "#.repeat(2).as_str()),
        raw("application/json", "true"),
        raw("text/plain", r#"{"active":true}"#),
        raw("application/token-introspection+jwt", "e30.e30.e30"),
        raw("application/at+jwt", "e30.e30.e30"),
        Behaviour::Redirect { status: 307, location },
        Behaviour::Status(401),
        Behaviour::Status(503),
        Behaviour::CloseAfterRequest,
        Behaviour::EndlessBody,
    ] {
        refuses(&house, behaviour, "INTROSPECTION_UNAVAILABLE", None).await;
    }
    assert!(!house.server.requests().iter().any(|line| line == "front POST /introspect"));
    house.login(&mut house.agent().await, &[READ]).await.unwrap();
    house.assert_no_secret_leaked();
}

// rows: INTR-05
#[tokio::test]
async fn a_word_is_believed_for_its_time_and_no_longer() {
    let house = asking("5m").open().await;
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &[READ]).await.unwrap();
    for _ in 0..5 {
        get(&mut agent, &redeemed.grant).await.unwrap();
    }
    let asked = house.server.introspections();
    assert_eq!(asked.len(), 1);
    // As at the token endpoint: one form, the client's certificate, nothing else.
    let names: Vec<&str> = asked[0].form.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((names, &asked[0].client_refused), (vec!["token", "token_type_hint", "client_id"], &None));
    assert_eq!(asked[0].header("authorization"), None);

    let house = asking("100ms").open().await;
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &[READ]).await.unwrap();
    let again = until("another question", || {
        let (mut agent, grant, server) = (agent.clone(), redeemed.grant.clone(), &house.server);
        async move {
            get(&mut agent, &grant).await.unwrap();
            (server.introspections().len() > 2).then_some(())
        }
    });
    again.await;
    assert_eq!(house.server.refreshes().len(), 0);
}

// rows: INTR-05 INTR-04
#[tokio::test]
async fn what_the_issuer_has_revoked_is_not_served() {
    let house = asking("100ms").open().await;
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &[READ, WRITE]).await.unwrap();
    let first = redeemed.token.unwrap().access_token;
    house.server.end_all_access();
    // Another is fetched in its place, and the issuer stands by that.
    let second = until("another token", || {
        let (mut agent, grant, first) = (agent.clone(), redeemed.grant.clone(), first.clone());
        async move {
            let token = get(&mut agent, &grant).await.unwrap().token.unwrap().access_token;
            (token != first).then_some(token)
        }
    })
    .await;
    assert_eq!(house.server.refreshes().len(), 1);
    let refusals = house.events("exchange.refused");
    let inactive = |event: &Value| event["unmapped"]["narrowgate"]["introspection"] == "inactive";
    assert!(refusals.iter().any(inactive), "{refusals:?}");
    // The whole grant is gone at the issuer.
    house.server.end_all_access();
    house.server.end_all_families();
    let ended = until("the end", || {
        let (mut agent, grant, second) = (agent.clone(), redeemed.grant.clone(), second.clone());
        async move {
            match get(&mut agent, &grant).await {
                Ok(reply) => (reply.token.unwrap().access_token != second).then(|| panic!("a third token")),
                Err(status) => Some(status),
            }
        }
    })
    .await;
    assert_eq!(reason(&ended), "REAUTH_REQUIRED");
    house.assert_no_secret_leaked();
}

// rows: INTR-05
#[tokio::test]
async fn without_a_refresh_token_it_ends_there() {
    let house = asking("100ms").open().await;
    house.server.always(Script::Token(Behaviour::NoRefreshToken));
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &[READ]).await.unwrap();
    house.server.end_all_access();
    let ended = until("the end", || {
        let (mut agent, grant) = (agent.clone(), redeemed.grant.clone());
        async move { get(&mut agent, &grant).await.err() }
    });
    assert_eq!(reason(&ended.await), "TOKEN_EXPIRED");
}

// rows: INTR-05
#[tokio::test]
async fn while_nobody_knows_nothing_is_served_and_nothing_lost() {
    let house = asking("100ms").open().await;
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &[READ, WRITE]).await.unwrap();
    house.server.always(Script::Introspection(Behaviour::Status(500)));
    let status = until("a refusal", || {
        let (mut agent, grant) = (agent.clone(), redeemed.grant.clone());
        async move { get(&mut agent, &grant).await.err() }
    })
    .await;
    refused(Err::<(), _>(status), Code::Unavailable, "INTROSPECTION_UNAVAILABLE");
    // A refreshed token that nobody can ask about is revoked, and the refresh token taken over.
    refused(narrow(&mut agent, &redeemed.grant, &[READ]).await, Code::Unavailable, "INTROSPECTION_UNAVAILABLE");
    house.server.always(Script::Introspection(Behaviour::Honest));
    let token = get(&mut agent, &redeemed.grant).await.unwrap().token.unwrap().access_token;
    assert_eq!(token, redeemed.token.unwrap().access_token);
    until("another refresh", || {
        let (mut agent, grant) = (agent.clone(), redeemed.grant.clone());
        async move { narrow(&mut agent, &grant, &[READ]).await.ok() }
    })
    .await;
    assert_eq!(house.server.reused_families(), 0);
    lasting(&mut agent, &redeemed.grant, 1).await.unwrap();
}

// rows: INTR-04
#[tokio::test]
async fn without_an_endpoint_nothing_is_begun() {
    let house = asking("5m").open().await;
    let gone = json!({"introspection_endpoint": null, "mtls_endpoint_aliases": null});
    let Value::Object(gone): Value = gone else { return };
    let gone: Map<String, Value> = gone;
    house.server.metadata_override(gone);
    let status = house.begin(&mut house.agent().await, &[READ]).await.err().unwrap();
    let field = fact(&status, "field");
    assert_eq!((reason(&status).as_str(), field.as_deref()), ("METADATA_REJECTED", Some("introspection_endpoint")));
}

// rows: INTR-08 MTLS-08
#[tokio::test]
async fn the_issuer_says_what_a_token_is_bound_to() {
    let bound = "owner = \"sales\"\nbound_tokens = true\nshared_certificate = true";
    let house = asking("5m").config("owner = \"sales\"", bound).open().await;
    for cnf in [json!(null), json!({}), json!({"x5t#S256": "AAAA"}), json!({"x5t#S256": ""}), json!({"jkt": "AAAA"})] {
        refuses(&house, members(&json!({ "cnf": cnf })), "AT_CONTRACT_VIOLATION", Some("cnf")).await;
    }
    // The token itself is opaque: nobody looks into it.
    let own =
        narrowgate::config::thumbprint(&house.server.last_token_request().unwrap().client_certificate_der.unwrap());
    house.server.always(Script::Introspection(members(&json!({ "cnf": { "x5t#S256": own } }))));
    let token = house.login(&mut house.agent().await, &[READ]).await.unwrap().token.unwrap();
    assert!(token.binding() == narrowgate::api::proto::Binding::Mtls);
}
