//! `[registry] custom_schema`: what a platform team knows of its agents, APIs and scopes, in words and types of its own.

use crate::{
    comparing,
    estate::{OnDisk, policy},
    starter,
};
use std::{fs, path::Path, process::Command};

const SCHEMA: &str = "namespace Custom {
  entity Tier enum [\"gold\", \"silver\"];
  type Agent = { tier: Tier, cost_centers: Set<Long>, reviewed?: datetime, host?: ipaddr };
  type Api = { regulated?: Bool };
  type Scope = { labels?: { pii: Bool } };
}
";
const RULE: &str = "@id(\"own.gold-for-pii\") @code(\"not_gold\")
forbid (principal, action == Narrowgate::Action::\"grant_scope\", resource)
when { resource.custom has labels && resource.custom.labels.pii }
unless {
  principal.custom.tier == Custom::Tier::\"gold\" && principal.custom.cost_centers.contains(42) &&
  principal.custom has reviewed && principal.custom.reviewed > datetime(\"2026-01-01\")
};
";
const CASES: &str = "[[case]]
name = \"quoter is gold and reviewed\"
action = \"grant_scope\"
agent = \"quoter\"
client = \"sales-crm\"
scope = \"customers.read\"
expect = \"allow\"
reasons = [\"grant.sales.crm-read\"]

[[case]]
name = \"silver is not enough\"
action = \"grant_scope\"
agent = \"quoter\"
client = \"sales-crm\"
scope = \"customers.read\"
custom = { tier = { type = \"Custom::Tier\", id = \"silver\" }, cost_centers = [42], reviewed = 2026-05-01 }
expect = \"deny\"
reasons = [\"own.gold-for-pii\"]
";

/// The sample set, whose agents have a tier, and whose scope `customers.read` is about people.
fn own() -> OnDisk {
    let here = OnDisk::sample();
    here.change(
        "narrowgate.toml",
        "apis = \"apis.toml\"",
        "apis = \"apis.toml\"\ncustom_schema = \"custom.cedarschema\"",
    );
    here.write("custom.cedarschema", SCHEMA);
    let gold = "trust = 3\ncustom = { tier = { type = \"Custom::Tier\", id = \"gold\" }, cost_centers = [42, 7], \
                reviewed = 2026-05-01T08:00:00Z, host = \"192.0.2.7\" }";
    let silver = "trust = 1\ncustom = { tier = { type = \"Custom::Tier\", id = \"silver\" }, cost_centers = [] }";
    here.change("agents.toml", "trust = 3", gold);
    here.change("agents.toml", "trust = 1", silver);
    here.change(
        "apis.toml",
        "name = \"customers.read\"",
        "name = \"customers.read\"\ncustom = { labels = { pii = true } }",
    );
    here.write("policies/own.cedar", RULE);
    here.write("policies/own.cases.toml", CASES);
    here
}

#[test]
fn policies_read_them() {
    let here = own();
    for command in ["check", "test"] {
        let said = here.policy(command, &[]);
        assert_eq!(said.code, 0, "{command}: {}", said.text());
    }
    let who = |access: &str| {
        let (_, told) = here.json("who-can", &["customers.read", "--all"]);
        let rows = told["rows"].as_array().unwrap().clone();
        rows.iter().filter(|row| row["access"] == access).map(|row| row["principal"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(who("yes"), ["quoter"]);
    // One word in the data file, and no policy is written anew.
    here.change("agents.toml", "id = \"gold\" }, cost_centers = [42, 7]", "id = \"silver\" }, cost_centers = [42, 7]");
    assert_eq!(who("yes"), [] as [&str; 0]);
    let said = here.policy("explain", &["--agent", "quoter", "--client", "sales-crm", "--scope", "customers.read"]);
    assert!(said.text().contains("own.gold-for-pii"), "{}", said.text());
    let (_, entities) = here.json("entities", &[]);
    let all = entities.as_array().unwrap();
    let quoter = all.iter().find(|it| it["uid"]["id"] == "quoter").unwrap();
    assert_eq!(quoter["attrs"]["custom"]["tier"]["__entity"]["id"], "silver");
    assert_eq!(quoter["attrs"]["custom"]["host"]["__extn"]["arg"], "192.0.2.7");
}

#[test]
fn what_does_not_fit_is_told_with_its_place() {
    let wrong = |change: &dyn Fn(&OnDisk), file: &str, parts: &[&str]| {
        let here = own();
        change(&here);
        let said = here.policy("check", &[]);
        let text = said.text();
        assert!(said.code != 0, "{parts:?}: {text}");
        for part in [file].iter().chain(parts) {
            assert!(text.contains(part), "{part:?}: {text}");
        }
    };
    let agents = |from: &'static str, to: &'static str| move |here: &OnDisk| here.change("agents.toml", from, to);
    let schema =
        |from: &'static str, to: &'static str| move |here: &OnDisk| here.change("custom.cedarschema", from, to);
    wrong(&agents("[42, 7]", "[\"42\"]"), "agents.toml", &["agent `quoter`: `custom`"]);
    wrong(&agents("cost_centers = [42, 7]", "cost_centres = [42]"), "agents.toml", &["agent `quoter`", "cost_cent"]);
    wrong(&agents("id = \"gold\"", "id = \"golden\""), "agents.toml", &["agent `quoter`", "golden"]);
    wrong(&agents("\"192.0.2.7\"", "\"192.0.2.777\""), "agents.toml", &["agent `quoter`"]);
    wrong(&agents("[42, 7]", "[4.2]"), "agents.toml", &["number with a point", "custom"]);
    wrong(&agents("[42, 7]", "[[[[[42]]]]]"), "agents.toml", &["nested deeper than 4"]);
    wrong(&agents("[42, 7]", "[99999999999999999999]"), "agents.toml", &["too large"]);
    // Without one: a required attribute is missing, and the agent is named.
    let silver = "custom = { tier = { type = \"Custom::Tier\", id = \"silver\" }, cost_centers = [] }";
    wrong(&agents(silver, ""), "agents.toml", &["agent `courier`", "expected the record to have an attribute"]);
    wrong(&schema("type Scope", "type Scopes"), "custom.cedarschema", &["type \"Scopes\""]);
    wrong(&schema("Set<Long>", "Set<Lang>"), "custom.cedarschema", &["Lang"]);
    wrong(&schema("type Api = {", "type Api = {{"), "custom.cedarschema:4:", &["is no schema"]);
    wrong(&schema("cost_centers: Set<Long>, ", ""), "", &["cost_centers"]);
    let unnamed = |here: &OnDisk| here.change("narrowgate.toml", "custom_schema = \"custom.cedarschema\"", "");
    wrong(&unnamed, "", &["has `custom`, and no schema says", "add custom_schema"]);
    let gone = |here: &OnDisk| fs::remove_file(here.path("custom.cedarschema")).unwrap();
    wrong(&gone, "custom.cedarschema", &["cannot be read"]);
    let open = |here: &OnDisk| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(here.path("custom.cedarschema"), fs::Permissions::from_mode(0o666)).unwrap();
    };
    wrong(&open, "custom.cedarschema", &[]);
}

#[test]
fn other_tools_get_the_whole_schema() {
    let here = own();
    let printed = here.policy("schema", &[]);
    assert!(printed.code == 0 && printed.out.ends_with(SCHEMA), "{}", printed.out);
    assert!(policy(&["schema"]).out.contains("type Agent = {};"));
    let wrong = own();
    wrong.change("custom.cedarschema", "type Api = {", "type Apis = {");
    let said = wrong.policy("schema", &[]);
    assert!(said.code == 65 && said.text().contains("custom.cedarschema: defines type \"Apis\""), "{}", said.text());
    let Some(cedar) = starter::cedar() else { return };
    here.write("whole.cedarschema", &printed.out);
    let run = |policies: &Path| {
        let mut cedar = Command::new(&cedar);
        cedar.args(["validate", "--deny-warnings", "--level", "1", "--schema"]).arg(here.path("whole.cedarschema"));
        cedar.arg("--policies").arg(policies).output().unwrap()
    };
    assert!(run(&here.path("policies/own.cedar")).status.success());
    here.change("policies/own.cedar", "principal.custom.tier", "principal.custom.tire");
    assert!(!run(&here.path("policies/own.cedar")).status.success());
}

#[test]
fn a_bundle_holds_it() {
    let here = own();
    let out = here.path("set.tar.gz").display().to_string();
    let (code, told) = here.json("bundle", &["--out", &out, "--serial", "1"]);
    assert_eq!(code, 0, "{told:#}");
    let files = told["manifest"]["files"].as_array().unwrap();
    assert!(files.iter().any(|file| file["name"] == "custom.cedarschema"), "{told:#}");
    // Another schema is another digest: decisions under it are told apart.
    let before = told["manifest"]["schema_sha256"].clone();
    here.change("custom.cedarschema", "regulated?: Bool", "regulated?: Bool, site?: String");
    let (_, told) = here.json("bundle", &["--out", &out, "--serial", "2"]);
    assert!(before.is_string() && before != told["manifest"]["schema_sha256"], "{told:#}");
}

#[test]
fn the_solver_knows_them() {
    let Some(solver) = comparing::solver() else { return };
    let (old, new) = (own(), own());
    new.change("policies/own.cedar", "principal.custom.cost_centers.contains(42) &&", "");
    let [old, new] = [&old, &new].map(|here| here.path("narrowgate.toml"));
    let asked = ["--solver", "required", "--solver-command", &solver];
    let said = comparing::diff(&old, &new, &asked);
    assert!(said.exit == 1 && said.out.contains("LOOSER"), "{}{}", said.out, said.err);
    assert!(said.out.contains("own.gold-for-pii"), "{}", said.out);
    assert_eq!(comparing::diff(&new, &old, &asked).exit, 0);

    // Under two schemas nobody can be asked: what one knows, the other has never heard of.
    let third = own();
    third.change("custom.cedarschema", "regulated?: Bool", "regulated?: Bool, site?: String");
    third.change("policies/own.cedar", "principal.custom.cost_centers.contains(42) &&", "");
    let third = third.path("narrowgate.toml");
    let said = comparing::diff(&old, &third, &asked);
    assert!(said.exit == 65 && said.err.contains("of one schema only"), "{}{}", said.out, said.err);
    let said = comparing::diff(&old, &third, &["--solver", "off"]);
    assert!(said.exit != 0 && said.out.contains("custom attributes are not the same"), "{}{}", said.out, said.err);
}
