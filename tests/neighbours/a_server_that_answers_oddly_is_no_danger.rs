//! Glewlwyd: `bearer` in lower case, members of its own, 403 with empty bodies, and full scopes whoever asks for fewer.

use crate::{
    glewlwyd_house::GlewlwydHouse,
    house::{House, Plan, fact, get, reason, redeem_request, write},
    oidc_house::CLIENT_NAME,
};
use narrowgate::{
    api::proto::{GetTokenRequest, RedeemCodeResponse, RevocationOutcome, RevokeGrantRequest},
    dev::ca::{Ca, Identity, San},
};
use tonic::{Code, Status};

const OTHER_NAME: &str = "spiffe://acme.test/other";

// rows: TOK-05
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_flow_goes_through() {
    let Some(odd) = GlewlwydHouse::build(Plan::new()) else { return };
    let odd = odd.serve().await;
    let mut agent = odd.house.agent().await;
    let begun = odd.house.begin(&mut agent, &["customers.read"]).await.unwrap();
    let callback = odd.browse(&begun.authorization_url);
    let redeemed = agent.redeem_code(redeem_request(&begun.transaction, &callback)).await.unwrap().into_inner();
    let token = redeemed.token.clone().unwrap();
    // It says "bearer" (RFC 6749 §5.1: the type is case insensitive); narrowgate says it as RFC 6750 does.
    assert_eq!((token.token_type.as_str(), token.scopes), ("Bearer", vec!["customers.read".to_owned()]));
    assert_eq!(get(&mut agent, &redeemed.grant).await.unwrap().token.unwrap().access_token, token.access_token);
    let end = RevokeGrantRequest { grant: redeemed.grant.clone(), ..RevokeGrantRequest::default() };
    let ended = agent.revoke_grant(end).await.unwrap().into_inner();
    assert_eq!(ended.refresh_token().as_str_name(), RevocationOutcome::Revoked.as_str_name());
    assert_eq!(reason(&get(&mut agent, &redeemed.grant).await.err().unwrap()), "GRANT_UNKNOWN");
}

// rows: RT-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_that_was_not_narrowed_is_refused() {
    let Some(odd) = GlewlwydHouse::build(Plan::new()) else { return };
    let odd = odd.serve().await;
    let mut agent = odd.house.agent().await;
    let begun = odd.house.begin(&mut agent, &["customers.read", "customers.write"]).await.unwrap();
    let callback = odd.browse(&begun.authorization_url);
    let redeemed: RedeemCodeResponse =
        agent.redeem_code(redeem_request(&begun.transaction, &callback)).await.unwrap().into_inner();
    let scopes = vec!["customers.read".to_owned()];
    let request = GetTokenRequest { grant: redeemed.grant.clone(), scopes, ..GetTokenRequest::default() };
    let refused = agent.get_token(request).await.err().unwrap();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::FailedPrecondition, "SCOPE_UPGRADED"),
        "{refused:?}"
    );
    assert_eq!(fact(&refused, "scopes").as_deref(), Some("customers.write"));
    odd.house.event("token.revoked").await;
}

/// `unauthorized_client` for an authority it does not know, nothing at all for another client's certificate.
// rows: TOK-09
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_certificate_ends_the_code_whatever_the_server_says_of_it() {
    let rogue = Ca::new("rogue").unwrap();
    let by_rogue = redeemed_with(Plan::new(), |_| rogue.client("narrowgate", &[San::Uri(CLIENT_NAME)]).unwrap()).await;
    let plan = Plan::new().config(CLIENT_NAME, OTHER_NAME);
    let of_another =
        redeemed_with(plan, |house| house.clients_ca.client("other", &[San::Uri(OTHER_NAME)]).unwrap()).await;
    let (Some(by_rogue), Some(of_another)) = (by_rogue, of_another) else { return };
    assert_eq!(
        (by_rogue.code(), reason(&by_rogue).as_str()),
        (Code::Internal, "AS_CLIENT_AUTH_FAILED"),
        "{by_rogue:?}"
    );
    assert_eq!((of_another.code(), reason(&of_another).as_str()), (Code::Internal, "AS_REJECTED"), "{of_another:?}");
}

/// Redeems with this client certificate.
async fn redeemed_with(plan: Plan, identity: impl Fn(&House) -> Identity) -> Option<Status> {
    let odd = GlewlwydHouse::build(plan)?;
    let identity = identity(&odd.house);
    write(&odd.house.path("client.pem"), &identity.certificate_pem);
    write(&odd.house.path("client.key"), &identity.key_pem);
    let odd = odd.serve().await;
    let mut agent = odd.house.agent().await;
    let begun = odd.house.begin(&mut agent, &["customers.read"]).await.unwrap();
    let callback = odd.browse(&begun.authorization_url);
    let request = redeem_request(&begun.transaction, &callback);
    let refused = agent.redeem_code(request.clone()).await.err().unwrap();
    assert_eq!(reason(&agent.redeem_code(request).await.err().unwrap()), "CODE_ALREADY_USED");
    odd.house.event("exchange.failed").await;
    Some(refused)
}
