use crate::{
    asking::{READ, begin, refused},
    house::{COURIER, House, Plan, begin_request},
};
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use narrowgate::{
    api::proto::WatchTokenRequest,
    dev::ca::{Identity, San, Validity},
    platform::{Clock, SystemClock},
};
use std::time::Duration;
use tonic::Code;

/// A few seconds from now, and a validity until then.
fn soon() -> (i64, Validity) {
    let ends = SystemClock.wall().0 / 1000 + 4;
    (ends, Validity { not_before_secs: ends - 3600, not_after_secs: ends })
}

// rows: CALL-06 LEAK-05
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_the_certificate_of_its_connection() {
    let house = Plan::new().open().await;
    let (ends, validity) = soon();
    let identity = house.agents_ca.issue("agent", &[San::Uri(COURIER)], validity).unwrap();
    let mut agent = house.tls_agent(identity).await.unwrap();
    let grant = house.login(&mut agent, &[READ]).await.unwrap().grant;
    let request = WatchTokenRequest { grant, ..WatchTokenRequest::default() };
    let mut messages = agent.watch_token(request).await.unwrap().into_inner();
    assert!(messages.message().await.unwrap().is_some());
    let status = messages.message().await.err().unwrap();
    assert!(SystemClock.wall().0 / 1000 >= ends);
    refused::<()>(Err(status), Code::Unauthenticated, "PEER_CREDENTIAL_EXPIRED");
}

// rows: CALL-06
#[tokio::test]
async fn a_certificate_that_has_ended_is_refused_on_the_connection_it_made_and_that_ends() {
    let house = Plan::new().open().await;
    let (ends, validity) = soon();
    let identity = house.agents_ca.issue("agent", &[San::Uri(COURIER)], validity).unwrap();
    is_refused_after(&house, &identity, ends).await;
}

// rows: CALL-06
#[tokio::test]
async fn so_is_one_whose_issuers_certificate_has_ended() {
    let house = Plan::new().open().await;
    let (ends, validity) = soon();
    let authority = house.agents_ca.subordinate("agents of one cluster", validity).unwrap();
    // Its own certificate is good for decades.
    let mut identity = authority.client("agent", &[San::Uri(COURIER)]).unwrap();
    identity.certificate_pem.push_str(authority.certificate_pem());
    is_refused_after(&house, &identity, ends).await;
}

/// It is good until then, and not a call longer, however long its connection has stood.
async fn is_refused_after(house: &House, identity: &Identity, ends: i64) {
    let (config, port) = (crate::wire::tls_config(house, identity, &[b"h2"]), house.tcp_port().await);
    let stream = crate::wire::connect(config, port).await.unwrap();
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    let ended = tokio::spawn(connection);
    let mut call = || {
        let request = http::Request::post(format!("http://localhost{}", crate::wire::BEGIN))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let body = crate::wire::message(&prost::Message::encode_to_vec(&begin_request(&[READ])));
        sender.send_request(request.body(Full::new(bytes::Bytes::from(body))).unwrap())
    };
    let answer = call().await.unwrap();
    assert!(tonic::Status::from_header_map(answer.headers()).is_none(), "it is good while it lasts");
    drop(answer);
    while SystemClock.wall().0 / 1000 <= ends {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let answer = call().await.unwrap();
    let status = tonic::Status::from_header_map(answer.headers()).unwrap();
    refused::<()>(Err(status), Code::Unauthenticated, "PEER_CREDENTIAL_EXPIRED");
    drop(answer);
    // GOAWAY without an error, and the connection is over; the client's side says so.
    tokio::time::timeout(Duration::from_secs(10), ended).await.expect("it goes on").unwrap().unwrap();
    assert_eq!(house.event("agent.rejected").await["status_code"], "PEER_CREDENTIAL_EXPIRED");
    // A current certificate is welcome.
    let mut courier = house.svid_agent(COURIER).await;
    begin(&mut courier, begin_request(&[READ])).await.unwrap();
}
