//! A decision as everyone else sees it: without Cedar's types.

use super::Asked;
use crate::model::{DecisionId, Fault, Reason, Scope, Terms};
use std::sync::Arc;

/// A policy that determined a decision.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Determining {
    /// Its `@id`.
    pub policy: Arc<str>,
    /// Whether it forbids.
    pub forbids: bool,
}

/// Why the answer was no.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DenyKind {
    /// A forbid matched.
    ForbidMatched,
    /// Nothing permits it.
    NoPermit,
    /// A policy failed to evaluate, or an entity is missing.
    EvalError,
    /// The terms cannot be kept.
    ObligationUnmet,
    /// No policy set is loaded.
    NotLoaded,
}

impl DenyKind {
    /// The word in the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ForbidMatched => "forbid_matched",
            Self::NoPermit => "no_permit",
            Self::EvalError => "eval_error",
            Self::ObligationUnmet => "obligation_unmet",
            Self::NotLoaded => "policy_not_loaded",
        }
    }
}

/// What policy said, and on what grounds.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The decision's id.
    pub id: DecisionId,
    /// SHA-256 of the policy set, in hex.
    pub policy_digest: Arc<str>,
    /// SHA-256 of the schema, in hex.
    pub schema_digest: Arc<str>,
    /// SHA-256 of the agents, clients, APIs and scopes as policies see them, in hex.
    pub entities_digest: Arc<str>,
    /// The policy set's generation.
    pub generation: u64,
    /// The policies that determined it, sorted, each once.
    pub determining: Vec<Determining>,
    /// Scopes allowed.
    pub granted: Vec<Scope>,
    /// Scopes refused, each with its reason code.
    pub refused: Vec<(Scope, String)>,
    /// Why not, if not.
    pub denied: Option<DenyKind>,
    /// Evaluation errors. Any makes the answer no.
    pub errors: usize,
    /// The terms of the permits that hold, merged.
    pub terms: Terms,
    /// The questions that were asked. `None` where the log has them in the event of [`Self::answered_by`], or once they
    /// are on record.
    pub asked: Option<Arc<Asked>>,
    /// The earlier decision whose answers these are: nothing that they hang on was otherwise.
    pub answered_by: Option<DecisionId>,
}

impl Verdict {
    /// The decision without its questions, once they are on record: what is kept for long need not hold them.
    #[must_use]
    pub fn concluded(self) -> Self {
        Self { asked: None, ..self }
    }
}

/// A no.
#[derive(Debug)]
pub struct Refused {
    /// The decision. `None` if no policy set was loaded to ask.
    pub verdict: Option<Verdict>,
    /// What the caller is told.
    pub fault: Fault,
}

impl Refused {
    /// No policy set is loaded.
    #[must_use]
    pub fn not_loaded() -> Self {
        Self { verdict: None, fault: Reason::PolicyNotLoaded.into() }
    }
}
