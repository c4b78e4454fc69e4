use crate::{
    client_keys::{open, pair, signing_plan},
    details_kit,
    house::{
        House, Plan, begin_request, reason, redeem,
        scripted_as::{
            assertions::Registered,
            behaviour::{Behaviour, Script},
            par::Offer,
        },
    },
    kit::READ,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use narrowgate::api::proto::BeginAuthorizationRequest;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tonic::Code;
use url::Url;

fn signing(plan: Plan, alg: &str) -> Plan {
    let key = "assertion_key = \"assertion.key\"";
    plan.config(key, &format!("{key}\nassertion_kid = \"key-1\"\nrequest_object_signing_alg = \"{alg}\""))
}

async fn signed(alg: &'static str, offer: Offer) -> House {
    let key = pair(alg);
    let registered = Registered::PrivateKeyJwt(key.public.clone());
    let mut plan = signing(signing_plan(), alg);
    plan.apis.push_str(details_kit::TYPES);
    let plan = plan.policy(
        r#"@id("test.details") permit (principal, action == Narrowgate::Action::"grant_detail", resource in Narrowgate::Api::"crm");"#,
    );
    let house = open(plan, &[("assertion.key", &key.pem)], registered).await;
    house.server.offer_par(offer);
    house
}

/// The parameters of a URL.
fn pairs(url: &str) -> Vec<(String, String)> {
    Url::parse(url).unwrap().query_pairs().into_owned().collect()
}

/// Header and claims.
fn inside(object: &str) -> (Value, Value) {
    let parts: Vec<&str> = object.split('.').collect();
    let json = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    (json(parts[0]), json(parts[1]))
}

/// The URL with another request object.
fn with_object(url: &str, object: &str) -> String {
    let mut changed = Url::parse(url).unwrap();
    let kept: Vec<(String, String)> = pairs(url).into_iter().filter(|(name, _)| name != "request").collect();
    changed.query_pairs_mut().clear().extend_pairs(kept).append_pair("request", object);
    changed.into()
}

// rows: PAR-05 PAR-02
#[tokio::test]
async fn everything_that_is_asked_is_in_the_object_and_nothing_beside_it() {
    for (alg, offer) in
        [("ES256", Offer::No), ("ES256", Offer::Offered), ("EdDSA", Offer::No), ("PS256", Offer::Required)]
    {
        let house = signed(alg, offer).await;
        let mut agent = house.agent().await;
        let mut seen = BTreeSet::new();
        for _ in 0..2 {
            let request = BeginAuthorizationRequest {
                scopes: vec![READ.to_owned(), "openid".to_owned()],
                max_age: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
                prompt: vec!["login".to_owned()],
                authorization_details: json!([details_kit::customer()]).to_string(),
                ..begin_request(&[])
            };
            let begun = agent.begin_authorization(request).await.unwrap().into_inner();
            let sent =
                house.server.pushed_requests().pop().map_or_else(|| pairs(&begun.authorization_url), |one| one.form);
            let mut names: Vec<&str> = sent.iter().map(|(name, _)| name.as_str()).collect();
            names.retain(|name| !name.starts_with("client_assertion"));
            names.sort_unstable();
            assert_eq!(names, ["client_id", "request"], "{alg} {offer:?}");
            let object = &sent.iter().find(|(name, _)| name == "request").unwrap().1;
            let (header, claims) = inside(object);
            assert_eq!(header, json!({ "alg": alg, "typ": "oauth-authz-req+jwt", "kid": "key-1" }));
            for (name, value) in [
                ("iss", json!("narrowgate-sales")),
                ("client_id", json!("narrowgate-sales")),
                ("aud", json!(house.server.issuer())),
                ("response_type", json!("code")),
                ("code_challenge_method", json!("S256")),
                ("scope", json!("customers.read openid")),
                ("max_age", json!(600)),
                ("prompt", json!("login")),
                ("authorization_details", json!([details_kit::customer()])),
                ("sub", Value::Null),
            ] {
                assert_eq!(claims[name], value, "{name}");
            }
            let lives = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
            assert_eq!((lives, &claims["nbf"]), (300, &claims["iat"]));
            assert!(seen.insert(claims["jti"].as_str().unwrap().to_owned()), "a jti came twice");
            // The caller is told how long the URL is good for.
            let ends = begun.expire_time.unwrap().seconds;
            assert!(
                ends <= claims["exp"].as_i64().unwrap()
                    && (ends < lives + claims["iat"].as_i64().unwrap()) == (offer != Offer::No)
            );
            let callback = house.server.approve(&begun.authorization_url);
            redeem(&mut agent, &begun.transaction, &callback).await.unwrap();
        }
    }
}

// rows: PAR-05 PKJ-03
#[tokio::test]
async fn an_object_is_no_assertion_and_an_assertion_no_object() {
    let house = signed("ES256", Offer::No).await;
    let mut agent = house.agent().await;
    let begun = house.begin(&mut agent, &[READ]).await.unwrap();
    let object = pairs(&begun.authorization_url).into_iter().find(|(name, _)| name == "request").unwrap().1;
    let callback = house.server.approve(&begun.authorization_url);
    redeem(&mut agent, &begun.transaction, &callback).await.unwrap();
    // Whoever saw it in the browser presents it to the token endpoint, in a request that is good otherwise.
    let mut request = house.server.last_token_request().unwrap();
    let assertion = request.param("client_assertion").unwrap().to_owned();
    for (name, value) in &mut request.form {
        if name == "client_assertion" {
            value.clone_from(&object);
        }
    }
    assert_eq!(house.server.judge_again(&request).as_deref(), Some("typ is \"oauth-authz-req+jwt\""));
    // A server that does not look at the type sees no `sub`.
    assert_eq!(inside(&object).1.get("sub"), None);
    let begun = house.begin(&mut agent, &[READ]).await.unwrap();
    let refused = house.server.try_approve(&with_object(&begun.authorization_url, &assertion));
    assert_eq!(refused.unwrap_err(), "typ is \"client-authentication+jwt\"");
}

// rows: PAR-05
#[tokio::test]
async fn nobody_on_its_way_can_change_it() {
    let house = signed("ES256", Offer::No).await;
    let mut agent = house.agent().await;
    let begun = house.begin(&mut agent, &[READ]).await.unwrap();
    let url = &begun.authorization_url;
    let object = pairs(url).into_iter().find(|(name, _)| name == "request").unwrap().1;
    let (header, claims) = inside(&object);
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signature = object.rsplit('.').next().unwrap();
    let more = encode(&details_kit::with(claims.clone(), "scope", json!("customers.read customers.delete")));
    let tampered = format!("{}.{more}.{signature}", encode(&header));
    let unsigned = format!("{}.{}.", encode(&json!({ "alg": "none", "typ": "oauth-authz-req+jwt" })), encode(&claims));
    let refused = |url: &str| house.server.try_approve(url).unwrap_err();
    assert_eq!(refused(&with_object(url, &tampered)), "badly signed");
    assert_eq!(refused(&with_object(url, &unsigned)), "alg is \"none\"");
    assert!(refused(&format!("{url}&scope=customers.delete")).contains("beside a request object"));
    let other = url.replace("client_id=narrowgate-sales", "client_id=another");
    assert_eq!(refused(&other), "the client has no key");
    // The one that was made is good, once.
    let callback = house.server.approve(url);
    redeem(&mut agent, &begun.transaction, &callback).await.unwrap();
    assert_eq!(refused(url), "seen before");
}

// rows: PAR-05
#[tokio::test]
async fn a_server_that_refuses_the_object_begins_nothing() {
    let house = signed("ES256", Offer::Offered).await;
    let mut agent = house.agent().await;
    let error = "invalid_request_object".to_owned();
    house.server.behave(Script::Par(Behaviour::OAuthError { status: 400, error, description: None }));
    let status = house.begin(&mut agent, &[READ]).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Internal, "AS_REJECTED"));
    assert_eq!(crate::house::fact(&status, "oauth_error").as_deref(), Some("invalid_request_object"));
    house.begin(&mut agent, &[READ]).await.unwrap();
}

// rows: PAR-05
#[test]
fn only_a_client_with_a_key_of_its_own_signs() {
    let key = pair("ES256");
    let by_certificate = Plan::new().config("owner = ", "request_object_signing_alg = \"ES256\"\nowner = ");
    for (plan, told) in [
        (signing(signing_plan(), "PS256"), "but the key is for ES256"),
        (signing(signing_plan(), "none"), "but the key is for ES256"),
        (by_certificate, "needs a key that the issuer knows the client by"),
    ] {
        let house = plan.build();
        crate::house::write(&house.path("assertion.key"), &key.pem);
        let output = house.command("check").output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!output.status.success() && said.contains(told), "{told:?} is not in {said}");
    }
}
