use crate::estate::OnDisk;
use serde_json::{Value, json};

const QUOTER: [&str; 4] = ["--agent", "quoter", "--client", "sales-crm"];

fn ids(question: &Value) -> Vec<&str> {
    question["determining"].as_array().unwrap().iter().map(|policy| policy["id"].as_str().unwrap()).collect()
}

#[test]
fn a_yes_from_gate_to_release_with_its_terms_and_whose_they_are() {
    let here = OnDisk::sample();
    let scopes = ["--scope", "customers.read", "--scope", "customers.write"];
    let (code, told) = here.json("explain", &[&QUOTER[..], &scopes].concat());
    assert_eq!((code, &told["allowed"]), (0, &json!(true)), "{told:#}");
    let decisions = told["decisions"].as_array().unwrap();
    let operations: Vec<&Value> = decisions.iter().map(|decision| &decision["operation"]).collect();
    assert_eq!(operations, ["redeem_code", "release_token"]);
    for decision in decisions {
        let questions = decision["questions"].as_array().unwrap();
        let parts: Vec<&Value> = questions.iter().map(|question| &question["part"]).collect();
        assert_eq!(parts, ["gate", "scope", "scope"]);
        assert_eq!(ids(&questions[1]), ["grant.sales.crm-read"]);
        let strictest = json!({ "term": "max_lifetime", "value": "5m", "by": ["grant.sales.crm-write"] });
        assert_eq!(decision["terms"][0], strictest);
    }
    let excerpt = &decisions[0]["questions"][1]["determining"][0];
    assert_eq!(excerpt["place"]["file"], here.path("policies/grants.cedar").display().to_string());
    assert!(excerpt["text"].as_str().unwrap().starts_with("@id(\"grant.sales.crm-read\")"), "{excerpt}");
    assert_eq!((&excerpt["annotations"]["max_lifetime"], &excerpt["place"]["column"]), (&json!("10m"), &json!(1)));

    let said = here.policy("explain", &[&QUOTER[..], &scopes].concat()).text();
    for piece in
        ["ALLOW redeem_code", "ALLOW release_token", "max_lifetime 5m  (grant.sales.crm-write)", "    | permit ("]
    {
        assert!(said.contains(piece), "{piece}: {said}");
    }
}

#[test]
fn a_forbid_shows_its_words_and_what_is_missing_so_that_it_would_not_apply() {
    let here = OnDisk::sample();
    let ask = [&QUOTER[..], &["--scope", "customers.delete"]].concat();
    let (code, told) = here.json("explain", &ask);
    assert_eq!(code, 1);
    let decision = &told["decisions"][0];
    assert_eq!(decision["deny_kind"], "forbid_matched");
    let question = &decision["questions"][1];
    assert_eq!((ids(question), &question["code"]), (vec!["guard.stepup.high-risk"], &json!("approval_required")));
    let guard = &question["determining"][0];
    assert_eq!(guard["annotations"]["advice"], "approval");
    let facts = guard["missing"][0]["facts"].as_array().unwrap();
    assert_eq!(guard["missing"][0]["clause"], "context.base has approval");
    assert_eq!(facts[..], [json!({ "name": "context.base.approval", "value": "absent" })]);
    assert!(told["notes"][0].as_str().unwrap().starts_with("a call would end with the first decision"), "{told:#}");
    // A permit holds: nothing is near, it is the forbid alone.
    assert_eq!(question["near_misses"], json!([]));

    let approval = "approval={ approver = \"ana\", approver_team = \"sales\", at = \"2026-11-22T09:55:00Z\", scopes = [\"customers.delete\"] }";
    let approved = [&ask[..], &["--fact", approval]].concat();
    assert_eq!(here.policy("explain", &approved).code, 0);
    let late = [&approved[..], &["--now", "2026-11-22T10:11:00Z"]].concat();
    let (code, told) = here.json("explain", &late);
    let missing = &told["decisions"][0]["questions"][1]["determining"][0]["missing"][0]["clause"];
    assert_eq!((code, missing.as_str().unwrap().contains("duration(\"15m\")")), (1, true), "{told:#}");
}

#[test]
fn a_case_one_question_or_another_way_to_the_token() {
    let here = OnDisk::sample();
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/base/guardrails.cases.toml");
    assert_eq!(here.policy("explain", &["--case", sample]).code, 65, "which of them was not said");
    here.write(
        "case.json",
        r#"{ "agent": "ledger", "client": "sales-crm", "action": "grant_scope", "scope": "customers.read" }"#,
    );
    let case = here.path("case.json").display().to_string();
    let (code, told) = here.json("explain", &["--case", &case]);
    let questions = told["decisions"][0]["questions"].as_array().unwrap();
    assert_eq!((code, questions.len(), &questions[0]["action"]), (1, 1, &json!("Narrowgate::Action::\"grant_scope\"")));
    // What the arguments say comes before what the file says.
    assert_eq!(here.policy("explain", &["--case", &case, "--fact", "agent=quoter"]).code, 0);

    let (_, told) = here.json("explain", &[&QUOTER[..], &["--scope", "mail.read", "--flow", "exchange"]].concat());
    assert_eq!(told["decisions"][0]["operation"], "exchange_token");
    assert!(told["notes"][0].as_str().unwrap().contains("not configured for exchange"), "{told:#}");
}

#[test]
fn terms_that_cannot_be_kept_are_why() {
    let here = OnDisk::sample();
    here.change("policies/grants.cedar", "@max_lifetime(\"10m\")", "@max_lifetime(\"10m\") @proof(\"dpop\")");
    let (code, told) = here.json("explain", &[&QUOTER[..], &["--scope", "customers.read"]].concat());
    let decision = &told["decisions"][0];
    assert_eq!((code, &decision["deny_kind"], &decision["unmet"]), (1, &json!("obligation_unmet"), &json!("proof")));
}

#[test]
fn what_cannot_be_asked_is_told() {
    let here = OnDisk::sample();
    for (arguments, exit, piece) in [
        (&[][..], 64, "what is to be explained?"),
        (&["--agent", "quoterr", "--client", "sales-crm", "--scope", "mail.read"], 65, "did you mean \"quoter\"?"),
        (&["--agent", "quoter", "--client", "other", "--scope", "mail.read"], 65, "names no client"),
        (&["--agent", "quoter", "--client", "sales-crm", "--scope", "mail.shred"], 65, "is not declared"),
        (&["--agent", "quoter", "--client", "sales-crm"], 65, "needs a scope"),
        (
            &["--agent", "quoter", "--client", "sales-crm", "--scope", "mail.read", "--flow", "theft"],
            65,
            "is none of begin",
        ),
        (
            &["--agent", "quoter", "--client", "sales-crm", "--scope", "mail.read", "--fact", "turst=1"],
            65,
            "did you mean `trust`?",
        ),
        (&["--agent", "quoter", "--client", "sales-crm", "--scope", "mail.read", "--fact", "trust"], 64, "KEY=VALUE"),
        (&["--event", "00000000-0000-7000-8000-000000000000"], 64, "cannot be read"),
        (&["--principal", "User::\"a\"", "--action", "nothing", "--resource", "User::\"a\""], 65, "is no entity"),
    ] {
        let said = here.policy("explain", arguments);
        assert_eq!(said.code, exit, "{arguments:?}: {}", said.text());
        assert!(said.text().contains(piece), "{arguments:?}: {}", said.text());
    }
}
