//! `policy check` finds every kind of mistake in one of narrowgate's own sets, and says where: file, line and column.

use crate::starter::{Answer, Starter};
use serde_json::Value;

const GRANT: &str = "permit (\n  principal in Narrowgate::Team::\"sales\",\n  action == Narrowgate::Action::\"grant_scope\",\n  resource == Narrowgate::Scope::\"mail.read\"\n)";
const NO: &str = "forbid (principal, action == Narrowgate::Action::\"grant_scope\", resource)";

/// A mistaken file, the rule that finds it, how bad it is, and the piece that it is about.
fn mistakes() -> Vec<(String, &'static str, &'static str, &'static str)> {
    let grant = |notes: &str, rest: &str| format!("// a comment\n{notes}\n{GRANT}{rest};\n");
    let mistake = |text: String, rule, level, piece| (text, rule, level, piece);
    vec![
        mistake(grant("@id(\"x\")", " when { principal.trust >= }"), "syntax", "error", "}"),
        mistake(grant("@id(\"x\")", " when { principal.trsut >= 1 }"), "validation", "error", "principal.trsut"),
        mistake(grant("@id(\"x\")", " when { context.client.issuer.url like \"*\" }"), "level", "error", ""),
        mistake(grant("@id(\"x\")", " when { principal.trust > 3 && false }"), "never-matches", "error", ""),
        mistake(grant("@owner(\"me\")", ""), "id", "error", "permit ("),
        mistake(grant("@id(\"don't\")", ""), "id", "error", "@id(\"don't\")"),
        mistake(grant("@id(\"flow.own-client\")", ""), "id", "error", "@id(\"flow.own-client\")"),
        mistake(grant("@id(\"x\") @max_lifetim(\"5m\")", ""), "annotation", "error", "@max_lifetim(\"5m\")"),
        mistake(grant("@id(\"x\") @max_lifetime(\"often\")", ""), "annotation", "error", "@max_lifetime(\"often\")"),
        mistake(grant("@id(\"x\") @code(\"why\")", ""), "annotation", "error", "@code(\"why\")"),
        mistake(format!("@id(\"x\")\n{NO};\n"), "reason-code", "error", "forbid ("),
        mistake(grant("@id(\"x\") @expires(\"2020-01-31\")", ""), "expired", "error", "@expires(\"2020-01-31\")"),
        mistake("@id(\"x\")\npermit (principal, action, resource);\n".into(), "unscoped-permit", "error", "permit ("),
        mistake(
            "@id(\"x\")\npermit (principal, action, resource) when { true };\n".into(),
            "unscoped-permit",
            "error",
            "permit (",
        ),
        mistake(
            "@id(\"x\")\npermit (principal, action, resource) when { principal has trust && principal.trust > 3 };\n"
                .into(),
            "unscoped-permit",
            "warning",
            "permit (",
        ),
        mistake(
            grant("@id(\"x\")", "").replace("mail.read", "mail.raed"),
            "unknown-entity",
            "warning",
            "Narrowgate::Scope::\"mail.raed\"",
        ),
        mistake(
            format!("@id(\"x\") @code(\"x\")\n{NO} when {{ context.client == Narrowgate::Client::\"sales-crn\" }};\n"),
            "unknown-entity",
            "warning",
            "Narrowgate::Client::\"sales-crn\"",
        ),
        mistake(grant("@id(\"x\") // \u{202e} reversed", ""), "hidden-character", "error", "\u{202e}"),
        mistake(
            grant("@id(\"x\")", " when { context.flow == \"c\u{043e}de\" }"),
            "confusable",
            "error",
            "\"c\u{043e}de\"",
        ),
        mistake(
            format!("@id(\"x\") @max_lifetime(\"5m\")\n{};\n", GRANT.replace("mail.read", "customers.read")),
            "overlapping-terms",
            "note",
            "",
        ),
        mistake(
            grant("@id(\"x\")", "").replace("principal in Narrowgate::Team::\"sales\"", "principal == ?principal"),
            "template",
            "error",
            "",
        ),
        mistake("// soon\n".into(), "empty-file", "error", ""),
        mistake("(".repeat(2000), "nesting", "error", ""),
    ]
}

