//! Sender constraint by DPoP (RFC 9449), through the released binary: proofs for the authorization server and for resource
//! servers, verified there.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests"
)]
#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses a part of the house")]

#[path = "../house/mod.rs"]
mod house;
mod kit;
#[path = "../house/two.rs"]
mod two;

mod a_grants_key_is_its_own;
mod a_nonce_is_tried_once;
mod agents_may_have_the_key;
mod dpop_is_not_given_up;
mod every_event_of_a_proof_is_valid_ocsf;
mod every_request_has_its_own_proof;
mod nonces_belong_to_their_server;
mod proofs_are_signed_for_the_callers_own_token;
