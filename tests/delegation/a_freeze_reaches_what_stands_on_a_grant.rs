use crate::{
    house::{
        COURIER, Plan, eventually, front_end::registration, get, redeem, scripted_as::delegation::TOKEN_EXCHANGE,
        unix_channel,
    },
    kit::{exchange, open_with, refused, request},
};
use narrowgate::api::proto::{
    FreezeRequest, Target, UnfreezeRequest, admin_service_client::AdminServiceClient, exchange_token_request::Subject,
    target::Kind,
};
use tonic::Code;

const MAIL: &str = "mail.read";

/// A house whose agent `courier` comes by mutual TLS and whose operator is whoever runs the tests. What it exchanges, it
/// exchanges by a client of its own.
fn plan() -> Plan {
    let own = rustix::process::geteuid().as_raw();
    let mut plan = Plan::new().config("[audit]", "[listen.admin]\npath = \"@FOLDER@/run/admin.sock\"\n\n[audit]");
    plan.agents = plan.agents.replace("uid = 4200000000", "uid = @OPERATOR@");
    plan.agents =
        plan.agents.replace(&format!("uid = {own}\n"), "uid = 1001\n").replace("@OPERATOR@", &own.to_string());
    plan.policy(include_str!("../../policies/base/operators.cedar"))
}

const EXCHANGING: &str = r#"
[[client]]
alias = "sales-exchange"
issuer = "corp"
client_id = "narrowgate-exchange"
auth = "tls_client_auth"
subject = { san_uri = "spiffe://acme.test/narrowgate" }
certificate = "client.pem"
key = "client.key"
owner = "sales"
[client.token_exchange]
actor_key = "actor.key"
"#;

const DESK: &str = "spiffe://acme.test/agent/desk";
const MAY_REGISTER: &str = r#"
@id("test.front-end")
permit (
  principal == Narrowgate::Agent::"desk",
  action == Narrowgate::Action::"register_authorization",
  resource is Narrowgate::Client
);
"#;

// rows: CACH-08 TEX-07
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_decision_and_post_no_subject_token_leaves() {
    for lifted in [false, true] {
        let house = open_with(plan(), EXCHANGING).await;
        let mut admin = AdminServiceClient::new(unix_channel(&house.path("run/admin.sock")).await);
        let mut agent = house.svid_agent(COURIER).await;
        let (transaction, callback) = house.approved(&mut agent, &[MAIL]).await;
        let login = redeem(&mut agent, &transaction, &callback).await.unwrap();
        let connections = house.server.token_connections();
        house.server.hold_handshakes(true);
        let exchanging = tokio::spawn(async move {
            let mut own = request("", &[MAIL]);
            own.client = "sales-exchange".to_owned();
            (own.subject, own.subject_token_type) = (Some(Subject::SubjectGrant(login.grant)), String::new());
            exchange(&mut agent, own).await
        });
        eventually("the connection", || Some(()).filter(|()| house.server.token_connections() > connections)).await;
        eventually("the decision", || Some(()).filter(|()| house.events("exchange.decided").len() == 2)).await;
        // Not the client that exchanges, but the one that logged in.
        let target = || Some(Target { kind: Some(Kind::Client("sales-crm".to_owned())) });
        let freeze = FreezeRequest { target: target(), ticket: "incident-4711".to_owned() };
        let freezing = tokio::spawn({
            let mut admin = admin.clone();
            async move { admin.freeze(freeze).await }
        });
        eventually("the freeze", || Some(()).filter(|()| house.path("audit/freezes.json").exists())).await;
        if lifted {
            admin.unfreeze(UnfreezeRequest { target: target() }).await.unwrap();
        }
        house.server.hold_handshakes(false);
        refused(exchanging.await.unwrap(), Code::PermissionDenied, "FROZEN");
        freezing.await.unwrap().unwrap();
        assert!(house.server.requests_of(TOKEN_EXCHANGE).is_empty(), "the subject token left");
        assert_eq!(house.event("exchange.failed").await["status_code"], "FROZEN");
    }
}

// rows: CACH-08 INTR-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_exchanged_from_a_front_ends_request_ends_with_the_front_end() {
    let mut plan = plan().policy(MAY_REGISTER);
    plan.agents.push_str(&format!(
        "\n[[agent]]\nid = \"desk\"\nspiffe_id = \"{DESK}\"\nowner = \"sales\"\nenvironment = \"prod\"\ntrust = 3\n"
    ));
    let house = open_with(plan, EXCHANGING).await;
    let mut admin = AdminServiceClient::new(unix_channel(&house.path("run/admin.sock")).await);
    let (mut desk, mut agent) = (house.svid_agent(DESK).await, house.svid_agent(COURIER).await);
    let mut begins = agent.clone();
    let redeeming = house.registered(&mut desk, &mut begins, registration("courier", &[MAIL])).await.unwrap();
    let login = agent.redeem_code(redeeming).await.unwrap().into_inner();
    let mut own = request("", &[MAIL]);
    own.client = "sales-exchange".to_owned();
    (own.subject, own.subject_token_type) = (Some(Subject::SubjectGrant(login.grant)), String::new());
    let exchanged = exchange(&mut agent, own).await.unwrap().grant;
    get(&mut agent, &exchanged).await.unwrap();
    let target = Some(Target { kind: Some(Kind::Agent("desk".to_owned())) });
    let frozen = admin.freeze(FreezeRequest { target, ticket: String::new() }).await.unwrap().into_inner();
    assert_eq!(frozen.toll.unwrap().grants, 2);
    refused(get(&mut agent, &exchanged).await, Code::NotFound, "GRANT_UNKNOWN");
}
