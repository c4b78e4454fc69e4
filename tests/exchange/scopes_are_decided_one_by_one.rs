use crate::{
    asking::{READ, WRITE, ask, begin, param, refused},
    house::{
        Plan, begin_request, fact, get, redeem, redeem_request,
        scripted_as::behaviour::{Behaviour, Script},
    },
};
use narrowgate::api::proto::{BeginAuthorizationRequest, GetTokenRequest, RedeemCodeRequest};
use tonic::Code;

const DELETE: &str = "customers.delete";

fn names(scopes: &[&str]) -> Vec<String> {
    scopes.iter().map(ToString::to_string).collect()
}

fn get_request(grant: &str, scopes: Vec<String>) -> GetTokenRequest {
    GetTokenRequest { grant: grant.to_owned(), scopes, ..GetTokenRequest::default() }
}

// rows: SCOP-01
#[tokio::test]
async fn scopes_keep_to_the_alphabet_and_the_bounds() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let granted = house.login(&mut agent, &[READ]).await.unwrap();
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let long = "x".repeat(257);
    let mut lists: Vec<Vec<String>> = [
        "customers.\tread",
        "customers.read\r\n",
        "customers\".read",
        "customers\\.read",
        "customers\u{a0}read",
        "\u{440}ead",
        "",
        " customers.read",
        "customers.read ",
        "customers.read  customers.write",
        "customers.read customers.write",
        "customers.read\0",
        "\u{7f}",
        &long,
    ]
    .map(|bad| names(&[READ, bad]))
    .into();
    lists.push((0..10_000).map(|n| n.to_string()).collect());
    lists.push(vec![READ.to_owned(); 2_000]);
    lists.push(vec![READ.to_owned(); 65]);
    for scopes in lists {
        let request = BeginAuthorizationRequest { scopes: scopes.clone(), ..begin_request(&[]) };
        refused(begin(&mut agent, request).await, Code::InvalidArgument, "SCOPE_SYNTAX");
        let request =
            RedeemCodeRequest { required_scopes: scopes.clone(), ..redeem_request(&transaction, &callback.url) };
        refused(ask(&mut agent, request).await, Code::InvalidArgument, "SCOPE_SYNTAX");
        let result = agent.get_token(get_request(&granted.grant, scopes)).await;
        refused(result, Code::InvalidArgument, "SCOPE_SYNTAX");
    }
    let result = begin(&mut agent, begin_request(&[])).await;
    refused(result, Code::InvalidArgument, "FIELD_REQUIRED");
    assert_eq!(house.server.token_posts(), 1);
    redeem(&mut agent, &transaction, &callback).await.unwrap();
}

// rows: SCOP-01
#[tokio::test]
async fn no_scope_of_a_list_is_overlooked() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ, WRITE]).await;
    house.server.behave(Script::Token(Behaviour::Narrower(READ.to_owned())));
    let mut required_scopes = vec![READ.to_owned(); 63];
    required_scopes.push(WRITE.to_owned());
    let request = RedeemCodeRequest { required_scopes, ..redeem_request(&transaction, &callback.url) };
    refused(ask(&mut agent, request).await, Code::FailedPrecondition, "SCOPE_NARROWED");
}

// rows: SCOP-02
#[tokio::test]
async fn case_counts_and_order_and_repeats_do_not() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    for other in ["Customers.read", "CUSTOMERS.READ", "customers.Read"] {
        let result = house.begin(&mut agent, &[READ, other]).await;
        refused(result, Code::InvalidArgument, "SCOPE_UNDECLARED");
    }
    let begun = house.begin(&mut agent, &[WRITE, READ, WRITE]).await.unwrap();
    assert_eq!(begun.scopes, [READ, WRITE]);
    let joined = format!("{READ} {WRITE}");
    assert_eq!(param(&begun.authorization_url, "scope"), Some(joined));
    let callback = house.server.approve(&begun.authorization_url);
    // The server may name them in another order.
    house.server.behave(Script::Token(Behaviour::Narrower(format!("{WRITE} {READ} {WRITE}"))));
    let request = RedeemCodeRequest {
        required_scopes: names(&[WRITE, READ, READ]),
        ..redeem_request(&begun.transaction, &callback.url)
    };
    let redeemed = ask(&mut agent, request).await.unwrap();
    let token = redeemed.token.unwrap();
    assert_eq!(token.scopes, [READ, WRITE]);
    for wanted in [&[READ, WRITE][..], &[WRITE, READ], &[WRITE, READ, WRITE], &[]] {
        let held = agent.get_token(get_request(&redeemed.grant, names(wanted))).await.unwrap().into_inner();
        assert_eq!(held.token.unwrap().access_token, token.access_token, "{wanted:?}");
    }
    for other in ["Customers.read", "CUSTOMERS.READ"] {
        let result = agent.get_token(get_request(&redeemed.grant, names(&[READ, WRITE, other]))).await;
        refused(result, Code::PermissionDenied, "SCOPE_NOT_GRANTED");
    }
    assert_eq!(house.server.token_posts(), 1);
}

