use crate::{
    house::{Agent, House, Plan, begin_request, fact, redeem_request, scripted_as::Callback},
    kit::{AgentKey, CRM, READ, Resource, narrow, plan, proving, refused, sign},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use narrowgate::api::proto::{BeginAuthorizationRequest, BeginAuthorizationResponse, RedeemCodeRequest};
use serde_json::{Value, json};
use tonic::{Code, Status};

const BEGIN: &str = "narrowgate:begin_authorization";
const INVALID: (Code, &str) = (Code::InvalidArgument, "DPOP_PROOF_INVALID");

fn agents_plan() -> Plan {
    plan().config("token_binding = \"dpop\"", "token_binding = \"dpop\"\ndpop_key = \"agent\"")
}

async fn begin(agent: &mut Agent, proof: String) -> Result<BeginAuthorizationResponse, Status> {
    let request = BeginAuthorizationRequest { dpop_proof: proof, ..begin_request(&[READ]) };
    Ok(agent.begin_authorization(request).await?.into_inner())
}

async fn begun(house: &House, agent: &mut Agent, key: &AgentKey) -> (BeginAuthorizationResponse, Callback) {
    let begun = begin(agent, key.prove(BEGIN, Value::Null, Value::Null)).await.unwrap();
    let callback = house.server.approve(&begun.authorization_url);
    (begun, callback)
}

fn redeeming(transaction: &str, callback: &Callback, proof: String) -> RedeemCodeRequest {
    RedeemCodeRequest { dpop_proof: proof, ..redeem_request(transaction, &callback.url) }
}

// rows: DPOP-11
#[tokio::test]
async fn an_agent_with_a_key_of_its_own_gets_a_token_bound_to_it() {
    let house = agents_plan().open().await;
    let mut agent = house.agent().await;
    let key = AgentKey::new();
    let (begun, callback) = begun(&house, &mut agent, &key).await;
    assert_eq!(begun.token_endpoint, house.server.token_url());
    let proof = key.prove(&begun.token_endpoint, Value::Null, Value::Null);
    let redeemed = agent.redeem_code(redeeming(&begun.transaction, &callback, proof.clone())).await.unwrap();
    let redeemed = redeemed.into_inner();
    // It went on as it was, and the server has verified it.
    assert_eq!(house.server.last_token_request().unwrap().header("dpop"), Some(proof.as_str()));
    let token = redeemed.token.unwrap();
    assert_eq!((token.token_type.as_str(), token.jkt.as_str()), ("DPoP", house.server.proofs()[0].jkt().as_str()));
    let ath = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.access_token.as_bytes());
    let ath = json!({ "htm": "GET", "ath": URL_SAFE_NO_PAD.encode(ath) });
    Resource::knowing(&token).get(CRM, &token, &key.prove(CRM, Value::Null, ath)).unwrap();
    // narrowgate has no key to sign or to refresh with.
    refused(sign(&mut agent, proving(&redeemed.grant, CRM)).await, Code::InvalidArgument, "FIELD_INVALID");
    narrow(&mut agent, &redeemed.grant, &[]).await.unwrap();
    let issued = house.event("token.issued").await;
    assert_eq!(issued["unmapped"]["narrowgate"]["refresh_token_held"], json!(false));
}

// rows: DPOP-11
#[tokio::test]
async fn nothing_begins_without_proof_of_possession() {
    let house = agents_plan().open().await;
    let mut agent = house.agent().await;
    let (key, other) = (AgentKey::new(), AgentKey::new());
    let none = Value::Null;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let good = key.prove(BEGIN, none.clone(), none.clone());
    let (signed, _) = good.rsplit_once('.').unwrap();
    let mut private = key.jwk();
    private["d"] = json!("AAAA");
    let wrong = [
        ("missing", String::new()),
        ("jwk", "x.y.z".to_owned()),
        ("form", "x".to_owned()),
        ("size", key.prove(BEGIN, none.clone(), json!({ "pad": "p".repeat(4096) }))),
        ("htu", key.prove(&house.server.token_url(), none.clone(), none.clone())),
        ("htm", key.prove(BEGIN, none.clone(), json!({ "htm": "GET" }))),
        ("iat", key.prove(BEGIN, none.clone(), json!({ "iat": now - 90 }))),
        ("iat", key.prove(BEGIN, none.clone(), json!({ "iat": now + 90 }))),
        ("iat", key.prove(BEGIN, none.clone(), json!({ "iat": null }))),
        ("jti", key.prove(BEGIN, none.clone(), json!({ "jti": "short" }))),
        ("ath", key.prove(BEGIN, none.clone(), json!({ "ath": "AAAA" }))),
        ("nonce", key.prove(BEGIN, none.clone(), json!({ "nonce": "a b" }))),
        ("typ", key.prove(BEGIN, json!({ "typ": "JWT" }), none.clone())),
        ("alg", key.prove(BEGIN, json!({ "alg": "none" }), none.clone())),
        ("alg", key.prove(BEGIN, json!({ "alg": "HS256" }), none.clone())),
        ("jwk", key.prove(BEGIN, json!({ "jwk": null }), none.clone())),
        ("jwk", key.prove(BEGIN, json!({ "jwk": private }), none.clone())),
        ("signature", key.prove(BEGIN, json!({ "jwk": other.jwk() }), none.clone())),
        ("signature", format!("{signed}.{}", "A".repeat(86))),
        ("crit", key.prove(BEGIN, json!({ "crit": ["b64"] }), none.clone())),
    ];
    for (rule, proof) in wrong {
        let status = refused(begin(&mut agent, proof).await, INVALID.0, INVALID.1);
        let found = fact(&status, "rule").unwrap();
        assert!(found == rule || (rule == "jwk" && found == "form"), "{rule}: {found}");
    }
    assert_eq!(house.server.front_connections(), 0);
    begin(&mut agent, good).await.unwrap();
}

