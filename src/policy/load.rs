//! Files to a [`Snapshot`]: parsed, named, strictly validated. All mistakes at once; nothing half loaded.

use super::{
    annotations::Note,
    depth::{DEPTH_MAX, too_deep},
    engine::Engine,
    entities,
    index::Index,
    schema::Linked,
    sources::{Source, digest, policies},
};
use crate::{
    config::{Config, Estate, Finding, about, position},
    model::Wall,
};
use cedar_policy::{Authorizer, Entities, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use miette::Diagnostic;
use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

/// Policies may look at attributes of principal and resource, no deeper: the store can stay small.
pub(super) const LEVEL_MAX: u32 = 1;

/// One generation of policy: immutable, swapped whole.
pub struct Snapshot {
    /// Counts the sets loaded by this process, from 1.
    pub generation: u64,
    /// SHA-256 of the policy files, in hex.
    pub policy_digest: Arc<str>,
    /// SHA-256 of the schema, in hex.
    pub schema_digest: Arc<str>,
    /// SHA-256 of the entities, in hex.
    pub entities_digest: Arc<str>,
    /// Who may call, and what may be asked for.
    pub estate: Arc<Estate>,
    pub(super) schema: Schema,
    #[cfg(test)]
    pub(super) policies: PolicySet,
    pub(super) index: Index,
    pub(super) engine: Engine,
    pub(super) entities: Entities,
    pub(super) notes: HashMap<String, Note>,
    pub(super) authorizer: Authorizer,
}

impl Snapshot {
    /// How many policies there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.notes.len()
    }

    /// The first `@expires` of the set: the day, and the policy.
    #[must_use]
    pub fn first_expiry(&self) -> Option<(String, &str)> {
        let days = self.notes.iter().filter_map(|(id, note)| note.expires.map(|day| (day, id.as_str())));
        days.min().map(|(day, id)| (day.to_string(), id))
    }

    /// The policies that have decisions made anew each time, with the reason: what they have a say in is not cached.
    pub fn uncacheable(&self) -> impl Iterator<Item = (&str, &str)> {
        self.index.uncacheable()
    }

    /// The agents, clients, APIs and scopes as policies see them, in Cedar's JSON, sorted.
    ///
    /// # Errors
    /// What has no JSON form.
    pub fn entities_json(&self) -> Result<serde_json::Value, String> {
        entities::canonical(&self.entities)
    }

    /// Never: an empty set does not load.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }
}

/// Whether a text is a well-named, well-annotated policy file, for tests: it must never panic.
#[must_use]
pub fn parses(text: &str) -> bool {
    let mut draft = Draft::default();
    draft.read(&Source { path: PathBuf::new(), text: text.to_owned() });
    draft.findings.is_empty()
}

/// Loads a text as if it were the one file of a policy set, for the fuzzer: it must never panic. The number of policies,
/// or `None` if there is a mistake.
pub fn fuzz_policy_set(text: &str) -> Option<usize> {
    let source = Source { path: PathBuf::new(), text: text.to_owned() };
    let mut draft = Draft::default();
    draft.read(&source);
    if draft.findings.is_empty() {
        draft.validate(&Linked::base().ok()?.schema, &[source]);
    }
    draft.findings.is_empty().then_some(draft.notes.len())
}

/// A snapshot of these policies, and the number of those that are left out because they are not valid, for tests.
#[cfg(test)]
pub(super) fn of_texts<'t>(texts: impl IntoIterator<Item = &'t str>, entities: &str) -> (Snapshot, usize) {
    let linked = Linked::base().unwrap();
    let schema = &linked.schema;
    let (mut draft, mut left_out) = (Draft::default(), 0);
    for text in texts {
        let source = Source { path: PathBuf::new(), text: text.to_owned() };
        let mut alone = Draft::default();
        alone.read(&source);
        if alone.findings.is_empty() {
            alone.validate(schema, std::slice::from_ref(&source));
        }
        if alone.findings.is_empty() {
            draft.read(&source);
            assert!(draft.findings.is_empty());
        } else {
            left_out += 1;
        }
    }
    let entities = Entities::from_json_str(entities, Some(schema)).unwrap();
    (snapshot(draft, Arc::default(), linked, entities, (1, "policies".to_owned())).unwrap(), left_out)
}

