use crate::{
    house::{
        Agent, House, begin_request, fact, reason, redeem,
        scripted_as::behaviour::{Behaviour, Script},
    },
    kit::{BOTH, READ, about, claims, facts, object, param, roomy, seconds},
};
use narrowgate::api::proto::{BeginAuthorizationRequest, BeginAuthorizationResponse, RedeemCodeResponse};
use serde_json::{Value, json};
use tonic::{Code, Status};

fn asking(change: impl Fn(&mut BeginAuthorizationRequest)) -> BeginAuthorizationRequest {
    let mut request = begin_request(&BOTH);
    change(&mut request);
    request
}

fn span(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

async fn begin(agent: &mut Agent, request: BeginAuthorizationRequest) -> Result<BeginAuthorizationResponse, Status> {
    Ok(agent.begin_authorization(request).await?.into_inner())
}

/// A login by this request whose ID token has these claims.
async fn login(
    house: &House,
    agent: &mut Agent,
    request: BeginAuthorizationRequest,
    changes: Value,
) -> Result<RedeemCodeResponse, Status> {
    house.server.behave(Script::Token(Behaviour::IdToken(claims(changes))));
    let begun = begin(agent, request).await.unwrap();
    let callback = house.server.approve(&begun.authorization_url);
    redeem(agent, &begun.transaction, &callback).await
}

// rows: IDT-07
#[tokio::test]
async fn what_was_asked_is_held_against_the_id_token() {
    let house = roomy("").open().await;
    house.server.person(&object(json!({ "acr": "gold" })));
    let mut agent = house.agent().await;
    let request = || {
        asking(|r| {
            r.max_age = span(60);
            r.acr_values = vec!["gold".to_owned(), "silver".to_owned()];
            r.prompt = vec!["login".to_owned(), "consent".to_owned()];
            r.login_hint = "ana@acme.test".to_owned();
        })
    };
    let begun = begin(&mut agent, request()).await.unwrap();
    let sent = |name| param(&begun.authorization_url, name).unwrap_or_default();
    assert_eq!((sent("max_age"), sent("acr_values")), ("60".to_owned(), "gold silver".to_owned()));
    assert_eq!((sent("prompt"), sent("login_hint")), ("login consent".to_owned(), "ana@acme.test".to_owned()));
    for changes in [
        json!({ "auth_time": null }),
        json!({ "auth_time": seconds(-120) }),
        json!({ "acr": null }),
        json!({ "acr": "bronze" }),
    ] {
        let what = changes.to_string();
        let status = login(&house, &mut agent, request(), changes).await.err().expect(&what);
        assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "STEP_UP_REQUIRED"), "{what}");
        let decision = fact(&status, "decision_id").unwrap();
        crate::house::eventually(&what, || (about(&house, "token.revoked", &decision).len() == 2).then_some(())).await;
    }
    login(&house, &mut agent, request(), json!({ "acr": "silver" })).await.unwrap();
    // Who did not ask is not held to it.
    login(&house, &mut agent, asking(|_| {}), json!({ "acr": "bronze", "auth_time": seconds(-7200) })).await.unwrap();
    // The hint names a person: it is nowhere but in the request.
    assert!(!house.log().contains("ana@acme.test") && !house.audit_text().contains("ana@acme.test"));
}

// rows: IDT-07
#[tokio::test]
async fn the_configuration_may_demand_more_and_never_gets_less() {
    let house = roomy("max_age = \"60s\"\nacr_values = [\"gold\", \"silver\"]").open().await;
    let mut agent = house.agent().await;
    let begun = begin(&mut agent, asking(|r| r.max_age = span(3600))).await.unwrap();
    assert_eq!(param(&begun.authorization_url, "max_age").as_deref(), Some("60"));
    assert_eq!(param(&begun.authorization_url, "acr_values").as_deref(), Some("gold silver"));
    let silver = || asking(|r| r.acr_values = vec!["bronze".to_owned(), "silver".to_owned()]);
    let begun = begin(&mut agent, silver()).await.unwrap();
    assert_eq!(param(&begun.authorization_url, "acr_values").as_deref(), Some("silver"));
    let status = login(&house, &mut agent, silver(), json!({ "acr": "gold" })).await.err().unwrap();
    assert_eq!(reason(&status), "STEP_UP_REQUIRED");
    let status = begin(&mut agent, asking(|r| r.acr_values = vec!["bronze".to_owned()])).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "FIELD_INVALID"));
}

// rows: IDT-07
#[tokio::test]
async fn what_cannot_be_or_cannot_be_checked_is_not_asked() {
    let house = roomy("").open().await;
    let mut agent = house.agent().await;
    let odd: [BeginAuthorizationRequest; 11] = [
        asking(|r| r.prompt = vec!["create".to_owned()]),
        asking(|r| r.prompt = vec!["login consent".to_owned()]),
        asking(|r| r.prompt = vec!["login".to_owned(), "login".to_owned()]),
        asking(|r| r.prompt = vec!["none".to_owned(), "login".to_owned()]),
        asking(|r| r.max_age = span(0)),
        asking(|r| r.max_age = span(-1)),
        asking(|r| r.max_age = Some(prost_types::Duration { seconds: 1, nanos: 5 })),
        asking(|r| r.acr_values = vec!["a b".to_owned()]),
        asking(|r| r.acr_values = vec![String::new()]),
        asking(|r| r.login_hint = "a\nb".to_owned()),
        asking(|r| r.login_hint = "a".repeat(257)),
    ];
    for (number, request) in odd.into_iter().enumerate() {
        let what = format!("number {number}");
        let status = begin(&mut agent, request).await.err().expect(&what);
        assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "FIELD_INVALID"), "{what}");
    }
    // Without an ID token nobody could tell whether it was so.
    let plain = |change: fn(&mut BeginAuthorizationRequest)| {
        let mut request = begin_request(&[READ]);
        change(&mut request);
        request
    };
    for request in [plain(|r| r.max_age = span(60)), plain(|r| r.acr_values = vec!["gold".to_owned()])] {
        assert_eq!(reason(&begin(&mut agent, request).await.err().unwrap()), "FIELD_INVALID");
    }
    begin(&mut agent, plain(|r| r.prompt = vec!["select_account".to_owned()])).await.unwrap();
}

// rows: IDT-07 (policy)
#[tokio::test]
async fn policy_sees_what_is_asked_of_a_login() {
    let house = roomy("")
        .policy(
            "@id(\"house.no_hints\") @code(\"no_hints\")\nforbid (principal, action == Narrowgate::Action::\"begin_authorization\", resource)\n\
             when { context has login && (context.login.hinted || context.login.prompt.contains(\"none\")) };",
        )
        .open()
        .await;
    let mut agent = house.agent().await;
    for request in
        [asking(|r| r.login_hint = "ana@acme.test".to_owned()), asking(|r| r.prompt = vec!["none".to_owned()])]
    {
        let status = begin(&mut agent, request).await.err().unwrap();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "POLICY_DENIED"));
    }
    begin(&mut agent, asking(|r| r.max_age = span(60))).await.unwrap();
    begin(&mut agent, asking(|_| {})).await.unwrap();
    let decided = house.events("authorization.decided");
    let asked = decided.iter().filter(|event| facts(event).to_string().contains("hinted")).count();
    assert_eq!(asked, 3, "what was asked is on record");
    assert!(!house.audit_text().contains("ana@acme.test"));
}
