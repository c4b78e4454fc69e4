//! Requests to explain: one of Cedar's own, or an exchange of an agent's in the form of a test case, orderly in all that is
//! not said otherwise.

use super::{
    Set,
    book::Book,
    explain::{Closed, ExplainedDecision, Explanation},
};
use crate::{
    config::{Client, Config, Document, Finding, nearest},
    model::{Agent, AgentId, ClientAlias, Scope, Terms, agent::Identity, time::span_text},
    policy::{
        Snapshot,
        asked::{Part, Step},
        cases::Case,
        panel::{REFRESH, unmet},
        verdict::DenyKind,
    },
};
use cedar_policy::{Context, Entities, EntityUid, Request};
use serde_json::Value as Json;
use std::{path::Path, str::FromStr};
use toml::{Table, Value};

/// The ways to a token, by the word that `context.flow` has on `grant_scope`, each with the action of its gate.
pub(super) const FLOWS: [(&str, &str); 7] = [
    ("begin", "begin_authorization"),
    ("code", "redeem_code"),
    ("hold", "release_token"),
    ("refresh", REFRESH),
    ("exchange", "exchange_token"),
    ("assertion", "jwt_bearer"),
    ("client_credentials", "client_credentials"),
];

/// A request in the form of a test case. With an `action` it is that one question; without, the whole exchange by its
/// `flow`: the gate, each scope, and the release of the token.
#[derive(Clone, Debug, Default)]
pub struct Inquiry(Table);

