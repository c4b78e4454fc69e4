use crate::{
    house::{Plan, begin_request, get, reason, redeem_request},
    oidc_house::{OidcHouse, Provider, claims, parameter},
};
use narrowgate::api::proto::{BeginAuthorizationRequest, GetTokenRequest};
use serde_json::{Value, json};
use tonic::Code;

const SCOPES: [&str; 2] = ["customers.read", "customers.write"];

fn quote() -> Value {
    json!({
        "type": "crm_quote",
        "actions": ["draft", "send"],
        "identifier": "customer-17",
        "total": { "amount": "950.00", "currency": "EUR" },
    })
}

fn asking(details: &Value) -> BeginAuthorizationRequest {
    BeginAuthorizationRequest { authorization_details: details.to_string(), ..begin_request(&SCOPES) }
}

/// With the sample policies and catalogue: a type that the provider grants, and enriches by an id of its own.
// rows: RES-05 RES-06
#[tokio::test]
async fn what_was_asked_is_granted_and_enriched() {
    let provider = Provider { details_types: Some(&["crm_quote"]), ..Provider::default() };
    let oidc = OidcHouse::open(Plan::new(), provider).await;
    let mut agent = oidc.house.agent().await;
    let begun = agent.begin_authorization(asking(&json!([quote()]))).await.unwrap().into_inner();
    let callback = oidc.browse(&begun.authorization_url).await;
    let redeemed = agent.redeem_code(redeem_request(&begun.transaction, &callback)).await.unwrap().into_inner();
    let token = redeemed.token.unwrap();
    let mut granted = quote();
    granted["quote_id"] = json!("quote-1");
    let details: Value = serde_json::from_str(&token.authorization_details).unwrap();
    assert_eq!(details, json!([granted]));
    // Its API sees the same (RFC 9396 9.1).
    assert_eq!(claims(&token.access_token)["authorization_details"], details);
    let again = get(&mut agent, &redeemed.grant).await.unwrap().token.unwrap();
    assert_eq!(again.authorization_details, token.authorization_details);
    // A refresh: one scope of the two, and the same details.
    let narrower = GetTokenRequest {
        grant: redeemed.grant.clone(),
        scopes: vec![SCOPES[0].to_owned()],
        ..GetTokenRequest::default()
    };
    let narrow = agent.get_token(narrower).await.unwrap().into_inner().token.unwrap();
    assert_eq!(narrow.scopes, [SCOPES[0]]);
    assert_eq!(serde_json::from_str::<Value>(&narrow.authorization_details).unwrap(), details);
    oidc.assert_discreet(&[&token.access_token, &narrow.access_token, &parameter(&callback, "code")]);
}

// rows: RES-05
#[tokio::test]
async fn what_the_provider_does_not_list_is_not_asked_of_it() {
    for details_types in [None, Some(["another"].as_slice())] {
        let oidc = OidcHouse::open(Plan::new(), Provider { details_types, ..Provider::default() }).await;
        let mut agent = oidc.house.agent().await;
        let status = agent.begin_authorization(asking(&json!([quote()]))).await.err().unwrap();
        let told = (status.code(), reason(&status));
        assert_eq!(told, (Code::FailedPrecondition, "AUTHORIZATION_DETAILS_UNSUPPORTED".to_owned()));
        assert_eq!(oidc.counts().pushed, 0);
    }
}
