//! Test cases beside the policies: `*.cases.toml`, asked through the same question as real calls.

use super::{
    Facts, Snapshot,
    asked::Keeping,
    case_details::{AskedDetail, asked_detail},
    case_parts::{Approval, Delegated, Registered, approval, delegated, registered},
    context::{Base, audiences, boolean, context, count, moving, now, proof, record, scopes, text},
    entities::{self, uid},
    expected::{Step, steps},
    person,
    question::Question,
    value::{Fields, Uid, Value},
};
use crate::{
    caller::Transport,
    config::{Config, Estate, ScopeHome, Table, custom},
    model::{Agent, AgentId, Claimed, ClientAlias, Environment, IssuerAlias, Scope, Subject, TokenBinding, Wall},
};
use cedar_policy::{Entities, Entity, Schema};
use std::{collections::HashSet, time::Duration};

/// A case about an agent.
pub(super) struct Case<'c> {
    config: &'c Config,
    estate: &'c Estate,
    pub(super) name: String,
    pub(super) action: String,
    agent: Agent,
    pub(super) client: ClientAlias,
    pub(super) scope: Option<Scope>,
    pub(super) scopes: Vec<Scope>,
    facts: Facts,
    bound: TokenBinding,
    claimed: Claimed,
    approval: Option<Approval>,
    /// Who logged in, as an ID token of the client's issuer would say.
    person: Option<Subject>,
    lifetime: Duration,
    pub(super) flow: String,
    gate: Gate,
    token: Token,
    delegated: Delegated,
    registered: Registered,
    detail: AskedDetail,
    pub(super) steps: Vec<Step>,
}

struct Gate {
    /// The method and the origin that a proof is for.
    http: (String, String),
    redirect_uri: String,
    pkce_method: String,
    code_age: Duration,
    transaction_age: Duration,
    held: (Duration, u64),
    iss_verified: bool,
    state_verified: bool,
    same_caller: bool,
}

struct Token {
    hand_out: String,
    scopes: Vec<Scope>,
    lifetime: Duration,
    refreshable: bool,
    unknown_scopes: bool,
    tolerated_scopes: Vec<String>,
}

const ANY_SPAN: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(366 * 86_400);

impl<'c> Case<'c> {
    pub(super) fn read(table: &Table<'_>, (config, estate): (&'c Config, &'c Estate)) -> Option<Self> {
        let name = table.required("name", owned)?;
        let action = table.required("action", owned);
        let agent = table.required("agent", |t| {
            let agent = AgentId::parse(t).and_then(|id| estate.registry.agent(&id));
            agent.map(|a| Agent::clone(a)).ok_or_else(|| format!("names no registered agent: {t:?}"))
        });
        let client = table.required("client", |t| ClientAlias::parse(t).ok_or_else(|| "is not an alias".to_owned()));
        let scope = table.optional("scope", scope);
        let mut scopes = table.list("scopes", self::scope);
        if scopes.is_empty() {
            scopes.extend(scope.clone());
        }
        let steps = steps(table);
        let facts = facts(table, agent.as_ref());
        let lifetime = table.span("lifetime", Duration::from_secs(3600), ANY_SPAN);
        let gate = gate(table);
        let token = token(table, &scopes, lifetime);
        let claimed = Claimed {
            purpose: word(table, "purpose"),
            task: word(table, "task"),
            session: None,
            tags: table.list("tags", owned),
        };
        let mut agent = agent?;
        agent.quarantined = table.boolean("quarantined", agent.quarantined);
        agent.trust = table.integer("trust", 0..=4).and_then(|t| u8::try_from(t).ok()).unwrap_or(agent.trust);
        let environment =
            table.optional("environment", |t| Environment::parse(t).ok_or_else(|| "is no environment".to_owned()));
        agent.environment = environment.unwrap_or(agent.environment);
        if table.holds("custom") {
            agent.custom = custom(table);
        }
        Some(Self {
            config,
            estate,
            name,
            action: action?,
            agent,
            client: client?,
            scope,
            scopes,
            facts,
            bound: table.optional("proof", binding).unwrap_or_default(),
            claimed,
            approval: table.table("approval", approval).flatten(),
            person: table.table("subject", person::read).flatten(),
            lifetime,
            flow: word(table, "flow").unwrap_or_else(|| "code".to_owned()),
            gate,
            token,
            delegated: delegated(table),
            registered: registered(table),
            detail: asked_detail(table),
            steps: steps?,
        })
    }

    /// What is asked at this time, and about which entities.
    pub(super) fn question(&self, snapshot: &Snapshot, now: Wall) -> Result<(Question<'_>, Entities), String> {
        Ok((self.asked(now)?, snapshot.entities_with(self.entities(&snapshot.schema)?)?))
    }

