//! An event as the corridor tells it: typed fields only, no free text from outside.

use super::CandidateCode;
use crate::{
    caller::{Attestation, AttestedOperator, Caller},
    config::{Client, Issuer},
    model::{Agent, DecisionId, Fault, Reason, Subject, TraceId, Wall, fault::Detection},
    platform::KeyedHash,
    policy::Verdict,
};
use serde_json::Value;

/// The stable vocabulary of events: `metadata.event_code`. Detections key on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    /// A peer that the registry does not know, or whose credential is missing or over.
    AgentRejected,
    /// Policy was asked whether an authorization may begin.
    AuthorizationDecided,
    /// Policy was asked whether a code may be redeemed. Allowed, it is the intent, durable before the POST.
    ExchangeDecided,
    /// Policy was asked whether a grant may be ended.
    RevocationDecided,
    /// A request that never reached policy: wrong state, replay, bad input on a transaction.
    ExchangeRefused,
    /// The exchange was decided and came to nothing.
    ExchangeFailed,
    /// The daemon died between decision and outcome.
    ExchangeUnknown,
    /// A token was issued and may be handed out.
    TokenIssued,
    /// A token was fetched with a grant's refresh token.
    TokenRefreshed,
    /// A held token was handed out again.
    TokenServed,
    /// A DPoP proof was signed for a held token.
    ProofSigned,
    /// A hand-out of a held token was refused.
    TokenWithheld,
    /// A token was revoked.
    TokenRevoked,
    /// A token could not be revoked.
    TokenRevokeFailed,
    /// A policy set became active.
    PolicyActivated,
    /// A policy set was not taken: at a start, or at a reload.
    PolicyRejected,
    /// An agent or an API is not registered any more; what was held for it is ended.
    RegistrationRemoved,
    /// The daemon started.
    DaemonStarted,
    /// The daemon stopped.
    DaemonStopped,
    /// The log can be written again.
    AuditResumed,
    /// An authorization server failed again and again, and is left alone.
    IssuerUnavailable,
    /// It answered again.
    IssuerRecovered,
    /// Policy was asked whether an operator may do something.
    AdminDecided,
    /// What an operator was allowed to do is done.
    AdminCompleted,
    /// An operator froze an agent, a client or an issuer.
    Frozen,
    /// An operator lifted a freeze.
    Unfrozen,
    /// A client proves itself in a way that is weaker than it need be.
    ClientAuthenticationWeak,
    /// Somebody removed, replaced or changed the file in use.
    AuditFileLost,
    /// Grants of the run before are held again.
    GrantsRestored,
    /// The file that grants are kept in could not be used, and was moved aside.
    GrantStoreRejected,
    /// It cannot be written.
    GrantStoreFailed,
    /// It can be written again.
    GrantStoreResumed,
    /// A grant of the run before is not held any more: what it belonged to is no longer configured, or its outcome never
    /// came on record.
    GrantDropped,
    /// Of a policy set that decides nothing.
    Candidate(CandidateCode),
    /// Something the SOC should look at.
    Detected(Detection),
}