// rows: DPOP-11 DPOP-08
#[tokio::test]
async fn a_proof_of_another_key_or_for_another_place_is_not_passed_on() {
    let house = agents_plan().open().await;
    let mut agent = house.agent().await;
    let (key, other) = (AgentKey::new(), AgentKey::new());
    let (begun, callback) = begun(&house, &mut agent, &key).await;
    let endpoint = begun.token_endpoint.as_str();
    let none = Value::Null;
    let wrong = [
        ("jkt", other.prove(endpoint, none.clone(), none.clone())),
        ("htu", key.prove(BEGIN, none.clone(), none.clone())),
        ("htu", key.prove("https://evil.test/token", none.clone(), none.clone())),
        ("htu", key.prove(&format!("{endpoint}?a=1"), none.clone(), none.clone())),
        ("htm", key.prove(endpoint, none.clone(), json!({ "htm": "GET" }))),
        ("missing", String::new()),
    ];
    for (rule, proof) in wrong {
        let answer = agent.redeem_code(redeeming(&begun.transaction, &callback, proof)).await;
        let status = refused(answer, INVALID.0, INVALID.1);
        assert_eq!(fact(&status, "rule").as_deref(), Some(rule));
    }
    assert_eq!(house.server.token_connections(), 0, "not even a connection");
    // The code is as good as it was.
    let proof = key.prove(endpoint, none.clone(), none);
    agent.redeem_code(redeeming(&begun.transaction, &callback, proof)).await.unwrap();
}

// rows: DPOP-11 DPOP-04
#[tokio::test]
async fn a_server_that_wants_a_nonce_is_told_it_by_the_next_proof_of_the_agent() {
    let house = agents_plan().open().await;
    house.server.dpop(|dpop| dpop.demanded = Some("nonce-1".to_owned()));
    let mut agent = house.agent().await;
    let key = AgentKey::new();
    let (first, callback) = begun(&house, &mut agent, &key).await;
    assert_eq!(first.dpop_nonce, "");
    let proof = key.prove(&first.token_endpoint, Value::Null, Value::Null);
    let answer = agent.redeem_code(redeeming(&first.transaction, &callback, proof)).await;
    let status = refused(answer, INVALID.0, INVALID.1);
    assert_eq!((fact(&status, "rule").as_deref(), house.server.token_posts()), (Some("nonce"), 1));
    let (second, callback) = begun(&house, &mut agent, &key).await;
    assert_eq!(second.dpop_nonce, "nonce-1");
    let proof = key.prove(&second.token_endpoint, Value::Null, json!({ "nonce": second.dpop_nonce }));
    agent.redeem_code(redeeming(&second.transaction, &callback, proof)).await.unwrap();
}

// rows: DPOP-11
#[tokio::test]
async fn a_proof_that_nobody_asked_for_is_refused() {
    for plan in [plan(), Plan::new()] {
        let house = plan.open().await;
        let mut agent = house.agent().await;
        let key = AgentKey::new();
        let proof = key.prove(BEGIN, Value::Null, Value::Null);
        refused(begin(&mut agent, proof).await, Code::InvalidArgument, "FIELD_INVALID");
        let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
        let proof = key.prove(&house.server.token_url(), Value::Null, Value::Null);
        let answer = agent.redeem_code(redeeming(&transaction, &callback, proof)).await;
        refused(answer, Code::InvalidArgument, "FIELD_INVALID");
        assert_eq!(house.server.token_connections(), 0);
        crate::house::redeem(&mut agent, &transaction, &callback).await.unwrap();
    }
}