    /// What is asked at this time.
    ///
    /// # Errors
    /// What it does not say.
    pub(super) fn asked(&self, now: Wall) -> Result<Question<'_>, String> {
        let resource = match (&self.scope, self.action.as_str()) {
            (Some(scope), "grant_scope") => Uid::new("Scope", scope.as_str()),
            (_, "grant_detail") => self.detail.resource()?,
            (_, "break_glass") => Uid::new("Daemon", entities::DAEMON),
            _ => Uid::new("Client", self.client.as_str()),
        };
        Ok(Question {
            principal: Uid::new("Agent", self.agent.id.as_str()),
            action: Uid::new("Action", self.action.clone()),
            resource,
            context: self.context(now)?,
        })
    }

    /// What is asked at the first time it is asked at.
    ///
    /// # Errors
    /// As [`Self::asked`].
    pub(super) fn asked_first(&self) -> Result<Question<'_>, String> {
        self.asked(self.steps.first().ok_or("is asked at no time")?.now)
    }

    /// Asks for this scope alone, and has it issued.
    pub(super) fn ask_for(&mut self, scope: &Scope) {
        self.scopes = vec![scope.clone()];
        self.token.scopes.clone_from(&self.scopes);
    }

    /// Whether it says anything of authorization details.
    pub(super) fn has_detail(&self) -> bool {
        self.detail.resource().is_ok()
    }

    /// What its tokens are bound to, and whether they are for one API.
    pub(super) fn keeping(&self) -> Keeping {
        Keeping { bound: self.bound, audience: self.api(&self.scopes).is_some() }
    }

    /// This case's agent and approver, which stand before the generation's.
    pub(super) fn entities(&self, schema: &Schema) -> Result<Vec<Entity>, String> {
        let mut own = vec![entities::agent(&self.agent, Some(schema))?];
        if let Some(approval) = &self.approval {
            let parents = HashSet::from([uid("Team", &approval.team)?]);
            own.push(Entity::new_no_attrs(uid("User", &approval.approver)?, parents));
        }
        if let Some(person) = &self.person {
            let issuer = self.config.issuers.get(self.issuer()?).ok_or("the client's issuer is not configured")?;
            own.push(person::entity(issuer, person)?);
        }
        Ok(own)
    }

    fn context(&self, at: Wall) -> Result<Fields<'_>, String> {
        if ["revoke_token", "introspect_token", "break_glass"].contains(&self.action.as_str()) {
            return Ok(context([("now", now(at)), ("caller", super::context::caller(&self.facts))]));
        }
        let base = Base {
            now: at,
            caller: &self.facts,
            scopes: self.scopes.iter().collect(),
            api: self.api(&self.scopes),
            bound: self.bound,
            lifetime: moving(self.lifetime),
            claimed: &self.claimed,
            approval: self.approval.as_ref().map(Approval::value),
            actors: &self.delegated.actors,
        };
        let mut fields = vec![("base", base.value())];
        let (gate, held) = (&self.gate, self.gate.held);
        match self.action.as_str() {
            "begin_authorization" => fields.extend([
                ("redirectUri", text(&gate.redirect_uri)),
                ("pkceMethod", text(&gate.pkce_method)),
                ("par", boolean(false)),
            ]),
            "redeem_code" => {
                fields.extend([
                    ("redirectUri", text(&gate.redirect_uri)),
                    ("pkceMethod", text(&gate.pkce_method)),
                    ("codeAge", moving(gate.code_age)),
                    ("transactionAge", moving(gate.transaction_age)),
                    ("issVerified", boolean(gate.iss_verified)),
                    ("stateVerified", boolean(gate.state_verified)),
                ]);
                fields.extend(self.registered.redeemed(gate.same_caller));
            }
            "register_authorization" => fields.extend([
                ("redirectUri", text(&gate.redirect_uri)),
                ("pkceMethod", text(&gate.pkce_method)),
                self.registered.registering(&self.agent.id),
            ]),
            "sign_proof" => fields.extend([("httpMethod", text(&gate.http.0)), ("origin", text(&gate.http.1))]),
            "refresh_token" => fields.extend([("grantAge", moving(held.0)), ("refreshCount", count(held.1))]),
            "exchange_token" | "jwt_bearer" | "client_credentials" => {
                fields.extend(self.delegated.fields(&self.action, self.issuer()?));
            }
            "grant_scope" => fields.extend([
                ("client", super::context::entity("Client", self.client.as_str())),
                ("flow", text(&self.flow)),
            ]),
            "grant_detail" => fields.extend([
                ("client", super::context::entity("Client", self.client.as_str())),
                ("flow", text(&self.flow)),
                ("detail", self.detail.value()),
            ]),
            "release_token" => {
                let token = record([
                    ("scopes", scopes(&self.token.scopes)),
                    ("lifetime", moving(self.token.lifetime)),
                    ("audiences", audiences(self.api(&self.token.scopes))),
                    ("proof", proof(self.bound)),
                    ("refreshable", boolean(self.token.refreshable)),
                    ("unknownScopes", boolean(self.token.unknown_scopes)),
                    ("toleratedScopes", Value::set(self.token.tolerated_scopes.iter().map(|scope| text(scope)))),
                ]);
                fields.extend([("handOut", text(&self.token.hand_out)), ("token", token)]);
                if let Some(person) = &self.person {
                    fields.push(("subject", super::context::subject(self.issuer()?, person)));
                }
            }
            other => return Err(format!("`action` {other:?} is not one that is asked")),
        }
        Ok(context(fields))
    }

    fn issuer(&self) -> Result<&IssuerAlias, String> {
        let client = self.config.clients.get(&self.client).ok_or("`client` is not one of the configuration's")?;
        Ok(&client.issuer)
    }

    fn api(&self, scopes: &[Scope]) -> Option<&crate::config::Api> {
        let catalog = &self.estate.catalog;
        let alias = scopes.iter().find_map(|scope| match &catalog.scopes.get(scope)?.home {
            ScopeHome::Api(alias) => Some(alias),
            ScopeHome::Issuers(_) => None,
        });
        catalog.apis.get(alias?).map(|api| &**api)
    }
}

