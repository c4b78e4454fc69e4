//! The rules that policy files are held against.

use super::{
    conditions,
    lint::{Draft, Lint, LintLevel, Standing, about, found, of_diagnostic},
};
use crate::{
    config::nearest,
    model::Wall,
    policy::{
        annotations::{Note, is_past},
        load::{LEVEL_MAX, id_text},
        sources::Source,
    },
};
use cedar_policy::{
    ActionConstraint, Effect, Entities, EntityUid, Policy, PrincipalConstraint, ResourceConstraint, Schema,
    ValidationError, ValidationMode, ValidationWarning, Validator,
};
use miette::Diagnostic;
use std::{collections::BTreeSet, ops::Range};

/// The most findings of a kind that one file, or one set, is told of.
const TOLD_MAX: usize = 100;
/// The types whose entities are made of configuration, registry and catalogue. Persons come with their ID tokens.
const DECLARED: [&str; 12] = [
    "Agent",
    "AgentGroup",
    "Api",
    "AuthorizationDetailsType",
    "Client",
    "Daemon",
    "Issuer",
    "Operator",
    "Scope",
    "ScopeGroup",
    "Team",
    "UserGroup",
];

/// Characters that are not seen, and change how what is around them reads: in comments and annotations too, where Cedar
/// does not look.
pub(super) fn hidden_characters(source: &Source, lints: &mut Vec<Lint>) {
    let hidden = source.text.char_indices().filter(|(at, c)| is_hidden(*c) && !(*at == 0 && *c == '\u{feff}'));
    for (at, c) in hidden.take(TOLD_MAX) {
        let message = format!("U+{:04X} is not seen, and changes how the text around it reads", u32::from(c));
        let hint = Some("take it out; in a string write it as \\u{...}".to_owned());
        lints.push(Lint { hint, ..found(source, "hidden-character", at..at + c.len_utf8(), message) });
    }
}

