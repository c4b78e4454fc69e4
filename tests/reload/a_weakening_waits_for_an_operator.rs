//! What was denied of late is asked again of a set that would come next, and what it allows is told; where that is
//! demanded, nothing changes until an operator says so.

use crate::{
    house::{Agent, COURIER, House, Plan, eventually, fact, reason},
    kit::{self, admin, command, facts},
    swapping::{generation, harmless, plan, put, status},
};
use narrowgate::api::proto::ReloadRequest;
use rustix::process::Signal;
use serde_json::Value;

const RULE: &str = "policies/rule.cedar";

fn rule(scope: &str) -> String {
    format!(
        "@id(\"rule\") @code(\"not_this\")\nforbid (principal, action == Narrowgate::Action::\"grant_scope\", resource == Narrowgate::Scope::\"{scope}\");\n"
    )
}

fn demanding(every: &str) -> Plan {
    plan(every).config("directory = \"policies\"", "directory = \"policies\"\nrequire_ack_for_weakening = true")
}

async fn open(plan: Plan) -> House {
    let mut house = plan.build();
    put(&house, RULE, &rule("mail.read"));
    house.start();
    house.wait_until_serving().await;
    house
}

async fn denied(house: &House, agent: &mut Agent, scopes: &[&str]) -> String {
    let status = house.begin(agent, scopes).await.err().unwrap();
    assert_eq!(reason(&status), "POLICY_DENIED", "{status:?}");
    fact(&status, "decision_id").unwrap()
}

// rows: POL-09
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_reload_allows_of_it_is_told_once() {
    let house = open(plan("1h")).await;
    let (mut admin, mut agent) = (admin(&house).await, house.svid_agent(COURIER).await);
    let decision = denied(&house, &mut agent, &["mail.read"]).await;
    house.begin(&mut agent, &["customers.delete"]).await.err().unwrap();
    // Tighter: of the two questions nothing is allowed anew.
    put(&house, "policies/more.cedar", &harmless("more"));
    admin.reload(ReloadRequest::default()).await.unwrap();
    let said = generation(&house, 2).await;
    assert_eq!((&facts(&said)["denials_asked"], &facts(&said)["weakened"]), (&2.into(), &0.into()));
    // Another rule: one of them is.
    put(&house, RULE, &rule("mail.send"));
    admin.reload(ReloadRequest::default()).await.unwrap();
    let said = generation(&house, 3).await;
    assert_eq!((&facts(&said)["denials_asked"], &facts(&said)["weakened"]), (&2.into(), &1.into()));
    let first = &facts(&said)["weakened_first"][0];
    assert_eq!((&first["decision"], &first["agent"]), (&decision.into(), &"courier".into()));
    assert_eq!(first["scopes"], serde_json::json!(["mail.read"]));
    house.begin(&mut agent, &["mail.read"]).await.unwrap();
    // It is denied no more, so the next set does not allow it anew.
    put(&house, "policies/more.cedar", &harmless("other"));
    admin.reload(ReloadRequest::default()).await.unwrap();
    let said = generation(&house, 4).await;
    assert_eq!((&facts(&said)["denials_asked"], &facts(&said)["weakened"]), (&1.into(), &0.into()));
}

