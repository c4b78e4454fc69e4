use crate::{
    house::{COURIER, eventually, redeem},
    kit::{MAIL, admin, plan},
};
use narrowgate::api::proto::DrainRequest;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_is_finished_and_nothing_new_begins() {
    let mut house = plan().open().await;
    let mut admin = admin(&house).await;
    let mut agent = house.svid_agent(COURIER).await;
    let (transaction, callback) = house.approved(&mut agent, &MAIL).await;
    house.server.set_pause(true);
    let redeeming = tokio::spawn(async move { redeem(&mut agent, &transaction, &callback).await });
    eventually("the code at the server", || Some(()).filter(|()| house.server.token_posts() == 1)).await;
    let drained = admin.drain(DrainRequest {}).await.unwrap().into_inner();
    eventually("the stop", || Some(()).filter(|()| house.log().contains("an operator drains it"))).await;
    house.server.set_pause(false);
    redeeming.await.unwrap().unwrap();
    assert_eq!(house.ended().await, Some(0));
    let decided = house.events("admin.decided").pop().unwrap();
    assert_eq!(decided["metadata"]["correlation_uid"], drained.decision_id.as_str());
    assert_eq!(house.events("daemon.stopped").len(), 1);
}
