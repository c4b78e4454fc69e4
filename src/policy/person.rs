//! The person of a test case: what a verified ID token of the client's issuer would say.

use super::{
    cases::{instant, owned, word},
    entities,
};
use crate::{
    config::{Issuer, Table},
    model::Subject,
};
use cedar_policy::Entity;

/// Reads `[case.subject]`.
pub(super) fn read(table: &Table<'_>) -> Option<Subject> {
    let sub = table.required("sub", owned);
    Some(Subject {
        issuer: String::new(),
        acr: word(table, "acr"),
        auth_time: table.optional("auth_time", instant),
        mfa: table.boolean("mfa", false),
        groups: table.list("groups", owned),
        sub: sub?,
    })
}

/// Their entity.
///
/// # Errors
/// A group that the issuer cannot put anyone into: a case about it would prove nothing.
pub(super) fn entity(issuer: &Issuer, person: &Subject) -> Result<Entity, String> {
    match person.groups.iter().find(|group| !issuer.id_tokens.groups.contains(group)) {
        Some(group) => Err(format!("`groups` of [issuer.id_token] of `{}` does not declare \"{group}\"", issuer.alias)),
        None => entities::own(&entities::user(&issuer.alias, person)),
    }
}
