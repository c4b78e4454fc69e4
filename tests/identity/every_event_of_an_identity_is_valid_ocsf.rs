use crate::{
    house::{
        get,
        scripted_as::{
            behaviour::{Behaviour, Script},
            identity::{Forgery, rsa_jwk},
        },
    },
    kit::{claims, login, object, roomy},
};
use narrowgate::api::proto::RevokeGrantRequest;
use serde_json::json;

const CODES: [&str; 8] = [
    "token.issued",
    "token.served",
    "token.withheld",
    "exchange.failed",
    "detect.jwks_changed",
    "detect.jwks_rejected",
    "detect.jwks_weak_key",
    "detect.id_token_forged",
];

// rows: AUD-01 JOSE-13 JOSE-08
#[tokio::test]
async fn the_schema_says_so() {
    let rule = "@id(\"out\") @code(\"not_bob\")\n\
        forbid (principal, action == Narrowgate::Action::\"release_token\", resource)\n\
        when { context.handOut == \"again\" && context has subject\n\
          && context.subject.user == Narrowgate::User::\"corp|bob\" };";
    let house = roomy("").policy(rule).open().await;
    let mut agent = house.agent().await;
    let rejected = Behaviour::Raw {
        status: 200,
        headers: vec![("Content-Type".to_owned(), "application/jwk-set+json; charset=utf-8".to_owned())],
        body: json!({"keys": [{"kty": "oct", "k": "AAAA"}]}).to_string().into_bytes(),
    };
    house.server.behave(Script::Jwks(rejected));
    let mut weak = rsa_jwk("PS256");
    weak["n"] = json!(&weak["n"].as_str().unwrap()[..172]);
    let keys = [house.server.keys(), vec![weak]].concat();
    house.server.publish(keys);
    while house.events("detect.jwks_rejected").is_empty() {
        let _ = login(&house, &mut agent).await;
    }
    let redeemed = login(&house, &mut agent).await.unwrap();
    get(&mut agent, &redeemed.grant).await.unwrap();
    let request = RevokeGrantRequest { grant: redeemed.grant, ..RevokeGrantRequest::default() };
    agent.revoke_grant(request).await.unwrap();
    house.server.person(&object(json!({"sub": "bob"})));
    let bobs = login(&house, &mut agent).await.unwrap();
    get(&mut agent, &bobs.grant).await.err().unwrap();
    for forgery in [Forgery::WrongKey, claims(json!({"nonce": "other"}))] {
        house.server.behave(Script::Token(Behaviour::IdToken(forgery)));
        login(&house, &mut agent).await.err().unwrap();
    }
    let fresh = house.server.sign_anew("id-2");
    house.server.publish(vec![fresh]);
    login(&house, &mut agent).await.unwrap();
    for code in CODES {
        house.event(code).await;
    }
    house.assert_valid_ocsf(&CODES, &[]);
}
