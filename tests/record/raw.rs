//! A gRPC call as bytes: nothing between the test and the wire but HTTP/2.

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::path::Path;
use tokio::net::UnixStream;

/// What came back, in its three parts.
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
}

impl Answer {
    /// The gRPC status, from the trailers or from a trailers-only answer's headers.
    pub(crate) fn status(&self) -> tonic::Status {
        tonic::Status::from_header_map(&self.trailers)
            .or_else(|| tonic::Status::from_header_map(&self.headers))
            .expect("a gRPC status")
    }

    /// Everything that is not the message: names and values of headers and trailers, and what they decode to.
    pub(crate) fn around_the_message(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.headers.iter().chain(&self.trailers) {
            text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
        }
        let status = self.status();
        text.push_str(status.message());
        text.push_str(&String::from_utf8_lossy(status.details()));
        text
    }
}

/// Calls `path` with one message on a connection of its own.
pub(crate) async fn call(socket: &Path, path: &str, headers: &[(&str, &str)], message: &[u8]) -> Answer {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    send(socket, path, headers, [&[0u8], length.as_slice(), message].concat()).await
}

/// Sends these bytes as the body of a call.
pub(crate) async fn send(socket: &Path, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let stream = UnixStream::connect(socket).await.unwrap();
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = sender.send_request(request.body(Full::new(Bytes::from(body))).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let collected = body.collect().await.unwrap();
    let trailers = collected.trailers().cloned().unwrap_or_default();
    Answer { headers: head.headers, body: collected.to_bytes().to_vec(), trailers }
}
