//! Operators, through the released binary: who is one, what each may do, and that the kill switch kills.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::string_slice,
    clippy::print_stderr,
    reason = "each test binary uses a part of the house"
)]

#[path = "../house/mod.rs"]
mod house;
mod kit;
#[path = "../house/strace.rs"]
mod strace;
#[path = "../grants/watching.rs"]
mod watching;

mod a_drain_is_an_orderly_stop;
mod a_freeze_ends_a_watch_at_once;
mod a_freeze_overtakes_what_is_under_way;
mod a_freeze_stops_everything_at_once;
mod a_freeze_survives_a_crash;
mod a_frozen_agent_is_told_nothing_to_begin;
mod a_frozen_front_end_registers_nothing;
mod agents_are_no_operators;
mod an_unfreeze_is_seen_through;
mod grants_are_revoked_by_fingerprint;
mod grants_say_that_they_end;
mod policy_is_explained_to_operators_alone;
mod the_command_line_says_what_was_done;
mod what_operators_do_is_recorded;
