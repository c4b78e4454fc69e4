use crate::house::{Plan, eventually, redeem, redeem_request, scripted_as::Setup};
use std::time::Duration;

// rows: GRPC-05 (decisions 3 and 4)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_gave_up_before_the_post_can_redeem_later() {
    let slow = |setup: &mut Setup<'_>| setup.handshake_delay = Duration::from_millis(600);
    let house = Plan::new().server(slow).open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &["customers.read"]).await;
    let mut request = tonic::Request::new(redeem_request(&transaction, &callback.url));
    request.set_timeout(Duration::from_millis(100));
    assert!(agent.redeem_code(request).await.is_err());
    let failed = eventually("the attempt's end", || house.events("exchange.failed").pop()).await;
    assert_eq!(failed["status_code"], "DEADLINE_EXCEEDED");
    assert_eq!(house.server.token_posts(), 0);
    redeem(&mut agent, &transaction, &callback).await.unwrap();
    assert_eq!(house.server.token_posts(), 1);
}
