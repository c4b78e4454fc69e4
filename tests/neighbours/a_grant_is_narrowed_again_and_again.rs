use crate::{
    house::{Plan, redeem_request},
    oidc_house::{OidcHouse, Provider, claims},
};
use narrowgate::api::proto::{GetTokenRequest, RevocationOutcome, RevokeGrantRequest};

/// A provider that rotates refresh tokens, and ends the grant when an old one comes again: each narrower token is a
/// refresh, and the last refresh token is the one that is revoked.
// rows: RT-03 RT-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_is_narrowed_again_and_again() {
    let oidc = OidcHouse::open(Plan::new(), Provider::default()).await;
    let mut agent = oidc.house.agent().await;
    let begun = oidc.house.begin(&mut agent, &["customers.read", "customers.write"]).await.unwrap();
    let callback = oidc.browse(&begun.authorization_url).await;
    let redeemed = agent.redeem_code(redeem_request(&begun.transaction, &callback)).await.unwrap().into_inner();
    let mut secrets = vec![redeemed.token.unwrap().access_token];
    for (posts, scopes) in [["customers.read"], ["customers.write"]].into_iter().enumerate() {
        let scopes = scopes.map(str::to_owned).to_vec();
        let request = GetTokenRequest { grant: redeemed.grant.clone(), scopes, ..GetTokenRequest::default() };
        let calls: Vec<_> = (0..8)
            .map(|_| {
                let (mut agent, request) = (agent.clone(), request.clone());
                tokio::spawn(async move { agent.get_token(request).await.unwrap().into_inner().token.unwrap() })
            })
            .collect();
        for call in calls {
            let token = call.await.unwrap();
            assert_eq!(claims(&token.access_token)["scope"], request.scopes[0]);
            assert_eq!(token.scopes, request.scopes);
            secrets.push(token.access_token);
        }
        assert_eq!(oidc.counts().token, 2 + posts as u64, "eight calls are one refresh");
    }
    let end = RevokeGrantRequest { grant: redeemed.grant, ..RevokeGrantRequest::default() };
    let ended = agent.revoke_grant(end).await.unwrap().into_inner();
    assert_eq!(ended.refresh_token().as_str_name(), RevocationOutcome::Revoked.as_str_name());
    assert_eq!(oidc.house.events("token.refreshed").len(), 2);
    oidc.assert_discreet(&secrets.iter().map(String::as_str).collect::<Vec<_>>());
}
