use crate::{
    house::{Plan, scripted_as::delegation::JWT},
    kit::{READ, exchange, open, open_with, request, subject},
};
use narrowgate::api::proto::{ExchangeTokenRequest, exchange_token_request::Subject};
use serde_json::json;
use tonic::Code;

// rows: TEX-01 TEX-06
#[tokio::test]
async fn what_is_of_the_wrong_form_is_refused_before_anything_is_sent() {
    let house = open(Plan::new(), "").await;
    let mut agent = house.agent().await;
    let token = subject(&house, &json!({}));
    let with = |change: &dyn Fn(&mut ExchangeTokenRequest)| {
        let mut request = request(&token, &[READ]);
        change(&mut request);
        request
    };
    let cases: [(&str, ExchangeTokenRequest); 13] = [
        ("FIELD_REQUIRED", with(&|r| r.subject_token_type.clear())),
        ("FIELD_INVALID", with(&|r| r.subject_token_type = "urn:ietf:params:oauth:token-type:saml2".to_owned())),
        ("FIELD_INVALID", with(&|r| r.subject_token_type = "access_token".to_owned())),
        ("FIELD_INVALID", with(&|r| r.actor_token_type = JWT.to_owned())),
        ("ACTOR_TOKEN_FORBIDDEN", with(&|r| r.actor_token = "an.actor.token".to_owned())),
        (
            "ACTOR_TOKEN_FORBIDDEN",
            with(&|r| {
                (r.actor_token, r.actor_token_type) = ("an.actor.token".to_owned(), JWT.to_owned());
            }),
        ),
        ("FIELD_REQUIRED", with(&|r| r.subject = None)),
        ("FIELD_INVALID", with(&|r| r.subject = Some(Subject::SubjectToken("a b".to_owned())))),
        ("FIELD_INVALID", with(&|r| r.subject = Some(Subject::SubjectGrant("grant_0".to_owned())))),
        (
            "FIELD_INVALID",
            with(&|r| r.requested_token_type = "urn:ietf:params:oauth:token-type:refresh_token".to_owned()),
        ),
        ("FIELD_REQUIRED", with(&|r| r.scopes.clear())),
        ("FIELD_INVALID", with(&|r| r.scopes.push("openid".to_owned()))),
        ("FIELD_INVALID", with(&|r| r.resources = vec!["https://crm.example.test/api".to_owned(); 9])),
    ];
    for (reason, request) in cases {
        crate::kit::refused(exchange(&mut agent, request).await, Code::InvalidArgument, reason);
    }
    assert_eq!(house.server.token_posts(), 0);
    // The same request, orderly, is served: nothing else was wrong with it.
    exchange(&mut agent, with(&|_| {})).await.unwrap();
}

#[tokio::test]
async fn a_client_that_is_not_switched_on_exchanges_nothing() {
    let house = open_with(Plan::new(), "").await;
    let mut agent = house.agent().await;
    let token = subject(&house, &json!({}));
    let refused = exchange(&mut agent, request(&token, &[READ])).await;
    crate::kit::refused(refused, Code::FailedPrecondition, "GRANT_TYPE_DISABLED");
    for assertion in [None, Some(token.as_str())] {
        let refused = crate::kit::obtain(&mut agent, crate::kit::obtain_request(assertion, &[READ])).await;
        crate::kit::refused(refused, Code::FailedPrecondition, "GRANT_TYPE_DISABLED");
    }
    assert_eq!(house.server.token_posts(), 0);
}
