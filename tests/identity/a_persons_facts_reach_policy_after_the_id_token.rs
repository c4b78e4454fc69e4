use crate::{
    house::{
        Plan, eventually, fact, get, reason,
        scripted_as::{
            behaviour::{Behaviour, Script},
            identity::Forgery,
        },
    },
    kit::{BOTH, OPENID, READ, about, claims, facts, login, object, roomy, seconds},
};
use narrowgate::api::proto::{Claimed, GetTokenRequest};
use serde_json::json;
use tonic::Code;

const WRITE: &str = "customers.write";

/// "Writes need MFA", as the policies' README has it.
const MFA: &str = r#"
@id("guard.write-needs-mfa")
@code("mfa_required")
@advice("step_up:mfa")
forbid (principal, action == Narrowgate::Action::"release_token", resource)
when { context.base.scopes.contains(Narrowgate::Scope::"customers.write") }
unless { context has subject && context.subject.mfa };
"#;

/// The subject's keyed reference in the newest event with this code.
fn reference(events: &[serde_json::Value]) -> String {
    facts(events.last().unwrap())["subject_ref"].as_str().unwrap().to_owned()
}

// rows: IDT-11 DEC-12
#[tokio::test]
async fn a_rule_on_release_may_demand_mfa() {
    let house = roomy("").policy(MFA).open().await;
    let mut agent = house.agent().await;
    // No ID token, no facts: never assumed.
    let status = house.login(&mut agent, &[WRITE]).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "STEP_UP_REQUIRED"));
    assert_eq!(fact(&status, "policy_code").as_deref(), Some("mfa_required"));
    // A password alone.
    let status = house.login(&mut agent, &[WRITE, OPENID]).await.err().unwrap();
    assert_eq!(fact(&status, "policy_code").as_deref(), Some("mfa_required"));
    assert_eq!(fact(&status, "advice").as_deref(), Some("step_up:mfa"));
    let decision = fact(&status, "decision_id").unwrap();
    let closing = about(&house, "exchange.failed", &decision).pop();
    assert!(closing.is_none_or(|event| facts(&event)["subject_known"] == true));
    eventually("both answers to be revoked", || (house.server.revocations().len() == 4).then_some(())).await;
    // Odd words prove nothing, and a reader needs no MFA.
    for amr in [json!("mfa"), json!(["mfa", 1]), json!({"mfa": true}), json!(["otp", "sms"])] {
        house.server.behave(Script::Token(Behaviour::IdToken(claims(json!({"amr": amr})))));
        house.login(&mut agent, &[WRITE, OPENID]).await.err().unwrap();
    }
    login(&house, &mut agent).await.unwrap();
    house.server.person(&object(json!({"amr": ["pwd", "otp"]})));
    let redeemed = house.login(&mut agent, &[WRITE, OPENID]).await.unwrap();
    assert!(redeemed.token.unwrap().scopes.contains(&WRITE.to_owned()));
}

// rows: IDT-11 DEC-12
#[tokio::test]
async fn each_later_hand_out_knows_the_same_person() {
    let rule = "@id(\"night\") @code(\"not_this_person\")\n\
        forbid (principal, action == Narrowgate::Action::\"release_token\", resource)\n\
        when { context.handOut == \"again\" && context has subject\n\
          && context.subject.user == Narrowgate::User::\"corp|canary-sub-of-ana\" };";
    let house = roomy("").policy(rule).open().await;
    let mut agent = house.agent().await;
    let anas = login(&house, &mut agent).await.unwrap();
    house.server.person(&object(json!({"sub": "canary-sub-of-bob"})));
    let bobs = login(&house, &mut agent).await.unwrap();
    let status = get(&mut agent, &anas.grant).await.err().unwrap();
    assert_eq!(fact(&status, "policy_code").as_deref(), Some("not_this_person"));
    get(&mut agent, &bobs.grant).await.unwrap();
    // What is claimed of oneself is no evidence of who the person is.
    let mut request = GetTokenRequest { grant: anas.grant.clone(), ..GetTokenRequest::default() };
    request.claimed = Some(Claimed { session: "corp|bob".to_owned(), ..Claimed::default() });
    agent.get_token(request).await.err().unwrap();

    // The log knows them apart, by reference: the same person is the same all along, and never named.
    let issued = house.events("token.issued");
    let (ana, bob) = (reference(&issued[..1]), reference(&issued));
    assert_ne!(ana, bob);
    house.event("token.withheld").await;
    house.event("token.served").await;
    assert_eq!(reference(&house.events("token.withheld")), ana);
    assert_eq!(reference(&house.events("token.served")), bob);
    assert_eq!(issued[0]["user"]["uid"], ana.as_str());
    assert_eq!((&issued[0]["user"]["type_id"], &issued[0]["actor"]["user"]["uid"]), (&json!(1), &json!("quoter")));
    for text in [house.log(), house.audit_text()] {
        assert!(!text.contains("canary-sub"), "a person is named");
    }
    // Without an ID token it is the agent's, and nobody is made up.
    house.login(&mut agent, &[READ]).await.unwrap();
    let plain = house.events("token.issued").pop().unwrap();
    assert_eq!((&facts(&plain)["subject_known"], &plain["user"]["uid"]), (&json!(false), &json!("quoter")));
    assert!(facts(&plain).get("subject_ref").is_none());
}

