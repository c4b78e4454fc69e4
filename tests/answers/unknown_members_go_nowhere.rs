use crate::{
    house::{
        Plan, get,
        scripted_as::behaviour::{Behaviour, Script},
    },
    kit::{READ, assert_holds_only, facts, member},
};
use narrowgate::api::proto::RevokeGrantRequest;
use prost::Message;
use serde_json::json;

// rows: TOK-12
#[tokio::test]
async fn only_the_access_token_is_handed_out() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let secret = member("x_secret", json!("canary-x-secret"));
    house.server.behave(Script::Token(Behaviour::All(vec![Behaviour::ExtraMembers, secret])));
    let redeemed = house.login(&mut agent, &[READ]).await.unwrap();
    let token = redeemed.token.clone().unwrap();
    assert_eq!((token.token_type.as_str(), token.scopes.as_slice()), ("Bearer", [READ.to_owned()].as_slice()));
    assert_holds_only(&house, &redeemed, &token.access_token);
    let again = get(&mut agent, &redeemed.grant).await.unwrap();
    assert_holds_only(&house, &again, &token.access_token);
    for reply in [redeemed.encode_to_vec(), again.encode_to_vec()] {
        let reply = String::from_utf8_lossy(&reply);
        for word in ["canary-idt", "canary-rt", "canary-x-secret", "elsewhere.example", "everything"] {
            assert!(!reply.contains(word), "{word} was forwarded");
        }
    }
    let issued = house.event("token.issued").await;
    assert_eq!(facts(&issued)["refresh_token_held"], true);
    house.assert_no_secret_leaked();
    // The refresh token was kept to be revoked with its grant, and for nothing else.
    agent.revoke_grant(RevokeGrantRequest { grant: redeemed.grant, ..Default::default() }).await.unwrap();
    let revoked = house.server.revocations();
    assert_eq!(revoked.iter().map(|(hint, _)| hint.as_str()).collect::<Vec<_>>(), ["refresh_token", "access_token"]);
    assert_eq!(revoked[1].1, token.access_token);
}
