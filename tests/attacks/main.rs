//! The forty attacks of the requirement catalogue, as a red team would try them through the released binary. The table is
//! in `README.md`: a file here for each attack that can be tried yet, and for the others what brings what they attack.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests"
)]
#![allow(dead_code, unused_imports, clippy::allow_attributes, reason = "each test binary uses a part of the house")]

#[path = "../answers/kit.rs"]
mod answers;
#[path = "../exchange/asking.rs"]
mod asking;
mod connection;
#[path = "../house/mod.rs"]
mod house;
#[path = "../identity/kit.rs"]
mod identity;
mod kit;
#[path = "../record/raw.rs"]
mod raw;
#[path = "../process/ward.rs"]
mod ward;

mod a01_confused_deputy;
mod a02_code_replay_and_double_spend;
mod a03_fail_open_through_evaluation_errors;
mod a04_scope_upgrade_in_the_answer;
mod a06_mix_up_and_counterfeit_server;
mod a07_peer_spoofing_at_the_socket;
mod a08_secrets_in_logs_and_errors;
mod a09_jwt_bypass_by_odd_claims;
mod a10_algorithm_and_key_confusion;
mod a11_requests_to_inner_hosts;
mod a12_redirect_at_the_token_endpoint;
mod a13_audit_fail_open;
mod a14_audit_injection;
mod a16_prompt_injected_agent;
mod a19_binding_downgrade;
mod a20_forced_ambiguity;
mod a21_redirect_uri_tricks;
mod a22_forged_callback_and_code_injection;
mod a24_identity_that_ended_on_a_live_connection;
mod a25_foreign_trust_domain;
mod a26_metadata_downgrade;
mod a27_memory_disclosure;
mod a28_orphan_tokens_by_cancellation;
mod a29_crash_windows;
mod a31_time_attacks;
mod a32_hostile_slowness;
mod a33_oversized_and_compressed_answers;
mod a34_floods;
mod a35_parameter_and_header_injection;
mod a36_homoglyphs_bidi_and_case;
mod a37_id_token_substitution;
mod a38_connection_reuse;
mod a39_local_surface;
mod a40_config_and_file_swaps;

use std::{collections::BTreeSet, fs, path::Path};

/// What brings the attacks that cannot be tried yet, and the rest of some.
const LATER: [&str; 5] = ["grants", "decisions at cache speed", "audit chain", "policy workbench", "rotation"];

#[test]
fn each_of_the_forty_is_here_or_has_its_time() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attacks");
    let table = fs::read_to_string(folder.join("README.md")).unwrap();
    let main = fs::read_to_string(folder.join("main.rs")).unwrap();
    let mut files = BTreeSet::new();
    let mut numbers = Vec::new();
    for row in table.lines().filter_map(|line| line.strip_prefix("| ")) {
        let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
        let Ok(number) = cells[0].parse::<u32>() else { continue };
        numbers.push(number);
        let mut here = cells[2].split("; the rest with ");
        match here.next().unwrap().strip_prefix('`').and_then(|cell| cell.strip_suffix('`')) {
            Some(file) => {
                assert!(file.starts_with(&format!("a{number:02}_")) && folder.join(file).exists(), "{row}");
                assert!(main.contains(&format!("\nmod {};\n", file.trim_end_matches(".rs"))), "{file} is not run");
                files.insert(file.to_owned());
            }
            None => assert!(LATER.contains(&cells[2]), "{row}"),
        }
        assert!(here.all(|rest| LATER.contains(&rest)), "{row}");
    }
    assert_eq!(numbers, (1..=40).collect::<Vec<_>>(), "each attack once, in order");
    let attack = |name: &String| name.starts_with('a') && name[1..3].parse::<u32>().is_ok();
    let found = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(found.filter(attack).collect::<BTreeSet<_>>(), files, "each file is in the table");
}