/// Line and column of a piece of a text, from 1.
fn place(text: &str, piece: &str) -> (u64, u64) {
    let before = text.split(piece).next().unwrap();
    let (line, column) = (before.matches('\n').count() + 1, before.rsplit('\n').next().unwrap().chars().count() + 1);
    (u64::try_from(line).unwrap(), u64::try_from(column).unwrap())
}

fn found<'v>(value: &'v Value, rule: &str, file: &str) -> Vec<&'v Value> {
    let all = value["findings"].as_array().unwrap();
    all.iter().filter(|it| it["rule"] == rule && it["file"].as_str().unwrap().ends_with(file)).collect()
}

#[test]
fn each_kind_is_found_where_it_stands() {
    let set = Starter::new();
    for (text, rule, level, piece) in mistakes() {
        set.write("policies/x.cedar", &text);
        let said = set.run("check", &["--output", "json"]);
        let value = said.json();
        let file = if rule == "overlapping-terms" { "grants.cedar" } else { "x.cedar" };
        let findings = found(&value, rule, file);
        let Some(finding) = findings.first() else { panic!("no {rule} in {text}:\n{value:#}") };
        assert_eq!(finding["severity"], level, "{text}\n{value:#}");
        assert_eq!(said.code, if level == "error" { 65 } else { 0 }, "{text}\n{value:#}");
        assert_eq!(value["valid"], said.code == 0);
        if !piece.is_empty() {
            let at = (finding["line"].as_u64().unwrap(), finding["column"].as_u64().unwrap());
            assert_eq!(at, place(&text, piece), "{text}\n{finding:#}");
        }
        let denied = set.run("check", &["--deny-warnings"]);
        assert_eq!(denied.code, if level == "note" { 0 } else { 65 }, "{text}\n{}", denied.out);
    }
}

/// A set with three mistakes at once.
fn broken() -> (Starter, Answer) {
    let set = Starter::new();
    set.write("policies/a.cedar", &format!("@id(\"a\") @max_lifetim(\"5m\")\n{GRANT};\n"));
    set.write("policies/b.cedar", &format!("@id(\"b\")\n{NO};\n"));
    set.write(
        "policies/c.cedar",
        &format!("@id(\"c\") @max_lifetime(\"10m\")\n{GRANT} when {{ principal.trsut > 1 }};\n"),
    );
    let said = set.run("check", &[]);
    (set, said)
}

#[test]
fn all_are_told_at_once_with_the_lines_they_are_about() {
    let (set, said) = broken();
    assert_eq!(said.code, 65);
    for words in [
        "error: annotation",
        "unknown annotation @max_lifetim",
        "did you mean @max_lifetime?",
        "a.cedar:1:10]",
        "1 │ @id(\"a\") @max_lifetim(\"5m\")",
        "error: reason-code",
        "b.cedar:2:1]",
        "error: validation",
        "c.cedar:6:10]",
        "6 │ ) when { principal.trsut > 1 };",
        " in 7 files: 3 errors, 0 warnings, 0 notes",
    ] {
        assert!(said.out.contains(words), "no {words:?} in:\n{}", said.out);
    }
    // Nobody watches: no colours.
    assert!(!said.out.contains('\u{1b}'), "{}", said.out);
    let json = set.run("check", &["--output", "json"]).json();
    assert_eq!(json["errors"], 3);
    assert_eq!(found(&json, "annotation", "a.cedar")[0]["hint"], "did you mean @max_lifetime?");
}

#[test]
fn ci_reads_the_findings_as_junit() {
    let (set, _) = broken();
    let said = set.run("check", &["--output", "junit"]);
    assert_eq!(said.code, 65);
    assert!(
        said.out
            .starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"narrowgate policy check\"")
    );
    assert!(said.out.contains("tests=\"7\" failures=\"3\""), "{}", said.out);
    assert!(
        said.out.contains("line=\"2\">\n      <failure message=\"error: a forbid needs @code(&quot;...&quot;)"),
        "{}",
        said.out
    );
    let refused = set.run("schema", &["--output", "junit"]);
    assert_eq!(refused.code, 64, "{}", refused.out);
    let refused = crate::starter::policy(&["schema", "--output", "junit"]);
    assert_eq!(refused.code, 64);
    assert!(refused.err.contains("--output junit is for policy check and policy test"), "{}", refused.err);
}
