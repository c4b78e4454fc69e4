//! Access reviews: which agents may have a scope, and which scopes an agent may have; of another set than narrowgate's,
//! which principals may do something, and what a principal may do.

use super::{
    Set, TermShown,
    book::Book,
    explain::{own_request, words},
    request::{FLOWS, Inquiry, cedar_request, is_open, or_meant, steps, transport},
    review::{Condition, Entitlement, StandingAccess},
    set::Own,
};
use crate::{
    config::{Client, Config, ScopeHome},
    model::{Agent, Scope, Terms},
    policy::{
        Snapshot,
        cases::Case,
        panel::{REFRESH, unmet},
    },
};
use cedar_policy::EntityUid;
use serde::Serialize;
use serde_json::Value as Json;
use std::str::FromStr;

/// Facts of a context that are what they are: by the agent, its client and what is asked for.
const FIXED: [&str; 6] = [
    "context.flow",
    "context.client",
    "context.base.caller",
    "context.base.scopes",
    "context.base.audiences",
    "context.base.proof",
];

/// One line of an access review.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AccessRow {
    /// Whether it may be had.
    pub access: Entitlement,
    /// The agent, or Cedar's principal.
    pub principal: String,
    /// The client it goes by; `None` in another set than narrowgate's.
    pub client: Option<String>,
    /// The scope, or Cedar's resource.
    pub resource: String,
    /// The ways to a token, by their words in policy; of another set, the action.
    pub by: Vec<String>,
    /// The permits.
    pub permits: Vec<String>,
    /// The terms, as they would be merged.
    pub terms: Vec<TermShown>,
    /// What must hold, or what fails.
    pub conditions: Vec<Condition>,
}

impl Set {
    /// Which agents may have this scope, and which scopes this agent may have, asked at `now` (RFC 3339).
    ///
    /// # Errors
    /// What is not declared, or a time that is none.
    pub fn review(
        &self,
        (agent, scope): (Option<&str>, Option<&str>),
        now: Option<&str>,
    ) -> Result<Vec<AccessRow>, String> {
        let own = self.of_narrowgate()?;
        let (config, snapshot) = (&own.config, &own.snapshot);
        let estate = &snapshot.estate;
        let is_declared = |name: &str| estate.catalog.scopes.keys().any(|scope| scope.as_str() == name);
        if let Some(unknown) = scope.filter(|name| !is_declared(name)) {
            let near = or_meant(unknown, estate.catalog.scopes.keys().map(Scope::as_str));
            return Err(format!("the scope {unknown:?} is not declared{near}"));
        }
        if let Some(unknown) = agent.filter(|id| !estate.registry.agents().any(|agent| agent.id.as_str() == *id)) {
            let near = or_meant(unknown, estate.registry.agents().map(|agent| agent.id.as_str()));
            return Err(format!("the agent {unknown:?} is not registered{near}"));
        }
        let book = self.book()?;
        let mut agents: Vec<&Agent> = estate.registry.agents().map(|agent| &**agent).collect();
        agents.retain(|it| agent.is_none_or(|id| it.id.as_str() == id));
        agents.sort_by(|a, b| a.id.as_str().cmp(b.id.as_str()));
        let mut rows = Vec::new();
        for agent in agents {
            for client in config.clients.values() {
                let Some(mut case) = orderly(agent, client, (config, snapshot), now)? else { continue };
                for scope in estate.catalog.scopes.keys().filter(|it| scope.is_none_or(|name| it.as_str() == name)) {
                    if is_at_home(scope, client, snapshot) {
                        rows.extend(rows_of(own, &book, &mut case, (agent, client, scope))?);
                    }
                }
            }
        }
        Ok(rows)
    }

    /// Which principals of the entities may do `action` on `resource`, or what `principal` may do, of any set.
    ///
    /// # Errors
    /// What is no entity, or a context that does not fit.
    pub fn review_requests(
        &self,
        (principal, action, resource): (Option<&str>, Option<&str>, Option<&str>),
        context: Option<&Json>,
    ) -> Result<Vec<AccessRow>, String> {
        let book = self.book()?;
        let asked = action.map(|text| EntityUid::from_str(text).map_err(|e| format!("{text}: {e}"))).transpose()?;
        if let Some(unknown) = asked.as_ref().filter(|asked| !self.schema.actions().any(|action| action == *asked)) {
            return Err(format!("{unknown} is no action of the schema"));
        }
        let mut entities: Vec<EntityUid> = self.entities.iter().map(cedar_policy::Entity::uid).collect();
        entities.sort_by_cached_key(ToString::to_string);
        let mut actions: Vec<&EntityUid> =
            self.schema.actions().filter(|action| asked.as_ref().is_none_or(|asked| asked == *action)).collect();
        actions.sort_by_cached_key(ToString::to_string);
        let mut rows = Vec::new();
        for action in actions {
            let principals: Vec<_> = self.schema.principals_for_action(action).into_iter().flatten().collect();
            let resources: Vec<_> = self.schema.resources_for_action(action).into_iter().flatten().collect();
            let of = |named: Option<&str>, kinds: &[&cedar_policy::EntityTypeName]| match named {
                Some(named) => {
                    let uid = EntityUid::from_str(named).map_err(|e| format!("{named}: {e}"))?;
                    Ok(vec![uid].into_iter().filter(|uid| kinds.contains(&uid.type_name())).collect())
                }
                None => Ok(entities.iter().filter(|uid| kinds.contains(&uid.type_name())).cloned().collect()),
            };
            let (principals, resources): (Vec<EntityUid>, Vec<EntityUid>) =
                match (of(principal, &principals), of(resource, &resources)) {
                    (Ok(principals), Ok(resources)) => (principals, resources),
                    (Err(wrong), _) | (_, Err(wrong)) => return Err::<_, String>(wrong),
                };
            for principal in &principals {
                for resource in &resources {
                    let words = [principal.to_string(), action.to_string(), resource.to_string()];
                    let [principal, action, resource] = words;
                    let request = cedar_request(self, [&principal, &action, &resource], context.cloned())?;
                    let standing = book.standing(&request, &self.entities, (&[], None));
                    rows.push(AccessRow {
                        access: standing.access,
                        principal,
                        client: None,
                        resource,
                        by: vec![action],
                        permits: standing.by,
                        terms: Vec::new(),
                        conditions: standing.conditions,
                    });
                }
            }
        }
        Ok(rows)
    }
}

