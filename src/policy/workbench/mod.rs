//! What those who write policies ask of a set: whether it is sound, why it answered so, what a change of it would do, and
//! who may have what. Nothing here permits anything.

mod bundle;
mod set;

pub use bundle::{Bundled, bundle, policy_digest};
pub use set::{Files, Set};
