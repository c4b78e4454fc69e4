//! Nothing happens unrecorded.
//!
//! Invariant: a [`Recorded`] exists only if the event that describes exactly what it owns has survived fdatasync.
//! One thread owns the file; the queue before it is bounded; what cannot be written is not done.

mod candidate;
mod check;
mod correlation;
mod decision;
mod describe;
mod diff;
mod event;
mod line;
mod lookup;
mod ocsf;
mod record;
mod recover;
mod replay;
mod segment;
mod tree;
mod words;
mod writer;

pub use candidate::CandidateCode;
pub use check::{Checked, self_check};
pub use correlation::CorrelationKey;
pub use decision::decision_facts;
pub use diff::{Asker, Moved, Redecided, Way, redecide};
pub use event::{Actor, ClientFacts, Code, Event, Session, Severity};
pub use lookup::{LOOKUP_BYTES_MAX, RecordedDecision, look_up};
pub use record::{Auditable, Queueable, Recorded, Recorder};
pub use recover::OpenExchange;
pub use replay::{Decision, Difference, Line, Questions, read_log};
pub use writer::{Installation, Sink, StartError, open};
