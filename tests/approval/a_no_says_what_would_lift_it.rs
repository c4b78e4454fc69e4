use crate::{
    house::{Plan, begin_request, fact, reason, redeem},
    kit::{DELETE, OPENID, READ, WRITE, advice, asking, begin, refused, wanted},
};
use narrowgate::api::proto::{BeginAuthorizationRequest, Claimed, StepUp};
use narrowgate::platform::digest::{hex, sha256};
use serde_json::{Value, json};
use tonic::{Code, Request};

/// Writing needs a login by `gold`.
const GOLD: &str = r#"
@id("step-up.write") @code("gold_required") @advice("step_up:gold")
forbid (principal, action == Narrowgate::Action::"release_token", resource)
when { context.base.scopes.contains(Narrowgate::Scope::"customers.write") }
unless { context has subject && context.subject has acr && context.subject.acr == "gold" && context.subject has authTime };
"#;

fn object(value: Value) -> serde_json::Map<String, Value> {
    let Value::Object(members) = value else { panic!("no object") };
    members
}

// rows: AGNT-07
#[tokio::test]
async fn an_agents_own_word_is_no_approval() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let boasts = [
        Claimed { tags: vec!["approved=true".to_owned(), "approval".to_owned()], ..Claimed::default() },
        Claimed { purpose: "{\"approved\":true}".to_owned(), task: "approved=true".to_owned(), ..Claimed::default() },
        Claimed { session: "approver=ann".to_owned(), ..Claimed::default() },
    ];
    for claimed in boasts {
        let mut request =
            Request::new(BeginAuthorizationRequest { claimed: Some(claimed), ..begin_request(&[DELETE]) });
        request.metadata_mut().insert("x-approved", "true".parse().unwrap());
        let status = agent.begin_authorization(request).await.map(|_| ());
        let status = refused(status, Code::PermissionDenied, "HUMAN_APPROVAL_REQUIRED");
        assert_eq!(fact(&status, "policy_code").as_deref(), Some("approval_required"));
        assert!(fact(&status, "decision_id").is_some());
    }
    assert_eq!(house.server.requests().len(), 0, "nothing was asked of the server");
    let denied = house.events("authorization.decided");
    assert!(denied.iter().all(|event| event["status_code"] == "HUMAN_APPROVAL_REQUIRED"), "{denied:?}");
}

// rows: AGNT-07
#[tokio::test]
async fn what_is_to_be_approved_is_told_in_words_and_as_a_digest() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let told = wanted(&mut agent, &[DELETE, READ]).await;
    let request: Value = serde_json::from_str(&told.request).unwrap();
    assert_eq!(request["agent"], "quoter");
    assert_eq!(request["client"], "sales-crm");
    assert_eq!(request["issuer"], "corp");
    assert_eq!(request["grant_type"], "authorization_code");
    assert_eq!(request["scopes"], json!([DELETE, READ]));
    assert_eq!(told.request_digest, narrowgate::exchange::request_digest(&told.request));
    assert_eq!(told.max_lifetime.unwrap().seconds, 3600);
    let event = &house.events("authorization.decided")[0]["unmapped"]["narrowgate"];
    let of = ["policy_digest", "schema_digest", "entities_digest"].map(|name| event[name].as_str().unwrap());
    assert_eq!(hex(&sha256(of.join("\n").as_bytes())), told.policy_digest);
    // The same question in another order is the same; another one is another.
    assert_eq!(wanted(&mut agent, &[READ, DELETE]).await.request_digest, told.request_digest);
    assert_ne!(wanted(&mut agent, &[DELETE]).await.request_digest, told.request_digest);
}

