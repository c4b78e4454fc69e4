//! Grants that outlive the daemon, through the released binary: `[grants] store = "file"`.
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

#[path = "../admin/kit.rs"]
mod administering;
#[path = "../grants/asking.rs"]
mod asking;
#[path = "../house/mod.rs"]
mod house;
mod kit;
#[path = "../house/small_disk.rs"]
mod small_disk;
#[path = "../process/stepped.rs"]
mod stepped;
#[path = "../house/strace.rs"]
mod strace;

mod a_bound_grant_keeps_its_key;
mod a_crash_leaves_the_old_token_or_the_new;
mod a_disk_that_fails_loses_no_grant;
mod a_file_that_is_not_sound_is_moved_aside;
mod a_freeze_reaches_the_file;
mod a_new_certificate_serves_nothing_of_the_old;
mod a_restored_grant_is_judged_as_before;
mod authorization_details_survive_a_restart;
mod every_event_of_the_store_is_valid_ocsf;
mod grants_survive_a_restart;
mod no_restart_makes_a_grant_live_longer;
mod the_key_is_private_and_in_one_place;
mod what_is_no_longer_configured_is_let_go;
mod what_is_taken_away_is_on_disk_or_not_done;