// rows: SCOP-02
#[tokio::test]
async fn an_answer_in_another_case_is_another_scope() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    house.server.behave(Script::Token(Behaviour::Narrower("Customers.read".to_owned())));
    let result = house.login(&mut agent, &[READ]).await;
    refused(result, Code::FailedPrecondition, "SCOPE_UPGRADED");
}

// rows: SCOP-03
#[tokio::test]
async fn one_refused_scope_refuses_the_request_and_is_named() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let result = house.begin(&mut agent, &[READ, DELETE]).await;
    let status = refused(result, Code::PermissionDenied, "HUMAN_APPROVAL_REQUIRED");
    assert_eq!(fact(&status, "scopes").as_deref(), Some(DELETE));
    assert_eq!(fact(&status, "policy_code").as_deref(), Some("approval_required"));
    assert_eq!((house.server.front_connections(), house.server.token_connections()), (0, 0));
    let decided = house.event("authorization.decided").await;
    assert_eq!(decided["unmapped"]["narrowgate"]["removed_scopes"][0]["scope"], DELETE);
    assert_eq!(decided["action"], "Denied");
}

// rows: SCOP-03
#[tokio::test]
async fn with_allow_partial_the_server_sees_what_policy_allows_and_no_more() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let partial = |scopes: &[&str]| BeginAuthorizationRequest { allow_partial: true, ..begin_request(scopes) };
    let begun = begin(&mut agent, partial(&[READ, DELETE])).await.unwrap();
    assert_eq!(begun.scopes, [READ]);
    let refused_scopes: Vec<_> =
        begun.refused_scopes.iter().map(|r| (r.scope.as_str(), r.policy_code.as_str())).collect();
    assert_eq!(refused_scopes, [(DELETE, "approval_required")]);
    assert_eq!(param(&begun.authorization_url, "scope").as_deref(), Some(READ));
    let callback = house.server.approve(&begun.authorization_url);
    let redeemed = redeem(&mut agent, &begun.transaction, &callback).await.unwrap();
    assert_eq!(redeemed.token.unwrap().scopes, [READ]);
    assert_eq!(house.server.last_token_request().unwrap().param("scope"), None);
    // The server cannot widen it again.
    let begun = begin(&mut agent, partial(&[READ, DELETE])).await.unwrap();
    let callback = house.server.approve(&begun.authorization_url);
    house.server.behave(Script::Token(Behaviour::Broader(DELETE.to_owned())));
    let result = redeem(&mut agent, &begun.transaction, &callback).await;
    refused(result, Code::FailedPrecondition, "SCOPE_UPGRADED");
    // Where nothing is left it is a no.
    let result = begin(&mut agent, partial(&[DELETE])).await;
    refused(result, Code::PermissionDenied, "HUMAN_APPROVAL_REQUIRED");
}

// rows: SCOP-07
#[tokio::test]
async fn redeem_cannot_name_a_scope_that_was_not_begun() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    for beyond in [&[WRITE][..], &[READ, WRITE], &["admin"], &["Customers.read"]] {
        let request =
            RedeemCodeRequest { required_scopes: names(beyond), ..redeem_request(&transaction, &callback.url) };
        let status = refused(ask(&mut agent, request).await, Code::PermissionDenied, "SCOPE_NOT_IN_TRANSACTION");
        assert_eq!(fact(&status, "scopes").as_deref(), beyond.last().copied());
    }
    assert_eq!(house.server.token_connections(), 0);
    let redeemed = redeem(&mut agent, &transaction, &callback).await.unwrap();
    let result = agent.get_token(get_request(&redeemed.grant, names(&[READ, WRITE]))).await;
    refused(result, Code::PermissionDenied, "SCOPE_NOT_GRANTED");
    get(&mut agent, &redeemed.grant).await.unwrap();
    assert_eq!(house.server.token_posts(), 1);
}

// rows: SCOP-07
#[tokio::test]
async fn a_scope_that_partial_took_away_does_not_come_back_at_redeem() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let request = BeginAuthorizationRequest { allow_partial: true, ..begin_request(&[READ, DELETE]) };
    let begun = begin(&mut agent, request).await.unwrap();
    let callback = house.server.approve(&begun.authorization_url);
    let request = RedeemCodeRequest {
        required_scopes: names(&[READ, DELETE]),
        ..redeem_request(&begun.transaction, &callback.url)
    };
    refused(ask(&mut agent, request).await, Code::PermissionDenied, "SCOPE_NOT_IN_TRANSACTION");
    assert_eq!(house.server.token_connections(), 0);
}
