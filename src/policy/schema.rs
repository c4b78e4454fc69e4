//! The schema: narrowgate's own, and linked to it what a platform team says of the attributes that are theirs alone.

use super::{depth::too_deep, load::finding, sources::Source};
use crate::{
    config::{CustomSchema, Estate, Finding, about},
    platform::digest::{hex, sha256},
};
use cedar_policy::{Schema, SchemaFragment};
use serde_json::Value;
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
#[must_use]
pub fn schema_text(custom: Option<&str>) -> String {
    format!("{OWN}\n{}", custom.unwrap_or(NOTHING))
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
        .map_err(|e| finding(&source, &format!("is no schema: {e}"), &e))?;
    let fragment = fragment.to_json_value().map_err(|e| about(&source.path, format!("is no schema: {e}")))?;
    require_narrow(&fragment).map_err(|wrong| Finding {
        hint: Some("start from what `narrowgate policy schema` prints last: namespace Custom { ... }".to_owned()),
        ..about(&source.path, wrong)
    })?;
    Linked::of(&schema_text(Some(&source.text)))
        .map_err(|e| about(&source.path, format!("does not go with narrowgate's schema: {e}")))
}

/// Links a fragment, for the fuzzer: it must never panic. Whether it may be linked.
#[must_use]
pub fn fuzz_custom_schema(text: &str) -> bool {
    linked(&CustomSchema { path: std::path::PathBuf::new(), text: text.to_owned() }).is_ok()
}

/// Whether a fragment says no more than it may: what [`TYPES`] are, and kinds of entities that are listed whole. Types of
/// other names could be made to fill the memory (each twice in the next); other entities and actions are never asked about.
fn require_narrow(fragment: &Value) -> Result<(), String> {
    let members = |value: &Value, key: &str| value.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
    let Some(namespaces) = fragment.as_object() else { return Err("is no schema".to_owned()) };
    for (name, namespace) in namespaces {
        if name.split("::").next() == Some("Narrowgate") {
            return Err(format!("defines `{name}`, which is narrowgate's own"));
        }
        if let Some((action, _)) = members(namespace, "actions").iter().next() {
            return Err(format!("defines the action \"{action}\", and narrowgate never asks about it"));
        }
        let types = members(namespace, "commonTypes");
        if let Some(other) = types.keys().find(|it| name != NAMESPACE || !TYPES.contains(&it.as_str())) {
            return Err(format!("defines the type `{name}::{other}`: write out what it stands for where it is used"));
        }
        let entities = members(namespace, "entityTypes");
        if let Some((kind, _)) = entities.iter().find(|(_, it)| it.get("enum").is_none()) {
            return Err(format!(
                "defines `entity {kind}`, and there would be none: list them, as `entity {kind} enum [\"a\"]`"
            ));
        }
    }
    let defined = fragment.get(NAMESPACE).map(|it| members(it, "commonTypes")).unwrap_or_default();
    if let Some((other, _)) = defined.iter().find(|(_, it)| it.get("type").is_none_or(|kind| kind != "Record")) {
        return Err(format!("defines `type {other}` as something else than a record, {{ ... }}"));
    }
    match TYPES.iter().find(|it| !defined.contains_key(**it)) {
        Some(missing) => Err(format!(
            "does not define `type {missing}` in namespace {NAMESPACE}: `type {missing} = {{}};` if it has none"
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        let custom = CustomSchema { path: "custom.cedarschema".into(), text: text.to_owned() };
        linked(&custom).err().map_or_else(|| "nothing".to_owned(), |finding| finding.message)
    }

    #[test]
    fn a_fragment_says_what_custom_is_and_nothing_else() {
        let with = |agent: &str, more: &str| {
            format!("namespace Custom {{ type Agent = {agent}; type Api = {{}}; type Scope = {{}}; {more} }}")
        };
        let good =
            with("{ tier: Tier, centers: Set<Long>, since?: datetime }", "entity Tier enum [\"gold\", \"silver\"];");
        assert_eq!(wrong(&good), "nothing");
        assert_eq!(wrong(NOTHING), "nothing");
        let nested = format!("{}Long{}", "Set<".repeat(5_000), ">".repeat(5_000));
        for (text, part) in [
            ("namespace Custom { type Agent = ", "is no schema"),
            (&*with("{ a: Unknown }", ""), "does not go with narrowgate's schema"),
            (&*with("{ a: Agent }", ""), "does not go with narrowgate's schema"),
            (&*with("Long", ""), "something else than a record"),
            (&*with(&nested, ""), "nested too deeply"),
            (&*with("{}", "type More = { a: Long };"), "`Custom::More`"),
            (&*with("{}", "entity Center;"), "there would be none"),
            (&*with("{}", "action \"more\";"), "never asks"),
            ("namespace Custom { type Agent = {}; type Api = {}; }", "`type Scope`"),
            ("namespace Narrowgate { entity Daemon; }", "narrowgate's own"),
            ("namespace Narrowgate::More { entity Tier enum [\"a\"]; }", "narrowgate's own"),
            ("", "`type Agent`"),
        ] {
            let told = wrong(text);
            assert!(told.contains(part), "{text:.80}: {told}");
        }
    }

    #[test]
    fn where_a_fragment_is_wrong_is_told_by_its_own_lines() {
        let text = "namespace Custom {\n  type Agent = {};\n  type Api == {};\n}\n".to_owned();
        let custom = CustomSchema { path: "custom.cedarschema".into(), text };
        assert_eq!(linked(&custom).err().and_then(|finding| finding.position).map(|(line, _)| line), Some(3));
    }
}