/// Loads the policies that the configuration names, with its agents, clients, APIs and scopes as entities. A policy past
/// its `@expires` at `now` is a mistake; `None` loads a set as of its own time, to ask recorded decisions again.
///
/// # Errors
/// Every mistake, with file, line and hint.
pub fn load(config: &Config, generation: u64, now: Option<Wall>) -> Result<Snapshot, Vec<Finding>> {
    build(config, Arc::clone(&config.estate), &policies(config)?, generation, now)
}

/// Builds a set of these policies and this estate.
///
/// # Errors
/// As [`load`].
pub(super) fn build(
    config: &Config,
    estate: Arc<Estate>,
    sources: &[Source],
    generation: u64,
    now: Option<Wall>,
) -> Result<Snapshot, Vec<Finding>> {
    build_in(&config.policies, config, estate, sources, (generation, now))
}

/// As [`build`], of policies that are in this folder: the one place where a [`Snapshot`] is made.
pub(super) fn build_in(
    folder: &Path,
    config: &Config,
    estate: Arc<Estate>,
    sources: &[Source],
    (generation, now): (u64, Option<Wall>),
) -> Result<Snapshot, Vec<Finding>> {
    let linked = Linked::of_estate(&estate)?;
    let mut draft = Draft { now, ..Draft::default() };
    for source in sources {
        draft.read(source);
    }
    if draft.findings.is_empty() && draft.notes.is_empty() {
        draft.findings.push(about(folder, "holds no policy, and nothing is allowed without one"));
    }
    if draft.findings.is_empty() {
        draft.validate(&linked.schema, sources);
    }
    let entities = entities::build(config, &estate, &linked.schema);
    draft.findings.extend(entities.as_ref().err().into_iter().flatten().cloned());
    let Some(entities) = entities.ok().filter(|_| draft.findings.is_empty()) else { return Err(draft.findings) };
    snapshot(draft, estate, linked, entities, (generation, digest(folder, sources))).map_err(|e| vec![about(folder, e)])
}

/// What a checked draft and its entities make.
fn snapshot(
    draft: Draft,
    estate: Arc<Estate>,
    linked: Linked,
    entities: Entities,
    (generation, policy_digest): (u64, String),
) -> Result<Snapshot, String> {
    let entities_digest = entities::digest(&entities).map_err(|e| format!("entities have no canonical form: {e}"))?;
    let index = Index::new(&draft.policies, &draft.notes, &linked.schema)
        .map_err(|e| format!("the policies have no index: {e}"))?;
    Ok(Snapshot {
        generation,
        policy_digest: policy_digest.into(),
        schema_digest: linked.digest,
        entities_digest: entities_digest.into(),
        estate,
        schema: linked.schema,
        #[cfg(test)]
        policies: draft.policies,
        index,
        engine: Engine::new(),
        entities,
        notes: draft.notes,
        authorizer: Authorizer::new(),
    })
}

#[derive(Default)]
struct Draft {
    now: Option<Wall>,
    policies: PolicySet,
    notes: HashMap<String, Note>,
    /// The file that each policy stands in.
    places: BTreeMap<String, PathBuf>,
    findings: Vec<Finding>,
}

impl Draft {
    fn read(&mut self, source: &Source) {
        if let Some(at) = too_deep(&source.text) {
            self.report(source, at, format!("is nested deeper than {DEPTH_MAX}"));
            return;
        }
        let set = match PolicySet::from_str(&source.text) {
            Ok(set) => set,
            Err(errors) => {
                self.findings.extend(errors.iter().map(|e| finding(source, &e.to_string(), e)));
                return;
            }
        };
        if set.policies().next().is_none() && set.templates().next().is_none() {
            let empty = "holds no policy: a file cut short would silently drop its rules; fill it or remove it";
            self.report(source, 0, empty.to_owned());
        }
        if let Some(template) = set.templates().next() {
            let at = source.text.find(template.to_cedar().as_str()).unwrap_or(0);
            self.report(source, at, "is a template; write plain policies".to_owned());
        }
        for policy in set.policies() {
            self.add(source, policy);
        }
    }

