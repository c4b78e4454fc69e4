use crate::house::{
    Plan, eventually, fact, get, reason, scripted_as::behaviour::Behaviour, scripted_as::behaviour::Script,
};
use tonic::Code;

// rows: POL-05
#[tokio::test]
async fn a_no_at_begin_costs_no_connection() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    for scopes in [["customers.delete"].as_slice(), &["customers.read", "customers.delete"]] {
        let status = house.begin(&mut agent, scopes).await.err().unwrap();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "HUMAN_APPROVAL_REQUIRED"));
        assert_eq!(fact(&status, "scopes").unwrap(), "customers.delete");
    }
    assert_eq!((house.server.front_connections(), house.server.token_connections()), (0, 0));
}

// rows: POL-05
#[tokio::test]
async fn a_no_at_redeem_costs_no_connection_and_ends_the_transaction() {
    let no = "@id(\"no\") @code(\"closed\") @message(\"Come back on Monday.\")\n\
        forbid (principal, action == Narrowgate::Action::\"redeem_code\", resource);";
    let house = Plan::new().policy(no).open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &["customers.read"]).await;
    let status = crate::house::redeem(&mut agent, &transaction, &callback).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "POLICY_DENIED"));
    let decided = house.events("exchange.decided").pop().expect("the no is recorded before it is told");
    assert_eq!(decided["metadata"]["correlation_uid"], fact(&status, "decision_id").unwrap());
    assert_eq!(
        (&decided["action_id"], &decided["unmapped"]["narrowgate"]["deny_kind"]),
        (&2.into(), &"forbid_matched".into())
    );
    // The code was wiped with the transaction: there is nothing to try again.
    let again = crate::house::redeem(&mut agent, &transaction, &callback).await.err().unwrap();
    assert_eq!(reason(&again), "TXN_TERMINAL");
    assert_eq!((house.server.token_connections(), house.server.token_posts()), (0, 0));
}

// rows: POL-05
#[tokio::test]
async fn what_was_really_issued_is_asked_again() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    // The ceiling of the sample client is an hour; the server says two.
    house.server.behave(Script::Token(Behaviour::Lifetime(7200.into())));
    let status = house.login(&mut agent, &["customers.read"]).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "POLICY_DENIED"));
    assert_eq!(fact(&status, "policy_code").unwrap(), "issued_token_out_of_bounds");
    assert_eq!(house.server.token_posts(), 1);
    let failed = house.event("exchange.failed").await;
    assert_eq!(failed["unmapped"]["narrowgate"]["deny_kind"], "forbid_matched");
    assert_eq!(failed["metadata"]["correlation_uid"], fact(&status, "decision_id").unwrap());
    eventually("the revocation", || {
        house.server.revocations().iter().find(|(hint, _)| hint == "access_token").cloned()
    })
    .await;
    assert!(house.events("token.issued").is_empty());

    // More scope than was allowed does not even reach the question.
    house.server.behave(Script::Token(Behaviour::Broader("customers.delete".to_owned())));
    let status = house.login(&mut agent, &["customers.read"]).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "SCOPE_UPGRADED"));

    // Less is allowed, and the token says so.
    house.server.behave(Script::Token(Behaviour::Narrower("customers.read".to_owned())));
    let redeemed = house.login(&mut agent, &["customers.read", "customers.write"]).await.unwrap();
    assert_eq!(redeemed.token.unwrap().scopes, ["customers.read"]);
    assert_eq!(get(&mut agent, &redeemed.grant).await.unwrap().token.unwrap().scopes, ["customers.read"]);
}