impl Inquiry {
    /// Reads one case: the table of a TOML or JSON file, or one of its `[[case]]` tables, by name where there are several.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn read(path: &Path, name: Option<&str>) -> Result<Self, Finding> {
        let source = super::set::read(path, crate::config::FILE_BYTES_MAX)?;
        let wrong = |message: String| crate::config::about(path, message);
        let mut root = if path.extension().is_some_and(|extension| extension == "json") {
            let json: Json = serde_json::from_str(&source.text).map_err(|e| wrong(format!("is not JSON: {e}")))?;
            Table::try_from(json).map_err(|e| wrong(format!("is no request: {e}")))?
        } else {
            toml::from_str(&source.text).map_err(|e| wrong(format!("is not TOML: {}", e.message())))?
        };
        let Some(Value::Array(cases)) = root.remove("case") else { return Ok(Self(root)) };
        let is_named = |case: &Value| name.is_none_or(|name| case.get("name").and_then(Value::as_str) == Some(name));
        let mut found = cases.into_iter().filter(is_named);
        match (found.next(), found.next()) {
            (Some(Value::Table(case)), None) => Ok(Self(case)),
            (None, _) => Err(wrong("has no such case".to_owned())),
            _ => Err(wrong("has several cases: say which by --name".to_owned())),
        }
    }

    /// Says a fact: a key of a test case, such as `trust` or `subject.mfa`, and its value as TOML has it, or a bare text.
    ///
    /// # Errors
    /// A key that is below one which is no table.
    pub fn say(&mut self, key: &str, value: &str) -> Result<(), String> {
        let parsed = toml::from_str::<Table>(&format!("it = {value}")).ok().filter(|table| table.len() == 1);
        let parsed = parsed.and_then(|mut table| table.remove("it"));
        // A time is a text in a case.
        let parsed = parsed.filter(|value| !matches!(value, Value::Datetime(_)));
        self.put(key, parsed.unwrap_or_else(|| Value::String(value.to_owned())))
    }

    /// Says a fact that is a text.
    ///
    /// # Errors
    /// As [`Self::say`].
    pub fn say_text(&mut self, key: &str, text: &str) -> Result<(), String> {
        self.put(key, Value::String(text.to_owned()))
    }

    /// Says which scopes are asked for.
    pub fn say_scopes(&mut self, scopes: &[String]) {
        let scopes: Vec<Value> = scopes.iter().map(|scope| Value::String(scope.clone())).collect();
        if let (Some("grant_scope"), [Value::String(one)]) = (self.text("action"), scopes.as_slice()) {
            self.0.insert("scope".to_owned(), Value::String(one.clone()));
        }
        self.0.insert("scopes".to_owned(), Value::Array(scopes));
    }

    fn put(&mut self, key: &str, value: Value) -> Result<(), String> {
        if key == "now" {
            // Instead of all the times of a case.
            self.0.remove("at");
        }
        let (mut table, mut rest) = (&mut self.0, key);
        while let Some((above, below)) = rest.split_once('.') {
            let next = table.entry(above).or_insert_with(|| Value::Table(Table::new()));
            table = next.as_table_mut().ok_or_else(|| format!("{key}: {above} is no table"))?;
            rest = below;
        }
        table.insert(rest.to_owned(), value);
        Ok(())
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(Value::as_str)
    }

    fn or(&mut self, key: &str, value: impl FnOnce() -> Option<String>) {
        if !self.0.contains_key(key) {
            self.0.extend(value().map(|value| (key.to_owned(), Value::String(value))));
        }
    }

    /// Reads it as a case, with what an orderly request of this agent and client would say. `None` beside the case: it is
    /// one question.
    pub(super) fn case<'c>(
        &self,
        config: &'c Config,
        snapshot: &'c Snapshot,
    ) -> Result<(Case<'c>, Option<&'static str>), Vec<String>> {
        let mut orderly = self.clone();
        let flow = match self.text("action") {
            Some(_) => None,
            None => Some(orderly.orderly(config, snapshot).map_err(|wrong| vec![wrong])?),
        };
        orderly.or("name", || Some("request".to_owned()));
        if !orderly.0.contains_key("at") {
            orderly.or("expect", || Some("allow".to_owned()));
        }
        let text = toml::to_string(&orderly.0).map_err(|e| vec![e.to_string()])?;
        let document = Document::of(Path::new("request"), text);
        let (case, findings) = document.read(|root| Case::read(root, (config, &snapshot.estate)));
        match case {
            Some(case) if findings.is_empty() => Ok((case, flow)),
            _ => Err(findings.into_iter().map(told).collect()),
        }
    }

    /// Completes a whole exchange; says by which way.
    fn orderly(&mut self, config: &Config, snapshot: &Snapshot) -> Result<&'static str, String> {
        let word = self.text("flow").unwrap_or("code");
        let known = || FLOWS.map(|(flow, _)| flow).join(", ");
        let (flow, action) = FLOWS
            .into_iter()
            .find(|(flow, _)| *flow == word)
            .ok_or_else(|| format!("the flow {word:?} is none of {}", known()))?;
        let id = self.text("agent").ok_or("a request needs an agent")?;
        let registry = &snapshot.estate.registry;
        let agent = AgentId::parse(id).and_then(|id| registry.agent(&id)).ok_or_else(|| {
            format!(
                "the agent {id:?} is not registered{}",
                or_meant(id, registry.agents().map(|agent| agent.id.as_str()))
            )
        })?;
        let alias = self.text("client").ok_or("a request needs a client")?;
        let client = ClientAlias::parse(alias).and_then(|alias| config.clients.get(&alias));
        let client = client.ok_or_else(|| {
            let near = or_meant(alias, config.clients.keys().map(ClientAlias::as_str));
            format!("{alias:?} names no client of the configuration{near}")
        })?;
        self.or("action", || Some(action.to_owned()));
        self.or("flow", || Some(flow.to_owned()));
        if flow == "hold" {
            self.or("hand_out", || Some("again".to_owned()));
        }
        self.or("transport", || Some(transport(agent).to_owned()));
        self.or("proof", || Some(client.bound_tokens.proof().to_owned()));
        self.or("lifetime", || Some(span_text(client.lifetime_ceiling)));
        self.or("redirect_uri", || client.redirects.first().map(|redirect| redirect.as_str().to_owned()));
        let asked = self.0.get("scopes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let asked: Vec<&str> = asked.iter().filter_map(Value::as_str).chain(self.text("scope")).collect();
        if asked.is_empty() {
            return Err("a request needs a scope".to_owned());
        }
        let catalog = &snapshot.estate.catalog;
        for name in asked {
            if Scope::parse(name).is_none_or(|scope| !catalog.scopes.contains_key(&scope)) {
                let near = or_meant(name, catalog.scopes.keys().map(Scope::as_str));
                return Err(format!("the scope {name:?} is not declared{near}: it is refused before policy is asked"));
            }
        }
        Ok(flow)
    }
}

