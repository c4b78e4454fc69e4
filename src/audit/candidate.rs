//! Events about a policy set that decides nothing: the shadow, and one that waits for an operator. Whoever reads them must
//! not take them for a decision: they have no disposition, no authorizations, and a status of their own.

use super::{
    Code, Event,
    tree::{Members, Tree, put, tree},
    words::fact,
};

/// What is told of a policy set that decides nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CandidateCode {
    /// A shadow set is compared with the active one from now on.
    ShadowLoaded,
    /// The shadow set has mistakes, and nothing is compared.
    ShadowRejected,
    /// The shadow set would have decided otherwise. Nothing of it was enforced.
    ShadowDiffered,
    /// Decisions were not compared, or differences not recorded one by one.
    ShadowIncomplete,
    /// A set that allows what was denied of late waits for an operator.
    ActivationRefused,
}

impl CandidateCode {
    /// The event code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ShadowLoaded => "policy.shadow_loaded",
            Self::ShadowRejected => "policy.shadow_rejected",
            Self::ShadowDiffered => "policy.shadow_differed",
            Self::ShadowIncomplete => "policy.shadow_incomplete",
            Self::ActivationRefused => "policy.activation_refused",
        }
    }

    /// Activity id and name.
    pub(super) const fn activity(self) -> (u8, &'static str) {
        match self {
            Self::ShadowLoaded | Self::ShadowRejected | Self::ActivationRefused => (3, "Update"),
            Self::ShadowDiffered | Self::ShadowIncomplete => (99, "Shadow evaluation"),
        }
    }

    /// The sentence.
    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::ShadowLoaded => "A shadow policy set is compared with the active one; it decides nothing",
            Self::ShadowRejected => "The shadow policy set was rejected; the active one is not affected",
            Self::ShadowDiffered => "The shadow policy set would have decided otherwise; nothing of it was enforced",
            Self::ShadowIncomplete => "Not every decision was compared with the shadow policy set",
            Self::ActivationRefused => {
                "A policy set that allows what was denied of late is not active: it waits for an operator"
            }
        }
    }

    const fn status(self) -> (u8, &'static str) {
        match self {
            Self::ShadowLoaded => (1, "Success"),
            Self::ShadowRejected | Self::ActivationRefused => (2, "Failure"),
            Self::ShadowDiffered | Self::ShadowIncomplete => (99, "Not enforced"),
        }
    }
}

/// Puts what the event is about, and how it came out.
pub(super) fn entity<'e>(event: &'e Event, code: CandidateCode, record: &mut Members<'e>) -> Tree<'e> {
    let (status_id, status) = code.status();
    put(record, "status_id", status_id);
    put(record, "status", status);
    let name = if code == CandidateCode::ActivationRefused { "policies" } else { "shadow policies" };
    tree!({ "name": name, "uid": fact(event, "policy_digest"), "type_id": 5, "type": "Policy" })
}

impl From<CandidateCode> for Code {
    fn from(code: CandidateCode) -> Self {
        Self::Candidate(code)
    }
}
