//! Sets that are not narrowgate's: which policy is which, what a change of them is, and Cedar's own samples.

use super::comparing::{Files, diff, solver};
use serde_json::Value;
use std::path::Path;

const SCHEMA: &str = "entity Team; entity User in [Team]; entity Doc { level: Long };\n\
    action view, edit appliesTo { principal: [User], resource: [Doc] };";

/// Each change: the policy, what became of it, and which way that goes by the text.
fn changes(said: &Value) -> Vec<(String, String, String)> {
    let text = |change: &Value, key: &str| change[key].as_str().unwrap_or_default().to_owned();
    let all = said["policies"]["changes"].as_array().unwrap();
    all.iter().map(|c| (text(c, "policy"), text(c, "change"), text(c, "direction"))).collect()
}

fn told(list: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    list.iter().map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned())).collect()
}

#[test]
fn a_policy_is_known_again() {
    let view = "permit (principal, action == Action::\"view\", resource) when { resource.level < 3 };";
    let edit = "permit (principal, action == Action::\"edit\", resource);";
    let files = Files::new(&[
        ("schema.cedarschema", SCHEMA),
        (
            "old/a.cedar",
            &format!(
                "@id(\"named\") {view}\n{edit}\nforbid (principal, action, resource) when {{ resource.level > 8 }};"
            ),
        ),
        // Moved, reformatted, commented, and with another one before them.
        ("moved/z.cedar", "// once more\nforbid (principal, action,\n  resource) when { resource.level > 8 };"),
        ("moved/b/b.cedar", &format!("{edit}\n@id(\"named\") // here\n{view}")),
        (
            "renamed.cedar",
            &format!(
                "@id(\"other\") {view}\n{edit}\nforbid (principal, action, resource) when {{ resource.level > 8 }};"
            ),
        ),
        (
            "noted.cedar",
            &format!(
                "@id(\"named\") @max_lifetime(\"1h\") {view}\n{edit}\nforbid (principal, action, resource) when {{ resource.level > 8 }};"
            ),
        ),
        (
            "changed.cedar",
            &format!(
                "{edit}\n@id(\"new\") forbid (principal, action, resource) when {{ resource.level > 9 }};\n@id(\"named\") {}\nforbid (principal, action, resource) when {{ resource.level > 7 }};",
                view.replace('3', "4")
            ),
        ),
    ]);
    let off = ["--solver", "off"];
    let (exit, said) = files.json("old", "moved", &off);
    assert_eq!((exit, &said["direction"], changes(&said)), (0, &"same".into(), vec![]), "{said}");
    assert_eq!(said["policies"]["same"], 3);
    // Another name, and a word beside the condition: nothing that is decided.
    for (new, fail_on, exit) in [("renamed.cedar", "looser", 0), ("renamed.cedar", "any", 2), ("noted.cedar", "any", 2)]
    {
        let (said_exit, said) = files.json("old", new, &["--solver", "off", "--fail-on", fail_on]);
        assert_eq!((said_exit, &said["direction"]), (exit, &"neither".into()), "{new}: {said}");
        assert_eq!(said["policies"]["changes"].as_array().unwrap().len(), 1, "{said}");
    }
    let (_, said) = files.json("old", "renamed.cedar", &off);
    assert_eq!(said["policies"]["changes"][0]["was"], "named", "{said}");
    let (_, said) = files.json("old", "noted.cedar", &off);
    // Only narrowgate's own annotations have a meaning.
    assert_eq!(said["policies"]["changes"][0]["annotations"][0]["direction"], "neither", "{said}");
    let (exit, said) = files.json("old", "changed.cedar", &off);
    let expected =
        [("changed.cedar#4", "changed", "untold"), ("named", "changed", "untold"), ("new", "added", "tighter")];
    assert_eq!((exit, changes(&said)), (3, told(&expected)), "{said}");
    let text = said["policies"]["changes"][1]["diff"].as_str().unwrap();
    assert!(text.contains("- @id") && text.contains("+ @id") && text.contains("level < 4"), "{text}");
    // A forbid that is dropped, and a permit that is added, allow more for all that the text says.
    files.write("fewer.cedar", &format!("@id(\"named\") {view}\n{edit}"));
    let (exit, said) = files.json("old", "fewer.cedar", &off);
    assert_eq!((exit, &said["direction"]), (1, &"looser".into()), "{said}");
    let (exit, said) = files.json("fewer.cedar", "old", &off);
    assert_eq!((exit, &said["direction"]), (0, &"tighter".into()), "{said}");
}

