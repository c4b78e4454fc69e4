//! A certificate that names a registered agent, from someone who may not say so; and one that names too many.

use crate::kit::*;
use narrowgate::dev::ca::{Ca, San};

#[tokio::test]
async fn a_name_counts_only_from_its_own_trust_domain() {
    let house = Plan::new().open().await;
    let stranger = Ca::new("agents").unwrap();
    let own = |sans: &[San<'_>]| house.agents_ca.client("agent", sans).unwrap();
    for identity in [
        stranger.client("agent", &[San::Uri(COURIER)]).unwrap(),
        own(&[San::Uri("spiffe://evil.test/agent/courier")]),
        own(&[San::Uri(COURIER), San::Uri("spiffe://acme.test/agent/other")]),
        own(&[San::Uri("spiffe://acme.test/agent/%63ourier")]),
        own(&[San::Uri("spiffe://acme.test/agent/../agent/courier")]),
        own(&[San::Dns("courier.acme.test")]),
    ] {
        // In TLS 1.3 the client hears of it with its first read.
        if let Ok(mut agent) = house.tls_agent(identity).await {
            assert!(house.begin(&mut agent, &[READ]).await.is_err());
        }
    }
    assert!(house.events("authorization.decided").is_empty());
    let mut courier = house.svid_agent(COURIER).await;
    house.login(&mut courier, &[READ]).await.unwrap();
}
