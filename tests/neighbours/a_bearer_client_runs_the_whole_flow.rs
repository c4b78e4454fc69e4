use crate::{
    house::{Plan, get, reason, redeem_request},
    oidc_house::{CRM, OidcHouse, Provider, claims, parameter},
};
use narrowgate::api::proto::{Binding, RevocationOutcome, RevokeGrantRequest};

/// Begin, browser, redeem, get, revoke. The provider's access tokens are JWTs, which it cannot revoke and says so; the
/// refresh token it revokes.
#[tokio::test]
async fn a_bearer_client_runs_the_whole_flow() {
    let oidc = OidcHouse::open(Plan::new(), Provider::default()).await;
    let mut agent = oidc.house.agent().await;
    let begun = oidc.house.begin(&mut agent, &["customers.read", "customers.write"]).await.unwrap();
    let callback = oidc.browse(&begun.authorization_url).await;
    assert_eq!(parameter(&callback, "iss"), oidc.issuer);
    let request = redeem_request(&begun.transaction, &callback);
    let redeemed = agent.redeem_code(request.clone()).await.unwrap().into_inner();
    let token = redeemed.token.unwrap();
    assert_eq!(token.token_type, "Bearer");
    assert_eq!(token.scopes, ["customers.read", "customers.write"]);
    assert_eq!(token.binding().as_str_name(), Binding::Bearer.as_str_name());
    let inside = claims(&token.access_token);
    assert_eq!(
        (&inside["aud"], &inside["sub"], &inside["client_id"]),
        (&CRM.into(), &"ana".into(), &"narrowgate-sales".into())
    );
    assert_eq!(inside["scope"], "customers.read customers.write");
    assert!(inside["cnf"].is_null());
    // The provider issues for an hour; the sample policy lets narrowgate serve it for five minutes.
    let (expires, lease) = (token.expire_time.unwrap().seconds, token.lease_time.unwrap().seconds);
    assert!((3295..=3305).contains(&(expires - lease)), "{expires} {lease}");
    assert!((inside["exp"].as_i64().unwrap() - expires).abs() <= 2);

    assert_eq!(get(&mut agent, &redeemed.grant).await.unwrap().token.unwrap().access_token, token.access_token);
    // The provider takes the whole grant away when a code comes twice: it must never see the second.
    assert_eq!(reason(&agent.redeem_code(request).await.err().unwrap()), "CODE_ALREADY_USED");
    assert_eq!((oidc.counts().token, oidc.counts().revocation), (1, 0));

    let end = RevokeGrantRequest { grant: redeemed.grant.clone(), ..RevokeGrantRequest::default() };
    let ended = agent.revoke_grant(end).await.unwrap().into_inner();
    assert_eq!(ended.access_token().as_str_name(), RevocationOutcome::Unsupported.as_str_name());
    assert_eq!(ended.refresh_token().as_str_name(), RevocationOutcome::Revoked.as_str_name());
    assert_eq!((oidc.counts().token, oidc.counts().revocation), (1, 2));
    assert_eq!(reason(&get(&mut agent, &redeemed.grant).await.err().unwrap()), "GRANT_UNKNOWN");

    for code in ["authorization.decided", "exchange.decided", "token.issued", "token.served", "token.revoked"] {
        oidc.house.event(code).await;
    }
    let secrets = [token.access_token, parameter(&callback, "code"), parameter(&callback, "state")];
    oidc.assert_discreet(&secrets.each_ref().map(String::as_str));
}
