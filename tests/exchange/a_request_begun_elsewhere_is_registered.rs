//! A front end began the request itself, with a verifier and a state of its own, and has narrowgate redeem the code for
//! the agent it names.

use crate::{
    asking::{READ, ask, refused},
    house::{Agent, COURIER, House, Plan, begin_request, redeem_request, scripted_as::Callback},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use narrowgate::{
    api::proto::{RedeemCodeRequest, RegisterAuthorizationRequest, RegisterAuthorizationResponse},
    platform::digest::sha256,
};
use tonic::{Code, Status};

const MAY_REGISTER: &str = r#"
@id("flow.front-end")
permit (
  principal == Narrowgate::Agent::"quoter",
  action == Narrowgate::Action::"register_authorization",
  resource is Narrowgate::Client
)
when { principal in resource.owner && context.forAgent.owner == principal.owner && context.pkceMethod == "S256" };
"#;

const VERIFIER: &str = "canary-verifier-of-a-front-end-0123456789abcdef";
const STATE: &str = "canary-state-of-a-front-end-0123456789";

fn challenge_of(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes()))
}

/// What the front end says of its request.
fn registration() -> RegisterAuthorizationRequest {
    RegisterAuthorizationRequest {
        client: "sales-crm".to_owned(),
        scopes: vec![READ.to_owned()],
        redirect_uri: begin_request(&[READ]).redirect_uri,
        for_agent: "courier".to_owned(),
        code_challenge: challenge_of(VERIFIER),
        code_challenge_method: "S256".to_owned(),
        state_hash: sha256(STATE.as_bytes()).to_vec(),
        ..RegisterAuthorizationRequest::default()
    }
}

async fn register(
    agent: &mut Agent,
    request: RegisterAuthorizationRequest,
) -> Result<RegisterAuthorizationResponse, Status> {
    Ok(agent.register_authorization(request).await?.into_inner())
}

/// The front end's own request, approved by the person.
async fn approved(house: &House, front_end: &mut Agent, challenge: &str) -> Callback {
    // Where the server is, and what it is asked, is seen in a request of narrowgate's.
    let begun = house.begin(front_end, &[READ]).await.unwrap();
    let mut url = url::Url::parse(&begun.authorization_url).unwrap();
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let ours = pairs.iter().map(|(key, value)| match key.as_str() {
        "state" => (key.as_str(), STATE),
        "code_challenge" => (key.as_str(), challenge),
        _ => (key.as_str(), value.as_str()),
    });
    url.query_pairs_mut().clear().extend_pairs(ours);
    house.server.approve(url.as_str())
}

fn with_verifier(transaction: &str, callback: &Callback, verifier: &str) -> RedeemCodeRequest {
    RedeemCodeRequest { code_verifier: verifier.to_owned(), ..redeem_request(transaction, &callback.url) }
}

// rows: PKCE-05
#[tokio::test]
async fn its_code_is_redeemed_by_the_agent_it_names_alone() {
    let house = Plan::new().policy(MAY_REGISTER).open().await;
    let (mut front_end, mut courier) = (house.agent().await, house.svid_agent(COURIER).await);
    let registered = register(&mut front_end, registration()).await.unwrap();
    let callback = approved(&house, &mut front_end, &challenge_of(VERIFIER)).await;
    let request = with_verifier(&registered.transaction, &callback, VERIFIER);
    refused(ask(&mut front_end, request.clone()).await, Code::NotFound, "TXN_UNKNOWN");
    let redeemed = ask(&mut courier, request.clone()).await.unwrap();
    assert_eq!(redeemed.token.unwrap().scopes, [READ]);
    // Every CODE row holds here too.
    refused(ask(&mut courier, request).await, Code::AlreadyExists, "CODE_ALREADY_USED");
    assert_eq!(house.server.token_posts(), 1);
    let event = house.events("authorization.decided").remove(0);
    assert_eq!(event["unmapped"]["narrowgate"]["for_agent"], "courier", "{event}");
    let event = house.event("token.issued").await;
    assert_eq!(event["unmapped"]["narrowgate"]["registered_by"], "quoter", "{event}");
    for secret in [VERIFIER, STATE, callback.code.as_str()] {
        assert!(!house.log().contains(secret) && !house.audit_text().contains(secret), "{secret}");
    }
}

