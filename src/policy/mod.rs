//! May this be done, and on what terms. The only room that knows Cedar.
//!
//! Invariant: a [`Permitted`], [`BeginPermitted`], [`RefreshPermitted`] or [`Released`] exists only if Cedar allowed
//! exactly what it owns, without a single evaluation error, under a strictly validated policy set. There is no pluggable
//! policy port: it would let every implementor mint permits.

mod annotations;
mod ask;
mod asked;
pub mod cases;
mod context;
mod entities;
mod load;
mod panel;
mod permit;
mod person;
mod question;
mod refresh;
mod register;
mod release;
mod replay;
mod verdict;

pub use asked::Asked;
pub use context::Facts;
pub use load::{BASE_SCHEMA, Snapshot, fuzz_policy_set, load, parses};
pub use permit::{BeginAsk, BeginPermitted, Permitted, Policies};
pub use refresh::{RefreshPermitted, Refreshable};
pub use register::RegisterPermitted;
pub use release::{IssuedFacts, Releasable, Released};
pub use verdict::{DenyKind, Determining, Refused, Verdict};
