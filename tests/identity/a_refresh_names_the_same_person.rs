use crate::{
    house::{
        Agent, House, eventually, fact, get, reason,
        scripted_as::{
            behaviour::{Behaviour, Script},
            identity::Forgery,
        },
    },
    kit::{READ, claims, facts, login, roomy, seconds},
};
use narrowgate::api::proto::{GetTokenRequest, GetTokenResponse};
use serde_json::json;
use tonic::Status;

/// A grant of a person, who is asked to log in anew as rarely as can be.
async fn granted(settings: &str) -> (House, Agent, String) {
    let house = roomy(settings).open().await;
    let mut agent = house.agent().await;
    let grant = login(&house, &mut agent).await.unwrap().grant;
    (house, agent, grant)
}

/// A refresh, since the token with fewer scopes is not held.
async fn refresh(agent: &mut Agent, grant: &str) -> Result<GetTokenResponse, Status> {
    let scopes = vec![READ.to_owned()];
    let request = GetTokenRequest { grant: grant.to_owned(), scopes, ..GetTokenRequest::default() };
    Ok(agent.get_token(request).await?.into_inner())
}

fn bring(house: &House, forgery: Forgery) {
    house.server.behave(Script::Token(Behaviour::IdToken(forgery)));
}

// rows: IDT-09
#[tokio::test]
async fn another_person_or_login_ends_the_grant() {
    for (changes, why, rule) in [
        (json!({"sub": "canary-sub-of-bob"}), "ID_TOKEN_INVALID", "another_person"),
        (json!({"sub": "CANARY-SUB-OF-ANA"}), "ID_TOKEN_INVALID", "another_person"),
        (json!({"auth_time": seconds(-3000)}), "ID_TOKEN_INVALID", "another_login"),
        (json!({"iss": "https://elsewhere.example"}), "ID_TOKEN_INVALID", "iss"),
        (json!({"aud": "somebody-else"}), "ID_TOKEN_INVALID", "aud"),
        (json!({"nonce": "another"}), "NONCE_MISMATCH", "nonce"),
    ] {
        let (house, mut agent, grant) = granted("").await;
        bring(&house, claims(changes.clone()));
        let status = refresh(&mut agent, &grant).await.err().unwrap();
        let told = (reason(&status), fact(&status, "rule"));
        assert_eq!(told, (why.to_owned(), Some(rule.to_owned())), "{changes}");
        // The first access token, the new one, and the refresh token that is current.
        let revoked = eventually("three revocations", || {
            let revoked = house.server.revocations();
            (revoked.len() == 3).then_some(revoked)
        });
        let revoked: Vec<String> = revoked.await.into_iter().map(|(_, token)| token).collect();
        let issues = house.server.issues();
        for token in [&issues[0].access, &issues[1].access, &issues[1].refresh] {
            assert!(revoked.contains(token), "{changes}");
        }
        let again = get(&mut agent, &grant).await.err().unwrap();
        assert_eq!(reason(&again), "REAUTH_REQUIRED", "{changes}");
        let failed = house.event("exchange.failed").await;
        assert_eq!(facts(&failed)["rule"], rule);
        house.event("detect.id_token_forged").await;
        house.assert_no_secret_leaked();
    }
}

// rows: IDT-09 IDT-08
#[tokio::test]
async fn a_token_that_proves_nothing_is_refused_alone() {
    for (forgery, why) in [
        (Forgery::WrongKey, "ID_TOKEN_INVALID"),
        (Forgery::AlgNone("none"), "ID_TOKEN_INVALID"),
        (claims(json!({"exp": seconds(-60)})), "ID_TOKEN_INVALID"),
        (claims(json!({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"})), "AT_HASH_MISMATCH"),
    ] {
        let (house, mut agent, grant) = granted("").await;
        bring(&house, forgery);
        let status = refresh(&mut agent, &grant).await.err().unwrap();
        assert_eq!(reason(&status), why);
        let gone = eventually("the revocation", || house.server.revocations().pop()).await;
        assert_eq!(gone.1, house.server.issues()[1].access);
        get(&mut agent, &grant).await.unwrap();
        assert_eq!((house.server.reused_families(), house.server.revocations().len()), (0, 1));
    }
}

// rows: IDT-09
#[tokio::test]
async fn the_same_person_need_not_say_more() {
    for forgery in [
        claims(json!({})),
        claims(json!({"nonce": null})),
        claims(json!({"auth_time": null, "at_hash": null, "acr": null})),
        Forgery::Missing,
        // No text is no ID token, and none is needed.
        Forgery::Instead(json!(7)),
    ] {
        // What is demanded of the login is not asked again.
        let (house, mut agent, grant) = granted("max_age = \"1h\"").await;
        bring(&house, forgery);
        refresh(&mut agent, &grant).await.unwrap();
        assert_eq!((house.server.refreshes().len(), house.server.revocations().len()), (1, 0));
        house.assert_no_secret_leaked();
    }
}
