//! What those who write policies ask of a set: whether it is sound, why it answered so, what a change of it would do, and
//! who may have what. Nothing here permits anything.

mod book;
mod clauses;
mod conditions;
mod explain;
mod near;
mod request;
mod review;
mod set;
mod who_can;

pub use book::{Place, PolicyExcerpt};
pub use clauses::Fact;
pub use explain::{DeterminingPolicy, ExplainedDecision, ExplainedQuestion, Explanation, MissingCondition, TermShown};
pub use near::{Missed, NearMiss};
pub use request::Inquiry;
pub use review::{Condition, Entitlement};
pub use set::{Files, Set};
pub use who_can::AccessRow;
