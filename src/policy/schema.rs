//! The schema: narrowgate's own, and linked to it what a platform team says of the attributes that are theirs alone.

use super::{depth::too_deep, load::finding, sources::Source};
use crate::{
    config::{CUSTOM_DEPTH_MAX, CustomSchema, Estate, Finding, about},
    model::fault::cut,
    platform::digest::{hex, sha256},
};
use cedar_policy::{Schema, SchemaFragment};
use serde_json::{Map, Value};
use std::{
    path::Path,
    sync::{Arc, LazyLock},
};

/// narrowgate's part, version 1.
const OWN: &str = include_str!("narrowgate.cedarschema");
/// What is linked to it where nobody has named anything else.
const NOTHING: &str = include_str!("custom.cedarschema");
/// The namespace of the types that a fragment defines, and these.
const NAMESPACE: &str = "Custom";
const TYPES: [&str; 3] = ["Agent", "Api", "Scope"];
/// Types that every schema has.
const BUILT_IN: [&str; 7] = ["Bool", "Long", "String", "datetime", "decimal", "duration", "ipaddr"];
/// Attributes of all three together: each agent, API and scope is held against all of its own.
const ATTRIBUTES_MAX: usize = 256;
const ENTITY_TYPES_MAX: usize = 64;
/// Bytes of a name in a message, and of a message of Cedar's.
const NAME_BYTES_MAX: usize = 100;
const MESSAGE_BYTES_MAX: usize = 1_024;

/// The whole schema, without attributes of anybody's own.
pub const BASE_SCHEMA: &str = concat!(include_str!("narrowgate.cedarschema"), "\n", include_str!("custom.cedarschema"));

/// The same, parsed once: a reload need not do it again.
static BASE: LazyLock<Result<Linked, String>> = LazyLock::new(|| Linked::of(BASE_SCHEMA).map_err(|e| e.to_string()));

/// A schema that policies are held against.
#[derive(Clone)]
pub(super) struct Linked {
    pub(super) schema: Schema,
    /// SHA-256 of its text, in hex.
    pub(super) digest: Arc<str>,
}

impl Linked {
    /// That of an estate.
    ///
    /// # Errors
    /// Every mistake in its fragment.
    pub(super) fn of_estate(estate: &Estate) -> Result<Self, Vec<Finding>> {
        match &estate.custom_schema {
            Some(custom) => linked(custom).map_err(|finding| vec![finding]),
            None => Self::base().map_err(|wrong| {
                vec![about(Path::new("schema"), format!("the built-in schema does not parse: {wrong}"))]
            }),
        }
    }

    /// The one without attributes of anybody's own.
    pub(super) fn base() -> Result<Self, String> {
        BASE.clone()
    }

    fn of(text: &str) -> Result<Self, Box<cedar_policy::CedarSchemaError>> {
        let (schema, _) = Schema::from_cedarschema_str(text)?;
        Ok(Self { schema, digest: digest(text).into() })
    }
}

/// The whole schema, as text, with this fragment or without one.
pub(super) fn schema_text(custom: Option<&str>) -> String {
    format!("{OWN}\n{}", custom.unwrap_or(NOTHING))
}

/// The whole schema of an estate, as text.
///
/// # Errors
/// Every mistake in its fragment.
pub fn schema_of(estate: &Estate) -> Result<String, Vec<Finding>> {
    Linked::of_estate(estate)?;
    Ok(schema_text(estate.custom_schema.as_ref().map(|custom| custom.text.as_str())))
}

/// SHA-256 of a schema's text, in hex.
pub(super) fn digest(text: &str) -> String {
    hex(&sha256(text.as_bytes()))
}

/// narrowgate's schema with this fragment.
fn linked(custom: &CustomSchema) -> Result<Linked, Finding> {
    let source = Source { path: custom.path.clone(), text: custom.text.clone() };
    // Types are nested in angle brackets too.
    if too_deep(&source.text.replace('<', "[").replace('>', "]")).is_some() {
        return Err(about(&source.path, "is nested too deeply"));
    }
    let (fragment, _) = SchemaFragment::from_cedarschema_str(&source.text)
        .map_err(|e| finding(&source, &cut(format!("is no schema: {e}"), MESSAGE_BYTES_MAX), &e))?;
    let fragment = fragment.to_json_value().map_err(|e| about(&source.path, format!("is no schema: {e}")))?;
    require_narrow(&fragment).map_err(|wrong| Finding {
        hint: Some("start from what `narrowgate policy schema` prints last: namespace Custom { ... }".to_owned()),
        ..about(&source.path, wrong)
    })?;
    Linked::of(&schema_text(Some(&source.text)))
        .map_err(|e| about(&source.path, cut(format!("does not go with narrowgate's schema: {e}"), MESSAGE_BYTES_MAX)))
}