// rows: PKCE-05
#[tokio::test]
async fn without_pkce_it_is_not_registered() {
    let house = Plan::new().policy(MAY_REGISTER).open().await;
    let mut front_end = house.agent().await;
    let none = RegisterAuthorizationRequest { code_challenge: String::new(), ..registration() };
    let nonce = RegisterAuthorizationRequest { nonce: "a-nonce-is-no-replacement".to_owned(), ..none.clone() };
    let plain = RegisterAuthorizationRequest { code_challenge_method: "plain".to_owned(), ..registration() };
    for request in [none, nonce, plain] {
        refused(register(&mut front_end, request).await, Code::InvalidArgument, "PKCE_REQUIRED");
    }
    for (field, request) in [
        ("code_challenge", RegisterAuthorizationRequest { code_challenge: "short".to_owned(), ..registration() }),
        ("state_hash", RegisterAuthorizationRequest { state_hash: vec![0; 31], ..registration() }),
        ("for_agent", RegisterAuthorizationRequest { for_agent: "nobody".to_owned(), ..registration() }),
    ] {
        let status = refused(register(&mut front_end, request).await, Code::InvalidArgument, "FIELD_INVALID");
        assert!(status.message().contains(&format!("`{field}`")), "{status:?}");
    }
    assert_eq!(house.server.token_connections(), 0);
}

// rows: PKCE-05 PKCE-04
#[tokio::test]
async fn another_verifier_goes_nowhere() {
    let house = Plan::new().policy(MAY_REGISTER).open().await;
    let (mut front_end, mut courier) = (house.agent().await, house.svid_agent(COURIER).await);
    let registered = register(&mut front_end, registration()).await.unwrap();
    let callback = approved(&house, &mut front_end, &challenge_of(VERIFIER)).await;
    let other = with_verifier(&registered.transaction, &callback, &VERIFIER.replace("canary", "cuckoo"));
    refused(ask(&mut courier, other).await, Code::FailedPrecondition, "PKCE_MISMATCH");
    house.event("detect.pkce_mismatch").await;
    refused(
        ask(&mut courier, redeem_request(&registered.transaction, &callback.url)).await,
        Code::InvalidArgument,
        "FIELD_REQUIRED",
    );
    assert_eq!(house.server.token_connections(), 0, "the server was never asked");
    // It is left for whoever has the right one.
    ask(&mut courier, with_verifier(&registered.transaction, &callback, VERIFIER)).await.unwrap();
    // A verifier is nobody's to bring to a request that narrowgate began.
    let (transaction, callback) = house.approved(&mut front_end, &[READ]).await;
    let status = refused(
        ask(&mut front_end, with_verifier(&transaction, &callback, VERIFIER)).await,
        Code::InvalidArgument,
        "FIELD_INVALID",
    );
    assert!(status.message().contains("`code_verifier`"), "{status:?}");
    assert_eq!(house.server.token_posts(), 1);
}

// rows: CODE-02 PKCE-05
#[tokio::test]
async fn the_state_must_have_the_registered_hash_and_tries_are_counted() {
    let house = Plan::new().policy(MAY_REGISTER).open().await;
    let (mut front_end, mut courier) = (house.agent().await, house.svid_agent(COURIER).await);
    let registered = register(&mut front_end, registration()).await.unwrap();
    let callback = approved(&house, &mut front_end, &challenge_of(VERIFIER)).await;
    let forged = callback.url.replace(STATE, "another-state-of-the-same-length-01234");
    for _ in 0..5 {
        let request = RedeemCodeRequest {
            code_verifier: VERIFIER.to_owned(),
            ..redeem_request(&registered.transaction, &forged)
        };
        refused(ask(&mut courier, request).await, Code::FailedPrecondition, "STATE_MISMATCH");
    }
    let right = with_verifier(&registered.transaction, &callback, VERIFIER);
    refused(ask(&mut courier, right).await, Code::FailedPrecondition, "TXN_TERMINAL");
    assert_eq!(house.server.token_connections(), 0);
}

