use crate::{
    asking::{READ, WRITE, granted, narrow, refused},
    house::{Plan, eventually, get},
};
use tonic::Code;

// rows: RT-05
#[tokio::test]
async fn nothing_of_a_refused_family_is_served_again() {
    let (house, mut agent, redeemed) = granted(Plan::new()).await;
    narrow(&mut agent, &redeemed.grant, &[READ]).await.unwrap();
    house.server.end_all_families();
    // What is held is still served: nobody has heard of the end yet.
    narrow(&mut agent, &redeemed.grant, &[READ]).await.unwrap();
    let ended = narrow(&mut agent, &redeemed.grant, &[WRITE]).await;
    refused(ended, Code::FailedPrecondition, "REAUTH_REQUIRED");
    for scopes in [&[][..], &[READ], &[WRITE]] {
        let after = narrow(&mut agent, &redeemed.grant, scopes).await;
        refused(after, Code::FailedPrecondition, "REAUTH_REQUIRED");
    }
    assert_eq!(house.server.refreshes().len(), 2);
    let failed = house.event("exchange.failed").await;
    assert_eq!(failed["status_code"], "REAUTH_REQUIRED");
    assert_eq!(failed["unmapped"]["narrowgate"]["oauth_error"], "invalid_grant");
    // The access tokens that were out are revoked, as the server might still take them.
    eventually("both revocations", || (house.server.revocations().len() == 2).then_some(())).await;
    assert!(house.server.revocations().iter().all(|(hint, _)| hint == "access_token"));
    // It is this grant's end, not the agent's.
    let fresh = house.login(&mut agent, &[READ]).await.unwrap();
    get(&mut agent, &fresh.grant).await.unwrap();
}
