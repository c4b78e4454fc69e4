//! The attacker has a code of its own and feeds it to the victim: as a whole callback, or as the code alone beside the
//! victim's state. State stops the first, PKCE the second.

use crate::kit::*;

#[tokio::test]
async fn a_foreign_code_buys_nothing() {
    let house = Plan::new().open().await;
    let mut victim = house.agent().await;
    let begun = house.begin(&mut victim, &[READ]).await.unwrap();
    assert_eq!(param(&begun.authorization_url, "code_challenge_method").as_deref(), Some("S256"));
    let (_, attackers) = house.approved(&mut victim, &[READ]).await;
    let forged = redeem(&mut victim, &begun.transaction, &attackers).await;
    refused(forged, Code::FailedPrecondition, "STATE_MISMATCH");
    assert_eq!(house.event("detect.state_mismatch").await["severity"], "High");
    assert_eq!(house.server.token_connections(), 0);
    // The login is not lost by it.
    let own = house.server.approve(&begun.authorization_url);
    let injected = by_fields(&begun.transaction, &attackers.code, &own.state, &own.iss);
    let status = refused(ask(&mut victim, injected).await, Code::FailedPrecondition, "GRANT_REJECTED");
    assert!(fact(&status, "decision_id").is_some());
    assert_eq!(house.server.token_posts(), 1);
    // The state is used up with its transaction.
    let replayed = redeem(&mut victim, &begun.transaction, &own).await;
    assert!(replayed.is_err());
    assert_nothing_issued(&house);
}

#[tokio::test]
async fn a_state_cannot_be_tried_out() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    for n in 0..5 {
        let mut guess: Vec<char> = callback.state.chars().collect();
        guess[n] = if guess[n] == 'x' { 'y' } else { 'x' };
        let guess = by_fields(&transaction, &callback.code, &String::from_iter(guess), &callback.iss);
        let status = ask(&mut agent, guess).await.err().expect("one character is wrong");
        assert_eq!(reason(&status), "STATE_MISMATCH");
    }
    refused(redeem(&mut agent, &transaction, &callback).await, Code::FailedPrecondition, "TXN_TERMINAL");
    assert_eq!(house.server.token_posts(), 0);
}
