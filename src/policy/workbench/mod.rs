//! What those who write policies ask of a set: whether it is sound, why it answered so, what a change of it would do, and
//! who may have what. Nothing here permits anything.

mod book;
mod bundle;
mod cedar_tests;
mod clauses;
mod conditions;
mod coverage;
mod diff;
mod diff_bounds;
mod diff_catalog;
mod diff_lines;
mod diff_process;
mod diff_solver;
mod diff_terms;
mod explain;
mod format;
mod lint;
mod lints;
mod near;
mod plain_cases;
mod request;
mod review;
mod set;
mod starter;
mod suite;
mod who_can;

pub use book::{Place, PolicyExcerpt};
pub use bundle::{Bundled, bundle, policy_digest, schema_digest};
pub use clauses::Fact;
pub use coverage::{Coverage, Covered, CoveredCondition};
pub use diff::{Became, PolicyChange, SetDiff, compare};
pub use diff_bounds::LooseTerms;
pub use diff_solver::{Counterexample, PlainAnswer, Proved, RequestKind, SolverFailure, ask_solver, find_solver};
pub use diff_terms::{AnnotationChange, Lean, of_terms};
pub use explain::{DeterminingPolicy, ExplainedDecision, ExplainedQuestion, Explanation, MissingCondition, TermShown};
pub use format::{Layout, format_file, format_text, policy_files};
pub use lint::{Lint, LintLevel, Linted, check_files, check_own};
pub use near::{Missed, NearMiss};
pub use request::Inquiry;
pub use review::{Condition, Entitlement};
pub use set::{Files, Set};
pub use starter::{STARTER_CONFIG, write_starter};
pub use suite::{CaseResult, TestRun, run_cases};
pub use who_can::AccessRow;
