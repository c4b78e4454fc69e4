use crate::{
    house::{Agent, House, fact, get, write},
    kit::{DELETE, Key, READ, advice, plan, refused, wanted},
};
use narrowgate::{
    api::proto::{
        ApprovalWanted, ClientCredentialsGrant, ExchangeTokenRequest, ObtainTokenRequest,
        exchange_token_request::Subject, obtain_token_request::Grant,
    },
    dev::ca::San,
};
use serde_json::{Value, json};
use tonic::{Code, Status};

const QUOTER_NAME: &str = "https://quoter.acme.test";

async fn open(key: &Key) -> House {
    let mut plan = plan(key);
    plan.config.push_str(&format!(
        "client_credentials = true\n[client.token_exchange]\nactor_key = \"actor.key\"\n\
         agents = {{ \"{QUOTER_NAME}\" = \"quoter\" }}\naudiences = {{ \"crm-service\" = \"crm\" }}\n"
    ));
    let mut house = plan.build();
    let actor = house.clients_ca.client("actor", &[San::Uri("spiffe://acme.test/actor")]).unwrap();
    write(&house.path("actor.key"), &actor.key_pem);
    house.server.trust_actor_key(&actor.key_pem);
    house.start();
    house.wait_until_serving().await;
    house
}

async fn obtain(agent: &mut Agent, approval: &str) -> Result<String, Status> {
    let request = ObtainTokenRequest {
        client: "sales-crm".to_owned(),
        scopes: vec![DELETE.to_owned()],
        grant: Some(Grant::ClientCredentials(ClientCredentialsGrant {})),
        approval: approval.to_owned(),
        ..ObtainTokenRequest::default()
    };
    Ok(agent.obtain_token(request).await?.into_inner().grant)
}

async fn exchange(agent: &mut Agent, token: &str, approval: &str) -> Result<String, Status> {
    let request = ExchangeTokenRequest {
        client: "sales-crm".to_owned(),
        subject: Some(Subject::SubjectToken(token.to_owned())),
        subject_token_type: "urn:ietf:params:oauth:token-type:access_token".to_owned(),
        scopes: vec![DELETE.to_owned()],
        approval: approval.to_owned(),
        ..ExchangeTokenRequest::default()
    };
    Ok(agent.exchange_token(request).await?.into_inner().grant)
}

fn told(result: Result<String, Status>) -> ApprovalWanted {
    let status = refused(result, Code::PermissionDenied, "HUMAN_APPROVAL_REQUIRED");
    advice(&status).unwrap().approval.unwrap()
}

fn broken(result: Result<String, Status>, rule: &str) {
    let status = refused(result, Code::InvalidArgument, "APPROVAL_INVALID");
    assert_eq!(fact(&status, "rule").as_deref(), Some(rule));
}

// rows: AGNT-07 (without a front channel)
#[tokio::test]
async fn an_agents_own_token_needs_a_record_of_that_flow() {
    let key = Key::new();
    let house = open(&key).await;
    let mut agent = house.agent().await;
    let own = told(obtain(&mut agent, "").await);
    let request: Value = serde_json::from_str(&own.request).unwrap();
    assert_eq!(request["grant_type"], "client_credentials");
    // The same scope by another way is another request.
    let by_code = wanted(&mut agent, &[DELETE]).await;
    broken(obtain(&mut agent, &key.record(&by_code, &json!({}))).await, "request_digest");
    assert_eq!(house.server.token_posts(), 0);
    let record = key.record(&own, &json!({}));
    let grant = obtain(&mut agent, &record).await.unwrap();
    assert_eq!(get(&mut agent, &grant).await.unwrap().token.unwrap().scopes, [DELETE]);
    broken(obtain(&mut agent, &record).await, "used");
    assert_eq!(house.server.token_posts(), 1);
}

// rows: AGNT-07 (on behalf of somebody)
#[tokio::test]
async fn an_exchange_needs_a_record_of_that_person() {
    let key = Key::new();
    let house = open(&key).await;
    let mut agent = house.agent().await;
    let of = |sub: &str| {
        let claims =
            json!({ "aud": QUOTER_NAME, "client_id": "desk", "sub": sub, "scope": format!("{DELETE} {READ}") });
        house.server.token_of(&json!({}), &claims)
    };
    let [ana, bob] = ["canary-sub-of-ana", "canary-sub-of-bob"].map(of);
    let of_ana = told(exchange(&mut agent, &ana, "").await);
    assert!(!of_ana.request.contains("canary-sub"), "who it is is told apart, not told: {}", of_ana.request);
    let of_bob = told(exchange(&mut agent, &bob, "").await);
    assert_ne!(of_ana.request_digest, of_bob.request_digest);
    broken(exchange(&mut agent, &bob, &key.record(&of_ana, &json!({}))).await, "request_digest");
    assert_eq!(house.server.token_posts(), 0);
    let grant = exchange(&mut agent, &bob, &key.record(&of_bob, &json!({}))).await.unwrap();
    get(&mut agent, &grant).await.unwrap();
}

// rows: AGNT-07 AGNT-08 (bound to whose rights are used)
#[tokio::test]
async fn a_record_is_for_the_rights_of_one_token() {
    let key = Key::new();
    let house = open(&key).await;
    let mut agent = house.agent().await;
    let claims = json!({ "aud": QUOTER_NAME, "client_id": "front-end", "scope": format!("{READ} {DELETE}") });
    let [one, other] = [(); 2].map(|()| house.server.token_of(&json!({}), &claims));
    let wanted = told(exchange(&mut agent, &one, "").await);
    let request: Value = serde_json::from_str(&wanted.request).unwrap();
    assert!(request["requested_token_type"].as_str().unwrap().ends_with("access_token"), "{request}");
    assert_eq!(request["subject_issuer"], "corp");
    let record = key.record(&wanted, &json!({}));
    // The same person's, for the same scopes: another token all the same.
    broken(exchange(&mut agent, &other, &record).await, "request_digest");
    exchange(&mut agent, &one, &record).await.unwrap();
}
