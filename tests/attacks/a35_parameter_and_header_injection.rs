//! Text that would be a second parameter, a second header or a second line, in both directions.

use crate::kit::*;

#[tokio::test]
async fn text_stays_text() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    for scope in ["customers.read\r\nX-Evil: 1", "customers.read&scope=admin", "customers.read admin", "a\0b"] {
        let status = agent.begin_authorization(begin_request(&[scope])).await.err().unwrap();
        assert!(["SCOPE_SYNTAX", "SCOPE_UNDECLARED"].contains(&reason(&status).as_str()), "{status:?}");
    }
    for resource in ["https://crm.example.test/api\r\nHost: evil", "https://crm.example.test/api&resource=x"] {
        let request = BeginAuthorizationRequest { resource: resource.to_owned(), ..begin_request(&[READ]) };
        assert!(agent.begin_authorization(request).await.is_err());
    }
    // A code that carries parameters of its own arrives as that code.
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let smuggling = format!("{}&scope=admin&redirect_uri=https://evil.example", callback.code);
    let request = by_fields(&transaction, &smuggling, &callback.state, &callback.iss);
    refused(ask(&mut agent, request).await, Code::FailedPrecondition, "GRANT_REJECTED");
    let seen = house.server.last_token_request().unwrap();
    assert_eq!((seen.param("code"), seen.param("scope")), (Some(smuggling.as_str()), None));
    assert_eq!(seen.param("redirect_uri"), Some("http://127.0.0.1:50123/callback"));
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let split = by_fields(&transaction, "code\r\nAuthorization: Bearer x", &callback.state, &callback.iss);
    refused(ask(&mut agent, split).await, Code::InvalidArgument, "CODE_SYNTAX");
    // And back: a token that would split a header of the agent's own request.
    for token in ["at\r\nSet-Cookie: admin=1", "at\0", "at\u{e9}", " at", ""] {
        let told = answered(&house, &mut agent, Behaviour::AccessTokenValue(token.to_owned())).await;
        assert_eq!(reason(&told), "AS_RESPONSE_MALFORMED", "{token:?}");
    }
    assert_nothing_issued(&house);
}
