//! The official `cedar` command line, given the same policies, schema, entities and questions, decides as the daemon did,
//! and on the same grounds. `tests/run` brings it; `NARROWGATE_TEST_CEDAR` says where it is.

use crate::house::{Agent, COURIER, House, Plan, begin_request, binary, redeem_request, write};
use narrowgate::api::proto::{BeginAuthorizationRequest, Claimed, GetTokenRequest, RedeemCodeRequest};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Errs for one purpose.
const ERRING: &str = "@id(\"erring\") @code(\"erring\")\n\
    forbid (principal, action == Narrowgate::Action::\"grant_scope\", resource == Narrowgate::Scope::\"customers.write\")\n\
    when { context.base.claimed has purpose && context.base.claimed.purpose == \"overflow\" && principal.trust * 9223372036854775807 > 5 };";
const SAMPLES: [&str; 4] = ["guardrails.cedar", "flows.cedar", "grants.cedar", "operators.cedar"];
/// Topics of the library whose answers hang on the day, or on who runs the tests from where: no session for these.
const BY_THE_CLOCK: [&str; 3] = ["break-glass", "business-hours", "dormant-agents"];
/// What a turn asks for, and says it is for.
type Turn = (&'static [&'static str], &'static str);

fn cedar() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-env/cedar/bin/cedar");
    let program = std::env::var_os("NARROWGATE_TEST_CEDAR").map_or(here, PathBuf::from);
    if !program.is_file() {
        eprintln!("SKIPPED: there is no cedar command line here; tests/run brings it");
        return None;
    }
    Some(program)
}

/// A file of the repository.
fn text(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The topics of the library, each with its policies.
fn library() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/library");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut topics: Vec<String> = names.filter_map(|name| Some(name.strip_suffix(".cedar")?.to_owned())).collect();
    topics.sort();
    topics.into_iter().map(|topic| (topic.clone(), text(&format!("policies/library/{topic}.cedar")))).collect()
}

