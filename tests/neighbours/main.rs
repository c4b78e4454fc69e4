//! The exchange among neighbours it was not made with: a certified OpenID provider (oidc-provider on Node) behind
//! mutual TLS, and the gRPC clients that agents have in stock (grpcio, grpc-js). `tests/run` brings all of them.
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

mod glewlwyd_house;
mod oidc_house;
mod stock_agent;
mod tools;

mod a_bearer_client_runs_the_whole_flow;
mod a_bound_client_gets_the_certificates_own_token;
mod a_certified_provider_names_the_person;
mod a_dpop_client_proves_itself_to_both_servers;
mod a_grant_is_narrowed_again_and_again;
mod a_provider_says_which_details_it_granted;
mod a_server_that_answers_oddly_is_no_danger;
mod a_signing_client_pushes_its_requests;
mod a_wrong_certificate_is_told_as_such;
mod agents_come_by_mutual_tls;
mod an_agent_delegates_and_acts_as_itself;
mod stock_clients_need_nothing_made_for_narrowgate;
mod the_audit_log_of_a_flow_is_valid_ocsf;
mod the_person_has_the_last_word;
