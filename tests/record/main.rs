//! What is recorded, what is said and what never leaks, end to end, through the released binary.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests"
)]
#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses a part of the house")]

#[path = "../house/mod.rs"]
mod house;
mod raw;
#[path = "../house/small_disk.rs"]
mod small_disk;
#[path = "../house/strace.rs"]
mod strace;
mod witness;

mod a_crash_leaves_no_exchange_open;
mod a_deadline_is_a_deadline;
mod a_stop_loses_nothing;
mod decisions_are_durable_before_their_effect;
mod every_event_is_valid_ocsf;
mod health_follows_the_protocol;
mod hostile_text_forges_no_line;
mod large_requests_are_refused;
mod nothing_is_issued_unrecorded;
mod nothing_secret_in_arguments_environment_or_urls;
mod references_are_keyed;
mod secrets_stay_in_message_bodies;
mod statuses_are_fixed;
mod what_fails_fails_closed;
