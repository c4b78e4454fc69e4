//! ID tokens, end to end, through the released binary: who logged in is known from a verified token alone, and to
//! policy alone.
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

mod a_cure_is_named_where_it_cures;
mod a_persons_facts_reach_policy_after_the_id_token;
mod a_refresh_names_the_same_person;
mod a_refused_id_token_leaves_nothing;
mod an_agent_may_ask_for_a_fresh_or_strong_login;
mod an_id_token_goes_to_nobody;
mod capabilities_need_a_permit_of_their_own;
mod cases_may_name_the_person;
mod every_event_of_an_identity_is_valid_ocsf;
mod keys_are_believed_for_a_while;
mod no_code_is_spent_without_keys;
mod settings_of_id_tokens_are_checked;
mod two_issuers_never_share_a_person;
