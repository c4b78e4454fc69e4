use crate::{
    house::{Agent, House, Plan, fact, write},
    kit::{READ, refused},
};
use narrowgate::api::proto::{ExchangeTokenRequest, exchange_token_request::Subject};
use narrowgate::dev::ca::San;
use serde_json::{Value, json};
use tonic::{Code, Status};

const QUOTER_NAME: &str = "https://quoter.acme.test";
/// Only agents that are classified as such, and act for nobody who is not classified, may exchange.
const RULE: &str = r#"
@id("actors.class") @code("actor_unclassified")
forbid (principal, action == Narrowgate::Action::"exchange_token", resource)
when { context.base.actors.depth > 0 }
unless {
  principal in Narrowgate::AgentGroup::"ai_agent" &&
  context.base.actors has classified && context.base.actors.classified
};
"#;

async fn open(groups: &str) -> House {
    let mut plan = Plan::new().policy(RULE);
    plan.agents = plan.agents.replace("groups = [\"sales-writers\"]", &format!("groups = [{groups}]"));
    plan.config.push_str(&format!(
        "[client.token_exchange]\nactor_key = \"actor.key\"\nagents = {{ \"{QUOTER_NAME}\" = \"quoter\", \"desk\" = \"ledger\" }}\n\
         audiences = {{ \"crm-service\" = \"crm\" }}\n"
    ));
    let mut house = plan.build();
    let actor = house.clients_ca.client("actor", &[San::Uri("spiffe://acme.test/actor")]).unwrap();
    write(&house.path("actor.key"), &actor.key_pem);
    house.server.trust_actor_key(&actor.key_pem);
    house.start();
    house.wait_until_serving().await;
    house
}

/// Exchanges a subject token with these claims besides.
async fn exchange(house: &House, agent: &mut Agent, changes: Value) -> Result<(), Status> {
    let mut claims = json!({ "aud": QUOTER_NAME, "client_id": "front-end", "scope": READ });
    claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let request = ExchangeTokenRequest {
        client: "sales-crm".to_owned(),
        subject: Some(Subject::SubjectToken(house.server.token_of(&json!({}), &claims))),
        subject_token_type: "urn:ietf:params:oauth:token-type:access_token".to_owned(),
        scopes: vec![READ.to_owned()],
        ..ExchangeTokenRequest::default()
    };
    agent.exchange_token(request).await.map(|_| ())
}

// rows: AGNT-10
#[tokio::test]
async fn a_name_that_only_a_token_vouches_for_gets_the_restrictive_branch() {
    let house = open("\"sales-writers\", \"ai_agent\"").await;
    let mut agent = house.agent().await;
    exchange(&house, &mut agent, json!({})).await.unwrap();
    exchange(&house, &mut agent, json!({ "act": { "sub": "desk" } })).await.unwrap();
    for act in [
        json!({ "sub": "front-end" }),
        // What the token says of its actor makes nobody anything.
        json!({ "sub": "front-end", "sub_profile": "ai_agent" }),
        json!({ "sub": "ai_agent" }),
        json!({ "sub": "desk", "act": { "sub": "front-end", "sub_profile": ["ai_agent"] } }),
    ] {
        let posts = house.server.token_posts();
        let status = exchange(&house, &mut agent, json!({ "act": act, "sub_profile": "ai_agent" })).await;
        let status = refused(status, Code::PermissionDenied, "POLICY_DENIED");
        assert_eq!(fact(&status, "policy_code").as_deref(), Some("actor_unclassified"), "{act}");
        assert_eq!(house.server.token_posts(), posts);
    }
}

// rows: AGNT-10
#[tokio::test]
async fn an_agent_without_a_class_is_none_whatever_its_token_says() {
    let house = open("\"sales-writers\"").await;
    let mut agent = house.agent().await;
    for changes in [json!({}), json!({ "sub_profile": "ai_agent" }), json!({ "act": { "sub": "desk" } })] {
        let status = refused(exchange(&house, &mut agent, changes).await, Code::PermissionDenied, "POLICY_DENIED");
        assert_eq!(fact(&status, "policy_code").as_deref(), Some("actor_unclassified"));
    }
    assert_eq!(house.server.token_posts(), 0);
}