impl Code {
    /// The event code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AgentRejected => "agent.rejected",
            Self::AuthorizationDecided => "authorization.decided",
            Self::ExchangeDecided => "exchange.decided",
            Self::RevocationDecided => "revocation.decided",
            Self::ExchangeRefused => "exchange.refused",
            Self::ExchangeFailed => "exchange.failed",
            Self::ExchangeUnknown => "exchange.unknown",
            Self::TokenIssued => "token.issued",
            Self::TokenRefreshed => "token.refreshed",
            Self::TokenServed => "token.served",
            Self::ProofSigned => "proof.signed",
            Self::TokenWithheld => "token.withheld",
            Self::TokenRevoked => "token.revoked",
            Self::TokenRevokeFailed => "token.revoke_failed",
            Self::PolicyActivated => "policy.activated",
            Self::PolicyRejected => "policy.rejected",
            Self::RegistrationRemoved => "registration.removed",
            Self::DaemonStarted => "daemon.started",
            Self::DaemonStopped => "daemon.stopped",
            Self::AuditResumed => "audit.resumed",
            Self::IssuerUnavailable => "issuer.unavailable",
            Self::IssuerRecovered => "issuer.recovered",
            Self::AdminDecided => "admin.decided",
            Self::AdminCompleted => "admin.completed",
            Self::Frozen => "admin.frozen",
            Self::Unfrozen => "admin.unfrozen",
            Self::ClientAuthenticationWeak => "client.authentication_weak",
            Self::AuditFileLost => "audit.file_lost",
            Self::GrantsRestored => "grants.restored",
            Self::GrantStoreRejected => "grants.store_rejected",
            Self::GrantStoreFailed => "grants.store_failed",
            Self::GrantStoreResumed => "grants.store_resumed",
            Self::GrantDropped => "grant.dropped",
            Self::Candidate(code) => code.as_str(),
            Self::Detected(detection) => match detection {
                Detection::UnknownAgent => "detect.unknown_agent",
                Detection::UnknownOperator => "detect.unknown_operator",
                Detection::PeerChanged => "detect.peer_changed",
                Detection::HumanCaller => "detect.human_caller",
                Detection::BreakGlass => "detect.break_glass",
                Detection::ProxyIdentityHeader => "detect.proxy_identity_header",
                Detection::CrossAgentHandle => "detect.cross_agent_handle",
                Detection::CodeReplay => "detect.code_replay",
                Detection::StateMismatch => "detect.state_mismatch",
                Detection::PkceMismatch => "detect.pkce_mismatch",
                Detection::IssMismatch => "detect.iss_mismatch",
                Detection::RedirectMismatch => "detect.redirect_mismatch",
                Detection::ScopeEscalation => "detect.scope_escalation",
                Detection::JwksChanged => "detect.jwks_changed",
                Detection::JwksRejected => "detect.jwks_rejected",
                Detection::JwksWeakKey => "detect.jwks_weak_key",
                Detection::IdTokenForged => "detect.id_token_forged",
                Detection::MetadataDowngrade => "detect.metadata_downgrade",
                Detection::SubjectTokenMisuse => "detect.subject_token_misuse",
                Detection::ApprovalMisuse => "detect.approval_misuse",
                Detection::DelegationStripped => "detect.delegation_stripped",
                Detection::UnexpectedRefreshToken => "detect.unexpected_refresh_token",
                Detection::UntrustedIssuer => "detect.untrusted_issuer",
            },
        }
    }
}

/// How loud an event is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Normal operation.
    Informational,
    /// A no.
    Low,
    /// Something failed.
    Medium,
    /// Someone should look.
    High,
    /// Someone must look now.
    Critical,
}

/// Who did it.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The agent's id.
    pub agent: String,
    /// The team that answers for it.
    pub owner: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// Its uid, by Unix socket.
    pub uid: Option<u32>,
    /// Its pid when it connected, by Unix socket.
    pub pid: Option<i32>,
    /// Its SPIFFE ID, by mutual TLS.
    pub spiffe_id: Option<String>,
    /// Its address, by mutual TLS.
    pub ip: Option<String>,
    /// Whether this is an operator, and `agent` the operator's id.
    pub is_operator: bool,
}

impl From<&Agent> for Actor {
    /// The agent that something is done for, without a connection of its own.
    fn from(agent: &Agent) -> Self {
        let (groups, owner) = (agent.groups.clone(), agent.owner.to_string());
        Self {
            agent: agent.id.to_string(),
            owner,
            groups,
            uid: None,
            pid: None,
            spiffe_id: None,
            ip: None,
            is_operator: false,
        }
    }
}

impl From<&Caller> for Actor {
    fn from(caller: &Caller) -> Self {
        let agent = caller.agent();
        let (uid, pid, spiffe_id, ip) = match caller.attestation() {
            Attestation::UnixPeer(peer) => (Some(peer.uid), peer.pid, None, None),
            Attestation::SpiffeX509 { svid, ip } => (None, None, Some(svid.spiffe_id.clone()), Some(ip.to_string())),
        };
        let (groups, owner) = (agent.groups.clone(), agent.owner.to_string());
        Self { agent: agent.id.to_string(), owner, groups, uid, pid, spiffe_id, ip, is_operator: false }
    }
}

impl From<&AttestedOperator> for Actor {
    fn from(attested: &AttestedOperator) -> Self {
        let (operator, peer) = (attested.operator(), attested.peer());
        let groups: Vec<String> = operator.teams.iter().map(ToString::to_string).collect();
        Self {
            agent: operator.id.to_string(),
            owner: groups.first().cloned().unwrap_or_default(),
            groups,
            uid: Some(peer.uid),
            pid: peer.pid,
            spiffe_id: None,
            ip: None,
            is_operator: true,
        }
    }
}