/// Links a fragment, for the fuzzer: it must never panic. Whether it may be linked.
#[must_use]
pub fn fuzz_custom_schema(text: &str) -> bool {
    linked(&CustomSchema { path: std::path::PathBuf::new(), text: text.to_owned() }).is_ok()
}

/// Whether a fragment says no more than it may: what [`TYPES`] are, and kinds of entities that are listed whole. Anything
/// else would never be asked about, would change what narrowgate's own words mean (an entity `ipaddr`), or could be made to
/// fill the memory (types that stand in each other).
fn require_narrow(fragment: &Value) -> Result<(), String> {
    let Some(namespaces) = fragment.as_object() else { return Err("is no schema".to_owned()) };
    if let Some(other) = namespaces.keys().find(|name| *name != NAMESPACE) {
        let what =
            if other.is_empty() { "something outside of a namespace".to_owned() } else { named("namespace", other) };
        return Err(format!("defines {what}: all of it belongs into namespace {NAMESPACE}"));
    }
    let members =
        |key: &str| fragment.get(NAMESPACE).and_then(|it| it.get(key)?.as_object()).cloned().unwrap_or_default();
    if let Some((action, _)) = members("actions").iter().next() {
        return Err(format!("defines {}, and narrowgate never asks about it", named("action", action)));
    }
    let entities = members("entityTypes");
    require_listed(&entities)?;
    let types = members("commonTypes");
    if let Some(other) = types.keys().find(|it| !TYPES.contains(&it.as_str())) {
        return Err(format!("defines {}: write out what it stands for where it is used", named("type", other)));
    }
    let mut left = ATTRIBUTES_MAX;
    for name in TYPES {
        let Some(of) = types.get(name) else {
            let hint = format!("`type {name} = {{}};` if it has none");
            return Err(format!("does not define `type {name}` in namespace {NAMESPACE}: {hint}"));
        };
        if of.get("type").is_none_or(|kind| kind != "Record") {
            return Err(format!("defines `type {name}` as something else than a record, {{ ... }}"));
        }
        plain(of, 0, &mut left, &entities).map_err(|wrong| format!("`type {name}` {wrong}"))?;
    }
    Ok(())
}

fn require_listed(entities: &Map<String, Value>) -> Result<(), String> {
    if entities.len() > ENTITY_TYPES_MAX {
        return Err(format!("defines more than {ENTITY_TYPES_MAX} entity types"));
    }
    for (kind, entity) in entities {
        if entity.get("enum").is_none() {
            let hint = "list them, as entity Tier enum [\"gold\", \"silver\"]";
            return Err(format!("defines {}, and there would be none: {hint}", named("entity", kind)));
        }
        if BUILT_IN.contains(&kind.as_str()) || TYPES.contains(&kind.as_str()) {
            return Err(format!("defines {}, which means something else already", named("entity", kind)));
        }
    }
    Ok(())
}

/// Whether a type is made of built-in types and entities that are listed, and of no more than it may.
fn plain(of: &Value, depth: usize, left: &mut usize, entities: &Map<String, Value>) -> Result<(), String> {
    // Deeper than a value may be, nothing would ever fit.
    if depth > CUSTOM_DEPTH_MAX {
        return Err(format!("is nested deeper than {CUSTOM_DEPTH_MAX}"));
    }
    let kind = of.get("type").and_then(Value::as_str).unwrap_or_default();
    if let (Some(element), "Set") = (of.get("element"), kind) {
        return plain(element, depth + 1, left, entities);
    }
    if let (Some(attributes), "Record") = (of.get("attributes").and_then(Value::as_object), kind) {
        for (name, of) in attributes {
            *left = left
                .checked_sub(1)
                .ok_or_else(|| format!("and the others have more than {ATTRIBUTES_MAX} attributes"))?;
            if name.starts_with("__") {
                return Err(format!("has {}, and such names are Cedar's own", named("attribute", name)));
            }
            plain(of, depth + 1, left, entities)?;
        }
        return Ok(());
    }
    let name = of.get("name").and_then(Value::as_str).unwrap_or(kind);
    let (built_in, own) = (name.strip_prefix("__cedar::"), name.strip_prefix("Custom::"));
    if BUILT_IN.contains(&built_in.unwrap_or(name)) || entities.contains_key(own.unwrap_or(name)) {
        return Ok(());
    }
    let known = BUILT_IN.join(", ");
    Err(format!("uses {}: there are {known}, Set, records, and entity types that are listed", named("type", name)))
}

