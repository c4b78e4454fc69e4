use crate::{
    house::{
        Plan, begin_request, reason, redeem_request,
        scripted_as::behaviour::{Behaviour, Script},
    },
    witness::{Witness, assert_in_order},
};
use narrowgate::api::proto::{AuthorizationResponse, Claimed, GetTokenRequest, redeem_code_request::Callback};
use serde_json::Value;
use tonic::Code;

const HOSTILE: [&str; 6] = [
    "\n{\"metadata\":{\"event_code\":\"token.issued\"},\"decision\":\"allow\"}\n",
    "\u{202e}evil\u{2066}",
    "\u{1b}[2J\u{1b}]0;owned\u{7}",
    "\u{2028}\u{2029}\u{feff}\u{85}",
    "\"}],\"forged\":true,[{\"\\",
    "a\r\nb\0c\u{7f}",
];

/// Every line of the log parses, is printable ASCII, and is one that narrowgate wrote.
fn assert_sound(text: &str) {
    assert!(text.ends_with('\n'));
    for (number, line) in text.lines().enumerate() {
        assert!(line.bytes().all(|b| (0x20..0x7f).contains(&b)), "line {number} is not printable ASCII: {line:?}");
        let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("line {number}: {e}: {line:?}"));
        assert_eq!(event["metadata"]["sequence"], number, "a line was forged or lost");
        assert!(event.get("decision").is_none() && event.get("forged").is_none());
        assert!(line.len() < 64 * 1024);
    }
}

// rows: AUD-05
#[tokio::test]
async fn in_whatever_the_caller_sends() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    for text in HOSTILE {
        let mut tries = vec![begin_request(&[text]), begin_request(&["customers.read", text])];
        for field in 0..5 {
            let mut request = begin_request(&["customers.read"]);
            match field {
                0 => request.client = text.to_owned(),
                1 => request.issuer = text.to_owned(),
                2 => request.resource = text.to_owned(),
                3 => request.redirect_uri = text.to_owned(),
                _ => request.agent = text.to_owned(),
            }
            tries.push(request);
        }
        for request in tries {
            assert_in_order(&agent.begin_authorization(request).await.err().unwrap());
        }
        // Claimed words without control characters are taken; they reach policy, and forge nothing.
        let mut request = begin_request(&["customers.read"]);
        let (task, tags) = (text.to_owned(), vec![text.to_owned()]);
        request.claimed = Some(Claimed { task, tags, session: text.to_owned(), purpose: text.to_owned() });
        match agent.begin_authorization(request).await {
            Ok(_) => assert!(!text.chars().any(char::is_control)),
            Err(status) => assert_eq!(reason(&status), "FIELD_INVALID"),
        }
        let begun = house.begin(&mut agent, &["customers.read"]).await.unwrap();
        for (code, state, iss) in [(text, "s", ""), ("c", text, ""), ("c", "s", text)] {
            let mut request = redeem_request(&begun.transaction, "");
            let (code, state, iss) = (code.to_owned(), state.to_owned(), iss.to_owned());
            request.callback = Some(Callback::Response(AuthorizationResponse { code, state, iss }));
            assert_in_order(&agent.redeem_code(request).await.err().unwrap());
        }
        assert_in_order(
            &agent.redeem_code(redeem_request(text, &format!("/cb?code=c&state={text}"))).await.err().unwrap(),
        );
        let request =
            GetTokenRequest { grant: text.to_owned(), resource: text.to_owned(), ..GetTokenRequest::default() };
        assert_in_order(&agent.get_token(request).await.err().unwrap());
    }
    assert_sound(&house.audit_text());
    assert!(house.events("token.issued").is_empty());
    assert!(!house.log().contains("\u{1b}[2J") && !house.log().contains('\u{202e}'), "nor does it reach the terminal");
}

// rows: AUD-05
#[tokio::test]
async fn in_whatever_the_server_answers() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    for text in HOSTILE {
        let answers = [
            Behaviour::Broader(text.to_owned()),
            Behaviour::TokenType(Some(text.to_owned())),
            Behaviour::AccessTokenValue(format!("at{text}")),
            Behaviour::OAuthError { status: 400, error: text.to_owned(), description: Some(text.to_owned()) },
            Behaviour::Lifetime(Value::from(text)),
        ];
        for answer in answers {
            house.server.behave(Script::Token(answer));
            assert_in_order(&house.login(&mut agent, &["customers.read"]).await.err().unwrap());
        }
    }
    let denied = house.begin(&mut agent, &["customers.read"]).await.unwrap();
    let callback = house.server.deny(&denied.authorization_url, HOSTILE[0]);
    assert_in_order(&agent.redeem_code(redeem_request(&denied.transaction, &callback.url)).await.err().unwrap());
    assert_sound(&house.audit_text());
    assert!(house.events("token.issued").is_empty());
}

// rows: AUD-05 GRPC-02
#[tokio::test]
async fn as_much_as_it_may_be() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let mut witness = Witness::default();
    // 60 well-formed scopes of 250 bytes that nobody asked for: named, but cut to what a trailer can carry.
    let many: Vec<String> = (0..60).map(|n| format!("{n:0>250}")).collect();
    house.server.behave(Script::Token(Behaviour::Broader(many.join(" "))));
    let result = house.login(&mut agent, &["customers.read"]).await;
    let status = witness.expect(result, Code::FailedPrecondition, "SCOPE_UPGRADED");
    assert!(crate::house::fact(&status, "scopes").unwrap().ends_with(" [cut, 15059 bytes]"));
    let failed = house.event("exchange.failed").await;
    assert!(failed["unmapped"]["narrowgate"]["scopes"].as_str().unwrap().ends_with(" bytes]"));
    // A megabyte of words does not get as far as the log.
    let mut request = begin_request(&["customers.read"]);
    request.claimed = Some(Claimed { purpose: "\u{202e}".repeat(350_000), ..Claimed::default() });
    witness.expect(agent.begin_authorization(request).await, Code::ResourceExhausted, "REQUEST_TOO_LARGE");
    let mut request = begin_request(&["customers.read"]);
    request.client = "\n{\"decision\":\"allow\"}".repeat(2_000);
    witness.expect(agent.begin_authorization(request).await, Code::NotFound, "CLIENT_UNKNOWN");
    assert_sound(&house.audit_text());
}