    fn add(&mut self, source: &Source, policy: &Policy) {
        // Looked for where there is a mistake alone: to find each of many costs far more than to load them.
        let at = || place(source, policy);
        let Some(id) = policy.annotation("id").filter(|id| is_policy_id(id)).map(str::to_owned) else {
            self.report(
                source,
                at(),
                "a policy needs @id(\"...\"), unique, 1 to 128 letters, digits and . _ : / -: decisions are explained by it".to_owned(),
            );
            return;
        };
        match Note::read(policy) {
            Ok(note) => {
                if let Some(day) = note.expires.filter(|_| self.now.is_some_and(|now| note.is_over(now))) {
                    let over =
                        format!("policy `{id}`: {day} was its last day (@expires): remove it, or give it a later date");
                    self.report(source, at(), over);
                }
                if self.notes.insert(id.clone(), note).is_some() {
                    self.report(source, at(), format!("@id(\"{id}\") is used twice"));
                    return;
                }
            }
            Err(wrong) => {
                for message in wrong {
                    self.report(source, at(), format!("policy `{id}`: {message}"));
                }
                return;
            }
        }
        self.places.insert(id.clone(), source.path.clone());
        if let Err(e) = self.policies.add(policy.new_id(PolicyId::new(&id))) {
            self.report(source, at(), format!("policy `{id}`: {e}"));
        }
    }

    /// Strict validation; a warning is a mistake too, since a policy that can never match protects nobody.
    fn validate(&mut self, schema: &Schema, sources: &[Source]) {
        let result =
            Validator::new(schema.clone()).validate_with_level(&self.policies, ValidationMode::Strict, LEVEL_MAX);
        let errors = result.validation_errors().map(|e| (id_text(e.policy_id()), e.to_string(), span(e)));
        let warnings = result.validation_warnings().map(|w| (id_text(w.policy_id()), w.to_string(), span(w)));
        for (id, message, span) in errors.chain(warnings).collect::<Vec<_>>() {
            let source = self.places.get(&id).and_then(|path| sources.iter().find(|s| s.path == *path));
            match (source, self.policies.policy(&PolicyId::new(&id))) {
                (Some(source), Some(policy)) => {
                    let at = span.unwrap_or_else(|| place(source, policy));
                    self.report(source, at, message);
                }
                // Where it stands is a courtesy; that it is wrong is not.
                _ => self.findings.push(about(Path::new(&id), message)),
            }
        }
    }

    fn report(&mut self, source: &Source, at: usize, message: String) {
        let position = Some(position(&source.text, at));
        self.findings.push(Finding { file: source.path.clone(), position, message, hint: None });
    }
}

/// Where a policy stands in its file.
pub(super) fn place(source: &Source, policy: &Policy) -> usize {
    policy.to_cedar().and_then(|text| source.text.find(&text)).unwrap_or(0)
}

pub(super) fn is_policy_id(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:/-".contains(&b))
}

/// The id as it is: its Display escapes.
pub(super) fn id_text(id: &PolicyId) -> String {
    AsRef::<str>::as_ref(id).to_owned()
}

fn span(diagnostic: &dyn Diagnostic) -> Option<usize> {
    diagnostic.labels().and_then(|mut labels| labels.next()).map(|label| label.offset())
}

pub(super) fn finding(source: &Source, message: &str, diagnostic: &dyn Diagnostic) -> Finding {
    let position = span(diagnostic).map(|at| position(&source.text, at));
    let hint = diagnostic.help().map(|help| help.to_string());
    Finding { file: source.path.clone(), position, message: message.to_owned(), hint }
}

/// An error with what caused it, in one line.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = cause.source();
    }
    text
}
