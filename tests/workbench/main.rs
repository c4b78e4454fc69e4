//! The policy workbench, through the released binary: on narrowgate's own sets and on sets that nobody here wrote.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "each test uses a part"
)]

mod estate;

mod a_no_shows_what_nearly_held;
mod a_request_is_explained;
mod access_is_reviewed;
mod foreign_sets_are_explained;
