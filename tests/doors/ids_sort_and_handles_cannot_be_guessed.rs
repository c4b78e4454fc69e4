use crate::{
    asking::{READ, refused},
    house::{Plan, redeem_request},
};
use std::collections::BTreeSet;
use tonic::Code;
use uuid::{Uuid, Variant, Version};

/// Authorizations begun, one after the other.
const MANY: usize = 200;

/// The milliseconds in a UUIDv7; fails on every other text.
fn millis(id: &str) -> u64 {
    let id = Uuid::try_parse(id).unwrap();
    assert_eq!((id.get_version(), id.get_variant()), (Some(Version::SortRand), Variant::RFC4122), "{id}");
    (id.as_u128() >> 80).try_into().unwrap()
}

// rows: OBS-03
#[tokio::test]
async fn ids_sort_by_time_and_handles_have_no_structure() {
    let plan = Plan::new().config("[limits]\n", "[limits]\ntransactions_per_agent = 1000\n");
    let house = plan.open().await;
    let mut agent = house.agent().await;
    let mut begun = Vec::new();
    for _ in 0..MANY {
        begun.push(house.begin(&mut agent, &[READ]).await.unwrap());
    }
    // Decisions, and so exchanges, are UUIDv7 in the order in which they were taken.
    let decisions: Vec<u64> = begun.iter().map(|b| millis(&b.decision_id)).collect();
    assert!(decisions.is_sorted());
    let events = house.audit();
    let times: Vec<u64> = events.iter().map(|e| millis(e["metadata"]["uid"].as_str().unwrap())).collect();
    assert!(times.len() > MANY && times.is_sorted());
    let ids: BTreeSet<&str> = events.iter().map(|e| e["metadata"]["uid"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), events.len());
    for event in &events {
        if let Some(correlation) = event["metadata"]["correlation_uid"].as_str() {
            millis(correlation);
        }
    }
    // Handles are 128 bits of which each comes as one as often as it comes as zero, about: no time, no version, no count.
    let handles: Vec<u128> =
        begun.iter().map(|b| u128::from_str_radix(b.transaction.strip_prefix("txn_").unwrap(), 16).unwrap()).collect();
    assert_eq!(handles.iter().collect::<BTreeSet<_>>().len(), MANY);
    for bit in 0..128 {
        let ones = handles.iter().filter(|handle| *handle >> bit & 1 == 1).count();
        // Seven standard deviations: chance does this once in 10^9 runs.
        assert!((50..=150).contains(&ones), "bit {bit} is one in {ones} of {MANY}");
    }
    assert!(!handles.is_sorted());
}

// rows: OBS-03
#[tokio::test]
async fn a_handle_with_the_same_beginning_is_as_unknown_as_any() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let last = transaction.chars().last().unwrap();
    let near = format!("{}{}", &transaction[..transaction.len() - 1], if last == '0' { '1' } else { '0' });
    let mut texts = BTreeSet::new();
    for guess in [near.as_str(), "txn_00000000000000000000000000000000", "txn_ffffffffffffffffffffffffffffffff", "x"] {
        let result = agent.redeem_code(redeem_request(guess, &callback.url)).await;
        let status = refused(result, Code::NotFound, "TXN_UNKNOWN");
        texts.insert((status.message().to_owned(), status.details().to_vec()));
    }
    assert_eq!(texts.len(), 1, "an answer tells how near a guess was");
    assert_eq!(house.server.token_posts(), 0);
    agent.redeem_code(redeem_request(&transaction, &callback.url)).await.unwrap();
}
