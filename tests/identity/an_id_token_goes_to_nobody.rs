use crate::{
    house::{COURIER, begin_request, get, reason, redeem, redeem_request},
    kit::{BOTH, login, param, roomy},
};
use narrowgate::api::proto::{GetTokenRequest, RevokeGrantRequest};
use prost::Message;
use tonic::{Code, Request};

// rows: IDT-10 TOK-12
#[tokio::test]
async fn no_reply_holds_it() {
    let house = roomy("").open().await;
    let mut agent = house.agent().await;
    let begun = house.begin(&mut agent, &BOTH).await.unwrap();
    let callback = house.server.approve(&begun.authorization_url);
    let redeemed = redeem(&mut agent, &begun.transaction, &callback).await.unwrap();
    let again = get(&mut agent, &redeemed.grant).await.unwrap();
    let token = redeemed.token.clone().unwrap().access_token;
    let id_tokens: Vec<String> =
        house.server.secrets().into_iter().filter(|secret| secret.matches('.').count() == 2).collect();
    assert_eq!(id_tokens.len(), 1, "the server issued one");
    let nonce = param(&begun.authorization_url, "nonce").unwrap();
    for reply in [redeemed.encode_to_vec(), again.encode_to_vec()] {
        let reply = String::from_utf8_lossy(&reply).into_owned();
        assert!(reply.contains(&token));
        for secret in id_tokens.iter().chain([&nonce]) {
            assert!(!reply.contains(secret));
        }
        assert!(!reply.contains("canary-sub"), "the agent is not told who the person is");
    }
    // The nonce went out in the URL of the browser, and nowhere else.
    let form = house.server.last_token_request().unwrap();
    assert!(form.param("nonce").is_none() && !String::from_utf8_lossy(&form.body).contains(&nonce));
    house.assert_no_secret_leaked();
}

// rows: IDT-10
#[tokio::test]
async fn as_a_bearer_it_opens_no_door() {
    let house = roomy("").open().await;
    let mut quoter = house.agent().await;
    let redeemed = login(&house, &mut quoter).await.unwrap();
    let id_token = house.server.secrets().into_iter().find(|secret| secret.matches('.').count() == 2).unwrap();
    let bearer = format!("Bearer {id_token}");
    // Another agent stays itself.
    let mut courier = house.svid_agent(COURIER).await;
    let mut request = Request::new(GetTokenRequest { grant: redeemed.grant.clone(), ..GetTokenRequest::default() });
    request.metadata_mut().insert("authorization", bearer.parse().unwrap());
    let status = courier.get_token(request).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "GRANT_UNKNOWN"));
    // And nobody stays nobody.
    let mut stranger = house.svid_agent("spiffe://acme.test/agent/nobody").await;
    let mut request = Request::new(begin_request(&BOTH));
    request.metadata_mut().insert("authorization", bearer.parse().unwrap());
    let status = stranger.begin_authorization(request).await.err().unwrap();
    assert_eq!(reason(&status), "AGENT_UNKNOWN");
    // Nor is it a code, a handle or a grant.
    for (transaction, url) in [(id_token.clone(), "http://127.0.0.1:50123/callback?code=a&state=b".to_owned())] {
        let status = quoter.redeem_code(redeem_request(&transaction, &url)).await.err().unwrap();
        assert_eq!(reason(&status), "TXN_UNKNOWN");
    }
    let request = RevokeGrantRequest { grant: id_token, ..RevokeGrantRequest::default() };
    assert_eq!(reason(&quoter.revoke_grant(request).await.err().unwrap()), "GRANT_UNKNOWN");
}
