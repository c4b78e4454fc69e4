//! A policy set loads if every file in it parses and is strictly schema-valid with known annotations, or not at all.

use crate::{
    check, findings,
    house::{Plan, eventually},
    place,
};

const HEAD: &str = "permit (principal, action == Narrowgate::Action::\"grant_scope\", resource)";
const NO: &str = "forbid (principal, action == Narrowgate::Action::\"grant_scope\", resource)";

/// The text of a mistaken policy, the piece it is about if the place is exact, and words of the message.
fn mistakes() -> Vec<(String, Option<&'static str>, &'static str)> {
    let when = |condition: &str| format!("// a comment\n@id(\"x\")\n{HEAD}\nwhen {{ {condition} }};\n");
    let note = |notes: &str| format!("{notes}\n{HEAD};\n");
    let no = |notes: &str| format!("{notes}\n{NO};\n");
    vec![
        (when("principal.trsut >= 1"), Some("principal.trsut"), "trsut"),
        (when("resource == Narrowgate::Scop::\"customers.read\""), None, "Narrowgate::Scop"),
        (when("principal.trust == \"3\""), None, "not compatible"),
        (when("principal.trust + true > 3"), None, "type"),
        (when("context.approved"), Some("context.approved"), "approved"),
        (when("context.codeAge > duration(\"1s\")"), None, "codeAge"),
        (when("context.base.approval.ticket == \"T-1\""), None, "approval"),
        (when("context.base.now > datetime(\"yesterday\")"), None, "datetime"),
        (when("principal is Narrowgate::Operator"), None, ""),
        (when("principal.trust >="), None, "unexpected"),
        (format!("@id(\"x\") {};", HEAD.replace("grant_scope", "grant_scopes")), None, "grant_scopes"),
        (format!("@id(\"x\") {HEAD}"), None, ""),
        (note("@id(\"x\") @max_tl(\"60\")"), None, "unknown annotation @max_tl"),
        (note("@id(\"x\") @max_ttl(\"60s\")"), None, "unknown annotation @max_ttl"),
        (note("@id(\"x\") @max_lifetimes(\"60s\")"), None, "did you mean @max_lifetime?"),
        (note("@id(\"x\") @max_lifetime(\"60\")"), None, "is not a span"),
        (note("@id(\"x\") @max_lifetime(\"0s\")"), None, "is not a span"),
        (note("@id(\"x\") @proof(\"kerberos\")"), None, "@proof must be"),
        (note("@id(\"x\") @audit(\"loud\")"), None, "@audit must be"),
        (note("@id(\"x\") @max_uses(\"0\")"), None, "@max_uses must be"),
        (note("@id(\"x\") @single_audience(\"yes\")"), None, "takes no value"),
        (note("@id(\"x\") @expires(\"soon\")"), None, "@expires must be"),
        (note("@id(\"x\") @advice(\"approval\")"), None, "no meaning on a permit"),
        (note("@id(\"x\") @code(\"why\")"), None, "no meaning on a permit"),
        (no("@id(\"x\") @code(\"why\") @max_lifetime(\"60s\")"), None, "no meaning on a forbid"),
        (no("@id(\"x\")"), None, "needs @code"),
        (no("@id(\"x\") @code(\"Why Not\")"), None, "snake_case"),
        (no("@id(\"x\") @code(\"why\") @advice(\"ask nicely\")"), None, "@advice must be"),
        (no("@id(\"x\") @code(\"why\") @message(\"\")"), None, "@message must be"),
        (note(""), None, "needs @id"),
        (note("@id(\"\")"), None, "needs @id"),
        (note("@id(\"don't\")"), None, "needs @id"),
        (note("@id(\"x\")") + &note("@id(\"x\")"), None, "is used twice"),
        (format!("@id(\"x\") {};", HEAD.replace("(principal,", "(principal == ?principal,")), None, "template"),
        (String::new(), None, "holds no policy"),
        ("// guardrails, soon\n".to_owned(), None, "holds no policy"),
    ]
}

// rows: POL-02 POL-10
#[tokio::test]
async fn every_kind_of_mistake_refuses_the_set_and_says_where() {
    for (text, piece, words) in mistakes() {
        let house = Plan::new().policy(&text).build();
        let (exit, found) = findings(&house);
        assert_eq!(exit, 65, "{text}\n{found:?}");
        let of = |f: &&serde_json::Value| f["message"].as_str().unwrap().to_lowercase().contains(&words.to_lowercase());
        let finding = found.iter().find(of).unwrap_or_else(|| panic!("{words:?} for {text}\n{found:?}"));
        assert!(finding["file"].as_str().unwrap().ends_with("policies/extra-3.cedar"), "{finding}");
        assert!(finding["line"].as_u64().is_some_and(|n| n >= 1), "{text}\n{finding}");
        assert!(finding["column"].as_u64().is_some_and(|n| n >= 1), "{finding}");
        if let Some(piece) = piece {
            let (line, column) = place(&text, piece);
            assert_eq!((&finding["line"], &finding["column"]), (&line.into(), &column.into()), "{text}\n{finding}");
        }
    }
}