// rows: IDT-11
#[tokio::test]
async fn only_declared_groups_and_claims_are_seen() {
    let rule = "@id(\"managers\") @code(\"managers_only\")\n\
        forbid (principal, action == Narrowgate::Action::\"release_token\", resource)\n\
        unless { context has subject && context.subject.user in Narrowgate::UserGroup::\"managers\" };\n\
        @id(\"admins\") @code(\"no_admins\")\n\
        forbid (principal, action == Narrowgate::Action::\"release_token\", resource)\n\
        when { context has subject && context.subject.user in Narrowgate::UserGroup::\"admins\" };\n\
        @id(\"gold\") @code(\"gold_only\")\n\
        forbid (principal, action == Narrowgate::Action::\"release_token\", resource)\n\
        when { context has subject && context.subject has acr && context.subject.acr != \"gold\" };\n\
        @id(\"stale\") @code(\"stale\")\n\
        forbid (principal, action == Narrowgate::Action::\"release_token\", resource)\n\
        when { context has subject && context.subject has authTime\n\
          && context.subject.authTime < context.base.now.offset(duration(\"-1h\")) };";
    let house = roomy("groups = [\"managers\"]").policy(rule).open().await;
    let mut agent = house.agent().await;
    let mut groups: Vec<String> = (0..1000).map(|n| format!("g{n}")).collect();
    groups.push("managers".to_owned());
    // `admins` is not declared, so the issuer cannot put anyone there; nor can it name principals and actions.
    let extra = json!({"principal": "Narrowgate::Agent::\"root\"", "action": "x", "resource": {"a": [1]},
        "context": {"base": {}}, "roles": ["admins"], "acr": {"level": "silver"}, "mfa": true});
    house.server.person(&object(extra));
    for (held, code) in [
        (json!(["managers"]), None),
        (json!(["admins", "managers"]), None),
        (json!(groups), None),
        (json!(["Managers"]), Some("managers_only")),
        (json!(["admins"]), Some("managers_only")),
        (json!([]), Some("managers_only")),
        (json!(null), Some("managers_only")),
    ] {
        house.server.behave(Script::Token(Behaviour::IdToken(claims(json!({ "groups": held })))));
        match (login(&house, &mut agent).await, code) {
            (Ok(_), None) => {}
            (Err(status), Some(code)) => assert_eq!(fact(&status, "policy_code").as_deref(), Some(code), "{held}"),
            (other, _) => panic!("{held}: {:?}", other.err()),
        }
    }
    // Groups that cannot be read prove nothing, not even that someone is in none.
    for odd in [json!("managers"), json!({"managers": true}), json!(["managers", 1]), json!([["managers"]])] {
        let forgery = claims(json!({ "groups": odd }));
        crate::kit::refuses(&house, &mut agent, forgery, "ID_TOKEN_INVALID", "groups").await;
    }
    for (changes, code) in [
        (json!({"groups": ["managers"], "acr": "silver"}), "gold_only"),
        (json!({"groups": ["managers"], "acr": "gold", "auth_time": seconds(-7200)}), "stale"),
    ] {
        house.server.behave(Script::Token(Behaviour::IdToken(claims(changes))));
        let status = login(&house, &mut agent).await.err().unwrap();
        assert_eq!(fact(&status, "policy_code").as_deref(), Some(code));
    }
}

// rows: IDT-11
#[tokio::test]
async fn ten_thousand_groups_are_refused_with_the_whole_answer() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let groups: Vec<String> = (0..10_000).map(|n| format!("group-{n}")).collect();
    house.server.behave(Script::Token(Behaviour::IdToken(Forgery::Claims(object(json!({ "groups": groups }))))));
    let status = house.login(&mut agent, &BOTH).await.err().unwrap();
    assert_eq!(reason(&status), "AS_RESPONSE_MALFORMED");
}
