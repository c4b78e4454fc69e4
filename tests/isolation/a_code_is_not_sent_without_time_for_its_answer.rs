use crate::house::{Plan, reason, scripted_as::Setup};
use std::time::Duration;
use tonic::Code;

// rows: TOK-08
#[tokio::test]
async fn and_so_it_is_not_lost() {
    // Within the deadline of two seconds, but not within what connecting may take of it.
    let slow = |setup: &mut Setup<'_>| setup.handshake_delay = Duration::from_millis(1_700);
    let house = Plan::new().config("deadline = \"5s\"", "deadline = \"2s\"").server(slow).open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &["customers.read"]).await;
    for _ in 0..2 {
        let status = crate::house::redeem(&mut agent, &transaction, &callback).await.err().unwrap();
        // The code is kept: the next call finds the same.
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "AS_UNREACHABLE"));
    }
    assert_eq!(house.server.token_posts(), 0);
}
