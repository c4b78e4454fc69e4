//! `policy test` runs a set's own cases, says which fail and why, and what they have seen of the policies.

use crate::starter::Starter;
use serde_json::Value;

/// A case about a permit that ends at noon.
const NOON: &str = r#"
@id("x.noon")
permit (
  principal == Narrowgate::Agent::"ledger",
  action == Narrowgate::Action::"grant_scope",
  resource == Narrowgate::Scope::"mail.send"
)
when { context.base.now < datetime("2026-11-22T12:00:00Z") && principal.trust >= 3 }
unless { context.flow == "refresh" && principal.trust < 4 };
"#;
const CASE: &str = r#"
[[case]]
name = "mail until noon"
action = "grant_scope"
agent = "ledger"
transport = "mtls"
client = "sales-crm"
scope = "mail.send"
"#;

fn covered<'v>(value: &'v Value, policy: &str) -> &'v Value {
    let all = value["coverage"]["policies"].as_array().unwrap();
    all.iter().find(|it| it["policy"] == policy).unwrap_or_else(|| panic!("no {policy} in {value:#}"))
}

/// How often each condition was true, and false.
fn conditions(covered: &Value) -> Vec<(String, u64, u64)> {
    let of = |it: &Value| {
        let text = format!("{} {}", it["clause"].as_str().unwrap(), it["text"].as_str().unwrap());
        (text, it["true"].as_u64().unwrap(), it["false"].as_u64().unwrap())
    };
    covered["conditions"].as_array().unwrap().iter().map(of).collect()
}

#[test]
fn a_case_moves_through_time_and_conditions_are_counted() {
    let set = Starter::new();
    set.write("policies/x.cedar", NOON);
    let at = r#"at = [
  { now = "2026-11-22T11:59:59Z", expect = "allow", reasons = ["x.noon"] },
  { now = "2026-11-22T12:00:00Z", expect = "deny", reasons = [], code = "no_permit" },
]
"#;
    let with = |more: &str, rest: &str| CASE.replace("until noon", rest) + more;
    let low = "trust = 1\nexpect = \"deny\"\nreasons = []\n";
    let again = "flow = \"refresh\"\nexpect = \"deny\"\nreasons = []\n";
    let cases = format!("{CASE}{at}{}{}", with(low, "for the trusted"), with(again, "never again"));
    set.write("policies/x.cases.toml", &cases);
    let path = set.path("policies/x.cases.toml").display().to_string();
    let said = set.run("test", &[&path, "--output", "json"]);
    let value = said.json();
    assert_eq!(said.code, 0, "{value:#}");
    let names: Vec<&str> = value["cases"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names[..2], ["mail until noon at 2026-11-22T11:59:59Z", "mail until noon at 2026-11-22T12:00:00Z"]);
    let noon = covered(&value, "x.noon");
    assert_eq!((&noon["matched"], &noon["held"], &noon["line"]), (&4.into(), &1.into(), &2.into()), "{noon:#}");
    let expected = [
        ("when context.base.now < datetime(\"2026-11-22T12:00:00Z\")", 3, 1),
        ("when principal.trust >= 3", 2, 1),
        ("unless context.flow == \"refresh\"", 1, 1),
        ("unless principal.trust < 4", 1, 0),
    ];
    assert_eq!(conditions(noon), expected.map(|(text, yes, no)| (text.to_owned(), yes, no)));
    // One step otherwise than it is.
    set.edit("policies/x.cases.toml", "11:59:59Z\", expect = \"allow\"", "12:00:01Z\", expect = \"allow\"");
    let said = set.run("test", &[&path]);
    assert_eq!(said.code, 1);
    assert!(said.out.contains("FAILED mail until noon at 2026-11-22T12:00:01Z\n"), "{}", said.out);
    assert!(said.out.contains("x.cases.toml:2:1\n    expected allow, got deny by []"), "{}", said.out);
    // Both forms in one case.
    set.edit("policies/x.cases.toml", "at = [", "expect = \"allow\"\nat = [");
    let said = set.run("test", &[&path]);
    assert_eq!(said.code, 65);
    assert!(said.err.contains("stands beside `at`"), "{}", said.err);
}

#[test]
fn the_table_shows_what_was_never_seen() {
    let set = Starter::new();
    // All cases are asked later than that.
    set.write("policies/x.cedar", &NOON.replace("T12:00", "T09:00"));
    let said = set.run("test", &["--coverage", "--min-coverage", "100"]);
    assert_eq!(said.code, 1, "{}", said.out);
    let line = said.out.lines().find(|line| line.starts_with("x.noon ")).unwrap();
    assert_eq!(line.split_whitespace().nth(2), Some("never"), "{line}");
    assert!(said.out.lines().all(|line| line.chars().count() <= 100 || line.starts_with('/')), "{}", said.out);
    assert!(said.out.contains("less than the 100 % that are asked for"), "{}", said.out);
    let junit = set.run("test", &["--min-coverage", "100", "--output", "junit"]);
    assert_eq!(junit.code, 1);
    assert!(junit.out.contains("<testsuite name=\"coverage\" tests=\"1\" failures=\"1\""), "{}", junit.out);
    let enough = set.run("test", &["--min-coverage", "50", "--output", "json"]);
    assert_eq!((enough.code, enough.json()["failed"].clone()), (0, 0.into()), "{}", enough.out);
}

#[test]
fn what_fails_is_told_in_every_form() {
    let set = Starter::new();
    set.edit(
        "policies/grants.cases.toml",
        "reasons = [\"grant.sales.crm-read\"]",
        "reasons = [\"grant.sales.<other>\"]",
    );
    let said = set.run("test", &[]);
    assert_eq!(said.code, 1);
    let expected = "expected the reasons [\"grant.sales.<other>\"], got [\"grant.sales.crm-read\"]";
    assert!(said.out.contains(expected), "{}", said.out);
    assert!(said.out.contains("grants.cases.toml:5:1\n"), "{}", said.out);
    let json = set.run("test", &["--output", "json"]).json();
    assert_eq!(json["failed"], 1);
    let junit = set.run("test", &["--output", "junit"]).out;
    assert!(junit.contains("failures=\"1\""), "{junit}");
    assert!(junit.contains("expected the reasons [&quot;grant.sales.&lt;other&gt;&quot;], got"), "{junit}");
    // Of the cases with another name none fails.
    assert_eq!(set.run("test", &["--filter", "another team"]).code, 0);
    assert_eq!(set.run("test", &["--filter", "no such name"]).code, 64);
    set.write("policies/grants.cases.toml", "[[case]]\nnmae = \"x\"\n");
    let said = set.run("test", &[]);
    assert_eq!(said.code, 65);
    assert!(said.err.contains("did you mean `name`?"), "{}", said.err);
}
