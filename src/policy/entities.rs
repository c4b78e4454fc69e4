//! The generation's entities: built once from the registry, the catalogue and the configuration.

use super::{load::causes, question::Own, value::Uid};
use crate::{
    config::{Api, Approver, Catalog, Client, Config, DeclaredScope, Estate, Finding, Issuer, ScopeHome, about},
    model::{Agent, Custom, CustomValue, DetailsType, IssuerAlias, Operator, Subject, agent::Identity},
    platform::digest::{hex, sha256},
};
use cedar_policy::{Entities, Entity, EntityTypeName, EntityUid, RestrictedExpression as Expr, Schema};
use serde_json::Value;
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    str::FromStr,
};

/// This daemon's id in policy.
pub(super) const DAEMON: &str = "narrowgate";
/// The attribute that holds a platform team's own.
const CUSTOM: &str = "custom";

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
///
/// # Errors
/// Each that does not fit.
pub(super) fn build(config: &Config, estate: &Estate, schema: &Schema) -> Result<Entities, Vec<Finding>> {
    let (mut entities, mut findings) = (Vec::new(), Vec::new());
    let files = &config.estate_files;
    let custom = estate.custom_schema.as_ref().map(|_| schema);
    let mut add = |file: &Path, made: Result<Entity, String>| match made {
        Ok(entity) => entities.push(entity),
        Err(wrong) => findings.push(about(file, wrong)),
    };
    for agent in estate.registry.agents() {
        add(&files.agents, self::agent(agent, custom));
    }
    for operator in estate.registry.operators.iter() {
        add(&files.agents, self::operator(operator));
    }
    for approver in estate.registry.approvers.iter() {
        add(&files.agents, self::approver(approver));
    }
    for issuer in config.issuers.values() {
        add(&files.main, self::issuer(issuer));
    }
    for client in config.clients.values() {
        add(&files.main, self::client(client));
    }
    for api in estate.catalog.apis.values() {
        add(&files.apis, self::api(api, custom));
    }
    for declared in estate.catalog.scopes.values() {
        add(&files.apis, scope(declared, &estate.catalog, custom));
    }
    for declared in estate.catalog.details_types.values() {
        add(&files.apis, details_type(declared, &estate.catalog));
    }
    add(&files.main, uid("Daemon", DAEMON).and_then(|uid| entity(uid, [], [])));
    if !findings.is_empty() {
        return Err(findings);
    }
    let unfit = |wrong: String| vec![about(&files.main, format!("entities do not fit the schema: {wrong}"))];
    let owners = (estate.registry.agents().map(|a| &a.owner))
        .chain(config.clients.values().map(|c| &c.owner))
        .chain(estate.catalog.apis.values().map(|a| &a.owner));
    let owners = owners.map(|team| uid("Team", team.as_str()));
    let groups = config.issuers.values().flat_map(|issuer| &issuer.id_tokens.groups);
    let named: Result<Vec<EntityUid>, String> = owners.chain(groups.map(|group| uid("UserGroup", group))).collect();
    let all = with_bare(entities, named.map_err(unfit)?);
    Entities::from_entities(all, Some(schema)).map_err(|e| unfit(causes(&e)))
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

/// An agent's entity; with a schema, the one that says what its custom attributes are.
pub(super) fn agent(agent: &Agent, schema: Option<&Schema>) -> Result<Entity, String> {
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
    let named = format!("agent `{}`", agent.id);
    customized((uid("Agent", agent.id.as_str())?, attributes, parents), (&agent.custom, schema), &named)
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

fn issuer(issuer: &Issuer) -> Result<Entity, String> {
    let attributes = [
        ("url", Expr::new_string(issuer.url.clone())),
        ("environment", Expr::new_entity_uid(uid("Environment", issuer.environment.as_str())?)),
    ];
    entity(uid("Issuer", issuer.alias.as_str())?, attributes, [])
}

fn api(api: &Api, schema: Option<&Schema>) -> Result<Entity, String> {
    let attributes = vec![
        ("identifier", Expr::new_string(api.identifier.clone())),
        ("owner", Expr::new_entity_uid(uid("Team", api.owner.as_str())?)),
        ("dataClass", Expr::new_string(api.data_class.clone())),
    ];
    let parents = vec![uid("Issuer", api.issuer.as_str())?];
    let named = format!("api `{}`", api.alias);
    customized((uid("Api", api.alias.as_str())?, attributes, parents), (&api.custom, schema), &named)
}

fn scope(scope: &DeclaredScope, catalog: &Catalog, schema: Option<&Schema>) -> Result<Entity, String> {
    let mut parents = match &scope.home {
        ScopeHome::Api(alias) => {
            let api = catalog.apis.get(alias).ok_or("a scope without API")?;
            vec![uid("Api", api.alias.as_str())?, uid("Issuer", api.issuer.as_str())?]
        }
        ScopeHome::Issuers(issuers) => {
            issuers.iter().map(|issuer| uid("Issuer", issuer.as_str())).collect::<Result<_, _>>()?
        }
    };
    for group in &scope.groups {
        parents.push(uid("ScopeGroup", group)?);
    }
    let attributes = vec![
        ("name", Expr::new_string(scope.name.as_str().to_owned())),
        ("risk", Expr::new_long(i64::from(scope.risk))),
    ];
    let named = format!("scope `{}`", scope.name);
    customized((uid("Scope", scope.name.as_str())?, attributes, parents), (&scope.custom, schema), &named)
}

fn details_type(declared: &DetailsType, catalog: &Catalog) -> Result<Entity, String> {
    let api = catalog.apis.get(&declared.api).ok_or("a type of authorization details without API")?;
    let parents = [uid("Api", api.alias.as_str())?, uid("Issuer", api.issuer.as_str())?];
    entity(uid("AuthorizationDetailsType", &declared.name)?, [], parents)
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

/// An entity with what its file says under `custom`, as the schema says it is to be read: a text may be a time there.
/// Without a schema: with nothing.
fn customized(
    (uid, mut attributes, parents): (EntityUid, Vec<(&str, Expr)>, Vec<EntityUid>),
    (custom, schema): (&Custom, Option<&Schema>),
    named: &str,
) -> Result<Entity, String> {
    attributes.push((CUSTOM, Expr::new_record([]).map_err(|e| e.to_string())?));
    let plain = entity(uid, attributes, parents)?;
    let Some(schema) = schema else { return Ok(plain) };
    let unfit = |e: &dyn std::error::Error| format!("{named}: `custom` does not fit its schema: {}", causes(e));
    let mut value = plain.to_json_value().map_err(|e| unfit(&e))?;
    if let Some(slot) = value.pointer_mut("/attrs/custom") {
        *slot = record_json(custom);
    }
    Entity::from_json_value(value, Some(schema)).map_err(|e| unfit(&e))
}

fn record_json(custom: &Custom) -> Value {
    Value::Object(custom.iter().map(|(name, value)| (name.clone(), json(value))).collect())
}

fn json(value: &CustomValue) -> Value {
    match value {
        CustomValue::Text(text) => Value::from(text.as_str()),
        CustomValue::Whole(number) => Value::from(*number),
        CustomValue::Flag(flag) => Value::from(*flag),
        CustomValue::List(items) => Value::Array(items.iter().map(json).collect()),
        CustomValue::Table(entries) => record_json(entries),
    }
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
