//! The terms that permits carry: each is kept, the strictest counts, and what cannot be kept is a no.

use crate::house::{House, Plan, fact, get, reason};
use std::time::Duration;
use tonic::{Code, Status};

/// The sample set with one more permit for customers.read on these terms.
async fn open(terms: &str) -> House {
    let permit = format!(
        "@id(\"extra\") {terms}\npermit (principal, action == Narrowgate::Action::\"grant_scope\", resource == Narrowgate::Scope::\"customers.read\");"
    );
    Plan::new().policy(&permit).open().await
}

fn assert_unmet(status: &Status, term: &str) {
    assert_eq!((status.code(), reason(status).as_str()), (Code::PermissionDenied, "OBLIGATION_UNMET"));
    assert_eq!(fact(status, "obligation").unwrap(), term);
}

// rows: POL-10
#[tokio::test]
async fn a_token_is_served_as_long_as_its_terms_say() {
    // The server says an hour, the sample permit ten minutes, this one a minute: the strictest counts.
    let house = open("@max_lifetime(\"60s\")").await;
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &["customers.read"]).await.unwrap();
    let again = get(&mut agent, &redeemed.grant).await.unwrap();
    for token in [redeemed.token.unwrap(), again.token.unwrap()] {
        let (ends, lease) = (token.expire_time.unwrap().seconds, token.lease_time.unwrap().seconds);
        assert_eq!(ends - lease, 3600 - 60);
    }
    let issued = house.event("token.issued").await;
    let facts = &issued["unmapped"]["narrowgate"];
    assert_eq!((&facts["lease_seconds"], &facts["lifetime_seconds"]), (&60.into(), &3600.into()));
    let ask = |seconds| narrowgate::api::proto::GetTokenRequest {
        grant: redeemed.grant.clone(),
        min_ttl: Some(prost_types::Duration { seconds, nanos: 0 }),
        ..Default::default()
    };
    agent.get_token(ask(50)).await.unwrap();
    assert_eq!(reason(&agent.get_token(ask(61)).await.err().unwrap()), "TOKEN_EXPIRED");
}

// rows: POL-10
#[tokio::test]
async fn after_the_lease_the_token_is_not_served_though_it_lives() {
    let house = open("@max_lifetime(\"1s\")").await;
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &["customers.read"]).await.unwrap();
    get(&mut agent, &redeemed.grant).await.unwrap();
    let lease = redeemed.token.unwrap().lease_time.unwrap();
    let refused = async {
        loop {
            match get(&mut agent, &redeemed.grant).await {
                Ok(served) => assert_eq!(served.token.unwrap().lease_time.unwrap(), lease, "a lease never grows"),
                Err(status) => break status,
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let status = tokio::time::timeout(Duration::from_secs(10), refused).await.expect("the lease ends");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "TOKEN_EXPIRED"));
}

// rows: POL-10
#[tokio::test]
async fn terms_that_cannot_be_kept_are_a_no() {
    for proof in ["mtls", "dpop", "any"] {
        let house = open(&format!("@proof(\"{proof}\")")).await;
        let mut agent = house.agent().await;
        assert_unmet(&house.begin(&mut agent, &["customers.read"]).await.err().unwrap(), "proof");
        assert_eq!(house.server.front_connections(), 0);
        let decided = house.event("authorization.decided").await;
        assert_eq!(decided["unmapped"]["narrowgate"]["deny_kind"], "obligation_unmet");
        // The term binds where its permit speaks, and nowhere else.
        house.begin(&mut agent, &["customers.write"]).await.unwrap();
    }
}

// rows: POL-10
#[tokio::test]
async fn uses_are_counted() {
    let house = open("@max_uses(\"2\")").await;
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &["customers.read"]).await.unwrap();
    get(&mut agent, &redeemed.grant).await.unwrap();
    let status = get(&mut agent, &redeemed.grant).await.err().unwrap();
    assert_eq!(reason(&status), "GRANT_UNKNOWN");
}

// rows: POL-10
#[tokio::test]
async fn no_refresh_and_audit_high_are_seen_in_the_record() {
    let house = open("").await;
    let mut agent = house.agent().await;
    house.login(&mut agent, &["customers.read"]).await.unwrap();
    let issued = house.event("token.issued").await;
    assert_eq!(issued["unmapped"]["narrowgate"]["refresh_token_held"], true);
    assert_eq!(issued["severity"], "Informational");

    let house = open("@no_refresh @audit(\"high\")").await;
    let mut agent = house.agent().await;
    house.login(&mut agent, &["customers.read"]).await.unwrap();
    let issued = house.event("token.issued").await;
    assert_eq!(issued["unmapped"]["narrowgate"]["refresh_token_held"], false);
    assert_eq!(issued["severity"], "High");
}

// rows: POL-10
#[tokio::test]
async fn who_is_to_be_told_can_see_it_in_every_event() {
    let house = open("@notify").await;
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &["customers.read"]).await.unwrap();
    get(&mut agent, &redeemed.grant).await.unwrap();
    for code in ["authorization.decided", "exchange.decided", "token.issued", "token.served"] {
        let event = house.event(code).await;
        assert_eq!(
            (&event["severity"], &event["unmapped"]["narrowgate"]["terms"]["notify"]),
            (&"High".into(), &true.into())
        );
    }
}
