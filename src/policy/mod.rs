//! May this be done, and on what terms. The only room that knows Cedar.
//!
//! Invariant: a [`Permitted`], [`BeginPermitted`], [`RefreshPermitted`], [`RequestPermitted`] or [`Released`]
//! exists only if Cedar allowed
//! exactly what it owns, without a single evaluation error, under a strictly validated policy set. There is no pluggable
//! policy port: it would let every implementor mint permits.

mod admin;
mod advice;
mod annotations;
mod ask;
mod asked;
mod case_details;
mod case_parts;
mod case_run;
mod cases;
mod context;
mod depth;
mod details;
mod engine;
#[cfg(test)]
mod engine_attacks;
#[cfg(test)]
mod engine_conditions;
#[cfg(test)]
mod engine_dice;
#[cfg(test)]
mod engine_tests;
#[cfg(test)]
mod engine_worlds;
mod entities;
mod expected;
mod freezes;
mod index;
mod load;
mod operator_cases;
mod outcome;
mod panel;
mod permit;
mod person;
mod policies;
mod proof;
mod question;
mod reads;
mod refresh;
mod register;
mod release;
mod reload;
mod replay;
mod request;
mod schema;
mod shadow;
mod sources;
mod value;
mod verdict;
mod weakening;
mod witness;
pub mod workbench;

pub use admin::{AdminAction, AdminPermitted};
pub use asked::Asked;
pub use context::Facts;
pub use freezes::{Freeze, Freezes};
pub use load::{Snapshot, fuzz_policy_set, load, parses};
pub use permit::{BeginAsk, BeginPermitted, Permitted};
pub use policies::Policies;
pub use proof::{ProofAsk, ProofPermitted};
pub use refresh::{RefreshPermitted, Refreshable};
pub use register::RegisterPermitted;
pub use release::{IssuedFacts, Releasable, Released};
pub use reload::{Failure, Look, Prepared, Standing, Trigger, look, prepare};
pub use request::{RequestPermitted, Requestable, SubjectFacts};
pub use schema::{BASE_SCHEMA, fuzz_custom_schema, schema_of};
pub use shadow::{Differs, Otherwise, Seen, Shadow, ShadowCounts, ShadowStanding, check_shadow};
pub use sources::Sources;
pub use verdict::{DenyKind, Determining, Refused, Verdict};
pub use weakening::{Denials, Pending, Weakened, Weakening};
pub use witness::Witness;
