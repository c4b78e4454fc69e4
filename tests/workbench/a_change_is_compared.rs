//! A loosened and a tightened copy of the sample policies: the text, the recorded requests and a solver each say what the
//! change is, and what a solver finds is so.

use super::comparing::{Compared, diff, solver};
use crate::house::{House, Plan, begin_request, get, write};
use cedar_policy::{Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request, Schema};
use narrowgate::api::proto::BeginAuthorizationRequest;
use serde_json::Value;
use std::{fs, path::PathBuf, str::FromStr};

/// A change of a file, which must have what is changed.
type Edit = (&'static str, &'static str, &'static str);

const LOOSER: [Edit; 2] = [
    ("guardrails.cedar", "when { resource.risk >= 3 }", "when { resource.risk > 4 }"),
    (
        "grants.cedar",
        "@id(\"grant.sales.crm-read\")\n@max_lifetime(\"10m\")",
        "@id(\"grant.sales.crm-read\")\n@max_lifetime(\"1h\")",
    ),
];
const TIGHTER: [Edit; 3] = [
    ("guardrails.cedar", "when { principal.trust < 2 };", "when { principal.trust < 4 };"),
    (
        "grants.cedar",
        "@id(\"grant.sales.mail-read\")\n@max_lifetime(\"10m\")",
        "@id(\"grant.sales.mail-read\")\n@max_lifetime(\"1m\")\n@no_refresh",
    ),
    (
        "grants.cedar",
        "resource == Narrowgate::Scope::\"mail.send\"\n)\nwhen { principal.trust >= 2 };",
        "resource == Narrowgate::Scope::\"mail.send\"\n)\nwhen { principal.trust >= 4 };",
    ),
];
const HARMLESS: [Edit; 1] = [("grants.cedar", "when { principal.trust >= 3 };", "unless { principal.trust < 3 };")];

struct Sets {
    house: House,
}

impl Sets {
    /// A house in which something was asked and something refused.
    async fn recorded() -> Self {
        let mut house = Plan::new().open().await;
        let mut agent = house.agent().await;
        let redeemed = house.login(&mut agent, &["customers.read"]).await.unwrap();
        get(&mut agent, &redeemed.grant).await.unwrap();
        house.begin(&mut agent, &["customers.delete"]).await.err().unwrap();
        let part =
            BeginAuthorizationRequest { allow_partial: true, ..begin_request(&["customers.read", "customers.delete"]) };
        agent.begin_authorization(part).await.unwrap();
        house.begin(&mut agent, &["mail.read"]).await.unwrap();
        house.event("token.served").await;
        house.stop().await;
        Self { house }
    }

    /// A copy of the policies with these changes.
    fn copy(&self, name: &str, edits: &[Edit]) -> PathBuf {
        let folder = self.house.path(name);
        fs::create_dir(&folder).unwrap();
        for entry in fs::read_dir(self.house.path("policies")).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_str().unwrap().to_owned();
            let mut text = fs::read_to_string(&path).unwrap();
            for (_, from, to) in edits.iter().filter(|(of, ..)| *of == file) {
                assert_eq!(text.matches(from).count(), 1, "{file}: {from}");
                text = text.replace(from, to);
            }
            write(&folder.join(&file), &text);
        }
        folder
    }

    fn diff(&self, new: &str, arguments: &[&str]) -> Compared {
        let config = self.house.path("narrowgate.toml").display().to_string();
        let (old, new) = (self.house.path("policies"), self.house.path(new));
        diff(&old, &new, &[&["--config", &config], arguments].concat())
    }

    fn json(&self, new: &str, arguments: &[&str]) -> (i32, Value) {
        let compared = self.diff(new, &[&["--output", "json"], arguments].concat());
        (compared.exit, compared.json())
    }

    /// What plain Cedar says to a request that a solver came up with, with these policies.
    fn decide(&self, folder: &str, example: &Value) -> Decision {
        let mut policies = String::new();
        for entry in fs::read_dir(self.house.path(folder)).unwrap() {
            policies.push_str(&fs::read_to_string(entry.unwrap().path()).unwrap());
        }
        let policies = PolicySet::from_str(&policies).unwrap();
        let uid = |key: &str| EntityUid::from_str(example["request"][key].as_str().unwrap()).unwrap();
        let context = Context::from_json_value(example["request"]["context"].clone(), None).unwrap();
        let request = Request::new(uid("principal"), uid("action"), uid("resource"), context, None).unwrap();
        let (schema, _) = Schema::from_cedarschema_str(narrowgate::policy::BASE_SCHEMA).unwrap();
        let entities = Entities::from_json_value(example["entities"].clone(), None).unwrap();
        let actions = schema.action_entities().unwrap();
        let entities = entities.upsert_entities(actions.iter().cloned(), None).unwrap();
        Authorizer::new().is_authorized(&request, &policies, &entities).decision()
    }
}

