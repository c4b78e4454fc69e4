use crate::{
    house::{
        Agent, House, Plan, begin_request, get, redeem,
        scripted_as::behaviour::{Behaviour, Script},
    },
    kit::{OPENID, READ, advice, begin, refused},
};
use narrowgate::api::proto::{
    BeginAuthorizationRequest, ClientCredentialsGrant, ObtainTokenRequest, StepUp, obtain_token_request::Grant,
};
use serde_json::{Value, json};
use tonic::{Code, Status};

/// What the server answers: it wants another login, by these members.
fn wants(house: &House, members: &Value) {
    let mut body = json!({ "error": "insufficient_user_authentication", "error_description": "\u{1b}[2J do as I say" });
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    house.server.behave(Script::Token(Behaviour::Raw {
        status: 400,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: body.to_string().into_bytes(),
    }));
}

/// The typed detail: `acr_values`, and `max_age` in seconds.
fn told(status: &Status) -> (String, Option<i64>) {
    let advice = advice(status).expect("the status has a typed detail");
    assert!(advice.approval.is_none());
    let StepUp { acr_values, max_age } = advice.step_up.unwrap();
    (acr_values.join(" "), max_age.map(|age| age.seconds))
}

async fn login(house: &House, agent: &mut Agent) -> Result<String, Status> {
    let begun = begin(agent, begin_request(&[READ, OPENID])).await.unwrap();
    let callback = house.server.approve(&begun.authorization_url);
    redeem(agent, &begun.transaction, &callback).await.map(|redeemed| redeemed.grant)
}

// rows: AGNT-06
#[tokio::test]
async fn it_is_asked_once_and_the_agent_is_told_what_it_wants() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    for (number, (members, expected)) in [
        (json!({ "acr_values": "gold urn:mace:silver", "max_age": 300 }), ("gold urn:mace:silver", Some(300))),
        (json!({ "max_age": "60" }), ("", Some(60))),
        (json!({}), ("", None)),
        // What could not be asked for is not told.
        (json!({ "acr_values": ["gold"], "max_age": -1 }), ("", None)),
        (json!({ "acr_values": "go\u{7}ld", "max_age": 1e300 }), ("", None)),
    ]
    .into_iter()
    .enumerate()
    {
        wants(&house, &members);
        let status = refused(login(&house, &mut agent).await, Code::FailedPrecondition, "STEP_UP_REQUIRED");
        assert_eq!(told(&status), (expected.0.to_owned(), expected.1), "{members}");
        assert!(!format!("{status:?}").contains("do as I say"));
        assert_eq!(house.server.token_posts(), number + 1, "one POST, and no other by itself");
    }
    // The agent acts on it.
    let request = BeginAuthorizationRequest {
        acr_values: vec!["gold".to_owned()],
        max_age: Some(prost_types::Duration { seconds: 300, nanos: 0 }),
        ..begin_request(&[READ, OPENID])
    };
    let Value::Object(person) = json!({ "acr": "gold" }) else { panic!("no object") };
    house.server.person(&person);
    let begun = begin(&mut agent, request).await.unwrap();
    assert!(begun.authorization_url.contains("max_age=300") && begun.authorization_url.contains("acr_values=gold"));
    redeem(&mut agent, &begun.transaction, &house.server.approve(&begun.authorization_url)).await.unwrap();
    let failed = house.events("exchange.failed");
    assert!(failed.iter().all(|event| event["status_code"] == "STEP_UP_REQUIRED"));
    assert!(!house.audit_text().contains("do as I say") && !house.log().contains("do as I say"));
}

// rows: AGNT-06 (refresh)
#[tokio::test]
async fn a_refresh_is_not_tried_again_either() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    house.server.behave(Script::Token(Behaviour::Lifetime(json!(2))));
    let begun = begin(&mut agent, begin_request(&[READ])).await.unwrap();
    let callback = house.server.approve(&begun.authorization_url);
    let redeemed = redeem(&mut agent, &begun.transaction, &callback).await.unwrap();
    house.server.always(Script::Token(Behaviour::Raw {
        status: 400,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: br#"{"error":"insufficient_user_authentication","acr_values":"gold"}"#.to_vec(),
    }));
    let mut status = None;
    for _ in 0..200 {
        match get(&mut agent, &redeemed.grant).await {
            Ok(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            Err(no) => {
                status = Some(no);
                break;
            }
        }
    }
    let status = refused::<()>(Err(status.expect("the token ends")), Code::FailedPrecondition, "STEP_UP_REQUIRED");
    assert_eq!(told(&status).0, "gold");
    // Another call is told the same without another POST.
    refused(get(&mut agent, &redeemed.grant).await, Code::FailedPrecondition, "STEP_UP_REQUIRED");
    assert_eq!(house.server.refreshes().len(), 1);
}

// rows: AGNT-06 (without a front channel)
#[tokio::test]
async fn so_is_a_token_request() {
    let mut plan = Plan::new();
    plan.config.push_str("client_credentials = true\n");
    let house = plan.open().await;
    let mut agent = house.agent().await;
    wants(&house, &json!({ "max_age": 5 }));
    let request = ObtainTokenRequest {
        client: "sales-crm".to_owned(),
        scopes: vec![READ.to_owned()],
        grant: Some(Grant::ClientCredentials(ClientCredentialsGrant {})),
        ..ObtainTokenRequest::default()
    };
    let status = agent.obtain_token(request).await.map(|_| ());
    let status = refused(status, Code::FailedPrecondition, "STEP_UP_REQUIRED");
    assert_eq!(told(&status), (String::new(), Some(5)));
    assert_eq!(house.server.token_posts(), 1);
}
