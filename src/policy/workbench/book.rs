//! The policies of a set, to be asked why: those of files, with their places, or those that a daemon serves by.

use super::{
    Set,
    clauses::{self, Clause},
};
use crate::policy::{Snapshot, index::acts_on};
use cedar_policy::{Entities, EntityUid, Policy, PrincipalConstraint, ResourceConstraint, Schema};
use serde::Serialize;
use std::{cell::OnceCell, collections::BTreeMap};

/// A set to be asked why.
pub(super) struct Book<'a> {
    policies: Vec<Entry<'a>>,
    pub(super) schema: &'a Schema,
    /// The groups of actions.
    hierarchy: Entities,
    /// The set as the daemon asks it, where it is narrowgate's own.
    pub(super) own: Option<&'a Snapshot>,
    /// Where it was read from.
    files: Option<&'a Set>,
}

/// A policy, and what its condition is made of, which is found out once.
pub(super) struct Entry<'a> {
    pub(super) policy: &'a Policy,
    clauses: OnceCell<Vec<Clause>>,
}

impl Entry<'_> {
    pub(super) fn clauses(&self) -> &[Clause] {
        self.clauses.get_or_init(|| clauses::of(self.policy))
    }
}

/// A policy as it is shown to people.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PolicyExcerpt {
    /// Its id.
    pub id: String,
    /// `permit` or `forbid`.
    pub effect: String,
    /// Its file, line and column, where it was read from files.
    pub place: Option<Place>,
    /// Its annotations, without the id.
    pub annotations: BTreeMap<String, String>,
    /// Its text, as it is written.
    pub text: String,
}

/// A place in a file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
}

/// How a policy's scope and a request's meet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reach {
    /// All of it fits.
    Fits,
    /// All but the principal does.
    OtherPrincipal,
    /// All but the resource does.
    OtherResource,
    Beyond,
}

impl Set {
    pub(super) fn book(&self) -> Result<Book<'_>, String> {
        let own = self.own.as_ref().map(|own| &own.snapshot);
        Book::new(self.policies.policies().collect(), &self.schema, own, Some(self))
    }
}

impl Snapshot {
    pub(super) fn book(&self) -> Result<Book<'_>, String> {
        Book::new(self.index.all().collect(), &self.schema, Some(self), None)
    }
}

impl<'a> Book<'a> {
    fn new(
        mut policies: Vec<&'a Policy>,
        schema: &'a Schema,
        own: Option<&'a Snapshot>,
        files: Option<&'a Set>,
    ) -> Result<Self, String> {
        policies.sort_by_cached_key(|policy| id_of(policy));
        let policies = policies.into_iter().map(|policy| Entry { policy, clauses: OnceCell::new() }).collect();
        let hierarchy = schema.action_entities().map_err(|e| e.to_string())?;
        Ok(Self { policies, schema, hierarchy, own, files })
    }

    /// The policies about this action, by id, each with how far its scope reaches.
    pub(super) fn about<'b>(
        &'b self,
        (principal, action, resource): (&'b EntityUid, &'b EntityUid, &'b EntityUid),
        entities: &'b Entities,
    ) -> impl Iterator<Item = (&'b Entry<'a>, Reach)> + 'b {
        let about = self.policies.iter().filter(|entry| acts_on(entry.policy, action, &self.hierarchy));
        about.map(move |entry| {
            let policy = entry.policy;
            let reach = match (principal_fits(policy, principal, entities), resource_fits(policy, resource, entities)) {
                (true, true) => Reach::Fits,
                (false, true) => Reach::OtherPrincipal,
                (true, false) => Reach::OtherResource,
                (false, false) => Reach::Beyond,
            };
            (entry, reach)
        })
    }

    /// As it is shown.
    pub(super) fn excerpt(&self, policy: &Policy) -> PolicyExcerpt {
        let annotations = policy.annotations().filter(|(key, _)| *key != "id");
        PolicyExcerpt {
            id: id_of(policy),
            effect: policy.effect().to_string(),
            place: self.place(policy, 0),
            annotations: annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            text: policy.to_cedar().unwrap_or_default(),
        }
    }

    /// The place of this byte of a policy's text.
    pub(super) fn place(&self, policy: &Policy, offset: usize) -> Option<Place> {
        let (file, (line, column)) = self.files?.place_in(&id_of(policy), offset)?;
        Some(Place { file: file.display().to_string(), line, column })
    }
}

/// The id as it is: its Display escapes.
pub(super) fn id_of(policy: &Policy) -> String {
    AsRef::<str>::as_ref(policy.id()).to_owned()
}

fn within(uid: &EntityUid, above: &EntityUid, entities: &Entities) -> bool {
    uid == above || entities.is_ancestor_of(above, uid)
}

fn principal_fits(policy: &Policy, uid: &EntityUid, entities: &Entities) -> bool {
    match policy.principal_constraint() {
        PrincipalConstraint::Any => true,
        PrincipalConstraint::Eq(it) => it == *uid,
        PrincipalConstraint::In(it) => within(uid, &it, entities),
        PrincipalConstraint::Is(kind) => *uid.type_name() == kind,
        PrincipalConstraint::IsIn(kind, it) => *uid.type_name() == kind && within(uid, &it, entities),
    }
}

fn resource_fits(policy: &Policy, uid: &EntityUid, entities: &Entities) -> bool {
    match policy.resource_constraint() {
        ResourceConstraint::Any => true,
        ResourceConstraint::Eq(it) => it == *uid,
        ResourceConstraint::In(it) => within(uid, &it, entities),
        ResourceConstraint::Is(kind) => *uid.type_name() == kind,
        ResourceConstraint::IsIn(kind, it) => *uid.type_name() == kind && within(uid, &it, entities),
    }
}

/// What a policy's scope says of the principal, as it would be written.
pub(super) fn principal_words(policy: &Policy) -> String {
    match policy.principal_constraint() {
        PrincipalConstraint::Any => "principal".to_owned(),
        PrincipalConstraint::Eq(it) => format!("principal == {it}"),
        PrincipalConstraint::In(it) => format!("principal in {it}"),
        PrincipalConstraint::Is(kind) => format!("principal is {kind}"),
        PrincipalConstraint::IsIn(kind, it) => format!("principal is {kind} in {it}"),
    }
}

/// What a policy's scope says of the resource, as it would be written.
pub(super) fn resource_words(policy: &Policy) -> String {
    match policy.resource_constraint() {
        ResourceConstraint::Any => "resource".to_owned(),
        ResourceConstraint::Eq(it) => format!("resource == {it}"),
        ResourceConstraint::In(it) => format!("resource in {it}"),
        ResourceConstraint::Is(kind) => format!("resource is {kind}"),
        ResourceConstraint::IsIn(kind, it) => format!("resource is {kind} in {it}"),
    }
}
