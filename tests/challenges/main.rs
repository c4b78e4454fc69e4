//! What an agent is told to begin after an API answered 401, through the released binary: the catalogue, and the API's
//! own metadata (RFC 9728) over real TLS.
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
mod kit;

mod a_challenge_leads_to_what_is_configured;
mod every_event_of_a_challenge_is_valid_ocsf;
mod metadata_adds_no_trust;
mod metadata_is_fetched_with_care;
mod metadata_is_for_its_own_resource;
mod settings_of_metadata_are_checked;
mod the_command_line_says_what_to_begin;
