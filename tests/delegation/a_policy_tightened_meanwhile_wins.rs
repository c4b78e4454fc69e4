use crate::{
    house::{Agent, House, Plan, eventually, fact, write},
    kit::{READ, exchange, obtain, obtain_request, open, refused, request, subject},
};
use serde_json::json;
use tonic::{Code, Status};

/// Closes everything that ends with a token.
async fn tighten(house: &House) {
    let no =
        "@id(\"later\") @code(\"closed\")\nforbid (principal, action in Narrowgate::Action::\"obtain\", resource);";
    let draft = house.path(".draft");
    write(&draft, no);
    std::fs::rename(draft, house.path("policies/later.cedar")).unwrap();
    house.tell(rustix::process::Signal::HUP);
    eventually("the new set", || Some(()).filter(|()| house.events("policy.activated").len() == 2)).await;
}

/// Asks for a token, by exchange or by client credentials. How it went.
async fn ask(agent: &mut Agent, subject: Option<String>) -> Result<(), Status> {
    match subject {
        Some(token) => exchange(agent, request(&token, &[READ])).await.map(drop),
        None => obtain(agent, obtain_request(None, &[READ])).await.map(drop),
    }
}

// rows: CACH-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_a_token_request_leaves_and_before_its_token_is_handed_out() {
    for (is_exchange, before_post) in [(true, true), (true, false), (false, true), (false, false)] {
        let house = open(Plan::new(), "").await;
        let mut agent = house.agent().await;
        let subject = is_exchange.then(|| subject(&house, &json!({})));
        let connections = house.server.token_connections();
        house.server.hold_handshakes(before_post);
        house.server.set_pause(!before_post);
        let asking = tokio::spawn(async move { ask(&mut agent, subject).await });
        house.event("exchange.decided").await;
        if before_post {
            eventually("the connection", || Some(()).filter(|()| house.server.token_connections() > connections)).await;
        } else {
            eventually("the request at the server", || Some(()).filter(|()| house.server.token_posts() == 1)).await;
        }
        tighten(&house).await;
        house.server.hold_handshakes(false);
        house.server.set_pause(false);
        let status = refused(asking.await.unwrap(), Code::PermissionDenied, "POLICY_DENIED");
        assert_eq!(fact(&status, "policy_code").as_deref(), Some("closed"));
        assert!(house.events("token.issued").is_empty());
        if before_post {
            assert_eq!(house.server.token_posts(), 0, "exchange: {is_exchange}");
            assert_eq!(house.events("exchange.failed")[0]["unmapped"]["narrowgate"]["generation"], 2);
        } else {
            house.event("token.revoked").await;
        }
    }
}