/// Whether a client is configured for this way to a token.
pub(super) fn is_open(flow: &str, client: &Client) -> bool {
    match flow {
        "begin" | "code" | "refresh" => !client.redirects.is_empty(),
        "exchange" => client.delegations.exchange.is_some(),
        "assertion" => client.delegations.jwt_bearer.is_some(),
        "client_credentials" => client.delegations.client_credentials,
        _ => true,
    }
}

/// What a name that is none may have been meant for.
pub(super) fn or_meant<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    nearest(name, known).map_or_else(String::new, |near| format!(" (did you mean {near:?}?)"))
}

/// How an agent comes.
pub(super) fn transport(agent: &Agent) -> &'static str {
    match agent.identity {
        Identity::Spiffe(_) => "mtls",
        Identity::UnixPeer { .. } => "uds",
    }
}

fn told(finding: Finding) -> String {
    finding.hint.map_or_else(|| finding.message.clone(), |hint| format!("{} ({hint})", finding.message))
}

impl Set {
    /// Explains a request in the form of a test case.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn explain(&self, inquiry: &Inquiry) -> Result<Explanation, Vec<String>> {
        let own = self.of_narrowgate().map_err(|wrong| vec![wrong])?;
        own.snapshot.explain_in(&self.book().map_err(|wrong| vec![wrong])?, &own.config, inquiry)
    }
}

impl Snapshot {
    /// Explains a request in the form of a test case, of the set as it is served. Nothing is permitted by it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn explain(&self, config: &Config, inquiry: &Inquiry) -> Result<Explanation, Vec<String>> {
        self.explain_in(&self.book().map_err(|wrong| vec![wrong])?, config, inquiry)
    }

    fn explain_in(&self, book: &Book<'_>, config: &Config, inquiry: &Inquiry) -> Result<Explanation, Vec<String>> {
        let (mut case, flow) = inquiry.case(config, self)?;
        let decisions = match flow {
            None => question(book, &case).map(|decision| vec![decision]),
            Some(flow) => exchange(self, book, &mut case, flow),
        };
        let mut explanation = decisions.map(Explanation::of).map_err(|wrong| vec![wrong])?;
        let client = config.clients.get(&case.client);
        if let (Some(flow), Some(client)) = (flow, client)
            && !is_open(flow, client)
        {
            let client = &client.alias;
            explanation.notes.push(format!("the client {client} is not configured for {flow}: policy is not asked"));
        }
        if let [first, _, ..] = explanation.decisions.as_slice()
            && !first.allowed
        {
            let after = "a call would end with the first decision; what comes after it is asked all the same";
            explanation.notes.push(after.to_owned());
        }
        Ok(explanation)
    }
}

/// One question alone.
fn question(book: &Book<'_>, case: &Case<'_>) -> Result<ExplainedDecision, String> {
    let entities = with(book, case)?;
    let part = if case.action == "grant_scope" { Part::Scope(sole_scope(case)?) } else { Part::Gate };
    let step = Step { part, question: Some(case.asked_first()?) };
    close(book, &[step], &entities, None)
}

fn sole_scope(case: &Case<'_>) -> Result<Scope, String> {
    case.scope.clone().ok_or_else(|| "a request for grant_scope needs a scope".to_owned())
}

fn with(book: &Book<'_>, case: &Case<'_>) -> Result<Entities, String> {
    let own = book.own.ok_or("this set is not narrowgate's own")?;
    own.entities_with(case.entities(&own.schema)?)
}

