//! The generation's entities: built once from the registry, the catalogue and the configuration.

use super::{question::Own, value::Uid};
use crate::{
    config::{Approver, Client, Config, Estate, ScopeHome},
    model::{Agent, IssuerAlias, Operator, Subject, agent::Identity},
    platform::digest::{hex, sha256},
};
use cedar_policy::{Entities, Entity, EntityTypeName, EntityUid, RestrictedExpression as Expr, Schema};
use serde_json::Value;
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap, HashSet},
    str::FromStr,
};

/// This daemon's id in policy.
pub(super) const DAEMON: &str = "narrowgate";

/// The entity of a type of ours. Ids are data: nothing in them is parsed.
pub(super) fn uid(kind: &'static str, id: &str) -> Result<EntityUid, String> {
    Uid::new(kind, id).to_cedar()
}

/// A type's name, parsed once.
pub(super) fn type_name(kind: &str) -> Result<EntityTypeName, String> {
    thread_local! {
        static NAMES: RefCell<HashMap<String, EntityTypeName>> = RefCell::default();
    }
    NAMES.with_borrow_mut(|names| {
        if let Some(name) = names.get(kind) {
            return Ok(name.clone());
        }
        let name = EntityTypeName::from_str(kind).map_err(|e| e.to_string())?;
        // Bounded: recorded questions may name any type.
        if names.len() < 64 {
            names.insert(kind.to_owned(), name.clone());
        }
        Ok(name)
    })
}

/// Builds every entity and validates them against the schema.
pub(super) fn build(config: &Config, estate: &Estate, schema: &Schema) -> Result<Entities, String> {
    let mut entities = Vec::new();
    for agent in estate.registry.agents() {
        entities.push(self::agent(agent)?);
    }
    for operator in estate.registry.operators.iter() {
        entities.push(self::operator(operator)?);
    }
    for approver in estate.registry.approvers.iter() {
        entities.push(self::approver(approver)?);
    }
    for issuer in config.issuers.values() {
        let attributes = [
            ("url", Expr::new_string(issuer.url.clone())),
            ("environment", Expr::new_entity_uid(uid("Environment", issuer.environment.as_str())?)),
        ];
        entities.push(entity(uid("Issuer", issuer.alias.as_str())?, attributes, [])?);
    }
    for client in config.clients.values() {
        entities.push(self::client(client)?);
    }
    for api in estate.catalog.apis.values() {
        let attributes = [
            ("identifier", Expr::new_string(api.identifier.clone())),
            ("owner", Expr::new_entity_uid(uid("Team", api.owner.as_str())?)),
            ("dataClass", Expr::new_string(api.data_class.clone())),
        ];
        entities.push(entity(uid("Api", api.alias.as_str())?, attributes, [uid("Issuer", api.issuer.as_str())?])?);
    }
    for scope in estate.catalog.scopes.values() {
        let mut parents = match &scope.home {
            ScopeHome::Api(alias) => {
                let api = estate.catalog.apis.get(alias).ok_or("a scope without API")?;
                vec![uid("Api", api.alias.as_str())?, uid("Issuer", api.issuer.as_str())?]
            }
            ScopeHome::Issuers(issuers) => {
                issuers.iter().map(|issuer| uid("Issuer", issuer.as_str())).collect::<Result<_, _>>()?
            }
        };
        for group in &scope.groups {
            parents.push(uid("ScopeGroup", group)?);
        }
        let attributes = [
            ("name", Expr::new_string(scope.name.as_str().to_owned())),
            ("risk", Expr::new_long(i64::from(scope.risk))),
        ];
        entities.push(entity(uid("Scope", scope.name.as_str())?, attributes, parents)?);
    }
    for declared in estate.catalog.details_types.values() {
        let api = estate.catalog.apis.get(&declared.api).ok_or("a type of authorization details without API")?;
        let parents = [uid("Api", api.alias.as_str())?, uid("Issuer", api.issuer.as_str())?];
        entities.push(entity(uid("AuthorizationDetailsType", &declared.name)?, [], parents)?);
    }
    entities.push(entity(uid("Daemon", DAEMON)?, [], [])?);
    let owners = (estate.registry.agents().map(|a| &a.owner))
        .chain(config.clients.values().map(|c| &c.owner))
        .chain(estate.catalog.apis.values().map(|a| &a.owner));
    let owners = owners.map(|team| uid("Team", team.as_str()));
    let groups = config.issuers.values().flat_map(|issuer| &issuer.id_tokens.groups);
    let named: Result<Vec<EntityUid>, String> = owners.chain(groups.map(|group| uid("UserGroup", group))).collect();
    Entities::from_entities(with_bare(entities, named?), Some(schema)).map_err(|e| e.to_string())
}

