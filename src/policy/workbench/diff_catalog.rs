//! Which scopes and types of authorization details there are, told to a solver as forbids of all others: else it would show
//! what policies do about a scope that is in every group at once.

use cedar_policy::{Entities, Entity, EntityUid, EvalResult};
use std::{collections::BTreeSet, fmt::Write};

/// Scopes, or types, times the groups, APIs and issuers that any of them is in: of a larger catalogue nothing is told, and
/// the solver looks at scopes that may not exist.
const FACTS_MAX: usize = 4_000;

/// What may be asked about, in Cedar.
pub(super) fn invariants(entities: &Entities) -> String {
    let kinds = ["Narrowgate::Scope", "Narrowgate::AuthorizationDetailsType"];
    kinds.into_iter().filter_map(|kind| of_kind(entities, kind)).collect()
}

fn of_kind(entities: &Entities, kind: &str) -> Option<String> {
    let declared: Vec<&Entity> = entities.iter().filter(|e| e.uid().type_name().to_string() == kind).collect();
    let above = |entity: &Entity| -> BTreeSet<EntityUid> {
        entities.ancestors(&entity.uid()).into_iter().flatten().cloned().collect()
    };
    let all: BTreeSet<EntityUid> = declared.iter().flat_map(|entity| above(entity)).collect();
    if declared.is_empty() || declared.len() * (all.len() + 1) > FACTS_MAX {
        return None;
    }
    let mut text = format!("forbid (principal, action, resource is {kind}) unless {{\n  false");
    for entity in declared {
        let own = above(entity);
        // Writing to a text cannot fail.
        let _ = write!(text, " ||\n  (resource == {}", entity.uid());
        for group in &all {
            let not = if own.contains(group) { "" } else { "!" };
            let _ = write!(text, " && {not}(resource in {group})");
        }
        if let Some(Ok(EvalResult::Long(risk))) = entity.attr("risk") {
            let _ = write!(text, " && resource.risk == {risk}");
        }
        text.push(')');
    }
    text.push_str("\n};\n");
    Some(text)
}
