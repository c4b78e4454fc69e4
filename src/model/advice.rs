//! What would turn a no into a yes: told to the agent as a typed detail of the error, so that it can act on it.

use std::time::Duration;

/// What a caller can do about a refusal. Both may be needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advice {
    /// The person must log in more strongly, or anew.
    pub step_up: Option<StepUp>,
    /// A person must approve the request.
    pub approval: Option<ApprovalWanted>,
}

/// A login that would do (RFC 9470 §3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepUp {
    /// One of these must be how the person logs in; empty where any will do.
    pub acr_values: Vec<String>,
    /// How long ago the person may have logged in.
    pub max_age: Option<Duration>,
}

/// An approval that would do: a record of a configured approver about exactly this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalWanted {
    /// What is to be approved, in words that an approver can read. Empty where only a request that is begun anew can be
    /// approved.
    pub request: String,
    /// Its digest, as the record names it; empty likewise.
    pub request_digest: String,
    /// The policy set that it is approved under.
    pub policy_digest: String,
}

impl Advice {
    /// To log in so.
    #[must_use]
    pub const fn step_up(acr_values: Vec<String>, max_age: Option<Duration>) -> Self {
        Self { step_up: Some(StepUp { acr_values, max_age }), approval: None }
    }
}
