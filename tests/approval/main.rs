//! Step-up and approval, end to end, through the released binary: a no says what would lift it, and only evidence does.
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

mod a_grant_is_not_widened_by_another;
mod a_no_says_what_would_lift_it;
mod a_record_is_good_for_one_request;
mod approvers_are_checked;
mod approvers_sign_on_the_command_line;
mod every_event_of_an_approval_is_valid_ocsf;
mod the_server_may_want_another_login;
mod token_requests_are_approved_likewise;
mod unclassified_actors_are_restricted;
