//! Sender constraint by proof of possession (RFC 9449): proofs, the nonces that servers want in them, and the one case
//! in which a token request is sent again.
//!
//! Invariant: every request has a proof of its own, made right before it leaves. A nonce goes back to the server that
//! gave it and to no other.

mod nonces;
mod presented;
mod proof;
mod retry;

pub use nonces::{DpopNonce, ResourceNonces};
pub(super) use nonces::{ServerNonce, given};
pub use presented::{BEGIN_TARGET, possession};
pub use proof::{Proven, prove, target};
pub(super) use retry::is_challenge;