const fn is_hidden(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Annotations that narrowgate does not know, or that say nothing it could keep; and a last day that is over.
pub(super) fn annotations(source: &Source, standing: &Standing, now: Wall, lints: &mut Vec<Lint>) -> Option<Note> {
    let last = standing.policy.annotation("expires").and_then(|day| day.parse::<jiff::civil::Date>().ok());
    if let Some(day) = last.filter(|day| is_past(*day, now)) {
        let span = standing.annotation("expires").unwrap_or_else(|| standing.head());
        let message = format!("{day} was its last day: the daemon does not start with it");
        let hint = Some("remove the policy, or give it a later date".to_owned());
        lints.push(Lint { hint, ..about(source, standing, "expired", span, message) });
    }
    match Note::read(&standing.policy) {
        Ok(note) => Some(note),
        Err(wrong) => {
            for message in wrong {
                let key = message.split('@').nth(1).unwrap_or_default();
                let key = key.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next().unwrap_or_default();
                let span = standing.annotation(key).unwrap_or_else(|| standing.head());
                let rule = if message.starts_with("a forbid needs") { "reason-code" } else { "annotation" };
                let (message, hint) = match message.split_once("; ") {
                    Some((message, hint)) => (message.to_owned(), Some(hint.to_owned())),
                    None => (message, None),
                };
                lints.push(Lint { hint, ..about(source, standing, rule, span, message) });
            }
            None
        }
    }
}

/// Cedar's strict validation. Its warnings are errors here: a policy that can never match protects nobody.
pub(super) fn validation(draft: &mut Draft, schema: &Schema) {
    let validator = Validator::new(schema.clone());
    let result = if draft.is_own() {
        validator.validate_with_level(&draft.set, ValidationMode::Strict, LEVEL_MAX)
    } else {
        validator.validate(&draft.set, ValidationMode::Strict)
    };
    let mut lints: Vec<Lint> = Vec::new();
    let mut say = |id: &str, rule, it: &dyn Diagnostic, message: String| {
        let standing = draft.policies.iter().find(|standing| standing.id == id);
        let source = standing.and_then(|standing| draft.sources.get(standing.source));
        let message = message.strip_prefix(&format!("for policy `{id}`, ")).unwrap_or(&message).to_owned();
        match (standing, source) {
            (Some(standing), Some(source)) => {
                let lint = of_diagnostic(source, rule, it, message.clone());
                let policy = Some(id.to_owned());
                lints.push(match lint.span {
                    Some(_) => Lint { policy, ..lint },
                    None => Lint { hint: lint.hint, ..about(source, standing, rule, standing.head(), message) },
                });
            }
            // A template's. Which file it is from is a courtesy.
            _ => lints.extend(draft.sources.first().map(|source| {
                let lint = of_diagnostic(source, rule, it, format!("{id}: {message}"));
                Lint { span: None, position: None, policy: Some(id.to_owned()), ..lint }
            })),
        }
    };
    for error in result.validation_errors() {
        let rule = match error {
            ValidationError::EntityDerefLevelViolation(_) => "level",
            _ => "validation",
        };
        say(&id_text(error.policy_id()), rule, error, error.to_string());
    }
    for warning in result.validation_warnings() {
        let rule = match warning {
            ValidationWarning::ImpossiblePolicy(_) | ValidationWarning::InvalidActionApplication(_) => "never-matches",
            _ => "confusable",
        };
        say(&id_text(warning.policy_id()), rule, warning, warning.to_string());
    }
    // What was found in the text itself need not be told again.
    let hidden: BTreeSet<_> = draft.lints.iter().filter(|l| l.rule == "hidden-character").map(|l| &l.file).collect();
    lints.retain(|lint| lint.rule != "confusable" || !lint.message.contains("BIDI") || !hidden.contains(&lint.file));
    draft.lints.append(&mut lints);
}

/// Permits for anybody, anything and everything.
pub(super) fn unscoped_permits(draft: &mut Draft) {
    let mut lints = Vec::new();
    for standing in &draft.policies {
        let policy = &standing.policy;
        let unscoped = policy.effect() == Effect::Permit
            && policy.principal_constraint() == PrincipalConstraint::Any
            && policy.action_constraint() == ActionConstraint::Any
            && policy.resource_constraint() == ResourceConstraint::Any;
        let Some(source) = draft.sources.get(standing.source).filter(|_| unscoped) else { continue };
        let parts = conditions::of(policy);
        let is_bare = parts.iter().all(|part| part.kind == conditions::Kind::When && part.text == "true");
        let (level, message) = if is_bare {
            (LintLevel::Error, "permits everything to everybody")
        } else {
            (
                LintLevel::Warning,
                "permits every action, to any principal and on any resource, that its condition lets through",
            )
        };
        let hint = Some("name principal, action or resource in its scope".to_owned());
        let lint = about(source, standing, "unscoped-permit", standing.head(), message.to_owned());
        lints.push(Lint { level, hint, ..lint });
    }
    draft.lints.append(&mut lints);
}

/// Names of entities that there are none of.
pub(super) fn unknown_entities(draft: &mut Draft, entities: &Entities) {
    let mut lints = Vec::new();
    for standing in &draft.policies {
        let Some(source) = draft.sources.get(standing.source) else { continue };
        let in_scope: BTreeSet<EntityUid> = scope_names(&standing.policy).into_iter().collect();
        let elsewhere = standing.policy.entity_literals().into_iter().filter(|uid| draft.is_own() && is_declared(uid));
        for uid in
            in_scope.iter().cloned().chain(elsewhere.filter(|uid| !in_scope.contains(uid))).collect::<BTreeSet<_>>()
        {
            if entities.get(&uid).is_some() {
                continue;
            }
            let span = literal(standing, &uid).unwrap_or_else(|| standing.head());
            let effect = if !in_scope.contains(&uid) {
                "what is compared with it is never it"
            } else if standing.policy.effect() == Effect::Forbid {
                "this forbid stops nothing"
            } else {
                "this permit never matches"
            };
            let id: &str = uid.id().as_ref();
            let like = entities.iter().map(|entity| entity.uid()).filter(|other| other.type_name() == uid.type_name());
            let like: Vec<String> = like.map(|other| AsRef::<str>::as_ref(other.id()).to_owned()).collect();
            let hint = nearest(id, like.iter().map(String::as_str)).map(|near| format!("did you mean \"{near}\"?"));
            let message = format!("there is no {uid}: {effect}");
            let lint = about(source, standing, "unknown-entity", span, message);
            lints.push(Lint { level: LintLevel::Warning, hint, ..lint });
        }
    }
    draft.lints.append(&mut lints);
}

fn is_declared(uid: &EntityUid) -> bool {
    uid.type_name().namespace() == "Narrowgate" && DECLARED.contains(&uid.type_name().basename())
}

/// The entities that a scope names, but for actions: of them Cedar knows.
fn scope_names(policy: &Policy) -> Vec<EntityUid> {
    let principal = match policy.principal_constraint() {
        PrincipalConstraint::Eq(uid) | PrincipalConstraint::In(uid) | PrincipalConstraint::IsIn(_, uid) => Some(uid),
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
    };
    let resource = match policy.resource_constraint() {
        ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => Some(uid),
        ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
    };
    principal.into_iter().chain(resource).collect()
}

/// Where a policy first names an entity.
fn literal(standing: &Standing, uid: &EntityUid) -> Option<Range<usize>> {
    let tokens = standing.tokens();
    let (kind, quoted) = (uid.type_name().basename(), format!("{:?}", AsRef::<str>::as_ref(uid.id())));
    let at = tokens.windows(3).position(
        |three| matches!(three, [name, colons, id] if name.text == kind && colons.text == "::" && id.text == quoted),
    )?;
    // With the namespaces before it.
    let mut first = at;
    while let (Some("::"), Some(before)) =
        (first.checked_sub(1).and_then(|b| tokens.get(b)).map(|token| token.text), first.checked_sub(2))
    {
        first = before;
    }
    Some(standing.within(tokens.get(first)?.at, tokens.get(at + 2)?.end()))
}

/// Permits with different terms that may hold at once: the strictest value of each counts then, which is not always
/// what the one who wrote the second meant. Held against the agents and scopes that there are.
pub(super) fn overlapping_terms(draft: &mut Draft, entities: &Entities) {
    let asked = ["grant_scope", "grant_detail"];
    let mut covers = Vec::new();
    for standing in draft.policies.iter().filter(|standing| standing.policy.effect() == Effect::Permit) {
        let Some(note) = &standing.note else { continue };
        let actions: Vec<&str> = asked.into_iter().filter(|action| names_action(&standing.policy, action)).collect();
        if actions.is_empty() {
            continue;
        }
        let matching = |which: &dyn Fn(&EntityUid) -> bool| -> BTreeSet<EntityUid> {
            entities.iter().map(|entity| entity.uid()).filter(|uid| which(uid)).collect()
        };
        let policy = &standing.policy;
        let principals =
            matching(&|uid| uid.type_name().basename() == "Agent" && admits_principal(policy, uid, entities));
        let resources = matching(&|uid| {
            let kind = match uid.type_name().basename() {
                "Scope" => "grant_scope",
                "AuthorizationDetailsType" => "grant_detail",
                _ => return false,
            };
            actions.contains(&kind) && admits_resource(policy, uid, entities)
        });
        covers.push((standing, note, principals, resources));
    }
    let mut lints = Vec::new();
    for (number, (standing, note, principals, resources)) in covers.iter().enumerate() {
        for (other, its, its_principals, its_resources) in covers.iter().skip(number + 1) {
            if note.terms == its.terms || lints.len() >= TOLD_MAX {
                continue;
            }
            let both = (principals.intersection(its_principals).next(), resources.intersection(its_resources).next());
            let ((Some(agent), Some(resource)), Some(source)) = (both, draft.sources.get(standing.source)) else {
                continue;
            };
            let message = format!(
                "may hold together with `{}`, whose terms differ: the strictest of each counts, as for {agent} and {resource}",
                other.id
            );
            let span = standing.annotation("id").unwrap_or_else(|| standing.head());
            lints.push(Lint { level: LintLevel::Note, ..about(source, standing, "overlapping-terms", span, message) });
        }
    }
    draft.lints.append(&mut lints);
}

fn names_action(policy: &Policy, action: &str) -> bool {
    let is = |uid: &EntityUid| AsRef::<str>::as_ref(uid.id()) == action;
    match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(uid) => is(&uid),
        // Neither is in a group.
        ActionConstraint::In(uids) => uids.iter().any(is),
    }
}

fn admits_principal(policy: &Policy, uid: &EntityUid, entities: &Entities) -> bool {
    match policy.principal_constraint() {
        PrincipalConstraint::Any => true,
        PrincipalConstraint::Is(kind) => kind == *uid.type_name(),
        PrincipalConstraint::Eq(it) => it == *uid,
        PrincipalConstraint::In(it) | PrincipalConstraint::IsIn(_, it) => is_below(uid, &it, entities),
    }
}

fn admits_resource(policy: &Policy, uid: &EntityUid, entities: &Entities) -> bool {
    match policy.resource_constraint() {
        ResourceConstraint::Any => true,
        ResourceConstraint::Is(kind) => kind == *uid.type_name(),
        ResourceConstraint::Eq(it) => it == *uid,
        ResourceConstraint::In(it) | ResourceConstraint::IsIn(_, it) => is_below(uid, &it, entities),
    }
}

fn is_below(uid: &EntityUid, above: &EntityUid, entities: &Entities) -> bool {
    uid == above || entities.is_ancestor_of(above, uid)
}
