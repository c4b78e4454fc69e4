//! Isolation between authorization servers: however slow or dead one is, calls to the others do not notice.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]
#![allow(
    dead_code,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::allow_attributes,
    reason = "each test binary uses a part of the house"
)]

#[path = "../house/mod.rs"]
mod house;
#[path = "../house/two.rs"]
mod two;

mod a_busy_server_refuses_and_loses_nothing;
mod a_code_is_not_sent_without_time_for_its_answer;
mod a_dead_server_is_alone;
mod a_storm_costs_no_grant;
mod a_storm_opens_the_circuit;
mod the_circuit_closes_by_itself;
mod two_issuers_share_no_connection;

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// How the agents of a server that is left alone are refused: at once, before anything is spent, and told when to
/// come back, which is not later than a minute.
pub(crate) fn assert_left_alone(status: &Status) -> std::time::Duration {
    assert_eq!((status.code(), house::reason(status).as_str()), (Code::Unavailable, "AS_UNREACHABLE"));
    assert_eq!(house::fact(status, "circuit").as_deref(), Some("open"));
    let wait = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(!wait.is_zero() && wait <= std::time::Duration::from_secs(60), "{wait:?}");
    wait
}
