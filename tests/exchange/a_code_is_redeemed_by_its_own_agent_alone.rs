use crate::{
    asking::{READ, refused, until},
    house::{Agent, COURIER, House, Plan, redeem, scripted_as::Callback},
};
use tonic::{Code, Status};

/// What a caller can tell two refusals apart by.
fn looks(status: &Status) -> (Code, String, Vec<u8>) {
    (status.code(), status.message().to_owned(), status.details().to_vec())
}

async fn unknown(agent: &mut Agent, transaction: &str, callback: &Callback) -> (Code, String, Vec<u8>) {
    looks(&refused(redeem(agent, transaction, callback).await, Code::NotFound, "TXN_UNKNOWN"))
}

/// Begins once more, which makes the store forget what has ended.
async fn sweep(house: &House, agent: &mut Agent) {
    house.begin(agent, &[READ]).await.unwrap();
}

// rows: CODE-01
#[tokio::test]
async fn unknown_foreign_and_expired_transactions_are_one_and_the_same_refusal() {
    let house = Plan::new().config("[limits]", "[limits]\ntransaction_ttl = \"1s\"").open().await;
    let mut quoter = house.agent().await;
    let mut courier = house.svid_agent(COURIER).await;
    let begun = house.begin(&mut quoter, &[READ]).await.unwrap();
    let (transaction, callback) = (begun.transaction.clone(), house.server.approve(&begun.authorization_url));
    let never = unknown(&mut quoter, "txn_0123456789abcdef0123456789abcdef", &callback).await;
    let foreign = unknown(&mut courier, &transaction, &callback).await;
    until(begun.expire_time).await;
    let expired = unknown(&mut quoter, &transaction, &callback).await;
    let foreign_and_expired = unknown(&mut courier, &transaction, &callback).await;
    sweep(&house, &mut quoter).await;
    let forgotten = unknown(&mut quoter, &transaction, &callback).await;
    for other in [&foreign, &expired, &foreign_and_expired, &forgotten] {
        assert_eq!(other, &never);
    }
    // Nor does a handle's form say anything.
    for odd in ["txn_", "txn_x", "x", "grant_0123456789abcdef0123456789abcdef", &transaction.to_uppercase(), " "] {
        assert_eq!(unknown(&mut quoter, odd, &callback).await, never, "{odd:?}");
    }
    assert_eq!(house.server.token_connections(), 0);
}

// rows: CODE-01
#[tokio::test]
async fn a_restart_voids_every_transaction() {
    let mut house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    drop(agent);
    assert_eq!(house.stop().await, Some(0));
    house.start();
    house.wait_until_serving().await;
    let mut agent = house.agent().await;
    unknown(&mut agent, &transaction, &callback).await;
    assert_eq!(house.server.token_connections(), 0);
    // The person logs in again, and that goes through.
    house.login(&mut agent, &[READ]).await.unwrap();
}
