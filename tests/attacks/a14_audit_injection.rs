//! Text that would be a line of its own, turn a line around, or fill the disk. (Cut, reordered and rolled back files are
//! the business of the chained log.)

use crate::kit::*;
use serde_json::Value;

#[tokio::test]
async fn a_record_is_one_line_whatever_is_in_it() {
    let mut house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let long = "x".repeat(1 << 20);
    let hostile =
        ["\n{\"metadata\":{\"event_code\":\"token.issued\"}}\n", "\u{202e}\u{2066}", "\u{1b}[2J", "\"]}\\", &long];
    for text in hostile {
        let mut begin = begin_request(&[READ]);
        begin.claimed =
            Some(Claimed { task: text.to_owned(), purpose: "\u{202e}quote\u{2028}".to_owned(), ..Claimed::default() });
        let _ = agent.begin_authorization(begin).await;
        let _ = agent.begin_authorization(begin_request(&[text])).await;
        let _ = ask(&mut agent, redeem_request(text, &format!("http://127.0.0.1/callback?code={text}"))).await;
        let echo = Behaviour::OAuthError { status: 400, error: text.to_owned(), description: Some(text.to_owned()) };
        let _ = answered(&house, &mut agent, echo).await;
    }
    house.stop().await;
    let text = house.audit_text();
    for (number, line) in text.lines().enumerate() {
        assert!(line.len() < 64 << 10 && line.bytes().all(|b| (0x20..0x7f).contains(&b)), "line {number}");
        assert_eq!(serde_json::from_str::<Value>(line).unwrap()["metadata"]["sequence"], number);
    }
    assert!(!house.events("authorization.decided").is_empty() && text.contains("\\u202e"));
    assert_nothing_issued(&house);
}
