//! Reload, end to end: policies, agents and APIs taken anew while calls go on, whole or not at all.
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
#[path = "../admin/kit.rs"]
mod kit;
#[path = "../process/stepped.rs"]
mod stepped;
#[path = "../house/strace.rs"]
mod strace;
mod swapping;
#[path = "../grants/watching.rs"]
mod watching;

mod a_bad_set_never_replaces_a_good_one;
mod a_changed_estate_is_seen_by_the_next_call;
mod a_daemon_without_a_set_waits_for_one;
mod a_policy_tightened_meanwhile_wins;
mod a_policy_tightened_while_keys_are_fetched_wins;
mod a_reload_storm_mixes_nothing;
mod a_set_is_swapped_whole;
mod a_shadow_only_looks_on;
mod a_weakening_waits_for_an_operator;
mod every_event_of_a_reload_is_valid_ocsf;
mod numbers_say_how_the_files_stand;
mod operators_and_signals_reload;
mod own_attributes_are_taken_anew;
