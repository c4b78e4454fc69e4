use crate::estate::OnDisk;
use serde_json::{Value, json};

/// The near misses of one agent's question about one scope.
fn near(here: &OnDisk, agent: &str, scope: &str, more: &[&str]) -> (Value, String) {
    let ask = ["--agent", agent, "--client", "sales-crm", "--action", "grant_scope", "--scope", scope];
    let ask = [&ask[..], more].concat();
    let (code, told) = here.json("explain", &ask);
    assert_eq!(code, 1, "{told:#}");
    (told["decisions"][0]["questions"][0].clone(), here.policy("explain", &ask).text())
}

fn missed(question: &Value) -> Vec<(&str, &str, &str)> {
    let all = question["near_misses"].as_array().unwrap().iter();
    all.map(|miss| {
        let [policy, missed, clause] = ["policy", "missed", "clause"].map(|key| miss[key].as_str().unwrap());
        (policy, missed, clause)
    })
    .collect()
}

#[test]
fn the_first_clause_that_fails_with_its_facts_and_its_line() {
    let here = OnDisk::sample();
    here.write(
        "policies/extra.cedar",
        "@id(\"extra\")\npermit (\n  principal in Narrowgate::Team::\"sales\",\n  action == Narrowgate::Action::\"grant_scope\",\n  resource == Narrowgate::Scope::\"mail.send\"\n)\nwhen {\n  principal.trust >= 1 && // it has that\n  (context.base.claimed has purpose &&\n  context.base.claimed.purpose == \"quote\") &&\n  context.flow == \"exchange\"\n};\n",
    );
    let (question, said) = near(&here, "courier", "mail.send", &["--fact", "purpose=idle"]);
    let all = missed(&question);
    // Then those about other scopes.
    assert!(all[2..].iter().all(|(_, missed, _)| *missed == "resource"), "{all:?}");
    assert_eq!(
        all[..2],
        [
            ("grant.sales.mail-send", "condition", "principal.trust >= 2"),
            ("extra", "condition", "context.base.claimed.purpose == \"quote\""),
        ]
    );
    let [first, second] = [0, 1].map(|n| &question["near_misses"][n]);
    assert_eq!(first["facts"], json!([{ "name": "principal.trust", "value": "1" }]));
    assert_eq!(second["facts"], json!([{ "name": "context.base.claimed.purpose", "value": "\"idle\"" }]));
    assert_eq!(second["also"], json!(["context.flow == \"exchange\""]));
    assert_eq!((&second["place"]["line"], &second["place"]["column"]), (&json!(10), &json!(3)));
    for piece in ["its condition fails at: principal.trust >= 2", "principal.trust = 1", "and this fails besides"] {
        assert!(said.contains(piece), "{piece}: {said}");
    }
    // What is not there at all.
    let (question, _) = near(&here, "courier", "mail.send", &[]);
    assert_eq!(question["near_misses"][1]["facts"][0]["value"], "absent");
}

#[test]
fn an_unless_that_stops_a_permit() {
    let here = OnDisk::sample();
    here.write(
        "policies/extra.cedar",
        "@id(\"extra\")\npermit (principal, action == Narrowgate::Action::\"grant_scope\", resource == Narrowgate::Scope::\"mail.send\")\nunless { principal.trust < 2 && context.flow == \"code\" };\n",
    );
    let (question, _) = near(&here, "courier", "mail.send", &[]);
    assert!(missed(&question).contains(&(
        "extra",
        "condition",
        "unless principal.trust < 2 && context.flow == \"code\""
    )));
}

#[test]
fn who_misses_by_scope_alone_comes_after() {
    let here = OnDisk::sample();
    // The other team's agent, which is trusted as much.
    let (question, said) = near(&here, "ledger", "customers.read", &[]);
    assert_eq!(question["code"], "no_permit");
    assert_eq!(missed(&question), [("grant.sales.crm-read", "principal", "principal in Narrowgate::Team::\"sales\"")]);
    let value = question["near_misses"][0]["facts"][0]["value"].as_str().unwrap();
    assert!(value.contains("Agent::\"ledger\", in Narrowgate::Team::\"finance\""), "{value}");
    assert!(question["farther"].as_u64().unwrap() > 0);
    assert!(said.contains("it is for others: principal in Narrowgate::Team::\"sales\""), "{said}");

    // The right agent, and another scope: what fails in its condition is nearer.
    here.write(
        "policies/extra.cedar",
        "@id(\"a.first\") permit (principal in Narrowgate::Team::\"finance\", action == Narrowgate::Action::\"grant_scope\", resource == Narrowgate::Scope::\"customers.write\");\n\
         @id(\"z.last\") permit (principal in Narrowgate::Team::\"finance\", action == Narrowgate::Action::\"grant_scope\", resource == Narrowgate::Scope::\"customers.read\") when { principal.trust > 3 };\n",
    );
    let (question, _) = near(&here, "ledger", "customers.read", &[]);
    let kinds: Vec<(&str, &str)> = missed(&question).into_iter().map(|(id, kind, _)| (id, kind)).collect();
    assert_eq!(kinds, [("z.last", "condition"), ("grant.sales.crm-read", "principal"), ("a.first", "resource")]);
}

#[test]
fn a_permit_past_its_last_day() {
    let here = OnDisk::sample();
    here.write(
        "policies/extra.cedar",
        "@id(\"summer\")\n@expires(\"2026-08-31\")\npermit (principal == Narrowgate::Agent::\"ledger\", action == Narrowgate::Action::\"grant_scope\", resource == Narrowgate::Scope::\"customers.read\");\n",
    );
    let (question, said) = near(&here, "ledger", "customers.read", &["--now", "2026-09-01T00:00:00Z"]);
    assert_eq!((&question["code"], &question["determining"]), (&json!("policy_expired"), &json!([])));
    assert_eq!(missed(&question)[0], ("summer", "expired", "@expires(\"2026-08-31\")"));
    assert!(said.contains("its last day is over"), "{said}");
    let in_time =
        ["--agent", "ledger", "--client", "sales-crm", "--action", "grant_scope", "--scope", "customers.read"];
    let (code, _) = here.json("explain", &[&in_time[..], &["--now", "2026-08-31T23:59:59Z"]].concat());
    assert_eq!(code, 0);
}

#[test]
fn nothing_is_near() {
    let here = OnDisk::sample();
    here.write("policies/grants.cedar", "@id(\"none\") permit (principal == Narrowgate::Agent::\"courier\", action == Narrowgate::Action::\"grant_scope\", resource == Narrowgate::Scope::\"mail.read\");\n");
    let (question, said) = near(&here, "ledger", "customers.read", &[]);
    assert_eq!((&question["near_misses"], &question["farther"]), (&json!([]), &json!(1)));
    assert!(said.contains("no permit is near; about this action there are 1"), "{said}");
}
