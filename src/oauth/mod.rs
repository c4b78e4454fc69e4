//! The only room that talks to an authorization server.
//!
//! Invariant: a code leaves only inside a recorded permit, in one POST, to the endpoint captured when the transaction
//! began. A refresh token leaves only inside a recorded permit, one at a time for each grant. A token that policy has
//! not released never leaves this room but to be revoked. Not even an error carries a word of the server's text.

mod answer;
mod authorize;
mod bound;
mod discovery;
mod family;
mod http;
mod issued;
#[cfg_attr(not(test), expect(dead_code, reason = "wired by the ID token change"))]
mod jose;
mod redeem;
mod refresh;
mod refreshed;
mod revoke;
mod servers;
mod strict_json;
mod tls;

pub use answer::{ANSWER_BYTES_MAX, fuzz_answer};
pub use authorize::authorization_url;
pub use discovery::fuzz_metadata;
pub use family::{Family, Turn, Wish};
pub use http::Line;
pub use issued::{Issued, Kept, Tokens};
pub use redeem::NotIssued;
pub use refresh::NotRefreshed;
pub use refreshed::Refreshed;
pub use revoke::{Disposal, Outcome};
pub use servers::AuthorizationServers;
