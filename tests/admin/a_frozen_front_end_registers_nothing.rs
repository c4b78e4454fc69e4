use crate::{
    house::{Agent, House, begin_request, eventually, front_end::registration, get, redeem_request},
    kit::{Admin, MAIL, admin, freeze, plan, refused, unfreeze},
};
use narrowgate::api::proto::{FreezeRequest, FreezeResponse, RedeemCodeRequest, Target, UnfreezeRequest, target::Kind};
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
    let request = registration("courier", &MAIL[..1]);
    Ok(front_end.register_authorization(request).await?.into_inner().transaction)
}

async fn open() -> House {
    let mut plan = plan().policy(MAY_REGISTER);
    plan.agents.push_str(&format!(
        "\n[[agent]]\nid = \"desk\"\nspiffe_id = \"{FRONT_END}\"\nowner = \"sales\"\nenvironment = \"prod\"\ntrust = 3\n"
    ));
    plan.open().await
}

fn desk() -> Option<Target> {
    Some(Target { kind: Some(Kind::Agent("desk".to_owned())) })
}

async fn freeze_desk(admin: &mut Admin) -> FreezeResponse {
    admin.freeze(FreezeRequest { target: desk(), ticket: String::new() }).await.unwrap().into_inner()
}

/// What redeems a code of the front end's own request, which the person has approved.
async fn redeeming(house: &House, front_end: &mut Agent, agent: &mut Agent) -> RedeemCodeRequest {
    house.registered(front_end, agent, registration("courier", &MAIL[..1])).await.unwrap()
}

// rows: INTR-03 CACH-08
#[tokio::test]
async fn what_came_of_its_requests_ends_with_it() {
    let house = open().await;
    let mut admin = admin(&house).await;
    let mut front_end = house.svid_agent(FRONT_END).await;
    let mut agent = house.svid_agent(crate::house::COURIER).await;
    let request = redeeming(&house, &mut front_end, &mut agent).await;
    let grant = agent.redeem_code(request).await.unwrap().into_inner().grant;
    // One that the agent began itself is nothing of the front end's.
    let own = house.login(&mut agent, &MAIL).await.unwrap().grant;
    get(&mut agent, &grant).await.unwrap();
    assert_eq!(freeze_desk(&mut admin).await.toll.unwrap().grants, 1);
    refused(get(&mut agent, &grant).await, Code::NotFound, "GRANT_UNKNOWN");
    get(&mut agent, &own).await.unwrap();
}

// rows: INTR-03 CACH-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_is_released_to_nobody() {
    for lifted in [false, true] {
        let house = open().await;
        let mut admin = admin(&house).await;
        let mut front_end = house.svid_agent(FRONT_END).await;
        let mut agent = house.svid_agent(crate::house::COURIER).await;
        let request = redeeming(&house, &mut front_end, &mut agent).await;
        house.server.set_pause(true);
        let redeeming = tokio::spawn(async move { agent.redeem_code(request).await });
        eventually("the code at the server", || Some(()).filter(|()| house.server.token_posts() == 1)).await;
        freeze_desk(&mut admin).await;
        if lifted {
            admin.unfreeze(UnfreezeRequest { target: desk() }).await.unwrap();
        }
        house.server.set_pause(false);
        refused(redeeming.await.unwrap(), Code::PermissionDenied, "FROZEN");
        assert!(house.events("token.issued").is_empty(), "policy released it");
    }
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
    let frozen = freeze_desk(&mut admin).await;
    assert_eq!(frozen.toll.unwrap().transactions, 1);
    refused(register(&mut front_end).await, Code::PermissionDenied, "FROZEN");
    let callback = format!("{}?code=code&state=state", begin_request(&MAIL).redirect_uri);
    let redeemed = agent.redeem_code(redeem_request(&transaction, &callback)).await;
    refused(redeemed, Code::FailedPrecondition, "TXN_TERMINAL");
    assert_eq!(house.server.token_posts(), 0);
}
