use crate::{
    house::{Plan, eventually, get, reason, redeem_request, scripted_as::behaviour::Behaviour},
    kit::{NONE, READ, refuses, settled},
};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tonic::{Code, Request};

const LATE: (Code, &str) = (Code::DeadlineExceeded, "AS_TIMEOUT");
const PATIENCE: Duration = Duration::from_secs(5);

fn plan(deadline: &str) -> Plan {
    crate::kit::plan().config("deadline = \"5s\"", &format!("deadline = \"{deadline}\""))
}

// rows: TOK-08
#[tokio::test]
async fn a_trickle_does_not_extend_the_deadline() {
    let house = plan("1s").open().await;
    let mut agent = house.agent().await;
    let late = Behaviour::Delay { ms: 30_000, then: Box::new(Behaviour::Honest) };
    for slow in [Behaviour::Dribble { interval_ms: 50 }, Behaviour::Dribble { interval_ms: 1000 }, late] {
        tokio::time::timeout(PATIENCE, refuses(&house, &mut agent, slow, LATE, NONE)).await.unwrap();
    }
    settled(&house, &mut agent).await;
}

// rows: TOK-08
#[tokio::test]
async fn a_handshake_that_stalls_is_given_up_and_the_code_kept() {
    let house = plan("600ms").server(|setup| setup.silent = true).open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    for _ in 0..2 {
        let call = agent.redeem_code(redeem_request(&transaction, &callback.url));
        let status = tokio::time::timeout(PATIENCE, call).await.unwrap().err().unwrap();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "AS_UNREACHABLE"));
    }
    assert_eq!(house.server.token_posts(), 0);
    house.assert_no_secret_leaked();
}

// rows: TOK-08
#[tokio::test]
async fn what_the_handshake_takes_is_taken_from_the_answer() {
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = relay.local_addr().unwrap().port();
    let head = "ca = \"server-ca.pem\"\ndeadline = \"5s\"\n";
    let endpoints = format!(
        "ca = \"server-ca.pem\"\ndeadline = \"3s\"\n[issuer.endpoints]\nauthorization = \"@ISSUER@/authorize\"\n\
         token = \"https://127.0.0.1:{port}/token\"\n"
    );
    let house = crate::kit::plan().config(head, &endpoints).open().await;
    tokio::spawn(slow_first_word(relay, house.server.token_port(), Duration::from_millis(1800)));
    let mut agent = house.agent().await;
    // Each alone would be in time.
    refuses(&house, &mut agent, Behaviour::Delay { ms: 1800, then: Box::new(Behaviour::Honest) }, LATE, NONE).await;
    settled(&house, &mut agent).await;
}

/// Relays connections to a port; the first bytes that come back are held up.
async fn slow_first_word(relay: TcpListener, port: u16, wait: Duration) {
    while let Ok((client, _)) = relay.accept().await {
        tokio::spawn(async move {
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = TcpStream::connect(("127.0.0.1", port)).await?.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            let mut first = vec![0; 16 * 1024];
            let length = from_server.read(&mut first).await?;
            tokio::time::sleep(wait).await;
            to_client.write_all(&first[..length]).await?;
            tokio::io::copy(&mut from_server, &mut to_client).await
        });
    }
}

// rows: TOK-08 (decisions 4)
#[tokio::test]
async fn the_callers_deadline_ends_its_wait_and_not_the_exchange() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    house.server.set_pause(true);
    let mut message = redeem_request(&transaction, &callback.url);
    message.request_id = "5f0c7d52-6f0e-4e0f-8a35-0d1b7c1f9a01".to_owned();
    let mut request = Request::new(message.clone());
    request.set_timeout(Duration::from_millis(500));
    let status = agent.redeem_code(request).await.err().unwrap();
    // The daemon's word, or that of tonic's own timer if that is first.
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    eventually("the code has arrived", || (house.server.token_posts() == 1).then_some(())).await;
    assert!(house.events("token.issued").is_empty());
    house.server.set_pause(false);
    house.event("token.issued").await;
    let kept = agent.redeem_code(message).await.unwrap().into_inner();
    assert!(kept.recovered);
    let token = get(&mut agent, &kept.grant).await.unwrap().token.unwrap();
    assert_eq!(token.access_token, kept.token.unwrap().access_token);
    assert_eq!(house.server.token_posts(), 1);
    house.assert_no_secret_leaked();
}
