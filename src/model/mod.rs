//! The words of the trade as types. Pure: no tokio, tonic, Cedar, hyper or serde.
//!
//! Invariant: a value that exists is valid. Each type has one fallible constructor and no `validate`.

pub mod advice;
pub mod agent;
pub mod algorithm;
pub mod approval;
pub mod authorization_details;
pub mod binding;
pub mod by_agent;
pub mod custom;
pub mod fault;
pub mod id;
pub mod login;
pub mod operator;
pub mod quota;
pub mod reason;
pub mod redirect;
pub mod scope;
pub mod secret;
pub mod subject;
pub mod terms;
pub mod time;
pub mod token_type;
pub mod trace;

pub use advice::{Advice, ApprovalWanted, StepUp};
pub use agent::{Agent, Claimed, Environment};
pub use algorithm::{Algorithm, Algorithms};
pub use approval::{APPROVAL_LIFETIME_MAX, Approvable, Approval, ApproverId};
pub use authorization_details::{Amount, AuthorizationDetails, Comparator, Detail, DetailValue, DetailsType};
pub use binding::TokenBinding;
pub use by_agent::{ByAgent, Owned};
pub use custom::{Custom, CustomValue};
pub use fault::Fault;
pub use id::{AgentId, ApiAlias, ClientAlias, DecisionId, Handle, IssuerAlias, OperatorId, TeamId};
pub use login::{LoginDemand, Prompt};
pub use operator::{FreezeTarget, Operator};
pub use quota::AgentQuota;
pub use reason::Reason;
pub use redirect::{PinnedRedirect, RedirectUri};
pub use scope::{Scope, ScopeSet};
pub use secret::{
    AccessToken, ApprovalRecord, AuthorizationCode, ClientAssertion, ClientSecret, CodeVerifier, DpopProof, IdToken,
    Nonce, RefreshToken, Secret, StateValue, SubjectToken,
};
pub use subject::Subject;
pub use terms::{ProofDemand, Terms};
pub use time::{Boot, Wall};
pub use token_type::TokenType;
pub use trace::TraceId;
