//! The process itself: what it gives up, what its memory keeps, what it makes of a bad day.
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
#[path = "../house/small_disk.rs"]
mod small_disk;
mod stepped;
#[path = "../house/strace.rs"]
mod strace;
mod the_unit_file_is_hardened;
mod ward;

mod a_bad_day_for_the_log;
mod a_bad_day_for_the_process;
mod a_bad_start_says_why;
mod a_change_of_policy_reaches_those_who_watch;
mod a_demo_that_is_kept_is_private;
mod an_implausible_clock_issues_nothing;
mod check_warns_of_a_bad_day;
mod dev_runs_until_it_is_stopped;
mod memory_and_cores_are_closed;
mod no_program_is_started;
mod secrets_are_wiped;
mod the_boot_clock_decides_what_has_ended;
mod the_environment_opens_nothing;