// rows: POL-09 POL-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_that_is_demanded_it_changes_nothing_until_then() {
    let mut house = open(demanding("100ms")).await;
    let (mut operator, mut agent) = (admin(&house).await, house.svid_agent(COURIER).await);
    let decision = denied(&house, &mut agent, &["mail.read"]).await;
    // What allows nothing anew needs no word.
    put(&house, "policies/more.cedar", &harmless("more"));
    generation(&house, 2).await;
    put(&house, RULE, &rule("mail.send"));
    let said = house.event("policy.activation_refused").await;
    assert_eq!((&facts(&said)["trigger"], &facts(&said)["weakened"]), (&"watch".into(), &1.into()));
    assert_eq!((&said["severity"], &said["status"]), (&"High".into(), &"Failure".into()));
    assert_eq!(facts(&said)["weakened_first"][0]["decision"], decision);
    denied(&house, &mut agent, &["mail.read"]).await;
    let now = status(&mut operator).await;
    let pending = now.policy_pending.unwrap();
    let digest = pending.digest.clone();
    assert_eq!((now.policy_generation, pending.weakened, pending.first[0].agent.as_str()), (2, 1, "courier"));
    assert_eq!(facts(&said)["policy_digest"], format!("sha256:{}", pending.policy_digest));
    assert_eq!(house.health(), "SERVING");
    // Neither a signal nor an operator who does not say so.
    house.tell(Signal::HUP);
    eventually("the signal", || (house.events("policy.activation_refused").len() >= 2).then_some(())).await;
    let done = operator.reload(ReloadRequest::default()).await.unwrap().into_inner();
    assert_eq!((done.outcome().as_str_name(), done.pending.unwrap().weakened), ("OUTCOME_PENDING", 1));
    denied(&house, &mut agent, &["mail.read"]).await;
    let output = command(&house, &["reload"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(65), "{text}");
    assert!(text.contains("of 1 denials of late it allows 1") && text.contains("courier: mail.read"), "{text}");
    let text = String::from_utf8(command(&house, &["status"]).stdout).unwrap();
    assert!(text.contains("reload --accept-weakening"), "{text}");
    assert_eq!(house.events("policy.activated").len(), 2);
    // On their word.
    let other = command(&house, &["reload", "--accept-weakening", &"0".repeat(64)]);
    assert_eq!(other.status.code(), Some(65), "a word for another set is none for this one");
    let output = command(&house, &["--output", "json", "reload", "--accept-weakening", &digest]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &json["outcome"]), (Some(0), &"activated".into()));
    let said = generation(&house, 3).await;
    assert_eq!((&facts(&said)["weakened"], &facts(&said)["weakening_accepted"]), (&1.into(), &true.into()));
    assert_eq!(said["actor"]["user"]["uid"], "root");
    house.begin(&mut agent, &["mail.read"]).await.unwrap();
    assert!(status(&mut operator).await.policy_pending.is_none());
    house.stop().await;
    house.assert_valid_ocsf(&["policy.activation_refused", "policy.activated"], &[]);
}

// rows: POL-09
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_waits_no_more_when_the_files_are_as_they_were_and_a_start_is_no_reload() {
    let mut house = open(demanding("1h")).await;
    let mut operator = admin(&house).await;
    let mut agent = house.svid_agent(COURIER).await;
    denied(&house, &mut agent, &["mail.read"]).await;
    put(&house, RULE, &rule("mail.send"));
    let reload = async |operator: &mut kit::Admin| {
        operator.reload(ReloadRequest::default()).await.unwrap().into_inner().outcome().as_str_name().to_owned()
    };
    assert_eq!(reload(&mut operator).await, "OUTCOME_PENDING");
    put(&house, RULE, &rule("mail.read"));
    assert_eq!(reload(&mut operator).await, "OUTCOME_UNCHANGED");
    assert!(status(&mut operator).await.policy_pending.is_none());
    // One with a mistake does not wait, it is refused; nor does a word make it sound.
    put(&house, RULE, "permit");
    let accepting = ReloadRequest {
        accept_weakening: status(&mut operator).await.policy_pending.map_or_else(String::new, |it| it.digest),
    };
    let done = operator.reload(accepting).await.unwrap().into_inner();
    assert_eq!(done.outcome().as_str_name(), "OUTCOME_REFUSED");
    put(&house, RULE, &rule("mail.send"));
    assert_eq!(reload(&mut operator).await, "OUTCOME_PENDING");
    house.stop().await;
    house.start();
    house.wait_until_serving().await;
    let mut agent = house.svid_agent(COURIER).await;
    house.begin(&mut agent, &["mail.read"]).await.unwrap();
}