/// The lines of one agent, client and scope: the ways that have the same answer are one.
fn rows_of(
    own: &Own,
    book: &Book<'_>,
    case: &mut Case<'_>,
    (agent, client, scope): (&Agent, &Client, &Scope),
) -> Result<Vec<AccessRow>, String> {
    case.ask_for(scope);
    let mut rows: Vec<AccessRow> = Vec::new();
    for (flow, action) in
        FLOWS.into_iter().filter(|(flow, _)| !matches!(*flow, "begin" | "hold") && is_open(flow, client))
    {
        flow.clone_into(&mut case.flow);
        let (standing, terms) = one_way(own, book, case, action)?;
        let terms =
            words(&terms).into_iter().map(|(term, value)| TermShown { term: term.to_owned(), value, by: Vec::new() });
        let row = AccessRow {
            access: standing.access,
            principal: agent.id.to_string(),
            client: Some(client.alias.to_string()),
            resource: scope.to_string(),
            by: vec![flow.to_owned()],
            permits: standing.by,
            terms: terms.collect(),
            conditions: standing.conditions,
        };
        // The gate's own permit says nothing new where it is another for each way.
        let same =
            |it: &&mut AccessRow| (it.access, &it.conditions, &it.terms) == (row.access, &row.conditions, &row.terms);
        match rows.iter_mut().find(same) {
            Some(like) => {
                like.by.extend(row.by);
                like.permits.extend(row.permits);
                like.permits.sort();
                like.permits.dedup();
            }
            None => rows.push(row),
        }
    }
    Ok(rows)
}

/// How one way stands: its gate, the scope, and the release.
fn one_way(own: &Own, book: &Book<'_>, case: &mut Case<'_>, action: &str) -> Result<(StandingAccess, Terms), String> {
    let mut standing: Option<StandingAccess> = None;
    let mut terms = Terms::default();
    let mut questions = Vec::new();
    for action in [action, "release_token"] {
        questions.extend(steps(case, action)?.into_iter().filter_map(|step| step.question));
    }
    for question in &questions {
        let answer = own.snapshot.ask(question, &own.snapshot.entities);
        terms = terms.strictest(answer.terms.clone());
        let this = if answer.allowed {
            let permits = answer.determining.iter().map(|it| it.policy.to_string());
            StandingAccess { access: Entitlement::Yes, by: permits.collect(), conditions: Vec::new() }
        } else {
            let request = own_request(question, book)?;
            let this = book.standing(&request, &own.snapshot.entities, (&FIXED, question.now()));
            for note in this.by.iter().filter_map(|id| own.snapshot.note(id)) {
                terms = terms.strictest(note.terms.clone());
            }
            this
        };
        standing = Some(match standing {
            Some(before) => before.and(this),
            None => this,
        });
    }
    let standing = standing.unwrap_or_else(|| StandingAccess::no("", "nothing was asked".to_owned()));
    match unmet(&terms, case.keeping(), action == REFRESH) {
        Some(term) if standing.access != Entitlement::No => {
            Ok((StandingAccess::no("", format!("@{term} cannot be kept")), terms))
        }
        _ => Ok((standing, terms)),
    }
}

/// What an orderly request of this agent by this client says; `None` where there is no scope to ask for.
fn orderly<'c>(
    agent: &Agent,
    client: &Client,
    (config, snapshot): (&'c Config, &'c Snapshot),
    now: Option<&str>,
) -> Result<Option<Case<'c>>, String> {
    let Some(scope) = snapshot.estate.catalog.scopes.keys().next() else { return Ok(None) };
    let mut inquiry = Inquiry::default();
    let words = [
        ("agent", Some(agent.id.as_str())),
        ("client", Some(client.alias.as_str())),
        ("transport", Some(transport(agent))),
        ("now", now),
    ];
    for (key, value) in words.into_iter().filter_map(|(key, value)| Some((key, value?))) {
        inquiry.say_text(key, value)?;
    }
    inquiry.say_scopes(&[scope.to_string()]);
    inquiry.case(config, snapshot).map(|(case, _)| Some(case)).map_err(|wrong| wrong.join("; "))
}

/// Whether a client of this issuer may ask for the scope: others are refused before policy is asked.
fn is_at_home(scope: &Scope, client: &Client, snapshot: &Snapshot) -> bool {
    let catalog = &snapshot.estate.catalog;
    catalog.scopes.get(scope).is_some_and(|declared| match &declared.home {
        ScopeHome::Api(alias) => catalog.apis.get(alias).is_some_and(|api| api.issuer == client.issuer),
        ScopeHome::Issuers(issuers) => issuers.contains(&client.issuer),
    })
}