// rows: POL-02
#[tokio::test]
async fn mistakes_of_several_files_are_reported_together() {
    let plan = Plan::new()
        .policy(&format!("@id(\"a\") @max_tl(\"60\") {HEAD};"))
        .policy("this is no policy")
        .policy(&format!("@id(\"c\") {NO};\n@id(\"c2\") {NO};"));
    let house = plan.build();
    let (exit, found) = findings(&house);
    assert_eq!(exit, 65);
    let places: Vec<String> = found.iter().map(|f| f["file"].as_str().unwrap().to_owned()).collect();
    for (name, count) in [("extra-3.cedar", 1), ("extra-4.cedar", 1), ("extra-5.cedar", 2)] {
        assert_eq!(places.iter().filter(|p| p.ends_with(name)).count(), count, "{found:?}");
    }
    let text = check(&house, &[]).text;
    assert!(text.contains("extra-5.cedar:2:1: policy `c2`: a forbid needs @code"), "{text}");
    assert!(text.contains("4 mistakes"), "{text}");
}

// rows: POL-02 TIME-06
#[tokio::test]
async fn a_case_that_fails_is_a_mistake_of_the_policies() {
    let case = r#"
[[case]]
name = "couriers write"
action = "grant_scope"
agent = "courier"
client = "sales-crm"
scope = "customers.write"
transport = "mtls"
expect = "allow"
reasons = ["grant.sales.crm-write"]
"#;
    let mut plan = Plan::new();
    plan.policies.push(("extra.cases.toml".to_owned(), case.to_owned()));
    let house = plan.build();
    let (exit, found) = findings(&house);
    assert_eq!((exit, found.len()), (65, 1), "{found:?}");
    assert!(found[0]["message"].as_str().unwrap().contains("couriers write"), "{found:?}");
    assert_eq!(found[0]["line"], 2);
}

// rows: POL-02
#[tokio::test]
async fn the_daemon_takes_no_half_of_a_set() {
    let house = Plan::new().policy(&format!("@id(\"typo\") {HEAD} when {{ principal.trsut >= 1 }};"));
    let mut house = house.build();
    house.start();
    let line = eventually("the mistake in the log", || {
        house.log().lines().find(|l| l.contains("extra-3.cedar:1:")).map(str::to_owned)
    })
    .await;
    assert!(line.contains("trsut"), "{line}");
    let event = house.event("policy.rejected").await;
    assert_eq!(event["severity"], "Critical");
    assert!(house.events("policy.activated").is_empty());
    house.event("daemon.started").await;
}

// rows: POL-02
#[test]
fn a_file_cut_anywhere_is_refused_or_whole_policies() {
    use cedar_policy::PolicySet;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/base");
    for (name, step) in [("flows.cedar", 1), ("grants.cedar", 1), ("guardrails.cedar", 17)] {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        let policies = |text: &str| -> Vec<String> {
            let set: PolicySet = text.parse().unwrap();
            let mut texts: Vec<String> = set.policies().map(|policy| policy.to_cedar().unwrap()).collect();
            texts.sort_by_key(|policy| text.find(policy.as_str()));
            texts
        };
        let whole = policies(&text);
        let mut accepted = 0;
        for at in (0..text.len()).step_by(step).filter(|at| text.is_char_boundary(*at)) {
            let cut = &text[..at];
            if !narrowgate::policy::parses(cut) {
                continue;
            }
            accepted += 1;
            // No policy ever loses a condition: what is left are the first ones, word for word, and at least one.
            let left = policies(cut);
            assert!(!left.is_empty() && left == whole[..left.len()], "{name} cut at {at}");
        }
        assert!(accepted > 0 && accepted < text.len() / step / 2, "{name}: {accepted}");
    }
}

// rows: POL-02 POL-03
#[tokio::test]
async fn a_daemon_does_not_start_on_a_file_cut_inside_a_policy() {
    let text = Plan::new().policies.into_iter().find(|(name, _)| name == "guardrails.cedar").unwrap().1;
    let inside = text.find("when { principal.quarantined").unwrap();
    for cut in [&text[..inside], &text[..inside + 20], &text[..text.rfind(';').unwrap()], ""] {
        let mut plan = Plan::new();
        plan.policies.retain(|(name, _)| name != "guardrails.cedar");
        plan.policies.push(("guardrails.cedar".to_owned(), cut.to_owned()));
        let mut house = plan.build();
        house.start();
        eventually("the log", || house.path("audit").exists().then_some(())).await;
        house.event("policy.rejected").await;
        assert_eq!(findings(&house).0, 65);
    }
}
