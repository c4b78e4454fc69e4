//! Who is calling: the transport alone says so, and nobody else gets anything.
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

#[path = "../exchange/asking.rs"]
mod asking;
#[path = "../house/mod.rs"]
mod house;
#[path = "../record/raw.rs"]
mod raw;
mod who_is_not_registered_learns_no_issuer;
mod wire;

mod a_connection_ends_with_its_process;
mod a_credential_counts_at_every_call;
mod a_flood_is_its_senders_alone;
mod a_handle_belongs_to_its_caller;
mod a_hostile_connection_ends_alone;
mod a_peer_without_credentials_is_refused;
mod a_token_goes_to_the_stream_that_asked;
mod an_unregistered_caller_is_denied_first;
mod compression_is_off;
mod no_browser_gets_in;
mod only_the_transport_names_the_caller;
mod proxy_headers_are_no_identity;
mod tcp_is_mutual_tls_or_nothing;
mod the_socket_is_bound_only_in_a_safe_place;
