//! The doors: listeners, TLS, gRPC services, and the one table from reasons to statuses.
//!
//! Invariant: prost types live here alone. A call reaches the corridor only with an attested caller.

mod admin;
mod admin_wire;
mod advice;
mod calls;
mod calm;
mod count;
mod delegated;
mod fuzz;
mod health;
mod method;
mod metrics;
mod mtls;
mod policy;
mod policy_wire;
mod quota;
mod serve;
mod service;
mod status;
mod traced;
mod unix;
mod watch;
mod wire;
mod wire_challenge;
mod wire_proof;
mod wire_reload;

/// The generated protocol.
#[expect(
    unused_qualifications,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    reason = "generated"
)]
pub mod proto {
    tonic::include_proto!("narrowgate.v1");

    /// The protocol's file descriptor set, for tests that walk it.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/narrowgate.v1.fds"));
}

pub use fuzz::fuzz_request;
pub(crate) use health::{ISSUERS_HEADER, POLICY_HEADER};
pub use health::{Readiness, WHY};
pub use metrics::serve_metrics;
pub use mtls::MtlsDoor;
pub use serve::{Door, Doors};
pub use status::{code_of, status_of};
pub use unix::{BindError, UnixDoor};
