//! Operators, and what they can freeze.

use super::{AgentId, ClientAlias, IssuerAlias, OperatorId, TeamId};
use std::fmt;

/// Someone who may administer this daemon, as far as policy lets them. Never an agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operator {
    /// Their id: the principal in policy.
    pub id: OperatorId,
    /// Their user id, by the kernel's word.
    pub uid: u32,
    /// Their group id, where the registry demands one.
    pub gid: Option<u32>,
    /// The teams they belong to.
    pub teams: Vec<TeamId>,
}

/// What an operator freezes, or whose grants they revoke.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FreezeTarget {
    /// An agent.
    Agent(AgentId),
    /// A client registration, for every agent.
    Client(ClientAlias),
    /// An authorization server, with all its clients.
    Issuer(IssuerAlias),
}

impl FreezeTarget {
    /// The target of a kind with this name; `None` where there is no such kind, or it can be nobody's name.
    #[must_use]
    pub fn parse(kind: &str, name: &str) -> Option<Self> {
        match kind {
            "agent" => AgentId::parse(name).map(Self::Agent),
            "client" => ClientAlias::parse(name).map(Self::Client),
            "issuer" => IssuerAlias::parse(name).map(Self::Issuer),
            _ => None,
        }
    }

    /// The word for its kind: `agent`, `client` or `issuer`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Agent(_) => "agent",
            Self::Client(_) => "client",
            Self::Issuer(_) => "issuer",
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Agent(id) => id.as_str(),
            Self::Client(alias) => alias.as_str(),
            Self::Issuer(alias) => alias.as_str(),
        }
    }

    /// Whether something of this agent, client and issuer is meant.
    #[must_use]
    pub fn covers(&self, agent: &AgentId, client: &ClientAlias, issuer: &IssuerAlias) -> bool {
        match self {
            Self::Agent(id) => id == agent,
            Self::Client(alias) => alias == client,
            Self::Issuer(alias) => alias == issuer,
        }
    }
}

impl fmt::Display for FreezeTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.name())
    }
}
