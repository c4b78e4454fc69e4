use crate::{
    house::{COURIER, House, eventually, fact, get, redeem},
    kit::{MAIL, admin, granted, refused},
    swapping::{plan, put},
    watching,
};
use narrowgate::api::proto::ReloadRequest;
use tonic::Code;

/// Closes everything that ends with a token.
async fn tighten(house: &House) {
    let no =
        "@id(\"later\") @code(\"closed\")\nforbid (principal, action in Narrowgate::Action::\"obtain\", resource);";
    put(house, "policies/later.cedar", no);
    let done = admin(house).await.reload(ReloadRequest {}).await.unwrap().into_inner();
    assert_eq!((done.outcome().as_str_name(), done.policy.unwrap().generation), ("OUTCOME_ACTIVATED", 2));
}

// rows: CACH-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_decision_and_post_and_between_post_and_reply() {
    for before_post in [true, false] {
        let house = plan("1h").open().await;
        let mut agent = house.svid_agent(COURIER).await;
        let (transaction, callback) = house.approved(&mut agent, &MAIL).await;
        let connections = house.server.token_connections();
        house.server.hold_handshakes(before_post);
        house.server.set_pause(!before_post);
        let redeeming = tokio::spawn(async move { redeem(&mut agent, &transaction, &callback).await });
        house.event("exchange.decided").await;
        if before_post {
            eventually("the connection", || Some(()).filter(|()| house.server.token_connections() > connections)).await;
        } else {
            eventually("the code at the server", || Some(()).filter(|()| house.server.token_posts() == 1)).await;
        }
        tighten(&house).await;
        house.server.hold_handshakes(false);
        house.server.set_pause(false);
        let status = refused(redeeming.await.unwrap(), Code::PermissionDenied, "POLICY_DENIED");
        assert_eq!(fact(&status, "policy_code").as_deref(), Some("closed"));
        assert!(house.events("token.issued").is_empty());
        // What was issued all the same is revoked, refresh token first.
        eventually("both tokens revoked", || Some(()).filter(|()| house.events("token.revoked").len() == 2)).await;
        let hints: Vec<String> = house.server.revocations().into_iter().map(|(hint, _)| hint).collect();
        assert_eq!(hints, ["refresh_token", "access_token"]);
    }
}

// rows: CACH-04 CACH-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_two_hand_outs_of_one_token() {
    let house = plan("1h").open().await;
    let (mut agent, grant) = granted(&house).await;
    get(&mut agent, &grant).await.unwrap();
    let mut messages = watching::watch(&mut agent, &grant).await.unwrap();
    watching::token(&mut messages).await;
    tighten(&house).await;
    let status = refused(get(&mut agent, &grant).await, Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(fact(&status, "policy_code").as_deref(), Some("closed"));
    let ended = watching::ended(&mut messages).await;
    assert_eq!((ended.reason.as_str(), ended.metadata["policy_code"].as_str()), ("POLICY_DENIED", "closed"));
}
