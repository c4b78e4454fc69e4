use crate::{
    asking::{READ, WRITE, granted, narrow},
    house::{
        House, Plan,
        scripted_as::behaviour::{Behaviour, Script},
    },
};
use narrowgate::api::proto::{RevocationOutcome, RevokeGrantRequest};
use serde_json::{Value, json};

/// The refresh tokens that were used, in order.
fn used(house: &House) -> Vec<String> {
    house.server.refreshes().iter().map(|request| request.param("refresh_token").unwrap().to_owned()).collect()
}

// rows: RT-01
#[tokio::test]
async fn a_new_refresh_token_takes_the_place_of_the_old_one() {
    let (house, mut agent, redeemed) = granted(Plan::new()).await;
    for scopes in [&[READ][..], &[WRITE]] {
        let got = narrow(&mut agent, &redeemed.grant, scopes).await.unwrap();
        let bytes = prost::Message::encode_to_vec(&got);
        assert!(!bytes.windows(10).any(|window| window == b"canary-rt-"));
    }
    let used = used(&house);
    assert_ne!(used[0], used[1]);
    assert_eq!(house.server.reused_families(), 0);
    // Revoking ends what is current: the last refresh token, and every access token.
    let request = RevokeGrantRequest { grant: redeemed.grant, ..RevokeGrantRequest::default() };
    let revoked = agent.revoke_grant(request).await.unwrap().into_inner();
    assert!(revoked.access_token() == RevocationOutcome::Revoked);
    assert!(revoked.refresh_token() == RevocationOutcome::Revoked);
    let revocations = house.server.revocations();
    let (refresh, access): (Vec<_>, Vec<_>) = revocations.into_iter().partition(|(hint, _)| hint == "refresh_token");
    assert_eq!((refresh.len(), access.len()), (1, 3));
    assert!(!used.contains(&refresh[0].1));
}

// rows: RT-01
#[tokio::test]
async fn without_a_new_one_the_old_one_stays() {
    let (house, mut agent, redeemed) = granted(Plan::new()).await;
    house.server.always(Script::Token(Behaviour::NoRefreshToken));
    for scopes in [&[READ][..], &[WRITE]] {
        narrow(&mut agent, &redeemed.grant, scopes).await.unwrap();
    }
    let used = used(&house);
    assert_eq!(used[0], used[1]);
}

// rows: RT-01 INTR-01
#[tokio::test]
async fn an_answer_that_is_refused_has_rotated_all_the_same() {
    let bad: [(&str, Value); 4] =
        [("token_type", json!("mac")), ("expires_in", json!(-1)), ("scope", json!("")), ("access_token", json!("a b"))];
    for (member, value) in bad {
        let (house, mut agent, redeemed) = granted(Plan::new()).await;
        let changes = [(member.to_owned(), value)].into_iter().collect();
        house.server.behave(Script::Token(Behaviour::Members(changes)));
        narrow(&mut agent, &redeemed.grant, &[READ]).await.err().expect(member);
        crate::house::eventually("the revocation", || house.server.revocations().pop()).await;
        assert_eq!(house.server.revocations()[0].0, "access_token", "{member}");
        narrow(&mut agent, &redeemed.grant, &[WRITE]).await.unwrap();
        assert_eq!(house.server.reused_families(), 0, "{member}");
        assert_eq!(house.server.revocations().len(), 1, "{member}");
    }
}

// rows: RT-01
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_after_the_grants_end_is_revoked() {
    let (house, mut agent, redeemed) = granted(Plan::new()).await;
    house.server.set_pause(true);
    let (mut other, grant) = (agent.clone(), redeemed.grant.clone());
    let late = tokio::spawn(async move { narrow(&mut other, &grant, &[READ]).await });
    crate::house::eventually("the refresh", || house.server.refreshes().pop()).await;
    let request = RevokeGrantRequest { grant: redeemed.grant.clone(), ..RevokeGrantRequest::default() };
    let revoke = tokio::spawn(async move { agent.revoke_grant(request).await.unwrap() });
    crate::house::eventually("the revocation on its way", || house.server.revocations().pop()).await;
    house.server.set_pause(false);
    crate::asking::refused(late.await.unwrap(), tonic::Code::NotFound, "GRANT_UNKNOWN");
    revoke.await.unwrap();
    // The old refresh token and first token, then the new refresh token and the narrowed token.
    let revoked = crate::house::eventually("four revocations", || {
        let revoked = house.server.revocations();
        (revoked.len() == 4).then_some(revoked)
    })
    .await;
    let tokens: std::collections::BTreeSet<_> = revoked.iter().map(|(_, token)| token).collect();
    assert_eq!(tokens.len(), 4);
}
