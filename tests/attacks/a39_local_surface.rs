//! A page in a browser, a tool that asks for reflection, an agent that looks for the operators' door.

use crate::kit::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};

/// Everything that comes back for these bytes.
async fn says(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, bytes: &str) -> String {
    let mut answer = Vec::new();
    let _ = stream.write_all(bytes.as_bytes()).await;
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn only_grpc_of_the_agents_service_is_spoken() {
    let house = Plan::new().open().await;
    let socket = house.path("run/agent.sock");
    let begin = prost::Message::encode_to_vec(&begin_request(&[READ]));
    let path = "/narrowgate.v1.TokenService/BeginAuthorization";
    // What browsers send, also by way of a name that leads to loopback.
    for headers in
        [[("origin", "https://evil.example")].as_slice(), &[("sec-fetch-site", "cross-site"), ("origin", "null")]]
    {
        let answer = raw::call(&socket, path, headers, &begin).await;
        let status = Status::from_header_map(&answer.trailers).or_else(|| Status::from_header_map(&answer.headers));
        assert!(status.is_none_or(|status| status.code() != Code::Ok), "{headers:?}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("txn_"), "{headers:?}");
    }
    let port = house.tcp_port().await;
    for kind in ["text/plain", "application/json", "application/grpc-web+proto", "application/grpc"] {
        let page = format!(
            "POST {path} HTTP/1.1\r\nHost: evil.example\r\nOrigin: https://evil.example\r\nContent-Type: {kind}\r\n\
             Content-Length: 2\r\n\r\n{{}}"
        );
        let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let unix = UnixStream::connect(&socket).await.unwrap();
        for answer in [says(tcp, &page).await, says(unix, &page).await] {
            assert!(!answer.contains("HTTP/1.1 200"), "{kind}: {answer}");
        }
    }
    for service in [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/narrowgate.v1.AdminService/GetStatus",
        "/narrowgate.v1.PolicyService/Explain",
        "/narrowgate.v1.TokenService/Dump",
    ] {
        assert_eq!(raw::call(&socket, service, &[], &[]).await.status().code(), Code::Unimplemented, "{service}");
    }
    assert!(house.events("authorization.decided").is_empty());
    assert_eq!(house.server.front_connections(), 0);
}
