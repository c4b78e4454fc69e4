use crate::{
    house::{COURIER, House, Plan},
    stock_agent::StockAgent,
};
use serde_json::{Value, json};

fn begin(scopes: &[&str]) -> Value {
    json!({ "client": "sales-crm", "scopes": scopes, "redirect_uri": "http://127.0.0.1:50123/callback" })
}

/// Begin, approve, redeem, get, revoke.
async fn whole_flow(house: &House, agent: &StockAgent) {
    let begun = agent.allowed("BeginAuthorization", &begin(&["customers.read"])).await;
    let callback = house.server.approve(begun["authorization_url"].as_str().unwrap());
    let request = json!({ "transaction": begun["transaction"], "callback_url": callback.url });
    let redeemed = agent.allowed("RedeemCode", &request).await;
    let token = &redeemed["token"];
    assert!(token["access_token"].as_str().unwrap().starts_with("canary-at-"), "{agent}");
    assert_eq!(token["scopes"], json!(["customers.read"]), "{agent}");
    assert_eq!(token["binding"], "BINDING_BEARER", "{agent}");
    let grant = json!({ "grant": redeemed["grant"] });
    let got = agent.allowed("GetToken", &grant).await;
    assert_eq!(got["token"]["access_token"], token["access_token"], "{agent}");
    let repeated = agent.refused("RedeemCode", &request).await;
    assert_eq!((&repeated["status"], &repeated["reason"]), (&json!("ALREADY_EXISTS"), &json!("CODE_ALREADY_USED")));
    let ended = agent.allowed("RevokeGrant", &grant).await;
    assert_eq!(ended["access_token"], "REVOCATION_OUTCOME_REVOKED", "{agent}");
    assert_eq!(agent.refused("GetToken", &grant).await["reason"], "GRANT_UNKNOWN", "{agent}");
}

/// A stock client finds in a refusal what to do about it.
async fn refusals_decode(agent: &StockAgent, scope: &str, policy_code: &str) {
    let approvable = policy_code == "approval_required";
    let why = if approvable { "HUMAN_APPROVAL_REQUIRED" } else { "POLICY_DENIED" };
    let denied = agent.refused("BeginAuthorization", &begin(&["customers.read", scope])).await;
    assert_eq!((&denied["status"], &denied["reason"]), (&json!("PERMISSION_DENIED"), &json!(why)));
    assert_eq!(denied["domain"], "narrowgate", "{agent}");
    assert_eq!(denied["metadata"]["policy_code"], policy_code, "{agent}");
    assert_eq!(denied["metadata"]["scopes"], scope, "{agent}");
    assert!(denied["metadata"]["decision_id"].as_str().is_some_and(|id| id.len() == 36), "{agent}");
    let wanted = &denied["advice"]["approval"];
    assert_eq!(wanted["request_digest"].as_str().map(str::len), approvable.then_some(64), "{agent} {denied}");
    assert_eq!(wanted["request"].as_str().is_some_and(|text| text.contains(scope)), approvable, "{agent} {denied}");
    let empty = agent.refused("BeginAuthorization", &begin(&[])).await;
    assert_eq!((&empty["status"], &empty["reason"]), (&json!("INVALID_ARGUMENT"), &json!("FIELD_REQUIRED")));
    assert_eq!(empty["field_violations"][0]["field"], "scopes", "{agent}");
}

#[tokio::test]
async fn at_the_unix_socket() {
    let house = Plan::new().open().await;
    for agent in StockAgent::both_unix(&house) {
        assert_eq!(agent.allowed("Health", &json!({})).await["status"], "SERVING", "{agent}");
        whole_flow(&house, &agent).await;
        refusals_decode(&agent, "customers.delete", "approval_required").await;
    }
    assert_eq!(house.server.token_posts(), 2);
    house.assert_no_secret_leaked();
}

#[tokio::test]
async fn at_the_mutual_tls_door() {
    let house = Plan::new().open().await;
    for agent in StockAgent::both_tls(&house, COURIER).await {
        assert_eq!(agent.allowed("Health", &json!({})).await["status"], "SERVING", "{agent}");
        whole_flow(&house, &agent).await;
        refusals_decode(&agent, "customers.write", "no_permit").await;
    }
    assert_eq!(house.server.token_posts(), 2);
    house.assert_no_secret_leaked();
}

/// grpcio sends the percent-encoded path of a Unix socket as `:authority`, which HTTP/2 servers refuse as malformed:
/// `grpc.default_authority` is to be set. grpc-js says "localhost" by itself.
#[tokio::test]
async fn grpcio_has_to_name_an_authority_at_a_unix_socket() {
    let house = Plan::new().open().await;
    let [grpcio, grpc_js] = StockAgent::both_unix(&house);
    let refused =
        grpcio.clone().with("--no-authority").refused("BeginAuthorization", &begin(&["customers.read"])).await;
    assert!(refused["reason"].is_null(), "the call reached a handler: {refused}");
    assert!(house.events("authorization.decided").is_empty());
    grpcio.allowed("BeginAuthorization", &begin(&["customers.read"])).await;
    grpc_js.with("--no-authority").allowed("BeginAuthorization", &begin(&["customers.read"])).await;
    assert_eq!(house.events("authorization.decided").len(), 2);
}
