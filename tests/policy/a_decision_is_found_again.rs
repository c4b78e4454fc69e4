//! While nothing that a decision hangs on is otherwise, its answers are known: a call costs no evaluation, and its event
//! names the decision whose answers it has, with whose event its questions are.

use crate::house::{Plan, reason};
use narrowgate::api::proto::{Claimed, GetTokenRequest};
use serde_json::Value;

fn wanted(grant: &str, purpose: &str) -> GetTokenRequest {
    let claimed = Some(Claimed { purpose: purpose.to_owned(), ..Claimed::default() });
    GetTokenRequest { grant: grant.to_owned(), claimed, ..GetTokenRequest::default() }
}

fn facts(event: &Value) -> &Value {
    &event["unmapped"]["narrowgate"]
}

// rows: CACH-09 POL-09
#[tokio::test]
async fn and_its_event_names_the_one_that_was_asked() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let grant = house.login(&mut agent, &["customers.read"]).await.unwrap().grant;
    for number in 1..=5 {
        agent.get_token(wanted(&grant, "quote")).await.unwrap();
        // Written, so that the one after the next may name it: it is on record once that is begun.
        crate::house::eventually("its event", || (house.events("token.served").len() == number).then_some(())).await;
    }
    agent.get_token(wanted(&grant, "renewal")).await.unwrap();
    crate::house::eventually("the last event", || (house.events("token.served").len() == 6).then_some(())).await;
    let served = house.events("token.served");
    let (first, hits, other) = (facts(&served[0]), &served[2..5], facts(&served[5]));
    assert!(first["asked"].is_object() && first["answered_by"].is_null(), "{first:#}");
    for event in hits {
        let hit = facts(event);
        assert_eq!((&hit["decision_cache"], &hit["answered_by"]), (&"hit".into(), &first["asked_by"]), "{hit:#}");
        assert!(hit["asked"].is_null());
        // Who called, what was handed out, and under which policies is its own.
        assert_eq!(event["authorizations"], served[0]["authorizations"]);
        assert_ne!(hit["release_decision_id"], first["release_decision_id"]);
        assert_eq!(hit["policy_digest"], first["policy_digest"]);
        assert!(event.to_string().len() < 3_600, "{event}");
    }
    // Its words are on record as its own.
    assert!(other["asked"].is_object() && other["answered_by"].is_null(), "{other:#}");
}

// rows: CACH-08 POL-05
#[tokio::test]
async fn but_not_when_its_words_decide() {
    let rule = "@id(\"never\") @code(\"never\") forbid (principal, action in Narrowgate::Action::\"obtain\", resource) \
                when { context.base.claimed has purpose && context.base.claimed.purpose == \"exfiltrate\" };";
    let house = Plan::new().policy(rule).open().await;
    let mut agent = house.agent().await;
    let grant = house.login(&mut agent, &["customers.read"]).await.unwrap().grant;
    for _ in 0..3 {
        agent.get_token(wanted(&grant, "quote")).await.unwrap();
        let refused = agent.get_token(wanted(&grant, "exfiltrate")).await.err().unwrap();
        assert_eq!(reason(&refused), "POLICY_DENIED");
    }
}
