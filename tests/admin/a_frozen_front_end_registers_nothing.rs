use crate::{
    house::{Agent, House, begin_request, redeem_request},
    kit::{MAIL, admin, freeze, plan, refused, unfreeze},
};
use narrowgate::{
    api::proto::{FreezeRequest, RegisterAuthorizationRequest, Target, target::Kind},
    platform::digest::sha256,
};
use tonic::{Code, Status};

const FRONT_END: &str = "spiffe://acme.test/agent/desk";
const MAY_REGISTER: &str = r#"
@id("test.front-end")
permit (
  principal == Narrowgate::Agent::"desk",
  action == Narrowgate::Action::"register_authorization",
  resource is Narrowgate::Client
);
"#;

async fn register(front_end: &mut Agent) -> Result<String, Status> {
    let request = RegisterAuthorizationRequest {
        client: "sales-crm".to_owned(),
        scopes: vec![MAIL[0].to_owned()],
        redirect_uri: begin_request(&MAIL).redirect_uri,
        for_agent: "courier".to_owned(),
        // The example of RFC 7636 appendix B.
        code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".to_owned(),
        code_challenge_method: "S256".to_owned(),
        state_hash: sha256(b"state").to_vec(),
        ..RegisterAuthorizationRequest::default()
    };
    Ok(front_end.register_authorization(request).await?.into_inner().transaction)
}

async fn open() -> House {
    let mut plan = plan().policy(MAY_REGISTER);
    plan.agents.push_str(&format!(
        "\n[[agent]]\nid = \"desk\"\nspiffe_id = \"{FRONT_END}\"\nowner = \"sales\"\nenvironment = \"prod\"\ntrust = 3\n"
    ));
    plan.open().await
}

// rows: INTR-03 CACH-08
#[tokio::test]
async fn a_frozen_front_end_and_for_a_frozen_agent_nobody() {
    let house = open().await;
    let mut admin = admin(&house).await;
    let mut front_end = house.svid_agent(FRONT_END).await;
    let mut agent = house.svid_agent(crate::house::COURIER).await;
    register(&mut front_end).await.unwrap();
    // For an agent that is frozen nobody registers anything.
    assert_eq!(freeze(&mut admin, "agent").await.unwrap().toll.unwrap().transactions, 1);
    refused(register(&mut front_end).await, Code::PermissionDenied, "FROZEN");
    assert!(unfreeze(&mut admin, "agent").await);
    // With a front end goes what it registered, whoever was to redeem it.
    let transaction = register(&mut front_end).await.unwrap();
    let target = Some(Target { kind: Some(Kind::Agent("desk".to_owned())) });
    let frozen = admin.freeze(FreezeRequest { target, ticket: String::new() }).await.unwrap().into_inner();
    assert_eq!(frozen.toll.unwrap().transactions, 1);
    refused(register(&mut front_end).await, Code::PermissionDenied, "FROZEN");
    let callback = format!("{}?code=code&state=state", begin_request(&MAIL).redirect_uri);
    let redeemed = agent.redeem_code(redeem_request(&transaction, &callback)).await;
    refused(redeemed, Code::FailedPrecondition, "TXN_TERMINAL");
    assert_eq!(house.server.token_posts(), 0);
}