fn facts(table: &Table<'_>, agent: Option<&Agent>) -> Facts {
    let transport = if word(table, "transport").as_deref() == Some("mtls") { Transport::Mtls } else { Transport::Uds };
    let own_uid = match agent.map(|a| &a.identity) {
        Some(crate::model::agent::Identity::UnixPeer { uid, .. }) => *uid,
        _ => 1000,
    };
    let by_socket = transport == Transport::Uds;
    Facts {
        transport,
        uid: by_socket.then_some(own_uid),
        ip: (!by_socket).then_some(std::net::Ipv4Addr::LOCALHOST.into()),
        verified: table.boolean("attested", true),
        trust_domain: (!by_socket).then(|| "acme.test".to_owned()),
        expires_at: None,
        interactive: by_socket.then(|| table.boolean("interactive", false)),
    }
}

fn gate(table: &Table<'_>) -> Gate {
    let refreshes = table.integer("refresh_count", 0..=1_000_000).unwrap_or(0);
    Gate {
        http: (
            word(table, "http_method").unwrap_or_else(|| "GET".to_owned()),
            word(table, "origin").unwrap_or_else(|| "https://crm.example.test".to_owned()),
        ),
        redirect_uri: word(table, "redirect_uri").unwrap_or_else(|| "http://127.0.0.1/callback".to_owned()),
        pkce_method: word(table, "pkce_method").unwrap_or_else(|| "S256".to_owned()),
        code_age: table.span("code_age", Duration::from_secs(1), ANY_SPAN),
        transaction_age: table.span("transaction_age", Duration::from_secs(30), ANY_SPAN),
        held: (table.span("grant_age", Duration::from_secs(600), ANY_SPAN), refreshes),
        iss_verified: table.boolean("iss_verified", true),
        state_verified: table.boolean("state_verified", true),
        same_caller: table.boolean("same_caller", true),
    }
}

fn token(table: &Table<'_>, asked: &[Scope], lifetime: Duration) -> Token {
    let issued = table.list("issued_scopes", scope);
    Token {
        hand_out: word(table, "hand_out").unwrap_or_else(|| "first".to_owned()),
        scopes: if issued.is_empty() { asked.to_vec() } else { issued },
        lifetime: table.span("issued_lifetime", lifetime, ANY_SPAN),
        refreshable: table.boolean("refreshable", false),
        unknown_scopes: table.boolean("unknown_scopes", false),
        tolerated_scopes: table.list("tolerated_scopes", |t| Ok(t.to_owned())),
    }
}

pub(super) fn word(table: &Table<'_>, key: &'static str) -> Option<String> {
    table.optional(key, owned).filter(|t| !t.is_empty())
}

pub(super) fn owned(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

fn binding(word: &str) -> Result<TokenBinding, String> {
    TokenBinding::of_proof(word).ok_or_else(|| "must be \"none\", \"mtls\" or \"dpop\"".to_owned())
}

pub(super) fn scope(text: &str) -> Result<Scope, String> {
    Scope::parse(text).ok_or_else(|| "is no scope-token".to_owned())
}

pub(super) fn instant(text: &str) -> Result<Wall, String> {
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    parsed.map(|t| Wall(t.as_millisecond())).map_err(|_| "is no RFC 3339 instant".to_owned())
}
