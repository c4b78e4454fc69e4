use crate::{
    assert_left_alone,
    house::{
        Agent, Plan, redeem,
        scripted_as::{
            Callback,
            behaviour::{Behaviour, Script},
        },
    },
    two::{CORP, Two},
};
use narrowgate::api::proto::RedeemCodeResponse;
use tokio::task::JoinSet;
use tonic::{Code, Status};
use tonic_types::StatusExt;

const AGENTS: usize = 100;
/// Requests under way at the partner.
const WIDTH: usize = 8;

fn spiffe_id(n: usize) -> String {
    format!("spiffe://acme.test/agent/storm-{n}")
}

/// A hundred agents at the mutual TLS door, and time enough for all of them.
fn plan() -> Plan {
    let mut plan = Plan::new().config("call_deadline = \"20s\"", "call_deadline = \"120s\"");
    // At TRACE a hundred agents fill the log, not the lane.
    plan.log = "info".to_owned();
    for n in 0..AGENTS {
        let id = spiffe_id(n);
        let rest = "owner = \"sales\"\nenvironment = \"prod\"\ntrust = 3\n";
        plan.agents.push_str(&format!("\n[[agent]]\nid = \"storm-{n}\"\nspiffe_id = \"{id}\"\n{rest}"));
    }
    plan
}

/// An agent, and what it brings back from the partner.
type Login = (Agent, String, Callback);

async fn redeem_all(logins: &[Login]) -> Vec<Result<RedeemCodeResponse, Status>> {
    let mut calls = JoinSet::new();
    for (agent, transaction, callback) in logins {
        let (mut agent, transaction, callback) = (agent.clone(), transaction.clone(), callback.clone());
        calls.spawn(async move { redeem(&mut agent, &transaction, &callback).await });
    }
    calls.join_all().await
}

// rows: TOK-15 (as far as redeeming goes; attack 32)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_few_codes_are_spent_on_a_server_that_is_not_there() {
    let issuer = format!("requests_in_flight = {WIDTH}\ncircuit_backoff = \"60s\"");
    let two = Two::open(plan(), &issuer, |_| {}).await;
    two.partner.always(Script::Token(Behaviour::Status(503)));
    let (mut storm, mut healthy) = (Vec::new(), JoinSet::new());
    for n in 0..AGENTS {
        let mut agent = two.house.svid_agent(&spiffe_id(n)).await;
        let (transaction, callback) = two.approved(&mut agent).await;
        storm.push((agent, transaction, callback));
    }
    for (agent, ..) in &storm {
        let mut agent = agent.clone();
        let (transaction, callback) = two.house.approved(&mut agent, &[CORP]).await;
        healthy.spawn(async move { redeem(&mut agent, &transaction, &callback).await });
    }
    for round in 0..3 {
        for answer in redeem_all(&storm).await {
            let status = answer.err().unwrap();
            assert!(status.get_details_retry_info().is_some() || spent(&status), "{status:?}");
            if round > 0 && !spent(&status) {
                assert_left_alone(&status);
            }
        }
    }
    // Four that failed before the one that opened the circuit, and those that were under way then.
    let posts = two.partner.token_posts();
    assert!((5..5 + WIDTH).contains(&posts), "{posts} POSTs");
    let served = healthy.join_all().await;
    let refused: Vec<_> = served.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert_eq!(served.len() - refused.len(), AGENTS, "{refused:?}");
    assert_eq!(two.house.server.token_posts(), AGENTS);
    assert_eq!(two.house.events("issuer.unavailable").len(), 1);
    assert_eq!(two.health("issuer/partner").await.unwrap(), 2);
    assert_eq!(two.health("issuer/corp").await.unwrap(), 1);
    assert_eq!(two.health("").await.unwrap(), 1);
    assert_eq!(two.health("narrowgate.v1.TokenService").await.unwrap(), 1);
    assert_eq!(two.health("issuer/nobody").await.err().unwrap().code(), Code::NotFound);
}

/// Whether the code was sent, or had been before.
fn spent(status: &Status) -> bool {
    ["AS_UNAVAILABLE", "CODE_ALREADY_USED"].contains(&crate::house::reason(status).as_str())
}

// rows: TOK-15 (as far as redeeming goes)
#[tokio::test]
async fn a_server_that_asks_for_time_is_left_alone_at_once_and_not_for_ever() {
    let two = Two::open(Plan::new(), "", |_| {}).await;
    let mut agent = two.house.agent().await;
    let (kept, kept_callback) = two.approved(&mut agent).await;
    let later = ("Retry-After".to_owned(), "99999".to_owned());
    two.partner.behave(Script::Token(Behaviour::Raw { status: 503, headers: vec![later], body: Vec::new() }));
    let status = two.login(&mut agent).await.err().unwrap();
    assert_eq!((status.code(), crate::house::reason(&status).as_str()), (Code::Unavailable, "AS_UNAVAILABLE"));
    let wait = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert_eq!(wait.as_secs(), 300);
    assert_eq!(two.partner.token_posts(), 1);
    // Another login's code is not spent on it.
    let connections = two.partner.token_connections();
    assert_left_alone(&redeem(&mut agent, &kept, &kept_callback).await.err().unwrap());
    assert_eq!((two.partner.token_posts(), two.partner.token_connections()), (1, connections));
    two.house.login(&mut agent, &[CORP]).await.unwrap();
}

// rows: TOK-15 (the circuit)
#[tokio::test]
async fn but_not_because_of_one_agents_odd_codes() {
    let two = Two::open(Plan::new(), "", |_| {}).await;
    let mut agent = two.house.agent().await;
    two.partner.always(Script::Token(Behaviour::Status(500)));
    for _ in 0..8 {
        assert_eq!(crate::house::reason(&two.login(&mut agent).await.err().unwrap()), "AS_REJECTED");
    }
    two.partner.always(Script::Token(Behaviour::Honest));
    two.login(&mut agent).await.unwrap();
    assert_eq!(two.house.events("issuer.unavailable").len(), 0);
}
