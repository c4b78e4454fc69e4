use crate::{
    asking::{READ, WRITE, narrow, refused},
    house::{
        Agent, House, begin_request, get, redeem,
        scripted_as::behaviour::{Behaviour, Script},
        write,
    },
    kit::{again, crash, open, plan, restored},
};
use narrowgate::api::proto::BeginAuthorizationRequest;
use serde_json::{Value, json};
use std::fs;
use tonic::Code;

const TYPE: &str = r#"
[[authorization_details_type]]
type = "payment_initiation"
api = "crm"
fields = { amount = "at_most", consent_id = "ignore" }
"#;
const PERMIT: &str = r#"@id("pay") permit (principal, action == Narrowgate::Action::"grant_detail", resource in Narrowgate::Api::"crm");"#;

fn payment(amount: &str) -> Value {
    json!([{ "type": "payment_initiation", "amount": amount, "consent_id": "consent-1" }])
}

fn says(house: &House, details: &Value) {
    let members = [("authorization_details".to_owned(), details.clone())].into_iter().collect();
    house.server.behave(Script::Token(Behaviour::Members(members)));
}

/// A grant of less than was asked for.
async fn granted() -> (House, Agent, String) {
    let mut plan = plan("").policy(PERMIT);
    plan.apis.push_str(TYPE);
    let house = open(plan).await;
    let mut agent = house.agent().await;
    let asked = json!([{ "type": "payment_initiation", "amount": "100" }]).to_string();
    let request = BeginAuthorizationRequest { authorization_details: asked, ..begin_request(&[READ, WRITE]) };
    let begun = agent.begin_authorization(request).await.unwrap().into_inner();
    let callback = house.server.approve(&begun.authorization_url);
    says(&house, &payment("40"));
    let redeemed = redeem(&mut agent, &begun.transaction, &callback).await.unwrap();
    (house, agent, redeemed.grant)
}

// rows: RES-06 RT-02
#[tokio::test]
async fn a_refresh_is_held_against_what_was_granted_before() {
    for (answer, wider) in [(payment("40"), false), (payment("40.01"), true)] {
        let (mut house, _, grant) = granted().await;
        let mut agent = crash(&mut house).await;
        says(&house, &answer);
        let got = narrow(&mut agent, &grant, &[READ]).await;
        if wider {
            refused(got, Code::FailedPrecondition, "RAR_UPGRADED");
            assert!(get(&mut agent, &grant).await.is_err(), "the grant is over");
        } else {
            let told = got.unwrap().token.unwrap().authorization_details;
            assert_eq!(serde_json::from_str::<Value>(&told).unwrap(), answer);
        }
    }
}

// rows: RES-06 RT-02
#[tokio::test]
async fn a_type_that_is_declared_otherwise_now_ends_its_grants() {
    let (mut house, _, grant) = granted().await;
    house.stop().await;
    let apis = fs::read_to_string(house.path("apis.toml")).unwrap();
    write(&house.path("apis.toml"), &apis.replace("amount = \"at_most\"", "limit = \"at_most\""));
    again(&mut house).await;
    assert_eq!(restored(&house, 1).await, (0, 1));
    let event = house.event("grant.dropped").await;
    assert_eq!(event["unmapped"]["narrowgate"]["why"], "authorization_details");
    refused(get(&mut house.agent().await, &grant).await, Code::NotFound, "GRANT_UNKNOWN");
}