/// The sample policies let nobody register; and a permit to register gives the agent nothing.
#[tokio::test]
async fn it_takes_a_permit_of_its_own() {
    let house = Plan::new().open().await;
    let mut front_end = house.agent().await;
    let status = refused(register(&mut front_end, registration()).await, Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(crate::house::fact(&status, "policy_code").as_deref(), Some("no_permit"));

    let deny = r#"@id("x.deny") @code("courier_out") forbid (principal == Narrowgate::Agent::"courier", action == Narrowgate::Action::"redeem_code", resource);"#;
    let house = Plan::new().policy(MAY_REGISTER).policy(deny).open().await;
    let (mut front_end, mut courier) = (house.agent().await, house.svid_agent(COURIER).await);
    let registered = register(&mut front_end, registration()).await.unwrap();
    let callback = approved(&house, &mut front_end, &challenge_of(VERIFIER)).await;
    let request = with_verifier(&registered.transaction, &callback, VERIFIER);
    refused(ask(&mut courier, request).await, Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(house.server.token_connections(), 0);
}

// rows: PKCE-05
#[tokio::test]
async fn a_policy_may_have_agents_redeem_their_own_requests_alone() {
    const OWN_ALONE: &str = r#"
@id("x.own-alone")
@code("begun_elsewhere")
forbid (principal, action == Narrowgate::Action::"redeem_code", resource)
when { context has registeredBy && context.registeredBy == Narrowgate::Agent::"quoter" };
"#;
    const SAME_CALLER: &str = r#"
@id("x.same-caller")
@code("not_the_same_caller")
forbid (principal, action == Narrowgate::Action::"redeem_code", resource)
unless { context.sameCaller };
"#;
    for (policy, code) in [(OWN_ALONE, "begun_elsewhere"), (SAME_CALLER, "not_the_same_caller")] {
        let mut house = Plan::new().policy(MAY_REGISTER).policy(policy).open().await;
        let (mut front_end, mut courier) = (house.agent().await, house.svid_agent(COURIER).await);
        let registered = register(&mut front_end, registration()).await.unwrap();
        let callback = approved(&house, &mut front_end, &challenge_of(VERIFIER)).await;
        let request = with_verifier(&registered.transaction, &callback, VERIFIER);
        let status = refused(ask(&mut courier, request).await, Code::PermissionDenied, "POLICY_DENIED");
        assert_eq!(crate::house::fact(&status, "policy_code").as_deref(), Some(code));
        assert_eq!(house.server.token_connections(), 0);
        // What narrowgate began is redeemed by whoever began it.
        house.login(&mut front_end, &[READ]).await.unwrap();
        // The log holds the question as it was asked.
        house.stop().await;
        let mut command = crate::house::binary();
        command.args(["policy", "replay", "--output", "json", "--config"]).arg(house.path("narrowgate.toml"));
        let output = command.output().unwrap();
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        assert!(output.status.success() && said["differ"] == 0, "{output:?}");
    }
}

// rows: GRPC-09 (as far as a front end's requests)
#[tokio::test]
async fn a_front_end_fills_no_quota_but_its_own() {
    let plan = Plan::new().policy(MAY_REGISTER).config("[limits]", "[limits]\ntransactions_per_agent = 2");
    let house = plan.open().await;
    let (mut front_end, mut courier) = (house.agent().await, house.svid_agent(COURIER).await);
    for _ in 0..2 {
        register(&mut front_end, registration()).await.unwrap();
    }
    let status = refused(register(&mut front_end, registration()).await, Code::ResourceExhausted, "QUOTA_EXCEEDED");
    assert_eq!(crate::house::fact(&status, "quota").as_deref(), Some("transactions_per_agent"));
    refused(house.begin(&mut front_end, &[READ]).await, Code::ResourceExhausted, "QUOTA_EXCEEDED");
    // The agent that it named has room for all its own.
    for _ in 0..2 {
        house.begin(&mut courier, &[READ]).await.unwrap();
    }
    refused(house.begin(&mut courier, &[READ]).await, Code::ResourceExhausted, "QUOTA_EXCEEDED");
}

// rows: RES-05 RES-06 PKCE-05
#[tokio::test]
async fn its_details_are_decided_when_they_are_redeemed() {
    let quote = serde_json::json!([{
        "type": "payment_initiation", "actions": ["draft"], "total": { "amount": "10", "currency": "EUR" }
    }]);
    let mut plan = Plan::new().policy(MAY_REGISTER);
    // A type that the scripted server lists, as the sample declares its own.
    plan.apis = plan.apis.replace("\"crm_quote\"", "\"payment_initiation\"");
    for (_, policy) in &mut plan.policies {
        *policy = policy.replace("\"crm_quote\"", "\"payment_initiation\"");
    }
    let house = plan.open().await;
    let (mut front_end, mut courier) = (house.agent().await, house.svid_agent(COURIER).await);
    for (sent, allowed) in [("10", true), ("2000", false)] {
        let details = quote.to_string().replace("\"10\"", &format!("{sent:?}"));
        let request = RegisterAuthorizationRequest { authorization_details: details.clone(), ..registration() };
        let registered = register(&mut front_end, request).await.unwrap();
        let begun = house.begin(&mut front_end, &[READ]).await.unwrap();
        let mut url = url::Url::parse(&begun.authorization_url).unwrap();
        let theirs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let theirs = theirs.iter().map(|(key, value)| match key.as_str() {
            "state" => (key.as_str(), STATE.to_owned()),
            "code_challenge" => (key.as_str(), challenge_of(VERIFIER)),
            _ => (key.as_str(), value.clone()),
        });
        url.query_pairs_mut().clear().extend_pairs(theirs).append_pair("authorization_details", &details);
        let callback = house.server.approve(url.as_str());
        let redeemed = ask(&mut courier, with_verifier(&registered.transaction, &callback, VERIFIER)).await;
        if allowed {
            let token = redeemed.unwrap().token.unwrap();
            assert_eq!(serde_json::from_str::<serde_json::Value>(&token.authorization_details).unwrap(), quote);
        } else {
            refused(redeemed, Code::PermissionDenied, "SCOPE_NO_LONGER_ALLOWED");
        }
    }
    let unknown = r#"[{"type":"everything"}]"#.to_owned();
    let request = RegisterAuthorizationRequest { authorization_details: unknown, ..registration() };
    refused(register(&mut front_end, request).await, Code::InvalidArgument, "AUTHORIZATION_DETAILS_INVALID");
}
