use crate::{
    house::{Plan, reason},
    stepped::{Stepped, SteppedClock},
};
use narrowgate::{
    api::proto::{WatchTokenRequest, WatchTokenResponse, watch_token_response::Event},
    config, policy,
};
use std::{fs, time::Duration};
use tonic::{Code, Streaming};

async fn next(messages: &mut Streaming<WatchTokenResponse>) -> Option<Event> {
    let message = tokio::time::timeout(Duration::from_secs(20), messages.message()).await;
    message.expect("nothing comes").unwrap().map(|message| message.event.unwrap())
}

/// Another set is made the current one, with this policy more.
fn reload(stepped: &Stepped, generation: u64, more: &str) {
    fs::write(stepped.house.path("policies/later.cedar"), more).unwrap();
    let config = config::load(&stepped.house.path("narrowgate.toml")).unwrap_or_else(|f| panic!("{}", f[0]));
    let set = policy::load(&config, generation, None).unwrap_or_else(|f| panic!("{}", f[0]));
    stepped.daemon.corridor().policies.replace(set);
}

// rows: CACH-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_held_is_asked_about_anew_and_taken_away_at_once() {
    // The sets are swapped by this test alone.
    let plan = Plan::new().config("directory = \"policies\"", "directory = \"policies\"\ncheck_every = \"1h\"");
    let stepped = Stepped::open(plan).await;
    let mut agent = stepped.agent().await;
    let redeemed = stepped.house.login(&mut agent, &["customers.read"]).await.unwrap();
    let request = WatchTokenRequest { grant: redeemed.grant, ..WatchTokenRequest::default() };
    let mut messages = agent.watch_token(request.clone()).await.unwrap().into_inner();
    let Some(Event::Token(first)) = next(&mut messages).await else { panic!("no token") };
    // The same token on new terms: it is handed out for a shorter time.
    reload(
        &stepped,
        2,
        "@id(\"later\") @max_lifetime(\"60s\")\n\
        permit (principal, action == Narrowgate::Action::\"grant_scope\", resource);",
    );
    let Some(Event::Token(second)) = next(&mut messages).await else { panic!("no token") };
    let lease =
        |got: &narrowgate::api::proto::GetTokenResponse| got.token.as_ref().unwrap().lease_time.unwrap().seconds;
    assert_eq!(first.token.as_ref().unwrap().access_token, second.token.as_ref().unwrap().access_token);
    assert!(lease(&second) < lease(&first) && first.decision_id != second.decision_id);
    // And not at all.
    reload(
        &stepped,
        3,
        "@id(\"later\") @code(\"closed\")\n\
        forbid (principal, action == Narrowgate::Action::\"release_token\", resource);",
    );
    let Some(Event::Ended(end)) = next(&mut messages).await else { panic!("no end") };
    assert_eq!((end.reason.as_str(), end.metadata["policy_code"].as_str()), ("POLICY_DENIED", "closed"));
    assert!(next(&mut messages).await.is_none());
    assert!(stepped.house.server.refreshes().is_empty());
    let status = agent.watch_token(request).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "POLICY_DENIED"));
}

// rows: TIME-02 LEAK-05
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_looks_at_the_clock_by_itself() {
    let steps: [fn(&SteppedClock); 2] =
        [|c| c.suspend(2 * crate::stepped::HOUR), |c| c.step_wall(2 * crate::stepped::HOUR)];
    for step in steps {
        let stepped = Stepped::open(Plan::new()).await;
        let mut agent = stepped.agent().await;
        let redeemed = stepped.house.login(&mut agent, &["customers.read"]).await.unwrap();
        let request = WatchTokenRequest { grant: redeemed.grant, ..WatchTokenRequest::default() };
        let mut messages = agent.watch_token(request).await.unwrap().into_inner();
        let Some(Event::Token(first)) = next(&mut messages).await else { panic!("no token") };
        // Tokens of the scripted server live an hour.
        step(&stepped.clock);
        let Some(Event::Token(second)) = next(&mut messages).await else { panic!("no token") };
        assert_ne!(first.token.unwrap().access_token, second.token.unwrap().access_token);
    }
}
