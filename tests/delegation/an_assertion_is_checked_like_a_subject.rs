use crate::{
    house::{COURIER, House, Plan, scripted_as::delegation::JWT_BEARER},
    kit::{QUOTER_NAME, READ, WRITE, now, obtain, obtain_request, open},
};
use serde_json::{Value, json};
use tonic::Code;

fn assertion(house: &House, changes: &Value) -> String {
    let mut claims = json!({ "aud": house.server.issuer(), "client_id": QUOTER_NAME });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    house.server.token_of(&json!({ "typ": "oauth-id-jag+jwt" }), &claims)
}

// rows: TEX-07 TEX-08 TEX-10
#[tokio::test]
async fn it_is_for_the_server_and_its_bearer_is_named_in_it() {
    let house = open(Plan::new(), "").await;
    let mut agent = house.agent().await;
    let now = now();
    let good = assertion(&house, &json!({ "exp": now + 60, "act": { "sub": "front-end" } }));
    let obtained = obtain(&mut agent, obtain_request(Some(&good), &[READ])).await.unwrap();
    let lease = obtained.token.unwrap().lease_time.unwrap();
    assert!(u64::try_from(lease.seconds).unwrap() <= now + 60);
    let sent = house.server.requests_of(JWT_BEARER).pop().unwrap();
    assert_eq!((sent.param("assertion"), sent.param("scope")), (Some(good.as_str()), Some(READ)));
    let posts = house.server.token_posts();
    let cases = [
        ("aud", json!({ "aud": QUOTER_NAME }), Code::InvalidArgument, "SUBJECT_TOKEN_INVALID"),
        ("iss", json!({ "iss": "https://elsewhere.test" }), Code::InvalidArgument, "SUBJECT_TOKEN_INVALID"),
        ("exp", json!({ "exp": now - 1 }), Code::InvalidArgument, "SUBJECT_TOKEN_INVALID"),
        ("", json!({ "client_id": COURIER }), Code::PermissionDenied, "SUBJECT_TOKEN_NOT_YOURS"),
        ("", json!({ "client_id": null }), Code::PermissionDenied, "SUBJECT_TOKEN_NOT_YOURS"),
        ("", json!({ "may_act": { "sub": COURIER } }), Code::PermissionDenied, "MAY_ACT_MISMATCH"),
        ("", json!({ "scope": WRITE }), Code::PermissionDenied, "SCOPE_NOT_IN_SUBJECT"),
    ];
    for (rule, changes, code, reason) in cases {
        let refused = obtain(&mut agent, obtain_request(Some(&assertion(&house, &changes)), &[READ])).await;
        let status = crate::kit::refused(refused, code, reason);
        assert_eq!(crate::house::fact(&status, "rule").unwrap_or_default(), rule, "{changes}");
    }
    assert_eq!(house.server.token_posts(), posts);
}

// rows: TEX-08
#[tokio::test]
async fn an_access_token_is_no_assertion() {
    for (typ, taken) in [("at+jwt", true), ("JWT", false)] {
        let accept = format!("deadline = \"5s\"\n\n[issuer.accept]\naccess_token_typ = \"{typ}\"\n");
        let house = open(Plan::new().config("deadline = \"5s\"\n", &accept), "").await;
        let mut agent = house.agent().await;
        let claims = json!({ "aud": house.server.issuer(), "client_id": QUOTER_NAME });
        // A plain JWT passes, unless that is what the issuer's access tokens are.
        let plain = house.server.token_of(&json!({ "typ": "JWT" }), &claims);
        let result = obtain(&mut agent, obtain_request(Some(&plain), &[READ])).await;
        if taken {
            result.unwrap();
            let access = house.server.token_of(&json!({}), &claims);
            let result = obtain(&mut agent, obtain_request(Some(&access), &[READ])).await;
            crate::kit::refused(result, Code::InvalidArgument, "SUBJECT_TOKEN_INVALID");
        } else {
            crate::kit::refused(result, Code::InvalidArgument, "SUBJECT_TOKEN_INVALID");
            obtain(&mut agent, obtain_request(Some(&assertion(&house, &json!({}))), &[READ])).await.unwrap();
        }
    }
}
