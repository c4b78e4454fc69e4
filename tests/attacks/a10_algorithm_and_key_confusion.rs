//! A forger without the issuer's key: no algorithm, the public key as an HMAC's secret, a key or its address brought along,
//! a `kid` that is a path, a query or an address, and at last a second key of the right name in the published set.

use crate::{
    identity::{claims, login, object, refuses, roomy},
    kit::*,
};
use serde_json::json;

#[tokio::test]
async fn only_a_published_key_of_a_registered_algorithm_counts() {
    let house = roomy("keys_ttl = \"1s\"").open().await;
    let mut agent = house.agent().await;
    let trap = Trap::new();
    let header = |members| Forgery::Header(object(members));
    for (forgery, rule) in [
        (Forgery::AlgNone("none"), "form"),
        (header(json!({"alg": "none"})), "alg"),
        (header(json!({"alg": "nOnE"})), "alg"),
        (header(json!({"alg": ["ES256"]})), "alg"),
        (header(json!({"alg": null})), "alg"),
        (Forgery::HmacWithPublicKey, "alg"),
        (Forgery::WrongKey, "signature"),
        (Forgery::EmbeddedKey, "signature"),
        (header(json!({"kid": "scripted-1"})), "signature"),
        (header(json!({"kid": "../../../dev/null"})), "unknown_key"),
        (header(json!({"kid": "id-1'--"})), "unknown_key"),
        (header(json!({"kid": "id-1' OR 1"})), "kid"),
        (header(json!({"kid": "ID-1"})), "unknown_key"),
        (header(json!({"kid": format!("https://127.0.0.1:{}/jwks", trap.port())})), "unknown_key"),
    ] {
        refuses(&house, &mut agent, forgery, "ID_TOKEN_INVALID", rule).await;
    }
    // Beside the right signature, addresses of keys are idle words.
    let url = format!("https://127.0.0.1:{}/keys", trap.port());
    let addresses = header(json!({"jku": url, "x5u": url}));
    house.server.behave(Script::Token(Behaviour::IdToken(addresses)));
    login(&house, &mut agent).await.unwrap();
    trap.assert_untouched();
    assert!(!house.server.requests().iter().any(|line| line.contains("theirs")));
    assert_eq!(house.events("token.issued").len(), 1);
    // Two keys of one name: neither is guessed at, once the set is read again.
    let honest = house.server.keys();
    let second = house.server.sign_anew("id-1");
    house.server.publish([honest.clone(), vec![second]].concat());
    tokio::time::sleep(Duration::from_millis(1100)).await;
    refuses(&house, &mut agent, claims(json!({})), "ID_TOKEN_INVALID", "ambiguous_key").await;
}
