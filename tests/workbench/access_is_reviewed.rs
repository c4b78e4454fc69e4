use crate::estate::OnDisk;
use serde_json::{Value, json};

const NOW: [&str; 2] = ["--now", "2026-11-22T10:00:00Z"];

fn rows(told: &Value) -> Vec<(&str, &str, &str, Vec<&str>)> {
    let rows = told["rows"].as_array().unwrap().iter();
    rows.map(|row| {
        let by = row["by"].as_array().unwrap().iter().map(|by| by.as_str().unwrap()).collect();
        (row["access"].as_str().unwrap(), row["principal"].as_str().unwrap(), row["resource"].as_str().unwrap(), by)
    })
    .collect()
}

#[test]
fn who_may_have_a_scope_how_and_on_what_terms() {
    let here = OnDisk::sample();
    let (code, told) = here.json("who-can", &[&["customers.read"][..], &NOW].concat());
    assert_eq!(code, 0);
    let ways = vec!["code", "refresh", "client_credentials"];
    assert_eq!(rows(&told), [("yes", "quoter", "customers.read", ways)], "{told:#}");
    let row = &told["rows"][0];
    assert_eq!((&row["client"], &row["terms"][0]["value"]), (&json!("sales-crm"), &json!("10m")));
    assert!(row["permits"].as_array().unwrap().contains(&json!("grant.sales.crm-read")));
    // courier is not trusted, ledger is of another team.
    let (_, told) = here.json("who-can", &[&["customers.read", "--all"][..], &NOW].concat());
    let no = |agent: &str, piece: &str| {
        let mut rows = told["rows"].as_array().unwrap().iter();
        assert!(
            rows.any(|row| row["access"] == "no"
                && row["principal"] == agent
                && row["conditions"].to_string().contains(piece)),
            "{agent} {piece}: {told:#}"
        );
    };
    no("courier", "forbidden: principal.trust < 2");
    no("ledger", "Team::\\\"sales");
}

#[test]
fn what_hangs_on_the_request_is_told_as_a_condition() {
    let here = OnDisk::sample();
    let (code, told) = here.json("who-can", &[&["customers.delete"][..], &NOW].concat());
    assert_eq!(code, 0);
    let row = &told["rows"][0];
    assert_eq!((&row["access"], &row["principal"]), (&json!("if"), &json!("quoter")));
    let condition = &row["conditions"][0];
    assert_eq!(condition["policy"], "guard.stepup.high-risk");
    assert!(condition["clause"].as_str().unwrap().starts_with("context.base has approval && "), "{told:#}");
    // Whatever its terms would be then.
    assert!(row["terms"].to_string().contains("5m"), "{told:#}");
    let said = here.policy("who-can", &[&["customers.delete"][..], &NOW].concat()).out;
    assert!(said.contains("if  quoter  sales-crm  customers.delete"), "{said}");
    assert!(said.contains("      if context.base has approval"), "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 100), "{said}");
}

#[test]
fn what_a_permit_asks_of_the_request_is_a_condition_too() {
    let here = OnDisk::sample();
    here.change(
        "policies/grants.cedar",
        "resource == Narrowgate::Scope::\"mail.read\"\n);",
        "resource == Narrowgate::Scope::\"mail.read\"\n)\nwhen { context.base.claimed has purpose && context.base.now.toTime() < duration(\"7h\") && context.flow == \"code\" };",
    );
    let (_, told) = here.json("who-can", &[&["mail.read"][..], &NOW].concat());
    assert_eq!(rows(&told), [("if", "quoter", "mail.read", vec!["code"])], "the flow is what it is: {told:#}");
    let clauses: Vec<&Value> =
        told["rows"][0]["conditions"].as_array().unwrap().iter().map(|condition| &condition["clause"]).collect();
    assert_eq!(clauses, ["context.base.claimed has purpose", "context.base.now.toTime() < duration(\"7h\")"]);
    // In time, one of them is left.
    let (_, told) = here.json("who-can", &["mail.read", "--now", "2026-11-22T06:00:00Z"]);
    assert_eq!(told["rows"][0]["conditions"].as_array().unwrap().len(), 1);
}

#[test]
fn what_an_agent_may_have() {
    let here = OnDisk::sample();
    let (code, told) = here.json("can", &[&["quoter"][..], &NOW].concat());
    let said: Vec<(&str, &str)> = rows(&told).into_iter().map(|(access, _, scope, _)| (access, scope)).collect();
    assert_eq!(code, 0);
    for scope in ["customers.read", "customers.write", "mail.read", "mail.send", "openid"] {
        assert!(said.contains(&("yes", scope)), "{scope}: {said:?}");
    }
    assert!(said.contains(&("if", "customers.delete")) && said.len() == 6, "{said:?}");
    // None of the other team's.
    assert_eq!(here.json("can", &["ledger"]).0, 1);
    assert!(here.policy("can", &["ledger"]).out.contains("nobody, and nothing"));
    for (command, unknown) in [("can", "nobody"), ("who-can", "mail.shred")] {
        assert_eq!(here.policy(command, &[unknown]).code, 65);
    }
}
