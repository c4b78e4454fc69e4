//! Agents, and what they claim.

use super::{AgentId, Custom, TeamId};
use std::path::PathBuf;

/// Where an agent, client or issuer belongs. One environment's things never serve another's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Environment {
    /// Development.
    Dev,
    /// Staging.
    Staging,
    /// Production.
    Prod,
}

impl Environment {
    /// The word in configuration and policy.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Staging => "staging",
            Self::Prod => "prod",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Dev, Self::Staging, Self::Prod].into_iter().find(|e| e.as_str() == text)
    }
}

/// How the transport proves that a caller is this agent.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Identity {
    /// The kernel's word for the peer of a Unix socket.
    UnixPeer {
        /// The peer's user id.
        uid: u32,
        /// The peer's group id, where the registry demands one.
        gid: Option<u32>,
    },
    /// The SPIFFE ID of a verified client certificate.
    Spiffe(String),
}

/// An agent of the registry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Agent {
    /// Its id: the principal in policy.
    pub id: AgentId,
    /// How it proves itself.
    pub identity: Identity,
    /// The program it must run, by Unix socket. Only a pinned process can prove it.
    pub executable: Option<PathBuf>,
    /// The team that answers for it.
    pub owner: TeamId,
    /// The groups it belongs to.
    pub groups: Vec<String>,
    /// Where it belongs.
    pub environment: Environment,
    /// 0 untrusted .. 4 fully attested and reviewed.
    pub trust: u8,
    /// Stopped by an operator.
    pub quarantined: bool,
    /// What the platform team says of it besides.
    pub custom: Custom,
}

/// The caller's own words, bounded. Never evidence.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Claimed {
    /// What the token is for.
    pub purpose: Option<String>,
    /// The task's name.
    pub task: Option<String>,
    /// The session's name.
    pub session: Option<String>,
    /// Free tags.
    pub tags: Vec<String>,
}

impl Claimed {
    /// The longest claim, in bytes.
    pub const TEXT_BYTES_MAX: usize = 128;
    /// The most tags, and the longest tag in bytes.
    pub const TAGS_MAX: (usize, usize) = (16, 64);
}