// rows: AGNT-07
#[tokio::test]
async fn what_nobody_can_lift_is_a_plain_no() {
    let other = "@id(\"other\") @code(\"other\")\nforbid (principal, action == Narrowgate::Action::\"grant_scope\", \
                 resource == Narrowgate::Scope::\"customers.delete\");";
    let house = Plan::new().policy(other).open().await;
    let mut agent = house.agent().await;
    for scopes in [vec![DELETE], vec![DELETE, READ]] {
        let status = begin(&mut agent, begin_request(&scopes)).await;
        assert!(advice(&refused(status, Code::PermissionDenied, "POLICY_DENIED")).is_none());
    }
    // A scope that needs approval beside one that nothing permits: an approval would not help.
    let mut plan = Plan::new();
    plan.policies.retain(|(name, _)| name != "grants.cedar");
    let only_delete = "@id(\"only\")\npermit (principal, action == Narrowgate::Action::\"grant_scope\", \
                       resource == Narrowgate::Scope::\"customers.delete\");";
    let house = plan.policy(only_delete).open().await;
    let mut agent = house.agent().await;
    let status = begin(&mut agent, begin_request(&[DELETE, READ])).await;
    refused(status, Code::PermissionDenied, "POLICY_DENIED");
    refused(begin(&mut agent, asking(&[DELETE], "")).await, Code::PermissionDenied, "HUMAN_APPROVAL_REQUIRED");
    // Cedar names the forbids of a no and nothing else: whether anything permits the scope is asked for by itself.
    let mut plan = Plan::new();
    plan.policies.retain(|(name, _)| name != "grants.cedar");
    let other_scope = "@id(\"only\")\npermit (principal, action == Narrowgate::Action::\"grant_scope\", \
                       resource == Narrowgate::Scope::\"customers.read\");";
    let house = plan.policy(other_scope).open().await;
    let mut agent = house.agent().await;
    let status = refused(begin(&mut agent, begin_request(&[DELETE])).await, Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(fact(&status, "policy_code").as_deref(), Some("approval_required"));
    assert!(advice(&status).is_none());
}

// rows: AGNT-06 AGNT-07 IDT-07 (the whole loop)
#[tokio::test]
async fn a_stronger_login_is_asked_for_and_lifts_the_no() {
    let house = Plan::new().policy(GOLD).open().await;
    let mut agent = house.agent().await;
    house.server.person(&object(json!({ "acr": "silver" })));
    let status = refused(house.login(&mut agent, &[WRITE, OPENID]).await, Code::FailedPrecondition, "STEP_UP_REQUIRED");
    assert_eq!(fact(&status, "policy_code").as_deref(), Some("gold_required"));
    let told = advice(&status).unwrap();
    assert!(told.approval.is_none());
    let StepUp { acr_values, max_age } = told.step_up.unwrap();
    assert_eq!((acr_values.as_slice(), max_age), (["gold".to_owned()].as_slice(), None));
    crate::house::eventually("both tokens to be revoked", || (house.server.revocations().len() == 2).then_some(()))
        .await;
    // The agent does what it was told; the person logs in as before, and then as demanded.
    let again = || BeginAuthorizationRequest { acr_values: acr_values.clone(), ..begin_request(&[WRITE, OPENID]) };
    let begun = begin(&mut agent, again()).await.unwrap();
    assert!(begun.authorization_url.contains("acr_values=gold"), "{}", begun.authorization_url);
    let callback = house.server.approve(&begun.authorization_url);
    let status = redeem(&mut agent, &begun.transaction, &callback).await.err().unwrap();
    assert_eq!(reason(&status), "STEP_UP_REQUIRED");
    assert_eq!(advice(&status).unwrap().step_up.unwrap().acr_values, ["gold"]);
    house.server.person(&object(json!({ "acr": "gold" })));
    let begun = begin(&mut agent, again()).await.unwrap();
    let callback = house.server.approve(&begun.authorization_url);
    let redeemed = redeem(&mut agent, &begun.transaction, &callback).await.unwrap();
    assert!(redeemed.token.unwrap().scopes.contains(&WRITE.to_owned()));
    assert_eq!(house.server.token_posts(), 3, "no code was sent twice");
}
