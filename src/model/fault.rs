//! A call that failed: a reason of the closed list and facts that help, never text from outside.
//!
//! One type for refusals (the caller), denials (policy) and failures (the server or us): the reason already says who
//! is at fault, and a second enum beside it could disagree.

use super::Reason;
use std::{collections::BTreeMap, time::Duration};

/// Something the SOC wants to know of at once. It goes into the audit log, never to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detection {
    /// The peer is not in the registry.
    UnknownAgent,
    /// A connection outlived the process that made it, or came from another program.
    PeerChanged,
    /// A handle of another agent was presented.
    CrossAgentHandle,
    /// A code seen before was presented again, here or under another transaction.
    CodeReplay,
    /// The state was wrong.
    StateMismatch,
    /// The iss parameter was wrong.
    IssMismatch,
    /// The redirect URI was wrong.
    RedirectMismatch,
    /// The authorization server issued more than allowed.
    ScopeEscalation,
}

/// Why a call failed, and what the caller may know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The reason.
    pub reason: Reason,
    /// Facts: keys from code, values bounded and ours or already validated.
    pub metadata: BTreeMap<&'static str, String>,
    /// The request field at fault and what is wrong with it.
    pub field: Option<(&'static str, String)>,
    /// When trying again can help.
    pub retry_after: Option<Duration>,
    /// What the SOC should know.
    pub detection: Option<Detection>,
}

impl Fault {
    /// A fault with this reason.
    #[must_use]
    pub const fn new(reason: Reason) -> Self {
        Self { reason, metadata: BTreeMap::new(), field: None, retry_after: None, detection: None }
    }

    /// A fault of one request field.
    #[must_use]
    pub fn field(reason: Reason, field: &'static str, wrong: impl Into<String>) -> Self {
        Self { field: Some((field, wrong.into())), ..Self::new(reason) }
    }

    /// Adds a fact.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.metadata.insert(key, value.into());
        self
    }

    /// Says what the SOC should know.
    #[must_use]
    pub const fn detected(mut self, detection: Detection) -> Self {
        self.detection = Some(detection);
        self
    }

    /// Says when to try again.
    #[must_use]
    pub const fn retry_after(mut self, span: Duration) -> Self {
        self.retry_after = Some(span);
        self
    }
}

impl From<Reason> for Fault {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}