/// A name of the fragment, as it may stand in a message.
fn named(kind: &str, name: &str) -> String {
    format!("{kind} {:?}", cut(name.to_owned(), NAME_BYTES_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        let custom = CustomSchema { path: "custom.cedarschema".into(), text: text.to_owned() };
        linked(&custom).err().map_or_else(|| "nothing".to_owned(), |finding| finding.message)
    }

    fn with(agent: &str, more: &str) -> String {
        format!("namespace Custom {{ type Agent = {agent}; type Api = {{}}; type Scope = {{}}; {more} }}")
    }

    // rows: POL-08
    #[test]
    fn a_fragment_says_what_custom_is_and_nothing_else() {
        let good = with(
            "{ tier: Tier, \"cost centers\": Set<Long>, since?: datetime, \"in\": { host: ipaddr, of: Set<Custom::Tier> } }",
            "entity Tier enum [\"gold\", \"silver\"];",
        );
        assert_eq!((wrong(&good).as_str(), wrong(NOTHING).as_str()), ("nothing", "nothing"));
        let many: String = (0..257).map(|n| format!("a{n}: Long, ")).collect();
        for (text, part) in [
            ("namespace Custom { type Agent = ", "is no schema"),
            (&*with("{ a: Unknown }", ""), "uses type \"Unknown\""),
            (&*with("{ a: Agent }", ""), "uses type \"Agent\""),
            (&*with("{ a: Api }", ""), "uses type \"Api\""),
            (&*with("{ a: Set<Custom::Scope> }", ""), "uses type \"Custom::Scope\""),
            (&*with("{ a: Narrowgate::Base }", ""), "uses type \"Narrowgate::Base\""),
            (&*with("{ a: Narrowgate::Team }", ""), "uses type \"Narrowgate::Team\""),
            (&*with("Long", ""), "something else than a record"),
            (&*with("{ a: Set<Set<Set<Set<Long>>>> }", ""), "nested deeper than 4"),
            (&*with(&format!("{{ {many} }}"), ""), "more than 256 attributes"),
            (&*with("{ __extn: Long }", ""), "Cedar's own"),
            (&*with("{}", "type More = { a: Long };"), "type \"More\""),
            (&*with("{}", "entity Center;"), "there would be none"),
            (&*with("{}", "entity ipaddr enum [\"a\"];"), "means something else"),
            (&*with("{}", "entity Agent enum [\"a\"];"), "means something else"),
            (&*with("{}", "action \"more\";"), "never asks"),
            (&*(with("{}", "") + "entity ipaddr enum [\"a\"];"), "outside of a namespace"),
            (&*(with("{}", "") + "namespace More { entity Tier enum [\"a\"]; }"), "namespace \"More\""),
            ("namespace Custom { type Agent = {}; type Api = {}; }", "`type Scope`"),
            ("namespace Narrowgate { entity Daemon; }", "namespace \"Narrowgate\""),
            ("", "`type Agent`"),
        ] {
            let told = wrong(text);
            assert!(told.contains(part), "{text:.80}: {told}");
        }
    }

    // rows: POL-08
    #[test]
    fn what_is_nested_deeply_is_not_parsed() {
        let deep = format!("{{ a: {}Long{} }}", "Set<".repeat(5_000), ">".repeat(5_000));
        // A comment ends where Cedar says it ends.
        for text in [with(&deep, ""), format!("namespace Custom {{ //\r{}", with(&deep, ""))] {
            assert!(wrong(&text).contains("nested too deeply"));
        }
    }

    #[test]
    fn where_a_fragment_is_wrong_is_told_by_its_own_lines() {
        let text = "namespace Custom {\n  type Agent = {};\n  type Api == {};\n}\n".to_owned();
        let custom = CustomSchema { path: "custom.cedarschema".into(), text };
        assert_eq!(linked(&custom).err().and_then(|finding| finding.position).map(|(line, _)| line), Some(3));
    }
}
