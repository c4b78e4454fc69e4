use crate::{
    asking::{READ, WRITE, granted, narrow, token},
    house::{COURIER, Plan},
};
use std::collections::BTreeSet;

const MAIL: [&str; 2] = ["mail.read", "mail.send"];

// rows: CACH-02
#[tokio::test]
async fn what_one_agent_fetched_another_fetches_for_itself() {
    let house = Plan::new().open().await;
    let mut agents = [house.agent().await, house.svid_agent(COURIER).await];
    let mut seen = BTreeSet::new();
    for (posts, agent) in agents.iter_mut().enumerate() {
        let redeemed = house.login(agent, &MAIL).await.unwrap();
        let got = narrow(agent, &redeemed.grant, &MAIL[..1]).await.unwrap();
        assert!(seen.insert(token(&got).access_token.clone()), "a token of another agent");
        assert_eq!(house.server.refreshes().len(), posts + 1);
        // The second time it is there.
        let again = narrow(agent, &redeemed.grant, &MAIL[..1]).await.unwrap();
        assert_eq!(token(&again).access_token, token(&got).access_token);
    }
    assert_eq!(house.server.refreshes().len(), 2);
    assert_eq!(house.events("token.refreshed").len(), 2, "each by a decision of its own");
}

// rows: CACH-02
#[tokio::test]
async fn grants_of_one_agent_do_not_share_either() {
    let (house, mut agent, first) = granted(Plan::new()).await;
    let second = house.login(&mut agent, &[READ, WRITE]).await.unwrap();
    let mut got = Vec::new();
    for grant in [&first.grant, &second.grant] {
        got.push(token(&narrow(&mut agent, grant, &[READ]).await.unwrap()).access_token.clone());
    }
    assert_ne!(got[0], got[1]);
    assert_eq!(house.server.refreshes().len(), 2);
}

// rows: CACH-06
#[tokio::test]
async fn one_agents_many_tokens_push_out_none_of_anothers() {
    let plan = Plan::new().config("[limits]", "[grants]\ntokens_per_grant = 1\n\n[limits]");
    let (house, mut agent, redeemed) = granted(plan).await;
    let mut courier = house.svid_agent(COURIER).await;
    let theirs = house.login(&mut courier, &MAIL).await.unwrap();
    let held = narrow(&mut courier, &theirs.grant, &MAIL[..1]).await.unwrap();
    let before = house.server.refreshes().len();
    // With room for one token, each of these takes the place of the one before.
    for (posts, scope) in [READ, WRITE, READ, WRITE].into_iter().enumerate() {
        narrow(&mut agent, &redeemed.grant, &[scope]).await.unwrap();
        assert_eq!(house.server.refreshes().len(), before + posts + 1);
    }
    let again = narrow(&mut courier, &theirs.grant, &MAIL[..1]).await.unwrap();
    assert_eq!(token(&again).access_token, token(&held).access_token);
    assert_eq!(house.server.refreshes().len(), before + 4);
}
