use crate::{
    house::{COURIER, Plan, fact},
    kit::{QUOTER_NAME, READ, exchange, open, request, subject},
};
use serde_json::{Value, json};
use tonic::Code;

/// `courier` may exchange too.
fn plan() -> Plan {
    Plan::new()
}

// rows: TEX-07
#[tokio::test]
async fn a_token_of_another_agent_is_nothing_to_this_one() {
    let house = open(plan(), "trusted_audiences = [\"https://everyone.acme.test\"]").await;
    let mut courier = house.svid_agent(COURIER).await;
    let mut quoter = house.agent().await;
    // Made for quoter: good in its hands, nothing in courier's. The audience is none of courier's.
    let quoters = subject(&house, &json!({ "aud": ["https://everyone.acme.test", QUOTER_NAME] }));
    exchange(&mut quoter, request(&quoters, &[READ])).await.unwrap();
    let before = house.server.token_posts();
    let refused = exchange(&mut courier, request(&quoters, &[READ])).await;
    crate::kit::refused(refused, Code::PermissionDenied, "SUBJECT_TOKEN_NOT_YOURS");
    house.event("detect.subject_token_misuse").await;
    // An audience that everyone shares makes it nobody's; so does a proof that cannot be seen, or another's certificate.
    for changes in [
        json!({ "aud": "https://everyone.acme.test" }),
        json!({ "aud": "narrowgate-sales" }),
        json!({ "aud": "narrowgate-sales", "client_id": "narrowgate-sales" }),
        json!({ "aud": "narrowgate-sales", "act": { "sub": "front-end", "act": { "sub": QUOTER_NAME } } }),
        json!({ "cnf": { "jkt": "a" } }),
        json!({ "cnf": { "x5t#S256": "a" } }),
    ] {
        let token = subject(&house, &changes);
        let refused = exchange(&mut quoter, request(&token, &[READ])).await;
        crate::kit::refused(refused, Code::PermissionDenied, "SUBJECT_TOKEN_NOT_YOURS");
    }
    assert_eq!(house.server.token_posts(), before);
    // Issued to it, or with it as the actor, a token is its own whatever the audience.
    for changes in [
        json!({ "aud": "narrowgate-sales", "client_id": COURIER }),
        json!({ "aud": "narrowgate-sales", "azp": COURIER }),
        json!({ "aud": "narrowgate-sales", "act": { "sub": COURIER } }),
        json!({ "aud": COURIER }),
    ] {
        let token = subject(&house, &changes);
        exchange(&mut courier, request(&token, &[READ])).await.unwrap();
    }
}

// rows: TEX-08
#[tokio::test]
async fn who_may_act_is_who_acts() {
    let house = open(plan(), "").await;
    let mut quoter = house.agent().await;
    for may_act in [json!({ "sub": COURIER }), json!({}), json!(QUOTER_NAME), json!({ "sub": [QUOTER_NAME] })] {
        let token = subject(&house, &json!({ "may_act": may_act }));
        let refused = exchange(&mut quoter, request(&token, &[READ])).await;
        crate::kit::refused(refused, Code::PermissionDenied, "MAY_ACT_MISMATCH");
    }
    assert_eq!(house.server.token_posts(), 0);
    let token = subject(&house, &json!({ "may_act": { "sub": QUOTER_NAME } }));
    exchange(&mut quoter, request(&token, &[READ])).await.unwrap();
}

// rows: TEX-07
#[tokio::test]
async fn what_cannot_be_verified_is_not_sent() {
    let house = open(plan(), "").await;
    let mut quoter = house.agent().await;
    let good = subject(&house, &json!({}));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    let id_token = json!({ "aud": QUOTER_NAME, "scope": READ, "nonce": "n" });
    let typed = |typ: Value| house.server.token_of(&json!({ "typ": typ }), &id_token);
    let cases = [
        ("form", "opaque-token".to_owned()),
        ("signature", format!("{signed}.{other}{}", &signature[1..])),
        ("typ", typed(json!("JWT"))),
        ("typ", typed(json!(null))),
        ("typ", typed(json!("logout+jwt"))),
        ("iss", subject(&house, &json!({ "iss": "https://elsewhere.test" }))),
        ("aud", subject(&house, &json!({ "aud": "https://elsewhere.test" }))),
        ("exp", subject(&house, &json!({ "exp": 1_700_000_000 }))),
        ("act", subject(&house, &json!({ "act": { "iss": "nameless" } }))),
    ];
    for (rule, token) in cases {
        let refused = exchange(&mut quoter, request(&token, &[READ])).await;
        assert!(refused.is_err(), "{rule}");
        let status = crate::kit::refused(refused, Code::InvalidArgument, "SUBJECT_TOKEN_INVALID");
        // Of what is no JWT not even an issuer can be read.
        let said = fact(&status, "rule").unwrap();
        assert!(said == rule || (rule == "form" && said == "iss"), "{said}, not {rule}");
    }
    assert_eq!(house.server.token_posts(), 0);
    assert!(!house.events("detect.subject_token_misuse").is_empty());
}

// rows: TEX-07 INTR-08
#[tokio::test]
async fn it_is_signed_as_the_issuers_access_tokens_are() {
    // The scripted server signs with ES256.
    for (ours, theirs, taken) in [("ES256", "PS256", true), ("PS256", "ES256", false)] {
        let lines = format!(
            "deadline = \"5s\"\n\n[issuer.access_token]\ncontract = \"jwt\"\nalgs = [\"{ours}\"]\n\n[issuer.id_token]\nalgs = [\"{theirs}\"]\n"
        );
        let house = open(Plan::new().config("deadline = \"5s\"\n", &lines), "").await;
        let mut agent = house.agent().await;
        let result = exchange(&mut agent, request(&subject(&house, &json!({})), &[READ])).await;
        if taken {
            result.unwrap();
        } else {
            let status = crate::kit::refused(result, Code::InvalidArgument, "SUBJECT_TOKEN_INVALID");
            assert_eq!(fact(&status, "rule").as_deref(), Some("alg"));
        }
    }
}
