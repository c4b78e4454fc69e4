use crate::{
    house::{
        Plan, fact,
        scripted_as::{
            behaviour::{Behaviour, Script},
            delegation::JWT,
        },
    },
    kit::{QUOTER_NAME, READ, answer, exchange, issue, object, open, refused, request, subject},
};
use narrowgate::api::proto::ExchangeTokenRequest;
use serde_json::{Value, json};
use tonic::Code;

fn agreed(contract: &str) -> Plan {
    let lines = format!("deadline = \"5s\"\n\n[issuer.access_token]\ncontract = \"{contract}\"\n");
    Plan::new().config("deadline = \"5s\"\n", &lines)
}

/// The same for what the agent asks for as a mere JWT.
fn as_jwt(mut request: ExchangeTokenRequest) -> ExchangeTokenRequest {
    request.requested_token_type = JWT.to_owned();
    request
}

// rows: TEX-02 TEX-03 INTR-07 INTR-08
#[tokio::test]
async fn a_token_that_is_usable_is_held_to_it_whatever_was_asked_for() {
    let house = open(agreed("jwt"), "").await;
    let mut agent = house.agent().await;
    let good = json!({
        "aud": "crm-service", "client_id": "narrowgate-sales", "scope": READ, "act": { "sub": QUOTER_NAME },
    });
    for (change, reason, rule) in [
        (json!({ "client_id": "somebody-else" }), "AT_CONTRACT_VIOLATION", "client_id"),
        (json!({ "iss": "https://elsewhere.test" }), "AT_CONTRACT_VIOLATION", "iss"),
        (json!({ "scope": "customers.read customers.delete" }), "AT_CONTRACT_VIOLATION", "scope"),
        (json!({ "aud": "https://mail.example.test/api" }), "AUDIENCE_MISMATCH", "aud"),
    ] {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().extend(object(change));
        let token = house.server.token_of(&json!({}), &claims);
        answer(&house, json!({ "access_token": token, "token_type": "Bearer" }));
        let result = exchange(&mut agent, as_jwt(request(&subject(&house, &json!({})), &[READ]))).await;
        let status = refused(result, Code::FailedPrecondition, reason);
        assert_eq!(fact(&status, "rule").as_deref(), Some(rule));
    }
    // What keeps to it is taken, and so is what its answer says is no access token.
    for changes in [json!({ "token_type": "Bearer" }), json!({})] {
        answer(&house, changes);
        exchange(&mut agent, as_jwt(request(&subject(&house, &json!({})), &[READ]))).await.unwrap();
    }
}

// rows: TEX-04 RES-04 INTR-08
#[tokio::test]
async fn one_for_an_audience_by_name_is_for_that_or_its_resource() {
    let house = open(agreed("jwt"), "").await;
    let mut agent = house.agent().await;
    for aud in [json!("crm-service"), json!("https://crm.example.test/api"), json!(["crm-service"])] {
        issue(&house, json!({ "aud": aud }));
        exchange(&mut agent, request(&subject(&house, &json!({})), &[READ])).await.unwrap();
    }
    let others = ["crm-standby", "mail-service", "https://mail.example.test/api", ""];
    let others = others.map(|other| json!(other)).into_iter();
    for aud in others.chain([json!(["crm-service", "mail-service"]), json!([]), Value::Null]) {
        issue(&house, json!({ "aud": aud }));
        let result = exchange(&mut agent, request(&subject(&house, &json!({})), &[READ])).await;
        refused(result, Code::FailedPrecondition, "AUDIENCE_MISMATCH");
    }
    issue(&house, json!({ "client_id": "somebody-else" }));
    let result = exchange(&mut agent, request(&subject(&house, &json!({})), &[READ])).await;
    refused(result, Code::FailedPrecondition, "AT_CONTRACT_VIOLATION");
}

// rows: MTLS-06 INTR-07 TEX-03
#[tokio::test]
async fn a_bound_clients_token_is_bound_whoever_looks_at_it() {
    let bound = "owner = \"sales\"\nbound_tokens = true\nshared_certificate = true";
    let mut plan = agreed("introspection").config("owner = \"sales\"", bound);
    for (_, text) in &mut plan.policies {
        *text = text.replace("context.impersonation ||", "false ||");
    }
    let house = open(plan, "act_in_token = false").await;
    let mut agent = house.agent().await;
    // The scripted server's exchanged tokens have no `cnf`; nor has what it says of them.
    let result = exchange(&mut agent, request(&subject(&house, &json!({})), &[READ])).await;
    let status = refused(result, Code::FailedPrecondition, "AT_CONTRACT_VIOLATION");
    assert_eq!(fact(&status, "rule").as_deref(), Some("cnf"));
    answer(&house, json!({ "token_type": "Bearer" }));
    let result = exchange(&mut agent, as_jwt(request(&subject(&house, &json!({})), &[READ]))).await;
    refused(result, Code::FailedPrecondition, "AT_CONTRACT_VIOLATION");
    // What is no access token is bound to nothing.
    let result = exchange(&mut agent, as_jwt(request(&subject(&house, &json!({})), &[READ]))).await;
    refused(result, Code::FailedPrecondition, "TOKEN_TYPE_UNSUPPORTED");
    let certificate = house.server.last_token_request().unwrap().client_certificate_der.unwrap();
    let thumbprint = narrowgate::config::thumbprint(&certificate);
    let says = json!({ "cnf": { "x5t#S256": thumbprint } });
    house.server.always(Script::Introspection(Behaviour::Members(object(says))));
    exchange(&mut agent, request(&subject(&house, &json!({})), &[READ])).await.unwrap();
}
