use crate::{
    asking::{READ, granted, narrow, refused, until},
    house::{Plan, eventually, get, reason},
};
use tonic::Code;

fn plan(grants: &str) -> Plan {
    Plan::new().config("[limits]", &format!("[grants]\n{grants}\n\n[limits]"))
}

// rows: RT-06
#[tokio::test]
async fn a_grant_that_nobody_asks_for_ends_and_is_revoked() {
    let (house, mut agent, redeemed) = granted(plan("idle_lifetime = \"1s\"")).await;
    let refresh = eventually("the revocation of its refresh token", || {
        let revoked = house.server.revocations();
        revoked.into_iter().find(|(hint, _)| hint == "refresh_token")
    });
    assert!(refresh.await.1.starts_with("canary-rt-"));
    eventually("the revocation of its access token", || {
        house.server.revocations().into_iter().find(|(hint, _)| hint == "access_token")
    })
    .await;
    refused(get(&mut agent, &redeemed.grant).await, Code::NotFound, "GRANT_UNKNOWN");
    assert!(house.server.refreshes().is_empty());
}

// rows: RT-06
#[tokio::test]
async fn a_busy_grant_ends_too() {
    let (house, agent, redeemed) = granted(plan("absolute_lifetime = \"2s\"")).await;
    let status = until("the grant's end", || {
        let (mut agent, grant) = (agent.clone(), redeemed.grant.clone());
        async move { narrow(&mut agent, &grant, &[READ]).await.err() }
    })
    .await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "GRANT_UNKNOWN"));
    // Refresh token, first token, narrowed token.
    eventually("three revocations", || (house.server.revocations().len() == 3).then_some(())).await;
    assert_eq!(house.server.reused_families(), 0);
}
