//! Policy, end to end, through the released binary: what loads, who is asked and when, and what a no means.
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

mod a_decision_is_found_again;
mod a_no_says_why;
mod a_policy_ends_at_its_date;
mod an_evaluation_error_denies;
mod check_refuses_what_serve_refuses;
mod decisions_can_be_asked_again;
mod every_hand_out_asks_again;
mod ids_are_data;
mod mistakes_are_reported_at_once;
mod only_valid_policies_load;
mod policy_is_asked_before_the_server_and_after;
mod terms_are_kept;
mod terms_on_a_gate_count;
mod the_cedar_command_line_says_the_same;
mod what_is_too_large_is_not_asked;
mod what_the_caller_says_is_no_evidence;
mod without_policies_nothing_is_served;

use house::House;
use serde_json::Value;

/// What `narrowgate check` said.
struct Checked {
    exit: i32,
    text: String,
}

/// Runs `narrowgate check` on a house's files.
fn check(house: &House, arguments: &[&str]) -> Checked {
    let output = house.command("check").args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    Checked { exit: output.status.code().unwrap(), text }
}

/// The exit code and the mistakes that `narrowgate check` lists as JSON.
fn findings(house: &House) -> (i32, Vec<Value>) {
    let checked = check(house, &["--output", "json"]);
    let value: Value = serde_json::from_str(&checked.text).unwrap_or_else(|e| panic!("{e}: {}", checked.text));
    assert_eq!(value["valid"], checked.exit == 0, "{value}");
    (checked.exit, value["findings"].as_array().unwrap().clone())
}

/// Line and column of a piece of a text, from 1.
fn place(text: &str, piece: &str) -> (usize, usize) {
    let at = text.find(piece).unwrap_or_else(|| panic!("no {piece:?} in the file"));
    let line = text[..at].matches('\n').count() + 1;
    let column = text[..at].rsplit('\n').next().unwrap().chars().count() + 1;
    (line, column)
}
