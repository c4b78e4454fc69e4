use crate::{
    asking::{READ, begin, param, refused},
    house::{
        COURIER, Plan, begin_request, get, redeem,
        scripted_as::behaviour::{Behaviour, Script},
    },
};
use narrowgate::api::proto::BeginAuthorizationResponse;
use prost::Message;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tonic::{Code, codegen::http::uri::PathAndQuery};

// rows: PKCE-01 PKCE-03
#[tokio::test]
async fn a_server_that_does_not_advertise_s256_gets_no_authorization_request() {
    for advertised in [json!(["plain"]), json!([]), json!(null), json!("S256"), json!(["s256"]), json!([["S256"]])] {
        let methods = advertised.clone();
        let change = move |setup: &mut crate::house::scripted_as::Setup<'_>| {
            setup.metadata_override.insert("code_challenge_methods_supported".to_owned(), methods.clone());
        };
        let house = Plan::new().server(change).open().await;
        let mut agent = house.agent().await;
        let result = house.begin(&mut agent, &[READ]).await;
        refused(result, Code::FailedPrecondition, "PKCE_UNSUPPORTED");
        assert!(house.server.metadata_requests() >= 1, "{advertised}");
        // What was refused is not remembered as good.
        refused(house.begin(&mut agent, &[READ]).await, Code::FailedPrecondition, "PKCE_UNSUPPORTED");
    }
}

// rows: PKCE-01
#[tokio::test]
async fn s256_is_sent_also_where_the_server_would_take_plain() {
    let change = |setup: &mut crate::house::scripted_as::Setup<'_>| {
        setup.metadata_override.insert("code_challenge_methods_supported".to_owned(), json!(["plain", "S256"]));
    };
    let house = Plan::new().server(change).open().await;
    let mut agent = house.agent().await;
    let begun = house.begin(&mut agent, &[READ]).await.unwrap();
    assert_eq!(param(&begun.authorization_url, "code_challenge_method").as_deref(), Some("S256"));
    let callback = house.server.approve(&begun.authorization_url);
    redeem(&mut agent, &begun.transaction, &callback).await.unwrap();
}

/// A request to begin with fields that the protocol does not have.
#[derive(Clone, PartialEq, Message)]
struct Forged {
    #[prost(string, tag = "1")]
    client: String,
    #[prost(string, repeated, tag = "3")]
    scopes: Vec<String>,
    #[prost(string, tag = "5")]
    redirect_uri: String,
    #[prost(string, tag = "98")]
    code_verifier: String,
    #[prost(string, tag = "99")]
    state: String,
    #[prost(string, tag = "100")]
    code_challenge: String,
}

// rows: PKCE-02
#[tokio::test]
async fn a_caller_cannot_choose_verifier_challenge_or_state() {
    const CHOSEN: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let channel = crate::asking::channel(&house.path("run/agent.sock")).await;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let honest = begin_request(&[READ]);
    let forged = Forged {
        client: honest.client,
        scopes: honest.scopes,
        redirect_uri: honest.redirect_uri,
        code_verifier: CHOSEN.to_owned(),
        state: CHOSEN.to_owned(),
        code_challenge: CHOSEN.to_owned(),
    };
    let path = PathAndQuery::from_static("/narrowgate.v1.TokenService/BeginAuthorization");
    let codec = tonic_prost::ProstCodec::<Forged, BeginAuthorizationResponse>::default();
    let begun = client.unary(tonic::Request::new(forged), path, codec).await.unwrap().into_inner();
    assert!(!begun.authorization_url.contains(CHOSEN));
    let callback = house.server.approve(&begun.authorization_url);
    redeem(&mut agent, &begun.transaction, &callback).await.unwrap();
    let sent = house.server.last_token_request().unwrap();
    assert!(sent.form.iter().all(|(_, value)| value != CHOSEN));
}

// rows: PKCE-02 PKCE-04
#[tokio::test]
async fn every_code_goes_with_a_fresh_verifier_to_the_bound_endpoint_alone() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let mut verifiers = BTreeSet::new();
    for _ in 0..20 {
        house.login(&mut agent, &[READ]).await.unwrap();
        let request = house.server.last_token_request().unwrap();
        assert_eq!(request.form.iter().filter(|(name, _)| name == "code_verifier").count(), 1);
        let verifier = request.param("code_verifier").unwrap().to_owned();
        let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        assert!(verifier.len() == 43 && verifier.bytes().all(unreserved), "{verifier}");
        assert!(verifiers.insert(verifier));
        assert_eq!(request.target, "/token");
    }
    assert_eq!((house.server.token_posts(), house.server.front_token_posts()), (20, 0));
    let lines = house.server.requests();
    assert!(lines.iter().all(|line| verifiers.iter().all(|verifier| !line.contains(verifier.as_str()))));
}

// rows: PKCE-04
#[tokio::test]
async fn the_verifier_is_in_no_reply_no_error_no_log_and_no_record() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let mut said: Vec<Vec<u8>> = Vec::new();
    let begun = house.begin(&mut agent, &[READ]).await.unwrap();
    said.push(begun.encode_to_vec());
    let callback = house.server.approve(&begun.authorization_url);
    let redeemed = redeem(&mut agent, &begun.transaction, &callback).await.unwrap();
    said.push(redeemed.encode_to_vec());
    said.push(get(&mut agent, &redeemed.grant).await.unwrap().encode_to_vec());
    let again = redeem(&mut agent, &begun.transaction, &callback).await;
    said.push(format!("{:?}", refused(again, Code::AlreadyExists, "CODE_ALREADY_USED")).into_bytes());
    for answer in [Behaviour::Status(500), Behaviour::ResetAfterRequest, Behaviour::ErrorWith200] {
        house.server.behave(Script::Token(answer));
        let status = house.login(&mut agent, &[READ]).await.map(drop).unwrap_err();
        said.push(format!("{status:?}").into_bytes());
    }
    let requests = house.server.token_requests();
    assert_eq!(requests.len(), 4);
    for request in requests {
        let verifier = request.param("code_verifier").unwrap();
        assert!(house.server.secrets().contains(verifier), "the scan would not see it");
        let there = |bytes: &Vec<u8>| bytes.windows(verifier.len()).any(|window| window == verifier.as_bytes());
        assert!(!said.iter().any(there), "the verifier was told");
    }
    house.assert_no_secret_leaked();
}

// rows: PKCE-04
#[tokio::test]
async fn a_code_of_another_transaction_fails_at_the_server_by_its_verifier() {
    let house = Plan::new().open().await;
    let mut quoter = house.agent().await;
    let mut courier = house.svid_agent(COURIER).await;
    let (_, stolen) = house.approved(&mut quoter, &[READ]).await;
    let begun = begin(&mut courier, begin_request(&[READ])).await.unwrap();
    let state = param(&begun.authorization_url, "state").unwrap();
    let request = crate::asking::by_fields(&begun.transaction, &stolen.code, &state, &stolen.iss);
    let result = crate::asking::ask(&mut courier, request).await;
    refused(result, Code::FailedPrecondition, "GRANT_REJECTED");
    let sent: Value = json!(house.server.last_token_request().unwrap().param("code_verifier"));
    assert_eq!(sent.as_str().map(str::len), Some(43));
}
