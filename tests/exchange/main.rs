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

#[path = "../house/mod.rs"]
mod house;

mod a_code_becomes_a_narrow_token;
