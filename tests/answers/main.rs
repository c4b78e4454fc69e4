//! The authorization server's answers: malformed, oversized, slow, broader, unbound, redirecting, resetting; and what
//! becomes of the tokens in them.
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

mod client_keys;
mod details_kit;
mod kit;

mod a_bound_token_fits_the_certificate;
mod a_client_shows_its_jwt_svid;
mod a_client_signs_for_itself;
mod a_code_is_never_sent_again;
mod a_jwt_access_token_keeps_to_its_contract;
mod a_moved_endpoint_gets_no_code;
mod a_no_opens_no_connection;
mod a_request_is_signed_where_that_is_registered;
mod an_issuer_strays_only_where_declared;
mod answers_are_capped;
mod authorization_details_are_asked_for_as_declared;
mod authorization_details_only_get_narrower;
mod client_files_are_checked;
mod discovery_reaches_only_where_it_may;
mod each_cause_of_rejected_metadata_is_told;
mod error_answers_become_closed_reasons;
mod lifetimes_are_bounded;
mod metadata_is_believed_strictly;
mod metadata_is_kept_while_it_may_be;
mod metadata_may_not_weaken;
mod nothing_but_the_certificate_authenticates;
mod one_deadline_covers_the_exchange;
mod only_a_trusted_server_gets_the_code;
mod only_a_well_formed_answer_is_a_token;
mod redirects_are_never_followed;
mod refused_tokens_are_revoked;
mod requests_are_pushed_where_that_is_offered;
mod scopes_only_get_narrower;
mod the_token_request_is_one_form;
mod unknown_members_go_nowhere;
mod what_a_client_is_not;
