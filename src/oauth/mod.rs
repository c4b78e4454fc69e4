//! The only room that talks to an authorization server; and to an API's own, for its metadata alone, and to the server
//! of policy bundles.
//!
//! Invariant: a code leaves only inside a recorded permit, in one POST, to the endpoint captured when the transaction
//! began (`dpop/retry.rs` argues the one exception, an answer by which the server has not used it). A refresh token
//! leaves only inside a recorded permit, one at a time for each grant. A subject token leaves only verified, inside a
//! recorded permit, in one POST. A token that policy has not released never leaves this room but to be revoked. Not even
//! an error carries a word of the server's text.

mod addresses;
mod answer;
mod approval;
mod authorization_details;
mod authorize;
mod believed;
mod bound;
mod breaker;
mod bundle_source;
mod capabilities;
mod challenge;
mod client_assertion;
mod client_authentication;
mod contract;
mod delegated_answer;
mod demand;
mod discovery;
mod dpop;
mod family;
mod http;
mod identity;
mod introspect;
mod issued;
mod jose;
mod jwt_svid;
mod keys;
mod lane;
mod leniency;
mod members;
mod names;
mod obtained;
mod protected_resource;
mod pushed;
mod redeem;
mod refresh;
mod refreshed;
mod rejected;
mod request;
mod request_object;
mod revoke;
mod salvage;
mod servers;
mod step_up;
mod strict_json;
mod subject;
mod tls;
mod turns;
mod wiped;

pub use answer::{ANSWER_BYTES_MAX, fuzz_answer};
pub use approval::{
    ApprovalClaims, ApprovalExpected, VerifiedApproval, invalid as invalid_approval, sign_approval, verify_approval,
};
pub(crate) use authorization_details::kept_details;
pub use authorization_details::{requested_details, supported_details};
pub use authorize::AuthorizationRequest;
pub use bundle_source::{BundleSource, Fetched};
pub use challenge::{CHALLENGE_BYTES_MAX, Challenge, NoChallenge, challenges};
pub use demand::{Demand, RequestedUrl};
pub use discovery::fuzz_metadata;
pub use dpop::{BEGIN_TARGET, DpopNonce, Proven, ResourceNonces, possession, prove, target};
pub use family::{Family, Standing, Turn, Wish};
pub use http::Line;
pub use introspect::Vouched;
pub use issued::{Issued, Kept, Tokens};
pub use jose::{fuzz_id_token, fuzz_keys};
pub use lane::Passage;
pub use obtained::Obtained;
pub use protected_resource::{Found, ProtectedResources, ResourceMetadata, fuzz_resource_metadata, place};
pub use redeem::NotIssued;
pub use refresh::NotRefreshed;
pub use refreshed::Refreshed;
pub use request::{NotObtained, TokenRequest};
pub use revoke::{Disposal, Outcome, Outcomes};
pub use servers::AuthorizationServers;
pub use subject::{PresentedSubject, Purpose, VerifiedSubject};
