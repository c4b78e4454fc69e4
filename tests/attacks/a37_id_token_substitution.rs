//! Somebody between us and the server puts another ID token into the answer: the one of another login, which is genuine
//! in every word; one for another client; one that came with another access token.

use crate::{
    identity::{BOTH, claims, login, object, refuses, roomy},
    kit::*,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// The ID token of the login with this nonce, as the server made it, and its claims.
fn made_for(house: &House, nonce: &str) -> (String, Value) {
    let claims = |token: &String| {
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
        serde_json::from_slice::<Value>(&payload).ok()
    };
    let tokens = house.server.secrets().into_iter().filter_map(|token| claims(&token).map(|claims| (token, claims)));
    tokens.into_iter().find(|(_, claims)| claims["nonce"] == nonce).unwrap()
}

#[tokio::test]
async fn an_id_token_is_good_for_its_own_login_alone() {
    let house = roomy("").open().await;
    let (mut agent, mut thief) = (house.agent().await, house.svid_agent(COURIER).await);
    // A person logs in, and the thief has seen the answer.
    house.server.behave(Script::Token(Behaviour::JwtBound { thumbprint: None }));
    let begun = house.begin(&mut agent, &BOTH).await.unwrap();
    let nonce = param(&begun.authorization_url, "nonce").unwrap();
    redeem(&mut agent, &begun.transaction, &house.server.approve(&begun.authorization_url)).await.unwrap();
    let (stolen, words) = made_for(&house, &nonce);
    for caller in [&mut thief, &mut agent] {
        let replayed = Forgery::Instead(json!(stolen));
        refuses(&house, caller, replayed, "NONCE_MISMATCH", "nonce").await;
    }
    // The login is the thief's own; the access token is not the one it came with.
    let swapped = claims(json!({"at_hash": words["at_hash"]}));
    refuses(&house, &mut thief, swapped, "AT_HASH_MISMATCH", "at_hash").await;
    let us = words["aud"].clone();
    for (other, rule) in [
        (json!({"aud": "another-client"}), "aud"),
        (json!({"aud": [us, "another-client"], "azp": us}), "aud"),
        (json!({"aud": "another-client", "azp": us}), "aud"),
        (json!({"azp": "another-client"}), "azp"),
        (json!({"iss": "https://evil.example"}), "iss"),
    ] {
        refuses(&house, &mut thief, claims(other), "ID_TOKEN_INVALID", rule).await;
    }
    // The person's access token in its place: a JWT too, well signed with a published key.
    let access = house.server.issues().swap_remove(0).access;
    refuses(&house, &mut thief, Forgery::Instead(json!(access)), "ID_TOKEN_INVALID", "typ").await;
    house.event("detect.id_token_forged").await;
    assert_eq!(house.events("token.issued").len(), 1, "the person's, and no other");
    login(&house, &mut thief).await.unwrap();
}
