//! Grants without a person at the front channel, through the released binary: token exchange (RFC 8693), JWT assertions
//! (RFC 7523 §2.1) and client credentials (RFC 6749 §4.4).
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

mod a_freeze_reaches_what_stands_on_a_grant;
mod a_grant_is_narrowed_by_exchange;
mod a_grant_lends_no_more_than_it_has;
mod a_malformed_exchange_goes_nowhere;
mod a_policy_tightened_meanwhile_wins;
mod a_result_ends_with_its_subject;
mod a_subject_token_is_its_agents_own;
mod a_token_is_exchanged_for_fewer_scopes;
mod an_agent_acts_as_itself_by_an_action_of_its_own;
mod an_assertion_is_checked_like_a_subject;
mod every_answer_keeps_to_the_issuers_contract;
mod every_event_of_a_delegation_is_valid_ocsf;
mod scopes_and_targets_only_get_narrower;
mod settings_of_delegation_are_checked;
mod the_answer_is_what_was_asked_for;