/// Through which client, at which issuer.
#[derive(Clone, Debug)]
pub struct ClientFacts {
    /// The client's alias.
    pub alias: String,
    /// Its `client_id`.
    pub client_id: String,
    /// The issuer's identifier.
    pub issuer: String,
    /// The issuer's alias.
    pub issuer_alias: String,
}

impl ClientFacts {
    /// The facts of a client and its issuer.
    #[must_use]
    pub fn of(client: &Client, issuer: &Issuer) -> Self {
        Self {
            alias: client.alias.to_string(),
            client_id: client.client_id.clone(),
            issuer: issuer.url.clone(),
            issuer_alias: issuer.alias.to_string(),
        }
    }
}

/// A token, by keyed reference.
#[derive(Clone, Debug)]
pub struct Session {
    /// The token's keyed reference.
    pub reference: String,
    /// When it was issued.
    pub created: Wall,
    /// When it ends.
    pub expires: Wall,
}

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    /// What happened.
    pub code: Code,
    /// The RPC it happened in.
    pub operation: &'static str,
    /// The exchange it belongs to.
    pub exchange: Option<DecisionId>,
    /// Who.
    pub actor: Option<Actor>,
    /// Through what.
    pub client: Option<ClientFacts>,
    /// For which resource.
    pub resource: Option<String>,
    /// The scopes asked for.
    pub requested: Vec<String>,
    /// The scopes granted.
    pub granted: Vec<String>,
    /// The decision.
    pub verdict: Option<Verdict>,
    /// Why it failed.
    pub reason: Option<Reason>,
    /// The token.
    pub session: Option<Session>,
    /// The person it acts for, by keyed reference: who they are is not the log's to tell.
    pub subject: Option<String>,
    /// How loud.
    pub severity: Severity,
    /// The trace of the call it happened in.
    pub trace: Option<TraceId>,
    /// Further facts, under `unmapped.narrowgate`. Keys from code; values validated or ours.
    pub facts: Vec<(&'static str, Value)>,
}

impl Event {
    /// An event of normal operation.
    #[must_use]
    pub const fn new(code: Code, operation: &'static str) -> Self {
        Self {
            code,
            operation,
            exchange: None,
            actor: None,
            client: None,
            resource: None,
            requested: Vec::new(),
            granted: Vec::new(),
            verdict: None,
            reason: None,
            session: None,
            subject: None,
            severity: Severity::Informational,
            trace: None,
            facts: Vec::new(),
        }
    }

    /// Names who did it.
    #[must_use]
    pub fn by(mut self, caller: &Caller) -> Self {
        self.actor = Some(caller.into());
        self
    }

    /// Names the operator who did it.
    #[must_use]
    pub fn by_operator(mut self, operator: &AttestedOperator) -> Self {
        self.actor = Some(operator.into());
        self
    }

    /// Names the client and issuer.
    #[must_use]
    pub fn through(mut self, client: &Client, issuer: &Issuer) -> Self {
        self.client = Some(ClientFacts::of(client, issuer));
        self
    }

    /// Ties it to an exchange.
    #[must_use]
    pub const fn of(mut self, exchange: DecisionId) -> Self {
        self.exchange = Some(exchange);
        self
    }

    /// Carries the decision; a no is at least low, an evaluation error high.
    #[must_use]
    pub fn decided(mut self, verdict: &Verdict) -> Self {
        self.severity = match verdict {
            v if v.errors > 0 => Severity::High,
            v if v.terms.audit_high || v.terms.notify => Severity::High,
            v if v.denied.is_some() => Severity::Low,
            _ => self.severity,
        };
        self.exchange = Some(verdict.id);
        self.granted = verdict.granted.iter().map(ToString::to_string).collect();
        self.verdict = Some(verdict.clone());
        self
    }

    /// Carries why it failed; what was louder already stays so.
    #[must_use]
    pub fn failed(mut self, fault: &Fault, severity: Severity) -> Self {
        self.reason = Some(fault.reason);
        self.severity = self.severity.max(severity);
        self
    }

    /// Names the person, where an ID token did: the same reference wherever the same issuer says the same `sub`.
    #[must_use]
    pub fn acting_for(mut self, subject: Option<&Subject>, keyed: &KeyedHash) -> Self {
        // An issuer identifier is a URL, so it has no line break.
        self.subject = subject.map(|s| keyed.reference("subject", format!("{}\n{}", s.issuer, s.sub).as_bytes()));
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.facts.push((key, value.into()));
        self
    }
}
