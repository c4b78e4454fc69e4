//! One transaction.

use super::Flow;
use crate::{
    config::{Api, Client, Endpoints, Issuer},
    model::{
        Agent, AgentId, Approvable, AuthorizationDetails, Boot, CodeVerifier, DecisionId, Fault, Handle, LoginDemand,
        Nonce, RedirectUri, ScopeSet, StateValue, TokenBinding, Wall,
    },
    platform::ProofKey,
};
use std::{
    sync::{Arc, Mutex, atomic::AtomicU32},
    time::Duration,
};
use tokio::sync::watch;
use uuid::Uuid;

/// What a transaction is begun with: facts decided before it is minted.
pub struct Opening {
    /// The grant that brings the token.
    pub flow: Flow,
    /// The agent it belongs to.
    pub agent: Arc<Agent>,
    /// The client registration.
    pub client: Arc<Client>,
    /// The issuer, recorded before the redirect (RFC 9207 §2.4).
    pub issuer: Arc<Issuer>,
    /// Its endpoints as they were at Begin: a later change does not move the code (RFC 9700 §4.4).
    pub endpoints: Arc<Endpoints>,
    /// The redirect URI.
    pub redirect: RedirectUri,
    /// Whether the redirect URI alone tells this issuer from others, so that the caller must say where the answer
    /// arrived (RFC 9700 §4.4.2.2).
    pub told_by_redirect: bool,
    /// The scopes policy allowed.
    pub scopes: ScopeSet,
    /// The authorization details policy allowed (RFC 9396).
    pub details: AuthorizationDetails,
    /// The API that the scopes belong to, where they belong to one.
    pub api: Option<Arc<Api>>,
    /// What is demanded of the person's login.
    pub login: LoginDemand,
    /// Policy refused `offline_access`: a refresh token that comes all the same is never used.
    pub offline_refused: bool,
    /// The thumbprint of the key that the agent has proven to have, where its client's tokens are bound to such a one.
    pub agent_jkt: Option<String>,
    /// The decision that allowed it.
    pub decision: DecisionId,
    /// The front end that registered it, where narrowgate did not begin it itself.
    pub registered_by: Option<AgentId>,
    /// What can be approved of it, and the approval that it was begun with.
    pub approvable: Approvable,
}

impl Opening {
    /// Who began it: its agent, or the front end that registered it for that agent.
    #[must_use]
    pub fn begun_by(&self) -> &AgentId {
        self.registered_by.as_ref().unwrap_or(&self.agent.id)
    }
}

/// A transaction's facts.
pub struct Begun {
    /// What it was begun with.
    pub opening: Opening,
    /// Its handle.
    pub handle: Handle,
    /// When it was begun.
    pub at: Boot,
    /// When it ends.
    pub ends: Boot,
    /// When it ends, for people.
    pub ends_wall: Wall,
    /// The key that its tokens are bound to, where its client's are (RFC 9449 §10).
    pub bound_key: Option<BoundKey>,
}

impl Begun {
    /// A transaction that begins now and lives for so long.
    ///
    /// # Errors
    /// [`Reason::Internal`](crate::model::Reason::Internal) without entropy for its key.
    pub fn new(opening: Opening, handle: Handle, (at, wall): (Boot, Wall), ttl: Duration) -> Result<Self, Fault> {
        let bound_key = match (opening.client.bound_tokens, &opening.agent_jkt) {
            (TokenBinding::Dpop, Some(jkt)) => Some(BoundKey::of_agent(jkt.clone())),
            (TokenBinding::Dpop, None) => Some(BoundKey::generate()?),
            _ => None,
        };
        Ok(Self { opening, handle, at, ends: at.plus(ttl), ends_wall: wall.plus(ttl), bound_key })
    }
}

/// The key of one transaction, and of the grant that comes of it: no two share one, so no two can be told to be of one
/// agent, and a key that is lost is one grant's.
pub struct BoundKey {
    /// The key, or who has it.
    pub key: KeyHolder,
    /// Its thumbprint as the authorization request said it (`dpop_jkt`): what the code is bound to.
    pub jkt: String,
}

/// Who has the key of a transaction.
pub enum KeyHolder {
    /// narrowgate.
    Daemon(ProofKey),
    /// The agent, which makes every proof itself.
    Agent,
}

impl BoundKey {
    /// A fresh key.
    ///
    /// # Errors
    /// As [`ProofKey::generate`].
    pub fn generate() -> Result<Self, Fault> {
        ProofKey::generate().map(Self::of_daemon)
    }

    /// A key that narrowgate has.
    #[must_use]
    pub fn of_daemon(key: ProofKey) -> Self {
        let jkt = key.thumbprint().to_owned();
        Self { key: KeyHolder::Daemon(key), jkt }
    }

    /// A key whose agent has proven that it has it.
    #[must_use]
    pub const fn of_agent(jkt: String) -> Self {
        Self { key: KeyHolder::Agent, jkt }
    }

    /// Whether the agent has it.
    #[must_use]
    pub const fn is_agents(&self) -> bool {
        matches!(self.key, KeyHolder::Agent)
    }
}

impl Begun {
    /// The thumbprint of what its tokens are bound to: the certificate, or the key; a bearer token has none.
    #[must_use]
    pub fn holder(&self) -> Option<&str> {
        match self.opening.client.bound_tokens {
            TokenBinding::Unbound => None,
            TokenBinding::Certificate => self.opening.client.thumbprint(),
            TokenBinding::Dpop => self.bound_key.as_ref().map(|bound| bound.jkt.as_str()),
        }
    }
}

impl Opening {
    /// The resource indicator (RFC 8707), where there is one.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        self.api.as_ref().map(|api| api.identifier.as_str())
    }
}

/// A transaction in the store.
pub(super) struct Entry {
    pub(super) begun: Arc<Begun>,
    pub(super) state: Expected,
    pub(super) status: Mutex<Status>,
    /// Attempts so far.
    pub(super) attempts: AtomicU32,
}

/// What marks one attempt, so that the same attempt is recognised when it comes again.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) code_hash: [u8; 32],
    pub(super) request_id: Option<Uuid>,
}

/// What the state of the callback must be.
pub(super) enum Expected {
    /// The one that was minted here.
    State(StateValue),
    /// One with this SHA-256: whoever registered the request minted it.
    Hash([u8; 32]),
}

/// The PKCE secret of a transaction (RFC 7636 §4).
pub(super) enum Pkce {
    /// Minted here.
    Ours(CodeVerifier),
    /// Minted by the front end, which registered its S256 challenge and presents it with the code.
    Registered(String),
}

/// What one attempt needs and no two may have.
pub(super) struct Once {
    pub(super) pkce: Pkce,
    /// Where an ID token is asked for.
    pub(super) nonce: Option<Nonce>,
}

pub(super) enum Status {
    /// Waiting for its code. Verifier and nonce are here until an attempt takes them.
    Open { once: Once, wrong_tries: u8 },
    /// An attempt is under way.
    Locked { attempt: Attempt, done: watch::Receiver<bool> },
    /// Over. The grant is there if the attempt succeeded.
    Terminal { attempt: Option<Attempt>, grant: Option<Handle>, at: Boot },
}
