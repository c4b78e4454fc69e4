use crate::{
    asking::{READ, refused},
    house::{COURIER, House, Plan, begin_request},
    wire::{self, BEGIN, message, nothing_was_called},
};
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::UnixStream,
};
use tonic::Code;

/// An honest call with these headers instead of, or besides, the honest ones.
async fn call<S>(stream: S, authority: &str, headers: &[(&str, &str)]) -> Result<(), tonic::Status>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = http::Request::post(format!("http://{authority}{BEGIN}")).header("te", "trailers");
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        request = request.header("content-type", "application/grpc");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Full::new(Bytes::from(message(&begin_request(&[READ]).encode_to_vec())));
    let answer = sender.send_request(request.body(body).unwrap()).await.unwrap();
    tonic::Status::from_header_map(answer.headers()).map_or(Ok(()), Err)
}

async fn by_tls(house: &House) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
    wire::tls(house, COURIER, &[b"h2"]).await.unwrap()
}

async fn by_unix(house: &House) -> UnixStream {
    UnixStream::connect(house.path("run/agent.sock")).await.unwrap()
}

const BROWSERS: [&[(&str, &str)]; 6] = [
    &[("origin", "https://evil.test")],
    &[("origin", "null")],
    &[("content-type", "application/grpc-web")],
    &[("content-type", "application/grpc-web-text+proto")],
    &[("content-type", "application/json")],
    &[("content-type", "text/plain")],
];

// rows: CALL-10
#[tokio::test]
async fn what_a_browser_sends_is_refused_at_both_doors() {
    let house = Plan::new().open().await;
    for headers in BROWSERS {
        for status in [
            call(by_tls(&house).await, "localhost", headers).await,
            call(by_unix(&house).await, "localhost", headers).await,
        ] {
            refused(status, Code::PermissionDenied, "REQUEST_REFUSED");
        }
    }
    nothing_was_called(&house);
    call(by_tls(&house).await, "localhost", &[]).await.unwrap();
    call(by_unix(&house).await, "localhost", &[]).await.unwrap();
}

// rows: CALL-10
#[tokio::test]
async fn another_hosts_name_is_refused_on_tcp() {
    let house = Plan::new()
        .config("trust_domain = \"acme.test\"", "trust_domain = \"acme.test\"\nauthorities = [\"gate.internal\"]");
    let house = house.open().await;
    for authority in ["evil.test", "localhost.evil.test", "evil.test:443", "user@localhost", "127.0.0.2", "[::2]"] {
        let status = call(by_tls(&house).await, authority, &[]).await;
        refused(status, Code::PermissionDenied, "REQUEST_REFUSED");
    }
    nothing_was_called(&house);
    for authority in ["localhost", "LOCALHOST:9", "127.0.0.1", "gate.internal"] {
        call(by_tls(&house).await, authority, &[]).await.unwrap();
    }
}

// rows: CALL-10
#[tokio::test]
async fn http_1_gets_no_answer_of_ours() {
    let house = Plan::new().open().await;
    let request = format!(
        "POST {BEGIN} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\n"
    );
    // A client that offers nothing but HTTP/1.1 does not get through the handshake (RFC 7301 §3.2).
    assert!(wire::tls(&house, COURIER, &[b"http/1.1"]).await.is_err());
    let mut answers = Vec::new();
    for mut stream in [by_tls(&house).await, wire::tls(&house, COURIER, &[]).await.unwrap()] {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answers.push(answer);
    }
    let mut stream = by_unix(&house).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    answers.push(answer);
    for answer in answers {
        assert!(!answer.windows(6).any(|bytes| bytes == b"HTTP/1"), "{answer:?}");
    }
    nothing_was_called(&house);
}
