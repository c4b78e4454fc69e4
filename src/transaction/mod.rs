//! Authorization requests begun and not yet finished, and the memory of codes already seen.
//!
//! Invariant: a [`Claim`] exists only while its transaction is locked for this one attempt of the caller that began
//! it, after state, `iss`, redirect URI and age have matched. Everything is in memory: a restart voids it.

pub mod callback;
mod entry;
mod registered;
mod settle;
mod store;

pub use callback::Callback;
pub use entry::{Begun, BoundKey, KeyHolder, Opening};
pub use registered::Registration;
pub use settle::{Claim, Closing, HANDLE_PREFIX, Presented, Settled, Spent, Waiting};
pub use store::{Bounds, Minted, Provisional, Transactions};
