//! The connection breaks after the code was sent. A client that tries again makes the server revoke everything the code
//! ever bought (RFC 6749 §4.1.2): so nobody tries again, and what is unknown is called so.

use crate::kit::*;

#[tokio::test]
async fn an_unknown_outcome_stays_unknown() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    for (count, cut) in
        [Behaviour::ResetAfterRequest, Behaviour::CloseAfterRequest, Behaviour::CutBody].into_iter().enumerate()
    {
        let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
        house.server.behave(Script::Token(cut));
        let result = redeem(&mut agent, &transaction, &callback).await;
        let status = refused(result, Code::Aborted, "REDEEM_OUTCOME_UNKNOWN");
        let decision = fact(&status, "decision_id").unwrap();
        assert_eq!(about(&house, "exchange.failed", &decision).len(), 1);
        for _ in 0..3 {
            let again = redeem(&mut agent, &transaction, &callback).await;
            refused(again, Code::AlreadyExists, "CODE_ALREADY_USED");
        }
        assert_eq!(house.server.token_posts(), count + 1);
    }
    assert_nothing_issued(&house);
    // The person logs in again, and that is all it takes.
    house.login(&mut agent, &[READ]).await.unwrap();
}
