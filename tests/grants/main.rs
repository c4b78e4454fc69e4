//! Grants, through the released binary: the refresh token stays in the daemon, agents get narrow tokens by it.
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

mod asking;
#[path = "../house/mod.rs"]
mod house;

mod a_grant_ends_when_it_is_idle_or_old;
mod a_held_token_is_served_no_longer_than_it_may;
mod a_refresh_token_that_is_refused_ends_the_grant;
mod each_agent_has_tokens_of_its_own;
mod each_refresh_is_a_decision_of_its_own;
mod many_calls_are_one_refresh;
mod narrowing_is_compared_every_time;
mod only_what_was_not_taken_is_tried_again;
mod refresh_tokens_rotate;
mod served_tokens_are_recorded_each;
mod the_issuer_is_asked_again_and_again;
mod tokens_are_fetched_before_they_end;