/// What `narrowgate policy ...` prints.
fn printed(arguments: &[&str]) -> String {
    let output = binary().arg("policy").args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The files of a house as the command line wants them.
struct Files {
    cedar: PathBuf,
    house: House,
}

impl Files {
    fn write(cedar: PathBuf, house: House, policies: &str) -> Self {
        let config = house.path("narrowgate.toml").display().to_string();
        write(&house.path("all.cedar"), policies);
        write(&house.path("schema.cedarschema"), &printed(&["schema"]));
        write(&house.path("entities.json"), &printed(&["entities", "--config", &config]));
        Self { cedar, house }
    }

    fn run(&self, command: &str, arguments: &[&str]) -> Output {
        let mut cedar = Command::new(&self.cedar);
        cedar.arg(command).arg("--policies").arg(self.house.path("all.cedar"));
        cedar.arg("--schema").arg(self.house.path("schema.cedarschema")).args(arguments).output().unwrap()
    }

    /// Asks one question: whether it is allowed, by which policies, and whether one erred.
    fn ask(&self, question: &Value) -> (bool, BTreeSet<String>, bool) {
        write(&self.house.path("request.json"), &question.to_string());
        let [entities, request] = ["entities.json", "request.json"].map(|name| self.house.path(name));
        let [entities, request] = [&entities, &request].map(|path| path.to_str().unwrap());
        let output = self.run("authorize", &["--entities", entities, "--request-json", request, "--verbose"]);
        let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        let allowed = match output.status.code() {
            Some(0) => true,
            Some(2) => false,
            other => panic!("{other:?}: {said}"),
        };
        let (_, reasons) = said.split_once("due to the following policies:").unwrap_or_default();
        let reasons = reasons.lines().skip(1).take_while(|line| line.starts_with("  "));
        (allowed, reasons.map(|line| line.trim().to_owned()).collect(), said.contains("error while evaluating"))
    }
}

/// The questions of a recorded decision, as the command line reads them.
fn questions(asked: &Value) -> Vec<Value> {
    let uid = |kind: &Value, id: &Value| format!("{}::{id}", kind.as_str().unwrap());
    let principal = uid(&asked["principal"]["type"], &asked["principal"]["id"]);
    let mut all = Vec::new();
    for question in asked["questions"].as_array().unwrap() {
        let mut context = question["context"].clone();
        if let Some(number) = question["base"].as_u64() {
            let mut base = asked["bases"][usize::try_from(number).unwrap()].clone();
            for (unsaid, nothing) in [("actors", json!({ "depth": 0, "members": [] })), ("claimed", json!({}))] {
                base.as_object_mut().unwrap().entry(unsaid).or_insert(nothing);
            }
            context["base"] = base;
        }
        for id in question["ids"].as_array().unwrap() {
            let action = uid(&json!("Narrowgate::Action"), &question["action"]);
            let resource = uid(&question["type"], id);
            all.push(json!({ "principal": principal, "action": action, "resource": resource, "context": context }));
        }
    }
    all
}

async fn turn(house: &House, agent: &mut Agent, scopes: &[&str], purpose: &str) {
    let task = "opportunity-17".to_owned();
    let claimed = || Some(Claimed { purpose: purpose.to_owned(), task: task.clone(), ..Claimed::default() });
    let begin = BeginAuthorizationRequest { claimed: claimed(), ..begin_request(scopes) };
    let Ok(begun) = agent.begin_authorization(begin).await else { return };
    let begun = begun.into_inner();
    let callback = house.server.approve(&begun.authorization_url);
    let redeem = RedeemCodeRequest { claimed: claimed(), ..redeem_request(&begun.transaction, &callback.url) };
    let Ok(redeemed) = agent.redeem_code(redeem).await else { return };
    let grant = redeemed.into_inner().grant;
    // And once more, for words that a guard minds.
    for purpose in [purpose, "bulk-export"] {
        let claimed = Some(Claimed { purpose: purpose.to_owned(), ..Claimed::default() });
        let _ = agent.get_token(GetTokenRequest { grant: grant.clone(), claimed, ..GetTokenRequest::default() }).await;
    }
}

/// Has two agents ask for these, and asks the command line all that policy was asked: what was decided, by policy.
async fn compared(cedar: PathBuf, plan: Plan, turns: &[Turn]) -> Decided {
    let policies: String = plan.policies.iter().map(|(_, text)| format!("{text}\n")).collect();
    let mut house = plan.open().await;
    let (mut quoter, mut courier) = (house.agent().await, house.svid_agent(COURIER).await);
    for (scopes, purpose) in turns {
        turn(&house, &mut quoter, scopes, purpose).await;
        turn(&house, &mut courier, scopes, purpose).await;
    }
    house.stop().await;
    let decided: Vec<Value> = house.audit();
    let files = Files::write(cedar, house, &policies);
    let (mut all_decided, mut asked) = (Decided::default(), 0);
    for event in &decided {
        let facts = &event["unmapped"]["narrowgate"];
        // Whether terms can be kept is asked after Cedar, and which scopes are worth asking for before.
        let whole =
            facts["asked"]["questions"].as_array().is_some_and(|all| all.iter().all(|q| q["part"] != "narrowing"));
        if !whole || facts["deny_kind"] == "obligation_unmet" {
            continue;
        }
        let mut all = (true, BTreeSet::new(), false);
        for question in questions(&facts["asked"]) {
            let (yes, grounds, error) = files.ask(&question);
            all = (all.0 && yes && !error, all.1.into_iter().chain(grounds).collect(), all.2 || error);
            asked += 1;
        }
        let ours: BTreeSet<String> = event["authorizations"]
            .as_array()
            .map(|all| all.iter().map(|one| one["policy"]["uid"].as_str().unwrap().to_owned()).collect())
            .unwrap_or_default();
        let denied_by = facts["deny_kind"].as_str();
        assert_eq!((denied_by.is_none(), &ours, denied_by == Some("eval_error")), (all.0, &all.1, all.2), "{event:#}");
        *(if all.0 { &mut all_decided.allowed } else { &mut all_decided.denied }) += 1;
        all_decided.erred += u32::from(all.2);
        all_decided.grounds.extend(all.1);
    }
    let Decided { allowed, denied, .. } = all_decided;
    eprintln!("{asked} questions of {allowed} decisions that allow and {denied} that deny: the command line agrees");
    all_decided
}

/// Decisions that were compared, and every policy that had a say in one.
#[derive(Default, Debug)]
struct Decided {
    allowed: u32,
    denied: u32,
    erred: u32,
    grounds: BTreeSet<String>,
}

// rows: POL-01 POL-05
#[tokio::test(flavor = "multi_thread")]
async fn every_decision_of_a_session_and_its_grounds() {
    let Some(cedar) = cedar() else { return };
    let turns: [Turn; 5] = [
        (&["customers.read"], "quote"),
        (&["customers.read", "customers.write"], ""),
        (&["customers.write"], "overflow"),
        (&["customers.delete"], ""),
        (&["mail.send"], "quote"),
    ];
    let decided = compared(cedar, Plan::new().policy(ERRING), &turns).await;
    assert!(decided.allowed > 5 && decided.denied > 5 && decided.erred > 0, "{decided:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_decision_of_a_session_under_the_library() {
    let Some(cedar) = cedar() else { return };
    let (mut plan, root) = (Plan::new(), Path::new(env!("CARGO_MANIFEST_DIR")));
    for (topic, policies) in library() {
        if BY_THE_CLOCK.contains(&topic.as_str()) {
            continue;
        }
        plan = plan.policy(&policies);
        plan.apis +=
            &std::fs::read_to_string(root.join(format!("policies/library/{topic}.apis.toml"))).unwrap_or_default();
    }
    let turns: [Turn; 8] = [
        (&["customers.read"], "quote"),
        (&["customers.read", "customers.delete"], ""),
        (&["mail.read"], ""),
        (&["mail.send"], ""),
        (&["mail.read", "mail.send"], ""),
        (&["tickets.search"], ""),
        (&["quotes.write"], "quote"),
        (&["quotes.write"], "research"),
    ];
    let decided = compared(cedar, plan, &turns).await;
    assert!(decided.allowed > 5 && decided.denied > 5 && decided.erred == 0, "{decided:?}");
    for spoke in ["lifetimes.confidential", "mcp.look", "people.managers-send", "purpose.quotes", "purpose.stated"] {
        assert!(decided.grounds.contains(spoke), "{spoke}: {decided:?}");
    }
}

// rows: POL-02
#[test]
fn the_sample_set_is_valid_to_it_and_a_typo_is_not() {
    let Some(cedar) = cedar() else { return };
    let house = Plan::new().build();
    let all = SAMPLES.map(|name| text(&format!("policies/base/{name}"))).join("\n");
    let files = Files::write(cedar, house, &all);
    let strict = ["--deny-warnings", "--level", "1"];
    let valid = files.run("validate", &strict);
    assert_eq!(valid.status.code(), Some(0), "{valid:?}");
    write(&files.house.path("all.cedar"), &all.replacen("principal.trust", "principal.trsut", 1));
    let invalid = files.run("validate", &strict);
    assert_eq!(invalid.status.code(), Some(3), "{invalid:?}");
}

// rows: POL-02
#[test]
fn each_topic_of_the_library_is_valid_to_it_and_all_of_them_are() {
    let Some(cedar) = cedar() else { return };
    let base = SAMPLES.map(|name| text(&format!("policies/base/{name}"))).join("\n");
    let files = Files::write(cedar, Plan::new().build(), &base);
    let all = library().into_iter().map(|(_, policies)| policies).collect::<Vec<_>>().join("\n");
    for (topic, policies) in library().into_iter().chain([("all".to_owned(), all)]) {
        write(&files.house.path("all.cedar"), &format!("{base}\n{policies}"));
        let valid = files.run("validate", &["--deny-warnings", "--level", "1"]);
        assert_eq!(valid.status.code(), Some(0), "{topic}: {valid:?}");
    }
}
