//! The agent chooses its words so that a forbid fails to evaluate. Cedar would skip it, and a permit would win.

use crate::kit::*;

const FORBID: &str = "@id(\"no-exports\") @code(\"no_exports\")\n\
    forbid (principal, action == Narrowgate::Action::\"redeem_code\", resource)\n\
    when { context.base.claimed has purpose && context.base.claimed.purpose like \"export*\" };\n\
    @id(\"fragile\") @code(\"fragile\")\n\
    forbid (principal, action == Narrowgate::Action::\"redeem_code\", resource)\n\
    when { context.base.claimed has task && principal.trust * 9223372036854775807 > 5 };";

#[tokio::test]
async fn a_forbid_that_errs_forbids() {
    let house = Plan::new().policy(FORBID).open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let aimed = Claimed { task: "anything: it makes the forbid overflow".to_owned(), ..Claimed::default() };
    let request = RedeemCodeRequest { claimed: Some(aimed), ..redeem_request(&transaction, &callback.url) };
    refused(ask(&mut agent, request).await, Code::PermissionDenied, "POLICY_EVAL_ERROR");
    assert_eq!((house.server.token_connections(), house.server.token_posts()), (0, 0));
    let decided = house.event("exchange.decided").await;
    assert_eq!((&decided["severity"], &facts(&decided)["deny_kind"]), (&"High".into(), &"eval_error".into()));
    house.login(&mut agent, &[READ]).await.unwrap();
}

#[tokio::test]
async fn what_is_sure_to_err_does_not_load() {
    for condition in ["principal.clearance > 3", "context.base.lifetime > 60", "resource == Narrowgate::Scop::\"x\""] {
        let text =
            format!("@id(\"typo\") @code(\"typo\") forbid (principal, action, resource) when {{ {condition} }};");
        let house = Plan::new().policy(&text).build();
        assert_eq!(run(house.command("check")).await.status.code(), Some(65), "{condition}");
    }
}