#[test]
fn a_solver_tells_a_harmless_change_from_another() {
    let Some(solver) = solver() else { return };
    let files = Files::new(&[
        ("schema.cedarschema", SCHEMA),
        (
            "old.cedar",
            "@id(\"a\") permit (principal, action, resource) when { resource.level < 3 };\n@id(\"b\") forbid (principal, action, resource) when { resource.level > 5 };",
        ),
        // Said otherwise, and without a forbid that never mattered.
        ("same.cedar", "@id(\"a\") permit (principal, action, resource) unless { resource.level >= 3 };"),
        ("looser.cedar", "@id(\"a\") permit (principal, action, resource) when { resource.level <= 3 };"),
        (
            "both.cedar",
            "@id(\"a\") permit (principal, action, resource) when { resource.level < 4 && resource.level > -9 };",
        ),
        (
            "invalid.cedar",
            "@id(\"a\") permit (principal, action, resource) when { resource.size < 3 };\n@id(\"b\") forbid (principal, action, resource) when { resource.level > 5 };",
        ),
    ]);
    let ask = |new: &str, more: &[&str]| {
        files.json("old.cedar", new, &[&["--solver-command", &solver, "--solver", "required"], more].concat())
    };
    let (exit, said) = ask("same.cedar", &["--fail-on", "any"]);
    assert_eq!((exit, &said["direction"], &said["solver"]["kinds"]), (2, &"neither".into(), &2.into()), "{said}");
    let (exit, said) = ask("looser.cedar", &[]);
    assert_eq!((exit, &said["direction"]), (1, &"looser".into()), "{said}");
    let examples = said["solver"]["allows_more"].as_array().unwrap();
    // One for each action, on the very edge.
    assert_eq!(examples.len(), 2, "{said}");
    assert!(examples[0]["entities"].to_string().contains("\"level\":3"), "{said}");
    assert_eq!((&examples[0]["old"]["allowed"], &examples[0]["new"]["allowed"]), (&false.into(), &true.into()));
    let (exit, said) = ask("both.cedar", &[]);
    assert_eq!((exit, &said["direction"]), (1, &"both".into()), "{said}");
    let compared = files.diff("old.cedar", "invalid.cedar", &["--solver", "required", "--solver-command", &solver]);
    assert!(compared.exit == 65 && compared.err.contains("size"), "{}", compared.err);
    let (exit, said) = files.json("old.cedar", "invalid.cedar", &["--solver-command", &solver]);
    assert_eq!((exit, &said["solver"]["state"]), (3, &"invalid".into()), "{said}");
}

#[test]
fn cedars_own_samples_are_compared() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-env/cedar/sample-data");
    if !samples.is_dir() {
        eprintln!("SKIPPED: Cedar's own samples are not here; tests/run brings them");
        return;
    }
    let path = |name: &str| samples.join(name);
    let schema = path("sandbox_b/schema.cedarschema").display().to_string();
    let [five, six] = ["sandbox_b/policies_5.cedar", "sandbox_b/policies_6.cedar"].map(path);
    let arguments = ["--output", "json", "--schema", &schema];
    let said = diff(&five, &six, &[&arguments[..], &["--solver", "off"]].concat());
    let expected = [("ip_denylist", "added", "tighter"), ("privacy rule", "removed", "looser")];
    assert_eq!((said.exit, changes(&said.json())), (1, told(&expected)), "{}", said.out);
    assert_eq!(said.json()["policies"]["same"], 1);
    // Templates are for another tool; that is said.
    let schema_c = path("sandbox_c/schema.cedarschema").display().to_string();
    let said =
        diff(&path("sandbox_c/policies.cedar"), &path("sandbox_c/policies_edited.cedar"), &["--schema", &schema_c]);
    assert!(said.exit == 65 && said.err.contains("is a template"), "{}", said.err);
    let Some(solver) = solver() else { return };
    let said = diff(&five, &six, &[&arguments[..], &["--solver-command", &solver]].concat());
    let value = said.json();
    assert_eq!((said.exit, &value["direction"]), (1, &"both".into()), "{value}");
    let more = value["solver"]["allows_more"][0].clone();
    assert!(more["entities"].to_string().contains("\"private\":true"), "{more}");
    assert_eq!(more["old"]["policies"][0], "privacy rule", "{more}");
    let less = value["solver"]["allows_less"][0].clone();
    assert!(less["request"]["context"].to_string().contains("222.222.222."), "{less}");
    let text = diff(&five, &six, &["--schema", &schema, "--solver-command", &solver]);
    // But for the paths, which are as long as they are.
    let mut lines = text.out.lines().filter(|line| !line.contains('/'));
    assert!(lines.all(|line| line.chars().count() <= 100), "{}", text.out);
    assert!(text.out.contains("NEW allows what OLD denies, for instance"), "{}", text.out);
}
