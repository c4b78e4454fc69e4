//! Killed, cancelled, stopped: whatever ends an exchange early, nothing is lost and nothing is issued off the record.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests"
)]
#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses a part of the house")]

#[path = "../house/mod.rs"]
mod house;
mod ledger;

mod phase;
#[path = "../house/strace.rs"]
mod strace;

mod a_slow_disk_loses_no_decision;
mod every_cancel_point;
mod hanging_up_at_any_phase;
mod kill_at_any_moment;
mod killed_at_each_phase;
mod nobody_holds_the_audit_thread_up;
mod stopping_at_any_phase;

/// The plan of these tests. A disk that crashes and neighbours keep busy is not what they are about.
fn plan() -> house::Plan {
    house::Plan::new().config("commit_timeout = \"5s\"", "commit_timeout = \"30s\"")
}