/// A person, in the groups that their issuer's configuration declares.
pub(super) fn user(issuer: &IssuerAlias, subject: &Subject) -> Own {
    let groups = subject.groups.iter().map(|group| Uid::new("UserGroup", group.clone()));
    Own { uid: super::context::user(issuer, &subject.sub), parents: groups.collect() }
}

/// An entity that is made for one decision alone.
pub(super) fn own(own: &Own) -> Result<Entity, String> {
    let parents = own.parents.iter().map(Uid::to_cedar).collect::<Result<Vec<_>, _>>()?;
    entity(own.uid.to_cedar()?, [], parents)
}

/// SHA-256 of the entities in their canonical form, in hex.
pub(super) fn digest(entities: &Entities) -> Result<String, String> {
    Ok(hex(&sha256(canonical(entities)?.to_string().as_bytes())))
}

/// The entities in a canonical form: keys sorted, and every list too, for each of them is a set.
pub(super) fn canonical(entities: &Entities) -> Result<Value, String> {
    Ok(sorted(entities.to_json_value().map_err(|e| e.to_string())?))
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let by_key: BTreeMap<String, Value> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(by_key.into_iter().collect())
        }
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(sorted).collect();
            items.sort_by_cached_key(ToString::to_string);
            Value::Array(items)
        }
        other => other,
    }
}

/// An agent's entity.
pub(super) fn agent(agent: &Agent) -> Result<Entity, String> {
    let mut attributes = vec![
        ("owner", Expr::new_entity_uid(uid("Team", agent.owner.as_str())?)),
        ("environment", Expr::new_entity_uid(uid("Environment", agent.environment.as_str())?)),
        ("trust", Expr::new_long(i64::from(agent.trust))),
        ("quarantined", Expr::new_bool(agent.quarantined)),
    ];
    if let Identity::Spiffe(id) = &agent.identity {
        attributes.push(("spiffeId", Expr::new_string(id.clone())));
    }
    let mut parents = vec![uid("Team", agent.owner.as_str())?];
    for group in &agent.groups {
        parents.push(uid("AgentGroup", group)?);
    }
    entity(uid("Agent", agent.id.as_str())?, attributes, parents)
}

/// An operator's entity.
pub(super) fn operator(operator: &Operator) -> Result<Entity, String> {
    let teams: Result<Vec<_>, _> = operator.teams.iter().map(|team| uid("Team", team.as_str())).collect();
    entity(uid("Operator", operator.id.as_str())?, [], teams?)
}

/// An approver's entity: a user of no issuer's, in the teams of the agents file.
fn approver(approver: &Approver) -> Result<Entity, String> {
    let teams: Result<Vec<_>, _> = approver.teams.iter().map(|team| uid("Team", team.as_str())).collect();
    entity(uid("User", approver.id.as_str())?, [], teams?)
}

fn client(client: &Client) -> Result<Entity, String> {
    let redirects = client.redirects.iter().map(|r| Expr::new_string(r.as_str().to_owned()));
    let attributes = [
        ("issuer", Expr::new_entity_uid(uid("Issuer", client.issuer.as_str())?)),
        ("owner", Expr::new_entity_uid(uid("Team", client.owner.as_str())?)),
        ("environment", Expr::new_entity_uid(uid("Environment", client.environment.as_str())?)),
        ("redirectUris", Expr::new_set(redirects)),
        ("authMethod", Expr::new_string(client.auth.as_str().to_owned())),
        ("boundTokens", Expr::new_bool(client.bound_tokens.is_bound())),
        ("lifetimeCeiling", Expr::new_duration(format!("{}ms", client.lifetime_ceiling.as_millis()))),
    ];
    entity(uid("Client", client.alias.as_str())?, attributes, [uid("Issuer", client.issuer.as_str())?])
}

fn entity<'a>(
    uid: EntityUid,
    attributes: impl IntoIterator<Item = (&'a str, Expr)>,
    parents: impl IntoIterator<Item = EntityUid>,
) -> Result<Entity, String> {
    let attributes: HashMap<String, Expr> = attributes.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    Entity::new(uid, attributes, parents.into_iter().collect::<HashSet<_>>()).map_err(|e| e.to_string())
}

/// Adds the teams and groups that are only ever named: an entity missing from the store is an evaluation error.
pub(super) fn with_bare(mut entities: Vec<Entity>, more: impl IntoIterator<Item = EntityUid>) -> Vec<Entity> {
    let known: HashSet<EntityUid> = entities.iter().map(Entity::uid).collect();
    let parents = entities.iter().flat_map(|entity| entity.clone().into_inner().2);
    let named: HashSet<EntityUid> = parents.chain(more).collect();
    entities.extend(named.into_iter().filter(|uid| !known.contains(uid)).map(Entity::with_uid));
    entities
}
