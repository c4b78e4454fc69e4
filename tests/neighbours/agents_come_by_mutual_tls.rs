use crate::{
    house::{COURIER, Plan, fact, reason, redeem_request},
    oidc_house::{OidcHouse, Provider, claims, parameter},
};
use tonic::Code;

const ROOKIE: &str = "spiffe://acme.test/agent/rookie";

/// The sample house, with an agent that may begin and gets no token (`guard.trust`).
fn plan() -> Plan {
    let mut plan = Plan::new();
    plan.agents.push_str(&format!(
        "\n[[agent]]\nid = \"rookie\"\nspiffe_id = \"{ROOKIE}\"\nowner = \"sales\"\nenvironment = \"prod\"\ntrust = 1\n"
    ));
    plan
}

#[tokio::test]
async fn an_agent_with_an_svid_gets_its_token() {
    let oidc = OidcHouse::open(plan(), Provider::default()).await;
    let mut agent = oidc.house.svid_agent(COURIER).await;
    let begun = oidc.house.begin(&mut agent, &["customers.read"]).await.unwrap();
    let callback = oidc.browse(&begun.authorization_url).await;
    let redeemed = agent.redeem_code(redeem_request(&begun.transaction, &callback)).await.unwrap().into_inner();
    let token = redeemed.token.unwrap();
    assert_eq!(claims(&token.access_token)["scope"], "customers.read");
    let issued = oidc.house.event("token.issued").await;
    assert_eq!(issued["actor"]["user"]["uid"], "courier");
    assert_eq!(issued["unmapped"]["narrowgate"]["spiffe_id"], COURIER);
    oidc.assert_discreet(&[&token.access_token, &parameter(&callback, "code")]);
}

// rows: CODE-07
#[tokio::test]
async fn a_refused_agent_costs_the_provider_not_even_a_connection() {
    let oidc = OidcHouse::open(plan(), Provider::default()).await;
    let mut agent = oidc.house.svid_agent(ROOKIE).await;
    let begun = oidc.house.begin(&mut agent, &["customers.read"]).await.unwrap();
    let callback = oidc.browse(&begun.authorization_url).await;
    let before = oidc.counts();
    let refused = agent.redeem_code(redeem_request(&begun.transaction, &callback)).await.err().unwrap();
    assert_eq!((reason(&refused).as_str(), refused.code()), ("POLICY_DENIED", Code::PermissionDenied));
    assert_eq!(fact(&refused, "policy_code").as_deref(), Some("trust_too_low"));
    assert_eq!(oidc.counts(), before);
    // The code is wiped with its transaction: trying again is no way round policy.
    let again = agent.redeem_code(redeem_request(&begun.transaction, &callback)).await.err().unwrap();
    assert!(["CODE_ALREADY_USED", "TXN_TERMINAL"].contains(&reason(&again).as_str()), "{again:?}");
    assert_eq!(oidc.counts(), before);
    oidc.assert_discreet(&[&parameter(&callback, "code"), &parameter(&callback, "state")]);
}

#[tokio::test]
async fn a_scope_that_policy_refuses_does_not_reach_the_person() {
    let oidc = OidcHouse::open(plan(), Provider::default()).await;
    let mut agent = oidc.house.svid_agent(COURIER).await;
    let before = oidc.counts();
    let refused = oidc.house.begin(&mut agent, &["customers.read", "customers.write"]).await.err().unwrap();
    assert_eq!(reason(&refused), "POLICY_DENIED");
    assert_eq!(fact(&refused, "scopes").as_deref(), Some("customers.write"));
    assert_eq!(oidc.counts(), before);
}
