//! What is seen of a call from outside: its trace, its ids, the numbers counted of it, and whether a person makes it.
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

#[path = "../exchange/asking.rs"]
mod asking;
#[path = "../house/mod.rs"]
mod house;

mod a_trace_is_for_people_alone;
mod ids_sort_and_handles_cannot_be_guessed;
mod metrics_have_a_closed_set_of_series;
mod one_peers_connections_leave_room_for_others;
mod people_break_glass_or_stay_out;
