//! The exchange, end to end, through the released binary: a code goes in, a narrow token comes out.
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

mod a_code_becomes_a_narrow_token;
mod a_code_has_one_transaction;
mod a_code_is_never_sent_again;
mod a_code_is_not_held_for_long;
mod a_code_is_redeemed_by_its_own_agent_alone;
mod a_code_is_spent_once;
mod a_duration_has_one_spelling;
mod a_failed_exchange_is_over;
mod a_lost_reply_is_recovered;
mod a_request_begun_elsewhere_is_registered;
mod a_token_is_for_one_resource;
mod an_error_callback_is_checked_first;
mod callback_parameters_are_strict;
mod denied_means_not_even_a_connection;
mod hanging_up_before_the_post_spends_nothing;
mod pkce_is_s256_or_nothing;
mod redirect_uris_match_byte_for_byte;
mod scopes_are_decided_one_by_one;
mod state_is_one_time_and_compared;
mod the_callback_page_is_static;
mod the_command_line_asks_only_what_it_cannot_know;
mod the_issuer_is_the_recorded_one;
mod what_never_left_may_be_tried_again;
