//! Signed bundles, end to end: made, signed and verified by the commands, taken by the daemon from a file and over HTTPS.
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
mod packing;
#[path = "../house/shelf.rs"]
mod shelf;
#[path = "../reload/swapping.rs"]
mod swapping;

mod a_bad_bundle_never_replaces_a_good_one;
mod a_bundle_comes_over_https;
mod attributes_of_ones_own_come_with_it;
mod no_older_bundle_is_taken;
mod the_same_files_are_the_same_bundle;
