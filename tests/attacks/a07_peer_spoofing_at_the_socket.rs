//! A connection is made by one process and used by another; the socket's path is made to lead elsewhere.

use crate::{
    connection::{agent_on, passed_on},
    kit::*,
};
use std::os::unix::fs::{PermissionsExt, symlink};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_worth_as_much_as_the_process_that_made_it() {
    let house = Plan::new().open().await;
    let (stream, mut child) = passed_on(&house.path("run/agent.sock"));
    let mut thief = agent_on(stream).await;
    thief.begin_authorization(begin_request(&[READ])).await.unwrap();
    // Its process ends, and its pid may be anyone's: each call asks again.
    child.kill().unwrap();
    child.wait().unwrap();
    refused(thief.begin_authorization(begin_request(&[READ])).await, Code::Unauthenticated, "PEER_CHANGED");
    assert_eq!(house.event("detect.peer_changed").await["severity"], "High");
}

#[tokio::test]
async fn the_socket_is_not_bound_where_others_could_swap_it() {
    let house = Plan::new().build();
    fs::create_dir(house.path("run")).unwrap();
    fs::set_permissions(house.path("run"), fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(stays_down(&house).await.0, Some(69));
    fs::set_permissions(house.path("run"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink(house.path("elsewhere.sock"), house.path("run/agent.sock")).unwrap();
    assert_eq!(stays_down(&house).await.0, Some(69));
    assert!(!house.path("elsewhere.sock").exists());
}
