//! What we hold for agents: the tokens of released exchanges, known to their agent by an opaque handle.
//!
//! Invariant: a token is kept only as a [`Released`](crate::policy::Released) ticket brought it, and found only by
//! the agent it was released to.

mod durable;
mod ending;
mod entry;
mod held;
mod key;
mod proof;
mod reckoning;
mod refreshing;
mod reply;
mod restoring;
mod saved;
mod standing;
mod store;
mod watching;

pub use durable::{Durable, OpenedStore, Records, open_store};
pub use ending::{EndedBy, Ending, GrantFilter, GrantSummary};
pub use entry::Grant;
pub use held::Held;
pub use proof::Signed;
pub use refreshing::{Missing, Place};
pub use reply::{By, Delivery, HandOut, Reply};
pub use restoring::Departed;
pub use standing::Lendable;
pub use store::{Ended, Found, GrantBounds, Grants, HANDLE_PREFIX, Unserved, Wanted};
pub use watching::{Standing, Watched};
