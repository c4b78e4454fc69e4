//! The connection was made with a good certificate, and the certificate has ended since.

use crate::kit::*;
use narrowgate::{
    dev::ca::{San, Validity},
    platform::{Clock, SystemClock},
};

#[tokio::test]
async fn a_connection_does_not_outlive_its_certificate() {
    let house = Plan::new().open().await;
    let now = SystemClock.wall().0 / 1000;
    let short = Validity { not_before_secs: now - 60, not_after_secs: now + 5 };
    let identity = house.agents_ca.issue("agent", &[San::Uri(COURIER)], short).unwrap();
    let mut courier = house.tls_agent(identity).await.unwrap();
    let held = house.login(&mut courier, &[READ]).await.unwrap();
    let (transaction, callback) = house.approved(&mut courier, &[READ]).await;
    let over = async {
        while get(&mut courier, &held.grant).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), over).await.expect("the certificate ends");
    for status in [
        house.begin(&mut courier, &[READ]).await.err().unwrap(),
        get(&mut courier, &held.grant).await.err().unwrap(),
        redeem(&mut courier, &transaction, &callback).await.err().unwrap(),
    ] {
        refused(Err::<(), _>(status), Code::Unauthenticated, "PEER_CREDENTIAL_EXPIRED");
    }
    assert_eq!(house.server.token_posts(), 1);
    // Rotated, the same agent goes on where it was.
    let mut rotated = house.svid_agent(COURIER).await;
    get(&mut rotated, &held.grant).await.unwrap();
    redeem(&mut rotated, &transaction, &callback).await.unwrap();
}
