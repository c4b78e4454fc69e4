use crate::{
    asking::{READ, granted, narrow},
    house::{Plan, eventually},
};

// rows: CACH-09
#[tokio::test]
async fn a_hundred_hits_are_a_hundred_events_that_name_the_decision_behind_the_token() {
    let (house, mut agent, redeemed) = granted(Plan::new()).await;
    let missed = narrow(&mut agent, &redeemed.grant, &[READ]).await.unwrap();
    let mut decisions = Vec::new();
    for _ in 0..100 {
        decisions.push(narrow(&mut agent, &redeemed.grant, &[READ]).await.unwrap().decision_id);
    }
    let refreshed = house.event("token.refreshed").await;
    let facts = &refreshed["unmapped"]["narrowgate"];
    assert_eq!((&facts["cache"], &facts["release_decision_id"]), (&"miss".into(), &missed.decision_id.into()));
    let served = eventually("the hits' events", || {
        let served = house.events("token.served");
        (served.len() == 100).then_some(served)
    })
    .await;
    for (event, decision) in served.iter().zip(decisions) {
        let hit = &event["unmapped"]["narrowgate"];
        assert_eq!((&hit["cache"], &event["metadata"]["correlation_uid"]), (&"hit".into(), &decision.into()));
        assert_eq!(hit["original_decision_id"], refreshed["metadata"]["correlation_uid"]);
        assert_eq!(event["session"]["uid"], refreshed["session"]["uid"]);
    }
}
