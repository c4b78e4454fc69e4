use crate::{
    asking::{READ, WRITE, granted, narrow, refused, token},
    house::{
        House, Plan, eventually, fact, get,
        scripted_as::behaviour::{Behaviour, Script},
    },
};
use serde_json::json;
use tonic::Code;

fn scope(value: &str) -> Script {
    Script::Token(Behaviour::Members([("scope".to_owned(), json!(value))].into_iter().collect()))
}

fn switched(value: &str) -> Plan {
    Plan::new().config("deadline = \"5s\"", &format!("deadline = \"5s\"\nrefresh_narrowing = \"{value}\""))
}

/// One access token was revoked, and no refresh token.
async fn one_revocation(house: &House) {
    let first = eventually("the revocation", || house.server.revocations().pop()).await;
    assert_eq!(first.0, "access_token");
    assert_eq!(house.server.revocations().len(), 1);
}

// rows: RT-04 SCOP-05
#[tokio::test]
async fn a_server_that_ignores_narrowing_has_its_token_revoked_and_the_switch_is_named() {
    let (house, mut agent, redeemed) = granted(Plan::new()).await;
    house.server.behave(scope("customers.read customers.write"));
    let status =
        refused(narrow(&mut agent, &redeemed.grant, &[READ]).await, Code::FailedPrecondition, "SCOPE_UPGRADED");
    assert_eq!(fact(&status, "scopes").as_deref(), Some(WRITE));
    one_revocation(&house).await;
    eventually("the switch in the log", || house.log().contains("refresh_narrowing").then_some(())).await;
    house.event("detect.scope_escalation").await;
    // The grant lives, and an honest answer is taken: each is compared for itself.
    get(&mut agent, &redeemed.grant).await.unwrap();
    let write = narrow(&mut agent, &redeemed.grant, &[WRITE]).await.unwrap();
    assert_eq!(token(&write).scopes, [WRITE]);
}

// rows: RT-04
#[tokio::test]
async fn narrowing_that_is_not_confirmed_is_none() {
    let (house, mut agent, redeemed) = granted(Plan::new()).await;
    house.server.behave(Script::Token(Behaviour::OmitScope));
    let unsure = narrow(&mut agent, &redeemed.grant, &[READ]).await;
    refused(unsure, Code::FailedPrecondition, "NARROWING_UNAVAILABLE");
    one_revocation(&house).await;

    let (house, mut agent, redeemed) = granted(switched("assumed")).await;
    house.server.behave(Script::Token(Behaviour::OmitScope));
    assert_eq!(token(&narrow(&mut agent, &redeemed.grant, &[READ]).await.unwrap()).scopes, [READ]);
    assert_eq!(house.server.revocation_posts(), 0);
}

// rows: RT-04
#[tokio::test]
async fn a_server_that_cannot_narrow_is_not_asked_to() {
    let (house, mut agent, redeemed) = granted(switched("off")).await;
    let cannot = narrow(&mut agent, &redeemed.grant, &[READ]).await;
    refused(cannot, Code::FailedPrecondition, "NARROWING_UNAVAILABLE");
    assert_eq!(house.server.token_posts(), 1);

    // Nor can a grant without refresh token be narrowed.
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    house.server.behave(Script::Token(Behaviour::NoRefreshToken));
    let redeemed = house.login(&mut agent, &[READ, WRITE]).await.unwrap();
    let cannot = narrow(&mut agent, &redeemed.grant, &[READ]).await;
    refused(cannot, Code::FailedPrecondition, "NARROWING_UNAVAILABLE");
    assert_eq!(house.server.token_posts(), 1);
}

// rows: RT-04 SCOP-05
#[tokio::test]
async fn more_than_the_person_granted_ends_the_grant() {
    let (house, mut agent, redeemed) = granted(Plan::new()).await;
    house.server.behave(scope("customers.read admin"));
    refused(narrow(&mut agent, &redeemed.grant, &[READ]).await, Code::FailedPrecondition, "SCOPE_UPGRADED");
    // The broader token, then the refresh token and the first token.
    eventually("all revocations", || (house.server.revocations().len() == 3).then_some(())).await;
    refused(get(&mut agent, &redeemed.grant).await, Code::FailedPrecondition, "REAUTH_REQUIRED");
}

// rows: SCOP-06
#[tokio::test]
async fn fewer_than_asked_is_no_answer_to_who_named_them() {
    let (house, mut agent, redeemed) = granted(Plan::new()).await;
    house.server.behave(scope(READ));
    let fewer = narrow(&mut agent, &redeemed.grant, &[READ, WRITE]).await.unwrap();
    // Asked for what is held, nothing is fetched.
    assert_eq!((token(&fewer).scopes.len(), house.server.refreshes().len()), (2, 0));

    let plan = Plan::new().policy(
        "@id(\"short\") @max_lifetime(\"1s\") permit (principal, action == Narrowgate::Action::\"grant_scope\", resource);",
    );
    let (house, agent, redeemed) = granted(plan).await;
    house.server.always(scope(READ));
    let status = crate::asking::until("the refusal after the lease", || {
        let (mut agent, grant) = (agent.clone(), redeemed.grant.clone());
        async move { narrow(&mut agent, &grant, &[READ, WRITE]).await.err() }
    })
    .await;
    assert_eq!(crate::house::reason(&status), "SCOPE_NARROWED");
    // Whoever names none is told what there is.
    let mut agent = agent;
    assert_eq!(token(&get(&mut agent, &redeemed.grant).await.unwrap()).scopes, [READ]);
}
