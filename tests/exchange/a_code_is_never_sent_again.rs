use crate::{
    asking::{READ, ask, refused},
    house::{
        Plan, eventually, redeem, redeem_request,
        scripted_as::behaviour::{Behaviour, Script},
    },
};
use narrowgate::api::proto::RedeemCodeRequest;
use tonic::Code;

// rows: CODE-06
#[tokio::test]
async fn a_connection_that_breaks_after_the_request_ends_the_exchange() {
    for breaking in [Behaviour::ResetAfterRequest, Behaviour::CloseAfterRequest, Behaviour::CutBody] {
        let house = Plan::new().open().await;
        let mut agent = house.agent().await;
        let begun = house.begin(&mut agent, &[READ]).await.unwrap();
        let callback = house.server.approve(&begun.authorization_url);
        house.server.behave(Script::Token(breaking.clone()));
        let id = uuid::Uuid::new_v4().to_string();
        let request =
            || RedeemCodeRequest { request_id: id.clone(), ..redeem_request(&begun.transaction, &callback.url) };
        refused(ask(&mut agent, request()).await, Code::Aborted, "REDEEM_OUTCOME_UNKNOWN");
        let failed = house.event("exchange.failed").await;
        assert_eq!(failed["status_code"], "REDEEM_OUTCOME_UNKNOWN", "{breaking:?}");
        // Again, with and without the same request_id, and with a fresh code: nothing leaves.
        refused(ask(&mut agent, request()).await, Code::AlreadyExists, "CODE_ALREADY_USED");
        let again = redeem(&mut agent, &begun.transaction, &callback).await;
        refused(again, Code::AlreadyExists, "CODE_ALREADY_USED");
        let fresh = house.server.approve(&begun.authorization_url);
        let again = redeem(&mut agent, &begun.transaction, &fresh).await;
        refused(again, Code::FailedPrecondition, "TXN_TERMINAL");
        assert_eq!(house.server.token_posts(), 1, "{breaking:?}");
        // A token that came whole before the rest broke off is revoked, which is a request of its own.
        let revoking = eventually("the revocation", || {
            let expected = u64::from(matches!(breaking, Behaviour::CutBody));
            (house.server.revocation_posts() as u64 == expected).then_some(expected)
        });
        let revoking = revoking.await;
        assert_eq!(house.server.token_connections() as u64, 1 + revoking, "{breaking:?}");
    }
}

// rows: CODE-06
#[tokio::test]
async fn a_server_that_does_not_answer_in_time_is_not_asked_again() {
    let house = Plan::new().config("deadline = \"5s\"", "deadline = \"800ms\"").open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    house.server.set_pause(true);
    refused(redeem(&mut agent, &transaction, &callback).await, Code::DeadlineExceeded, "AS_TIMEOUT");
    house.server.set_pause(false);
    refused(redeem(&mut agent, &transaction, &callback).await, Code::AlreadyExists, "CODE_ALREADY_USED");
    assert_eq!((house.server.token_posts(), house.server.token_connections()), (1, 1));
}

// rows: CODE-06
#[tokio::test]
async fn a_redirect_or_a_busy_server_does_not_bring_the_code_out_again() {
    for (answer, code, reason) in [
        (Behaviour::Status(503), Code::Unavailable, "AS_UNAVAILABLE"),
        (Behaviour::Status(429), Code::Unavailable, "AS_UNAVAILABLE"),
        (Behaviour::Status(500), Code::Internal, "AS_REJECTED"),
        (
            Behaviour::Redirect { status: 307, location: "https://127.0.0.1:1/token".to_owned() },
            Code::Internal,
            "AS_REDIRECT_REFUSED",
        ),
    ] {
        let house = Plan::new().open().await;
        let mut agent = house.agent().await;
        let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
        house.server.behave(Script::Token(answer));
        refused(redeem(&mut agent, &transaction, &callback).await, code, reason);
        refused(redeem(&mut agent, &transaction, &callback).await, Code::AlreadyExists, "CODE_ALREADY_USED");
        assert_eq!((house.server.token_posts(), house.server.token_connections()), (1, 1), "{reason}");
    }
}

// rows: CODE-06
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_daemon_does_not_send_the_code_again() {
    let mut house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    house.server.set_pause(true);
    let (txn, cb) = (transaction.clone(), callback.clone());
    let call = tokio::spawn(async move { redeem(&mut agent, &txn, &cb).await });
    eventually("the POST", || (house.server.token_posts() == 1).then_some(())).await;
    house.signal(rustix::process::Signal::KILL).await;
    assert!(call.await.unwrap().is_err());
    house.server.set_pause(false);
    house.start();
    house.wait_until_serving().await;
    house.event("exchange.unknown").await;
    let mut agent = house.agent().await;
    refused(redeem(&mut agent, &transaction, &callback).await, Code::NotFound, "TXN_UNKNOWN");
    assert_eq!(house.server.token_posts(), 1);
}
