//! What we hold for agents: the tokens of released exchanges, known to their agent by an opaque handle.
//!
//! Invariant: a token is kept only as a [`Released`](crate::policy::Released) ticket brought it, and found only by
//! the agent it was released to.

mod reply;
mod store;

pub use reply::{Delivery, HandOut, Reply};
pub use store::{Ended, Grant, Grants, HANDLE_PREFIX, Wanted};
