//! The policy workbench, through the released binary: on narrowgate's own sets and on sets that nobody here wrote.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::string_slice,
    reason = "each test uses a part"
)]

#[path = "../house/mod.rs"]
mod house;

mod comparing;
mod estate;
mod starter;

mod a_broken_solver_is_an_error;
mod a_change_is_compared;
mod a_change_of_a_foreign_set_is_compared;
mod a_no_shows_what_nearly_held;
mod a_request_is_explained;
mod a_starter_set_is_sound;
mod access_is_reviewed;
mod attributes_of_ones_own;
mod cases_are_run_and_counted;
mod cedars_own_tests_run_unchanged;
mod every_mistake_of_a_set_is_found;
mod foreign_sets_are_checked_as_cedar_does;
mod foreign_sets_are_explained;
mod policies_are_laid_out;
