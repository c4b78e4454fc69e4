use crate::{
    house::{House, Plan, fact, reason, redeem, redeem_request},
    kit::{READ, facts, members},
    metadata_is_kept_while_it_may_be::{believing, refetched},
};
use serde_json::{Map, Value, json};

const ISS: &str = "authorization_response_iss_parameter_supported";
const PKCE: &str = "code_challenge_methods_supported";
const ALIASES: &str = "mtls_endpoint_aliases";
const METHODS: &str = "token_endpoint_auth_methods_supported";
const BOUND: &str = "tls_client_certificate_bound_access_tokens";
const DOWNGRADE: &str = "detect.metadata_downgrade";

async fn open(stale: &str) -> House {
    let plan = believing("100ms", stale).config("[limits]\n", "[limits]\ntransactions_per_agent = 1000\n");
    plan.open().await
}

// rows: DISC-07 ISS-02
#[tokio::test]
async fn iss_stays_demanded_once_it_was_promised() {
    let house = open("1h").await;
    let mut agent = house.agent().await;
    house.begin(&mut agent, &[READ]).await.unwrap();
    for (round, taken_back) in [json!(null), json!(false), json!("true")].into_iter().enumerate() {
        house.server.metadata_override(members([(ISS, taken_back.clone())]));
        eventually_told(&house, &mut agent, round + 1).await;
        let begun = refetched(&house, &mut agent).await.unwrap();
        let callback = house.server.approve(&begun.authorization_url);
        let without = callback.url.split("&iss=").next().unwrap().to_owned();
        let refused = agent.redeem_code(redeem_request(&begun.transaction, &without)).await.err().unwrap();
        assert_eq!(reason(&refused), "ISS_MISMATCH", "{taken_back}");
        redeem(&mut agent, &begun.transaction, &callback).await.unwrap();
        // It is told once, not with every fetch.
        refetched(&house, &mut agent).await.unwrap();
        assert_eq!(house.events(DOWNGRADE).len(), round + 1);
        house.server.metadata_override(Map::new());
        refetched(&house, &mut agent).await.unwrap();
        refetched(&house, &mut agent).await.unwrap();
    }
    let alert = house.event(DOWNGRADE).await;
    assert_eq!((&alert["is_alert"], &alert["severity"]), (&json!(true), &json!("High")));
    assert_eq!((&facts(&alert)["issuer"], &facts(&alert)["members"]), (&json!("corp"), &json!(ISS)));
    assert!(house.log().contains("METADATA_DOWNGRADE"));
}

async fn eventually_told(house: &House, agent: &mut crate::house::Agent, times: usize) {
    for _ in 0..100 {
        if house.events(DOWNGRADE).len() >= times {
            return;
        }
        refetched(house, agent).await.unwrap();
    }
    panic!("the downgrade was not told");
}

// rows: DISC-07 PKCE-03
#[tokio::test]
async fn what_would_weaken_the_exchange_is_not_believed() {
    let house = open("1h").await;
    let mut agent = house.agent().await;
    house.begin(&mut agent, &[READ]).await.unwrap();
    let weaker: [(&str, Value); 6] = [
        (PKCE, Value::Null),
        (PKCE, json!(["plain"])),
        (ALIASES, Value::Null),
        (ALIASES, json!({ "revocation_endpoint": house.server.revocation_url() })),
        (METHODS, Value::Null),
        (METHODS, json!(["private_key_jwt"])),
    ];
    for (at, (member, value)) in weaker.into_iter().enumerate() {
        let what = format!("{member} {value}");
        house.server.metadata_override(Map::new());
        refetched(&house, &mut agent).await.unwrap();
        refetched(&house, &mut agent).await.unwrap();
        house.server.metadata_override(members([(member, value)]));
        eventually_told(&house, &mut agent, at + 1).await;
        assert_eq!(facts(&house.events(DOWNGRADE).pop().unwrap())["members"], member, "{what}");
        // The last good document stands in: the code goes where it went, with its challenge.
        let posts = house.server.token_posts();
        let begun = refetched(&house, &mut agent).await.unwrap();
        let callback = house.server.approve(&begun.authorization_url);
        redeem(&mut agent, &begun.transaction, &callback).await.expect(&what);
        assert_eq!((house.server.token_posts(), house.server.front_token_posts()), (posts + 1, 0), "{what}");
    }
}

// rows: DISC-07 DISC-06
#[tokio::test]
async fn what_stays_weaker_ends_in_a_refusal() {
    let house = open("200ms").await;
    let mut agent = house.agent().await;
    house.begin(&mut agent, &[READ]).await.unwrap();
    house.server.metadata_override(members([(PKCE, Value::Null)]));
    let mut refused = None;
    for _ in 0..200 {
        refused = refetched(&house, &mut agent).await.err();
        if refused.is_some() {
            break;
        }
    }
    let refused = refused.expect("the stale document is used forever");
    assert_eq!(
        (reason(&refused).as_str(), fact(&refused, "cause").as_deref()),
        ("METADATA_STALE", Some("PKCE_UNSUPPORTED"))
    );
}

// rows: DISC-07
#[tokio::test]
async fn a_promise_of_bound_tokens_that_is_gone_is_told() {
    let house = open("1h").await;
    let mut agent = house.agent().await;
    house.begin(&mut agent, &[READ]).await.unwrap();
    // Binding is demanded by the client's own configuration, so nothing but the event changes.
    house.server.metadata_override(members([(BOUND, json!(false))]));
    eventually_told(&house, &mut agent, 1).await;
    assert_eq!(facts(&house.event(DOWNGRADE).await)["members"], BOUND);
    house.login(&mut agent, &[READ]).await.unwrap();
    // Promising more is no news.
    house.server.metadata_override(members([(METHODS, json!(["tls_client_auth", "private_key_jwt"]))]));
    refetched(&house, &mut agent).await.unwrap();
    refetched(&house, &mut agent).await.unwrap();
    assert_eq!(house.events(DOWNGRADE).len(), 1);
}

// rows: DISC-08
#[tokio::test]
async fn how_a_client_authenticates_must_be_offered() {
    let missing = [
        Value::Null,
        json!([]),
        json!(["client_secret_basic", "private_key_jwt"]),
        json!(["self_signed_tls_client_auth"]),
        json!("tls_client_auth"),
        json!(["TLS_CLIENT_AUTH"]),
    ];
    for offered in missing {
        let lacking = |plan: Plan| {
            let offered = offered.clone();
            plan.server(move |setup| drop(setup.metadata_override.insert(METHODS.to_owned(), offered.clone())))
        };
        let house = lacking(Plan::new()).open().await;
        house.login(&mut house.agent().await, &[READ]).await.unwrap();
        assert!(house.log().contains("does not offer how a client authenticates"), "{offered}");

        let strict = Plan::new().config("[[issuer]]\n", "[[issuer]]\nstrict_metadata = true\n");
        let house = lacking(strict).open().await;
        let status = house.begin(&mut house.agent().await, &[READ]).await.err().unwrap();
        assert_eq!((reason(&status).as_str(), fact(&status, "field").as_deref()), ("METADATA_REJECTED", Some(METHODS)));
        assert_eq!(house.server.token_connections(), 0, "{offered}");
    }
    let house = Plan::new().config("[[issuer]]\n", "[[issuer]]\nstrict_metadata = true\n").open().await;
    house.login(&mut house.agent().await, &[READ]).await.unwrap();
    assert!(!house.log().contains("does not offer how a client authenticates"));
}
