//! `[client.token_exchange]`, `[client.jwt_bearer]` and `client_credentials`: the grants without a person at the front
//! channel that a client may use. None is on unless it is written.

use super::{Catalog, Client, Finding, Registry, about, reader::Table, signing::SigningKey};
use crate::model::{AgentId, ApiAlias, IssuerAlias, agent::Identity};
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// Actors of one token, unless configured.
const ACTORS: u64 = 4;
/// Actors of one token at most.
const ACTORS_MAX: u64 = 16;
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 512;

/// The grants of a client.
#[derive(Debug, Default)]
pub struct Delegations {
    /// Token exchange (RFC 8693).
    pub exchange: Option<TokenExchange>,
    /// JWT assertions (RFC 7523 §2.1).
    pub jwt_bearer: Option<Subjects>,
    /// Client credentials (RFC 6749 §4.4).
    pub client_credentials: bool,
}

/// How a client exchanges tokens.
#[derive(Debug)]
pub struct TokenExchange {
    /// Whose subject tokens are taken.
    pub subjects: Subjects,
    /// The logical names of target services (RFC 8693 §2.1, `audience`), each with the API it stands for.
    pub audiences: Vec<(String, ApiAlias)>,
    /// The key of actor tokens; `None`: none is sent, and the issuer is asked to impersonate.
    pub actor_key: Option<SigningKey>,
    /// Whether issued tokens are JWTs that show their actors.
    pub act_in_token: bool,
}

/// Whose tokens are taken, and how they name our agents.
#[derive(Debug)]
pub struct Subjects {
    /// The issuers; empty for the client's own.
    pub issuers: Vec<IssuerAlias>,
    /// Audiences that a token may be for, besides the client and the agent.
    pub audiences: Vec<String>,
    /// Names of agents besides their SPIFFE IDs.
    pub names: Vec<(String, AgentId)>,
    /// The longest chain of actors.
    pub max_actors: usize,
}

impl Delegations {
    /// Whether a client without redirect URI is of any use.
    #[must_use]
    pub const fn any(&self) -> bool {
        self.exchange.is_some() || self.jwt_bearer.is_some() || self.client_credentials
    }

    fn subjects(&self) -> impl Iterator<Item = &Subjects> {
        self.exchange.iter().map(|exchange| &exchange.subjects).chain(&self.jwt_bearer)
    }
}

impl Subjects {
    /// Whether tokens of this issuer are taken for a client of that one.
    #[must_use]
    pub fn trusts(&self, issuer: &IssuerAlias, own: &IssuerAlias) -> bool {
        if self.issuers.is_empty() { issuer == own } else { self.issuers.contains(issuer) }
    }

    /// The names of an agent: its SPIFFE ID, and those of the configuration.
    pub fn names_of<'a>(&'a self, agent: &'a crate::model::Agent) -> impl Iterator<Item = &'a str> {
        let spiffe = match &agent.identity {
            Identity::Spiffe(id) => Some(id.as_str()),
            Identity::UnixPeer { .. } => None,
        };
        spiffe.into_iter().chain(self.names.iter().filter(|(_, id)| *id == agent.id).map(|(name, _)| name.as_str()))
    }
}

pub(super) fn delegations(table: &Table<'_>) -> Delegations {
    Delegations {
        exchange: table.table("token_exchange", exchange),
        jwt_bearer: table.table("jwt_bearer", |t| subjects(t, "assertion_issuers")),
        client_credentials: table.boolean("client_credentials", false),
    }
}

fn exchange(table: &Table<'_>) -> TokenExchange {
    let signs = table.optional("actor_token", |word| match word {
        "signed" => Ok(true),
        "none" => Ok(false),
        _ => Err("must be \"signed\" or \"none\"".to_owned()),
    });
    let path = table.path("actor_key");
    let kid = table.optional("actor_key_id", name);
    let signs = signs.unwrap_or(true);
    if signs && path.is_none() {
        table.wrong(
            "`actor_key` is missing: the key that actor tokens are signed with",
            Some("name a P-256 or Ed25519 key in PEM, or write actor_token = \"none\" for impersonation"),
        );
    }
    let key = path.and_then(|p| SigningKey::load(&p, kid).map_err(|w| table.wrong_at("actor_key", w, None)).ok());
    TokenExchange {
        subjects: subjects(table, "subject_issuers"),
        audiences: table.pairs("audiences", |audience, api| {
            let api = ApiAlias::parse(api).ok_or_else(|| "must name APIs by alias".to_owned())?;
            Ok((name(audience)?, api))
        }),
        actor_key: key.filter(|_| signs),
        act_in_token: table.boolean("act_in_token", true),
    }
}

fn subjects(table: &Table<'_>, issuers: &'static str) -> Subjects {
    Subjects {
        issuers: table.list(issuers, |text| IssuerAlias::parse(text).ok_or_else(|| "is not an alias".to_owned())),
        audiences: table.list("trusted_audiences", name),
        names: table.pairs("agents", |text, agent| {
            let agent = AgentId::parse(agent).ok_or_else(|| "must name agents by id".to_owned())?;
            Ok((name(text)?, agent))
        }),
        max_actors: table
            .integer("max_actors", 1..=ACTORS_MAX)
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(usize::try_from(ACTORS).unwrap_or(1)),
    }
}

fn name(text: &str) -> Result<String, String> {
    let plain = (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if plain { Ok(text.to_owned()) } else { Err("must be 1 to 512 visible ASCII characters".to_owned()) }
}

/// Names that stand for nothing.
pub(super) fn dangling<I>(
    path: &Path,
    clients: &BTreeMap<crate::model::ClientAlias, Arc<Client>>,
    issuers: &BTreeMap<IssuerAlias, I>,
    (registry, catalog): (&Registry, &Catalog),
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for client in clients.values() {
        let mut wrong = |what: String| findings.push(about(path, format!("client `{}`: {what}", client.alias)));
        for subjects in client.delegations.subjects() {
            for issuer in subjects.issuers.iter().filter(|issuer| !issuers.contains_key(*issuer)) {
                wrong(format!("\"{issuer}\" is no configured issuer"));
            }
            for (_, agent) in subjects.names.iter().filter(|(_, agent)| registry.agent(agent).is_none()) {
                wrong(format!("\"{agent}\" is no registered agent"));
            }
        }
        for (_, api) in client.delegations.exchange.iter().flat_map(|exchange| &exchange.audiences) {
            if catalog.apis.get(api).is_none_or(|api| api.issuer != client.issuer) {
                wrong(format!("\"{api}\" is no API of its issuer"));
            }
        }
    }
    findings
}
