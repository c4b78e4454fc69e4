//! The peers' processes, and calls that are not gRPC.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Response, body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    path::Path,
    process::{Child, Command, Stdio},
};
use tokio::net::UnixStream;

/// A process. Dropped, it is killed by pid.
pub(crate) struct Server(Child);

impl Server {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?}, see the top of served.rs: {error}")))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One HTTP/2 connection over a Unix socket.
pub(crate) async fn http2(socket: &Path) -> http2::SendRequest<Full<Bytes>> {
    let stream = UnixStream::connect(socket).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// An answer must be a yes, which has this in it.
pub(crate) async fn allowed(answer: Response<Incoming>, yes: &[u8]) {
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let allowed = body.windows(yes.len()).any(|window| window == yes);
    assert!(status.is_success() && allowed, "{status} {}", String::from_utf8_lossy(&body));
}
