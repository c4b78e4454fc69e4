use crate::{
    house::{COURIER, redeem},
    kit::{CRM, READ, granted, plan, proving, refused, sign},
};
use std::collections::BTreeSet;
use tonic::Code;

// rows: DPOP-08
#[tokio::test]
async fn every_transaction_has_a_key_of_its_own_and_shows_it_before_the_code() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    let mut keys = BTreeSet::new();
    for _ in 0..3 {
        let begun = house.begin(&mut agent, &[READ]).await.unwrap();
        let url = url::Url::parse(&begun.authorization_url).unwrap();
        let (_, jkt) = url.query_pairs().find(|(name, _)| name == "dpop_jkt").unwrap();
        let callback = house.server.approve(&begun.authorization_url);
        let token = redeem(&mut agent, &begun.transaction, &callback).await.unwrap().token.unwrap();
        assert_eq!((token.jkt.as_str(), house.server.proofs().last().unwrap().jkt().as_str()), (&*jkt, &*jkt));
        keys.insert(token.jkt);
    }
    assert_eq!(keys.len(), 3);
}

// rows: DPOP-08
#[tokio::test]
async fn a_code_that_was_bound_to_another_key_is_of_no_use_here() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    let begun = house.begin(&mut agent, &[READ]).await.unwrap();
    // Somebody in between had the code bound to a key of their own.
    let mut url = url::Url::parse(&begun.authorization_url).unwrap();
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    url.query_pairs_mut().clear().extend_pairs(pairs.iter().map(|(name, value)| {
        let other = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
        (name.as_str(), if name == "dpop_jkt" { other } else { value.as_str() })
    }));
    let callback = house.server.approve(url.as_str());
    refused(redeem(&mut agent, &begun.transaction, &callback).await, Code::FailedPrecondition, "GRANT_REJECTED");
}

// rows: DPOP-10 CALL-08
#[tokio::test]
async fn nobody_signs_with_another_agents_key() {
    let (house, mut quoter, redeemed) = granted(plan()).await;
    let mut courier = house.svid_agent(COURIER).await;
    let foreign = sign(&mut courier, proving(&redeemed.grant, CRM)).await;
    let foreign = refused(foreign, Code::NotFound, "GRANT_UNKNOWN");
    let unknown = sign(&mut courier, proving("grant_0123456789abcdef0123456789abcdef", CRM)).await;
    let unknown = refused(unknown, Code::NotFound, "GRANT_UNKNOWN");
    assert_eq!((foreign.message(), foreign.details()), (unknown.message(), unknown.details()));
    house.event("detect.cross_agent_handle").await;
    assert!(house.events("proof.signed").is_empty());
    sign(&mut quoter, proving(&redeemed.grant, CRM)).await.unwrap();
}