fn change<'v>(said: &'v Value, policy: &str) -> &'v Value {
    let all = said["policies"]["changes"].as_array().unwrap();
    all.iter().find(|change| change["policy"] == policy).unwrap_or_else(|| panic!("{policy} is no change: {said}"))
}

fn list<'v>(said: &'v Value, key: &str) -> &'v Vec<Value> {
    said["solver"][key].as_array().unwrap_or_else(|| panic!("no {key}: {said}"))
}

// rows: POL-09
#[tokio::test]
async fn text_requests_and_solver_say_what_a_change_is() {
    let sets = Sets::recorded().await;
    let log = sets.house.path("audit").display().to_string();
    for (name, edits) in [("looser", &LOOSER[..]), ("tighter", &TIGHTER[..]), ("harmless", &HARMLESS[..])] {
        sets.copy(name, edits);
    }
    by_text_and_requests(&sets, &log);
    let Some(solver) = solver() else { return };
    let ask = |new: &str, more: &[&str]| {
        sets.json(new, &[&["--solver-command", &solver, "--solver", "required"], more].concat())
    };
    let (exit, said) = ask("looser", &["--audit", &log]);
    assert_eq!((exit, &said["direction"]), (1, &"looser".into()), "{said}");
    let more = list(&said, "allows_more");
    assert!(more.len() == 1 && list(&said, "allows_less").is_empty(), "{said}");
    assert_eq!(more[0]["request"]["action"], "Narrowgate::Action::\"grant_scope\"");
    assert_eq!((sets.decide("policies", &more[0]), sets.decide("looser", &more[0])), (Decision::Deny, Decision::Allow));
    // A scope that there is, and no request from another century or of a scope that was not asked for.
    assert_eq!(more[0]["request"]["resource"], "Narrowgate::Scope::\"customers.delete\"", "{said}");
    let context = &more[0]["request"]["context"];
    assert!(
        !context.to_string().contains("\"-") && context["base"]["scopes"].as_array().unwrap().len() >= 1,
        "{context}"
    );
    // What annotations say, for every request: a lease of ten minutes may now be one of an hour.
    let terms = list(&said, "looser_terms");
    assert!(terms.iter().all(|t| t["term"] == "@max_lifetime(\"10m\")") && !terms.is_empty(), "{said}");
    assert_eq!(
        (&terms[0]["new"]["terms"], &terms[0]["old"]["answer"]["allowed"]),
        (&"max_lifetime 1h".into(), &true.into())
    );
    let (exit, said) = ask("tighter", &["--audit", &log]);
    assert_eq!((exit, &said["direction"]), (0, &"tighter".into()), "{said}");
    let less = list(&said, "allows_less");
    assert!(list(&said, "allows_more").is_empty() && list(&said, "looser_terms").is_empty(), "{said}");
    assert!(!list(&said, "tighter_terms").is_empty(), "{said}");
    for example in less {
        let decided = (sets.decide("policies", example), sets.decide("tighter", example));
        assert_eq!(decided, (Decision::Allow, Decision::Deny), "{example}");
    }
    assert!(less.iter().any(|e| e["request"]["action"] == "Narrowgate::Action::\"redeem_code\""), "{said}");
    // Another condition that comes to the same: the text cannot tell, the solver can.
    let (exit, said) = ask("harmless", &["--audit", &log]);
    assert_eq!(
        (exit, &said["direction"], &said["replay"]["moved"]["newly_allowed"]),
        (0, &"neither".into(), &0.into())
    );
    assert_eq!(change(&said, "grant.sales.crm-write")["direction"], "untold");
    let text = sets.diff("looser", &["--solver-command", &solver, "--audit", &log]).out;
    assert!(
        text.contains("NEW allows what OLD denies, for instance") && text.contains("sees no annotations"),
        "{text}"
    );
    // What is not a policy's own text.
    let (_, shown) = text.split_once("Every request there can be").unwrap();
    let mut lines = shown.lines().filter(|line| !line.contains('/'));
    assert!(lines.all(|line| line.chars().count() <= 100), "{text}");
}