/// A whole exchange: what is decided before the authorization server is called, and what is decided on its answer.
fn exchange(
    snapshot: &Snapshot,
    book: &Book<'_>,
    case: &mut Case<'_>,
    flow: &'static str,
) -> Result<Vec<ExplainedDecision>, String> {
    let entities = snapshot.entities_with(case.entities(&snapshot.schema)?)?;
    let action = FLOWS.into_iter().find(|(word, _)| *word == flow).map_or("redeem_code", |(_, action)| action);
    let mut decisions = Vec::new();
    let releases: &[&str] = if matches!(flow, "begin" | "hold") { &[] } else { &["release_token"] };
    for action in [action].iter().chain(releases) {
        let steps = steps(case, action)?;
        decisions.push(close(book, &steps, &entities, Some(case))?);
    }
    Ok(decisions)
}

/// The questions of one decision.
pub(super) fn steps(case: &mut Case<'_>, action: &str) -> Result<Vec<Step<'static>>, String> {
    let mut steps = Vec::new();
    let scope = case.scope.take();
    let mut put = |case: &mut Case<'_>, action: &str, part: Part, scope: Option<Scope>| {
        (case.action, case.scope) = (action.to_owned(), scope);
        steps.push(Step { part, question: Some(case.asked_first()?.to_owned()) });
        Ok::<(), String>(())
    };
    put(case, action, Part::Gate, None)?;
    for scope in case.scopes.clone() {
        put(case, "grant_scope", Part::Scope(scope.clone()), Some(scope))?;
    }
    if case.has_detail() {
        put(case, "grant_detail", Part::Detail(String::new()), None)?;
    }
    case.scope = scope;
    Ok(steps)
}

/// What the answers come to, as for a call.
fn close(
    book: &Book<'_>,
    steps: &[Step<'_>],
    entities: &Entities,
    terms_of: Option<&Case<'_>>,
) -> Result<ExplainedDecision, String> {
    let own = book.own.ok_or("this set is not narrowgate's own")?;
    let answers: Vec<_> = steps.iter().filter_map(|s| s.question.as_ref()).map(|q| own.ask(q, entities)).collect();
    let terms = answers.iter().filter(|a| a.allowed).fold(Terms::default(), |all, a| all.strictest(a.terms.clone()));
    let is_of_refresh = terms_of.is_some_and(|_| {
        steps.iter().filter_map(|step| step.question.as_ref()).any(|question| question.action.id == REFRESH)
    });
    let unmet = terms_of.and_then(|case| unmet(&terms, case.keeping(), is_of_refresh));
    let refused = || answers.iter().filter(|answer| !answer.allowed);
    let denied = if answers.iter().any(|answer| answer.errors > 0) {
        Some(DenyKind::EvalError)
    } else if refused().any(|answer| answer.determining.iter().any(|d| d.forbids)) {
        Some(DenyKind::ForbidMatched)
    } else if refused().next().is_some() {
        Some(DenyKind::NoPermit)
    } else {
        unmet.map(|_| DenyKind::ObligationUnmet)
    };
    let unmet = unmet.filter(|_| denied == Some(DenyKind::ObligationUnmet));
    Ok(book.decision(steps, entities, &Closed { denied, unmet, terms }))
}

/// A request of Cedar's. Without a context it has an empty one, whatever the schema says of it.
pub(super) fn cedar_request(
    set: &Set,
    [principal, action, resource]: [&str; 3],
    context: Option<Json>,
) -> Result<Request, String> {
    let uid = |text: &str| {
        EntityUid::from_str(text).map_err(|e| format!("{text}: is no entity such as User::\"alice\": {e}"))
    };
    let (principal, action, resource) = (uid(principal)?, uid(action)?, uid(resource)?);
    let Some(context) = context else {
        return Request::new(principal, action, resource, Context::empty(), None).map_err(|e| e.to_string());
    };
    let context = Context::from_json_value(context, Some((&set.schema, &action)));
    let context = context.map_err(|e| format!("the context does not fit: {}", super::set::causes(&e)))?;
    Request::new(principal, action, resource, context, Some(&set.schema)).map_err(|e| super::set::causes(&e))
}
