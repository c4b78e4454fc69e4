use crate::{
    house::{COURIER, Plan, eventually},
    kit::{MAIL, admin, command, facts, refused},
    swapping::{generation, harmless, plan, put, status, watching},
};
use narrowgate::api::proto::ReloadRequest;
use rustix::process::Signal;
use serde_json::Value;
use tonic::Code;

const EXTRA: &str = "policies/extra.cedar";

// rows: POL-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_signal() {
    let house = plan("1h").open().await;
    put(&house, EXTRA, &harmless("more"));
    house.tell(Signal::HUP);
    let said = generation(&house, 2).await;
    assert_eq!(facts(&said)["trigger"], "signal");
    // Nothing new is no generation; what is wrong is told.
    house.tell(Signal::HUP);
    put(&house, EXTRA, "permit");
    house.tell(Signal::HUP);
    let said = house.event("policy.rejected").await;
    assert_eq!((&facts(&said)["trigger"], &facts(&said)["generation"]), (&"signal".into(), &2.into()));
    assert_eq!(house.events("policy.activated").len(), 2);
}

// rows: POL-02 POL-04 CALL-09
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_an_operator_who_is_told_what_came_of_it() {
    let house = plan("1h").open().await;
    let mut operator = admin(&house).await;
    let mut agent = house.svid_agent(COURIER).await;
    let mut reload = async || operator.reload(ReloadRequest::default()).await.unwrap().into_inner();

    let done = reload().await;
    assert_eq!((done.outcome().as_str_name(), done.policy.unwrap().generation), ("OUTCOME_UNCHANGED", 1));
    put(&house, EXTRA, &harmless("more"));
    let done = reload().await;
    let set = done.policy.clone().unwrap();
    assert_eq!((done.outcome().as_str_name(), set.generation, done.mistakes.len()), ("OUTCOME_ACTIVATED", 2, 0));
    let said = generation(&house, 2).await;
    assert_eq!((&facts(&said)["trigger"], &said["actor"]["user"]["uid"]), (&"operator".into(), &"root".into()));
    assert_eq!(facts(&said)["policy_digest"], format!("sha256:{}", set.policy_digest));
    assert_eq!(facts(&said)["entities_digest"], format!("sha256:{}", set.entities_digest));
    assert_eq!(said["metadata"]["correlation_uid"], done.decision_id);
    assert_eq!(facts(&said)["policy_count"], set.policy_count);

    // Every mistake, with its place; the agents file's and the policies' at once.
    put(&house, EXTRA, &format!("@max_tl(\"1\")\n{}\n{}", harmless("a"), harmless("b").replace("now", "noon")));
    crate::swapping::edit(&house, "agents.toml", "trust = 3", "trust = 9");
    let done = reload().await;
    assert_eq!((done.outcome().as_str_name(), done.policy.as_ref().unwrap().generation), ("OUTCOME_REFUSED", 2));
    assert_eq!(usize::try_from(done.mistake_count).unwrap(), done.mistakes.len());
    let places: Vec<(&str, u32)> = done.mistakes.iter().map(|m| (m.file.rsplit('/').next().unwrap(), m.line)).collect();
    assert!(places.contains(&("extra.cedar", 1)), "{places:?}");
    assert!(places.iter().any(|(file, line)| *file == "agents.toml" && *line > 1), "{places:?}");
    let of_agents = done.mistakes.iter().find(|m| m.file.ends_with("agents.toml")).unwrap();
    assert!(of_agents.message.contains("`agent.trust`"), "{}", of_agents.message);
    house.begin(&mut agent, &MAIL).await.unwrap();
    let now = status(&mut operator).await;
    assert_eq!((now.policy_generation, now.policy_trigger.as_str()), (2, "operator"));
    let completed = house.events("admin.completed");
    let outcomes: Vec<&Value> = completed.iter().map(|event| &facts(event)["outcome"]).collect();
    assert_eq!(outcomes, ["unchanged", "activated", "refused"]);
}

// rows: POL-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_the_command_line() {
    let house = plan("1h").open().await;
    let json = || {
        let output = command(&house, &["--output", "json", "reload"]);
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).unwrap())
    };
    let text = || {
        let output = command(&house, &["reload"]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = text();
    assert!(code == Some(0) && said.contains("nothing is new\npolicy: generation 1"), "{said}");
    put(&house, EXTRA, &harmless("more"));
    let (code, said) = json();
    assert_eq!((code, &said["outcome"], &said["policy"]["generation"]), (Some(0), &"activated".into(), &2.into()));
    put(&house, EXTRA, "// nothing\npermit");
    let (code, said) = json();
    assert_eq!((code, &said["outcome"], &said["policy"]["generation"]), (Some(65), &"refused".into(), &2.into()));
    assert_eq!((&said["mistake_count"], &said["mistakes"][0]["line"]), (&1.into(), &2.into()));
    let (code, said) = text();
    assert!(code == Some(65) && said.contains("extra.cedar:2:"), "{said}");
    let status = command(&house, &["--output", "json", "status"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(
        (&status["policy"]["failure"]["stands"], &status["policy"]["trigger"]),
        (&true.into(), &"operator".into())
    );
    let numbers = eventually("health", || Some(house.health())).await;
    assert!(numbers.contains("the last reload was refused"), "{numbers}");
}

// rows: CALL-09 POL-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_by_nobody_else() {
    // An operator without the permit.
    let mut plan: Plan = plan("1h");
    for (_, text) in &mut plan.policies {
        *text = text.replace("admin_reload", "admin_status");
    }
    let house = plan.open().await;
    put(&house, EXTRA, &harmless("more"));
    let mut operator = admin(&house).await;
    refused(operator.reload(ReloadRequest::default()).await, Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(house.events("policy.activated").len(), 1);
    // An agent: there is no such service on its socket, and it is nobody on the other.
    let house = watching(crate::kit::plain(), "1h").open().await;
    put(&house, EXTRA, &harmless("more"));
    let mut agent = admin(&house).await;
    refused(agent.reload(ReloadRequest::default()).await, Code::PermissionDenied, "OPERATOR_UNKNOWN");
    let channel = crate::house::unix_channel(&house.path("run/agent.sock")).await;
    let mut agent = crate::kit::Admin::new(channel);
    assert_eq!(agent.reload(ReloadRequest::default()).await.err().unwrap().code(), Code::Unimplemented);
    assert_eq!(house.events("policy.activated").len(), 1);
}