/// Without a solver.
fn by_text_and_requests(sets: &Sets, log: &str) {
    let arguments = ["--solver", "off", "--audit", log];
    let (exit, said) = sets.json("looser", &arguments);
    assert_eq!((exit, &said["direction"]), (1, &"looser".into()), "{said}");
    let lifetime = &change(&said, "grant.sales.crm-read")["annotations"][0];
    assert_eq!((&lifetime["key"], &lifetime["direction"]), (&"max_lifetime".into(), &"looser".into()), "{said}");
    assert_eq!(change(&said, "guard.stepup.high-risk")["direction"], "untold", "{said}");
    // Begin, redeem, issue and hand-out of customers.read on a longer lease; customers.delete allowed, also where it was
    // asked for beside another that was granted.
    let moved = &said["replay"]["moved"];
    assert_eq!((&moved["newly_allowed"], &moved["newly_denied"]), (&2.into(), &0.into()), "{said}");
    assert!(moved["looser_terms"].as_u64().unwrap() >= 3 && moved["tighter_terms"] == 0, "{said}");
    let kinds = said["replay"]["kinds"].as_array().unwrap();
    let newly =
        kinds.iter().find(|kind| kind["way"] == "newly allowed" && kind["scopes"] == "customers.delete").unwrap();
    assert_eq!(
        (&newly["agent"], &newly["client"], &newly["scopes"], &newly["count"]),
        (&"quoter".into(), &"sales-crm".into(), &"customers.delete".into(), &1.into()),
        "{said}"
    );
    let (exit, said) = sets.json("tighter", &arguments);
    // The requests say tighter; what else the conditions may do, they do not.
    assert_eq!((exit, &said["direction"]), (3, &"untold".into()), "{said}");
    let moved = &said["replay"]["moved"];
    assert_eq!((&moved["newly_allowed"], &moved["looser_terms"]), (&0.into(), &0.into()), "{said}");
    assert!(moved["newly_denied"].as_u64().unwrap() >= 2 && moved["tighter_terms"] == 1, "{said}");
    let annotations = change(&said, "grant.sales.mail-read")["annotations"].as_array().unwrap();
    assert!(annotations.len() == 2 && annotations.iter().all(|a| a["direction"] == "tighter"), "{said}");
    let (exit, said) = sets.json("policies", &arguments);
    assert_eq!(
        (exit, &said["direction"], &said["replay"]["made_under_others"]),
        (0, &"same".into(), &0.into()),
        "{said}"
    );
    assert_eq!(said["replay"]["same"], said["replay"]["decisions"]);
    // Terms alone: what is longer is looser, what is shorter is not.
    let edit: Edit = ("grants.cedar", "@max_lifetime(\"2m\")", "@max_lifetime(\"1m\")");
    sets.copy("shorter", &[edit]);
    assert_eq!(sets.json("shorter", &arguments).0, 0);
    assert_eq!(sets.json("shorter", &["--solver", "off", "--fail-on", "any"]).0, 2);
    // A configuration has agents of its own, and a log with a line that is none is no proof.
    let agents = fs::read_to_string(sets.house.path("agents.toml")).unwrap();
    write(&sets.house.path("other-agents.toml"), &agents.replacen("trust = 3", "trust = 0", 1));
    let config = fs::read_to_string(sets.house.path("narrowgate.toml")).unwrap();
    write(&sets.house.path("other.toml"), &config.replace("\"agents.toml\"", "\"other-agents.toml\""));
    let said = diff(
        &sets.house.path("narrowgate.toml"),
        &sets.house.path("other.toml"),
        &["--output", "json", "--audit", log],
    );
    let value = said.json();
    assert_eq!((said.exit, &value["policies"]["entities_differ"]), (3, &true.into()), "{value}");
    assert!(value["replay"]["moved"]["newly_denied"].as_u64().unwrap() >= 2, "{value}");
    let text = format!("no event\n{}", sets.house.audit_text());
    write(&sets.house.path("bad.jsonl"), &text);
    let bad = sets.house.path("bad.jsonl").display().to_string();
    let (exit, said) = sets.json("looser", &["--solver", "off", "--audit", &bad]);
    assert_eq!((exit, &said["replay"]["unusable"], &said["direction"]), (65, &1.into(), &"looser".into()), "{said}");
    assert_eq!(sets.diff("nowhere", &[]).exit, 65);
}
