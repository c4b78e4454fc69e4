use crate::{
    asking::{granted, refused, short, until},
    house::{Agent, Plan, fact, get, reason},
    watching::{broken, ended, request, token, value, watch},
};
use hyper_util::rt::TokioIo;
use narrowgate::{
    api::proto::RevokeGrantRequest,
    platform::{Clock, SystemClock},
};
use serde_json::Value;
use std::time::Duration;
use tokio::net::UnixStream;
use tonic::{Code, Request, transport::Endpoint};

fn limits(line: &str) -> Plan {
    Plan::new().config("[limits]", &format!("[limits]\n{line}"))
}

// rows: GRPC-09
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_has_so_many_streams_and_calls_besides() {
    let plan = limits("streams_per_agent = 2\ncalls_in_flight = 1");
    let (house, mut agent, redeemed) = granted(plan).await;
    let first = watch(&mut agent, &redeemed.grant).await.unwrap();
    let _second = watch(&mut house.agent().await, &redeemed.grant).await.unwrap();
    let status = refused(watch(&mut agent, &redeemed.grant).await, Code::ResourceExhausted, "QUOTA_EXCEEDED");
    assert_eq!(fact(&status, "quota").as_deref(), Some("streams_per_agent"));
    // Streams that stand still take no call's place.
    get(&mut agent, &redeemed.grant).await.unwrap();
    drop(first);
    until("its place", || {
        let (mut agent, grant) = (agent.clone(), redeemed.grant.clone());
        async move { watch(&mut agent, &grant).await.ok() }
    })
    .await;
}

// rows: GRPC-05
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_waits_for_no_stream() {
    let (mut house, mut agent, redeemed) = granted(Plan::new()).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut messages = watch(&mut agent, &redeemed.grant).await.unwrap();
        token(&mut messages).await;
        streams.push(messages);
    }
    let begun = SystemClock.boot();
    assert_eq!(house.stop().await, Some(0));
    // A stop that waits for work gives up after its issuer's deadline of 5 s and more.
    let took = SystemClock.boot().since(begun);
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!(house.event("daemon.stopped").await["unmapped"]["narrowgate"].get("under_way"), None);
    for mut messages in streams {
        assert_eq!(broken(&mut messages).await, (Code::Unavailable, "SHUTTING_DOWN".to_owned()));
    }
}

// rows: GRPC-08 (connection age, as far as streams go)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_its_connection_and_may_begin_anew() {
    let (_house, mut agent, redeemed) = granted(limits("connection_age = \"2s\"")).await;
    let mut messages = watch(&mut agent, &redeemed.grant).await.unwrap();
    token(&mut messages).await;
    let status = loop {
        if let Err(status) = messages.message().await {
            break status;
        }
    };
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "SHUTTING_DOWN"));
    assert_eq!(fact(&status, "scope").as_deref(), Some("connection"));
    until("a watch on another connection", || {
        let (mut agent, grant) = (agent.clone(), redeemed.grant.clone());
        async move { watch(&mut agent, &grant).await.ok() }
    })
    .await;
}

// rows: GRPC-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_its_readers_own_deadline_ends_a_stream() {
    let (_house, mut agent, redeemed) =
        granted(limits("").config("call_deadline = \"20s\"", "call_deadline = \"1s\"")).await;
    let mut lasting = watch(&mut agent, &redeemed.grant).await.unwrap();
    token(&mut lasting).await;
    let mut timed = Request::new(request(&redeemed.grant));
    timed.metadata_mut().insert("grpc-timeout", "2500m".parse().unwrap());
    let begun = SystemClock.boot();
    let mut messages = agent.watch_token(timed).await.unwrap().into_inner();
    assert_eq!(broken(&mut messages).await, (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()));
    assert!(SystemClock.boot().since(begun) >= Duration::from_millis(2500));
    // The other has outlived every call's deadline.
    agent.revoke_grant(RevokeGrantRequest { grant: redeemed.grant, ..RevokeGrantRequest::default() }).await.unwrap();
    assert_eq!(ended(&mut lasting).await.reason, "GRANT_UNKNOWN");
}

/// An agent whose streams take no more than this unread.
async fn narrow_minded(socket: std::path::PathBuf, window: u32) -> Agent {
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://localhost").initial_stream_window_size(window);
    Agent::new(endpoint.connect_with_connector(connector).await.unwrap())
}

// rows: LEAK-05 GRPC-06
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_gets_the_newest_token_and_nothing_is_kept_for_it() {
    const TOKENS: usize = 5;
    let (house, agent, redeemed) = granted(short(1)).await;
    let mut slow = narrow_minded(house.path("run/agent.sock"), 64).await;
    let mut messages = watch(&mut slow, &redeemed.grant).await.unwrap();
    let mut last = redeemed.token.unwrap().access_token;
    for _ in 0..TOKENS {
        last = until("the next token", || {
            let (mut agent, grant, last) = (agent.clone(), redeemed.grant.clone(), last.clone());
            async move { Some(value(&get(&mut agent, &grant).await.unwrap())).filter(|now| *now != last) }
        })
        .await;
    }
    // What nobody takes is not handed out: its record would be a lie.
    let by_watch = |event: &Value| event["unmapped"]["narrowgate"]["operation"] == "WatchToken";
    let served = house.events("token.served").into_iter().filter(by_watch).count();
    assert!((1..=2).contains(&served), "{served}");
    let issued = house.server.issues();
    let newest = issued.iter().position(|issue| issue.access == last).unwrap();
    assert!(newest >= TOKENS);
    for read in 1.. {
        let got = value(&token(&mut messages).await);
        if house.server.issues().iter().position(|issue| issue.access == got).unwrap() >= newest {
            break;
        }
        assert!(read <= 2, "it was given tokens that others had taken the place of");
    }
}
