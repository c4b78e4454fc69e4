use crate::{
    asking::{READ, WRITE, narrow, refused},
    house::{House, eventually, get, write},
    kit::{assert_sealed, crash, granted, plan, restart, restored},
};
use std::fs;
use tonic::Code;

const OWNER: &str = "owner = \"sales\"";
const BOUND: &str = "owner = \"sales\"\ntoken_binding = \"dpop\"";

// rows: RT-02
#[tokio::test]
async fn over_a_stop_and_a_crash() {
    let (mut house, mut agent, grant) = granted(plan("").config(OWNER, BOUND)).await;
    let jkt = narrow(&mut agent, &grant, &[READ]).await.unwrap().token.unwrap().jkt;
    for round in 1..3 {
        let mut agent = if round == 1 { crash(&mut house).await } else { restart(&mut house).await };
        assert_eq!(restored(&house, round).await, (1, 0));
        // The server took the proof of the same key with the refresh token, and bound the new token to it.
        assert_eq!(narrow(&mut agent, &grant, &[WRITE]).await.unwrap().token.unwrap().jkt, jkt);
        assert_sealed(&house);
    }
    assert!(house.server.proofs().iter().all(|proof| proof.jkt() == jkt));
}

// rows: RT-02
#[tokio::test]
async fn or_is_let_go_where_its_client_is_not_bound_so_any_more() {
    for (before, after) in [(OWNER, BOUND), (BOUND, OWNER)] {
        let (mut house, _, grant) = granted(plan("").config(OWNER, before)).await;
        house.stop().await;
        let text = fs::read_to_string(house.path("narrowgate.toml")).unwrap();
        write(&house.path("narrowgate.toml"), &text.replace(before, after));
        crate::kit::again(&mut house).await;
        assert_eq!(restored(&house, 1).await, (0, 1));
        assert_eq!(house.event("grant.dropped").await["unmapped"]["narrowgate"]["why"], "binding");
        revoked(&house).await;
        refused(get(&mut house.agent().await, &grant).await, Code::NotFound, "GRANT_UNKNOWN");
    }
}

async fn revoked(house: &House) {
    eventually("its revocation", || house.server.revocations().pop()).await;
}
