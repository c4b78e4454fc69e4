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

mod a_broken_solver_is_an_error;
mod a_change_is_compared;
mod a_change_of_a_foreign_set_is_compared;
mod comparing;
