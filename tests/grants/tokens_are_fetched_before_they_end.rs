use crate::{
    asking::{granted, refused, short, until},
    house::{
        get,
        scripted_as::behaviour::{Behaviour, Script},
    },
};

// rows: CACH-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_comes_while_the_token_is_served() {
    let (house, agent, redeemed) = granted(short(4)).await;
    let first = redeemed.token.unwrap().access_token;
    let changed = until("the successor", || {
        let (mut agent, grant, first) = (agent.clone(), redeemed.grant.clone(), first.clone());
        async move {
            let got = get(&mut agent, &grant).await.unwrap().token.unwrap().access_token;
            (got != first).then_some(got)
        }
    })
    .await;
    assert!(changed.starts_with("canary-at-"));
    let refreshed = house.event("token.refreshed").await;
    assert_eq!(refreshed["unmapped"]["narrowgate"]["ahead"], true);
    // By the same corridor: a decision, recorded before the POST, and its outcome.
    let id = &refreshed["metadata"]["correlation_uid"];
    let decided = house.events("exchange.decided");
    let decided = decided.iter().find(|event| event["metadata"]["correlation_uid"] == *id).unwrap();
    assert_eq!(decided["actor"]["user"]["uid"], "quoter");
    assert_eq!(house.server.most_refreshes_at_once(), 1);
}

// rows: CACH-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_fails_costs_nobody_the_token_that_is_held() {
    let (house, agent, redeemed) = granted(short(3)).await;
    house.server.always(Script::Token(Behaviour::Status(500)));
    let first = redeemed.token.unwrap().access_token;
    let status = until("the end of the lease", || {
        let (mut agent, grant, first) = (agent.clone(), redeemed.grant.clone(), first.clone());
        async move {
            match get(&mut agent, &grant).await {
                Ok(got) => {
                    assert_eq!(got.token.unwrap().access_token, first);
                    None
                }
                Err(status) => Some(status),
            }
        }
    })
    .await;
    refused::<()>(Err(status), tonic::Code::Internal, "AS_REJECTED");
    // Not one at each hand-out.
    assert!(house.server.refreshes().len() <= 4, "{}", house.server.refreshes().len());
}

// rows: CACH-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_no_to_refreshing_ahead_is_recorded_once_and_costs_nothing() {
    let no =
        "@id(\"no\") @code(\"closed\") forbid (principal, action == Narrowgate::Action::\"refresh_token\", resource);";
    let (house, agent, redeemed) = granted(short(2).policy(no)).await;
    let status = until("the end of the lease", || {
        let (mut agent, grant) = (agent.clone(), redeemed.grant.clone());
        async move { get(&mut agent, &grant).await.err() }
    })
    .await;
    refused::<()>(Err(status), tonic::Code::PermissionDenied, "POLICY_DENIED");
    let denied: Vec<_> = house.events("exchange.decided").into_iter().filter(|e| e["action_id"] == 2).collect();
    let ahead = denied.iter().filter(|e| e["unmapped"]["narrowgate"]["ahead"] == true).count();
    assert!(ahead <= 1 && house.server.refreshes().is_empty(), "{ahead}");
}
