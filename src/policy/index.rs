//! Which policies can match: found by their scopes before Cedar is asked, so that a decision costs what these cost and
//! not what all do. A policy's condition is never looked at here: every policy left out has a scope that does not match,
//! and such a one decides nothing and errs at nothing.

use super::{Determining, annotations::Note, reads::Reads};
use cedar_policy::{
    ActionConstraint, Effect, Entities, EntityTypeName, EntityUid, Policy, PolicySet, PrincipalConstraint,
    ResourceConstraint, Schema,
};
use std::collections::HashMap;

/// What a scope says of the principal, or of the resource.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Key {
    Any,
    Type(EntityTypeName),
    /// This entity, or one below it.
    Entity(EntityUid),
}

type Buckets = HashMap<Key, HashMap<Key, Vec<u32>>>;

/// Every policy of a set, by scope.
pub(super) struct Index {
    policies: Vec<Indexed>,
    by_action: HashMap<EntityUid, Buckets>,
}

/// A policy, and what its answer hangs on beside the entities.
pub(super) struct Indexed {
    policy: Policy,
    pub(super) reads: Reads,
    /// A permit past its date is as if it were gone.
    pub(super) expiring: Option<Note>,
}

/// The policies whose scopes match one principal, action and resource.
pub(super) struct Slice<'i> {
    /// In the set's order.
    pub(super) policies: Vec<&'i Indexed>,
}

impl Index {
    /// # Errors
    /// A set that has no index cannot be asked: what Cedar says is wrong with it.
    pub(super) fn new(policies: &PolicySet, notes: &HashMap<String, Note>, schema: &Schema) -> Result<Self, String> {
        let hierarchy = schema.action_entities().map_err(|e| e.to_string())?;
        let mut all: Vec<Policy> = policies.policies().cloned().collect();
        all.sort_by_cached_key(|policy| policy.id().clone());
        let mut by_action: HashMap<EntityUid, Buckets> =
            schema.actions().map(|action| (action.clone(), Buckets::default())).collect();
        for (policy, number) in all.iter().zip(0..) {
            let (principal, resource) = (of_principal(policy), of_resource(policy));
            for (action, buckets) in &mut by_action {
                if acts_on(policy, action, &hierarchy) {
                    let bucket = buckets.entry(principal.clone()).or_default();
                    bucket.entry(resource.clone()).or_default().push(number);
                }
            }
        }
        let indexed = |policy: Policy| {
            let note = notes.get(AsRef::<str>::as_ref(policy.id()));
            let expiring = note.filter(|note| note.expires.is_some() && note.effect == Effect::Permit).cloned();
            Ok(Indexed { reads: Reads::of(&policy)?, policy, expiring })
        };
        Ok(Self { policies: all.into_iter().map(indexed).collect::<Result<_, String>>()?, by_action })
    }

    /// The policies whose scopes match, with the entities' ancestors as they are in this store.
    pub(super) fn slice(
        &self,
        (principal, action, resource): (&EntityUid, &EntityUid, &EntityUid),
        entities: &Entities,
    ) -> Slice<'_> {
        let Some(buckets) = self.by_action.get(action) else { return Slice { policies: Vec::new() } };
        let resources = keys(resource, entities);
        let mut numbers: Vec<u32> = Vec::new();
        for bucket in keys(principal, entities).iter().filter_map(|key| buckets.get(key)) {
            numbers.extend(resources.iter().filter_map(|key| bucket.get(key)).flatten());
        }
        // One policy has one scope, so it is in one bucket.
        numbers.sort_unstable();
        let policies = numbers.into_iter().filter_map(|number| self.policies.get(usize::try_from(number).ok()?));
        Slice { policies: policies.collect() }
    }

    /// Every policy, by id.
    pub(super) fn all(&self) -> impl Iterator<Item = &Policy> {
        self.policies.iter().map(|indexed| &indexed.policy)
    }

    /// The policies whose answers cannot be kept, each with the reason.
    pub(super) fn uncacheable(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.policies.iter();
        all.filter_map(|indexed| Some((indexed.policy.id().as_ref(), indexed.reads.opaque.as_deref()?)))
    }
}

impl Slice<'_> {
    /// Those that did not determine an answer.
    pub(super) fn without(mut self, determining: &[Determining]) -> Self {
        let did = |id: &str| determining.iter().any(|it| *it.policy == *id);
        self.policies.retain(|indexed| !did(indexed.policy.id().as_ref()));
        self
    }

    /// # Errors
    /// As Cedar says; a policy of a set always fits into a smaller one.
    pub(super) fn set(&self) -> Result<PolicySet, String> {
        PolicySet::from_policies(self.policies.iter().map(|indexed| indexed.policy.clone())).map_err(|e| e.to_string())
    }
}

/// The keys under which a policy about this entity may stand.
fn keys(uid: &EntityUid, entities: &Entities) -> Vec<Key> {
    let above = entities.ancestors(uid).into_iter().flatten().cloned().map(Key::Entity);
    [Key::Any, Key::Type(uid.type_name().clone()), Key::Entity(uid.clone())].into_iter().chain(above).collect()
}

fn of_principal(policy: &Policy) -> Key {
    match policy.principal_constraint() {
        PrincipalConstraint::Any => Key::Any,
        PrincipalConstraint::Is(kind) => Key::Type(kind),
        // Where the type must fit too, Cedar sees to it.
        PrincipalConstraint::Eq(uid) | PrincipalConstraint::In(uid) | PrincipalConstraint::IsIn(_, uid) => {
            Key::Entity(uid)
        }
    }
}

fn of_resource(policy: &Policy) -> Key {
    match policy.resource_constraint() {
        ResourceConstraint::Any => Key::Any,
        ResourceConstraint::Is(kind) => Key::Type(kind),
        ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
            Key::Entity(uid)
        }
    }
}

pub(super) fn acts_on(policy: &Policy, action: &EntityUid, hierarchy: &Entities) -> bool {
    let within = |uid: &EntityUid| uid == action || hierarchy.is_ancestor_of(uid, action);
    match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(uid) => uid == *action,
        ActionConstraint::In(uids) => uids.iter().any(within),
    }
}
