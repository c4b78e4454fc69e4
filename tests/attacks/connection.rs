//! Connections that outlive the process which made them.

use crate::house::Agent;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::{
    io::IoSliceMut,
    mem::MaybeUninit,
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};
use tonic::transport::Endpoint;

/// Connects, hands the connection to whoever holds the other end of its standard input, and waits to be killed.
const CONNECTOR: &str = r#"
import socket, sys, time
door = socket.socket(socket.AF_UNIX); door.connect(sys.argv[1])
socket.send_fds(socket.socket(fileno=0), [b"x"], [door.fileno()])
time.sleep(60)
"#;

/// A connection that another process made, and that process.
pub(crate) fn passed_on(socket: &Path) -> (UnixStream, Child) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut python = Command::new("python3");
    python.args(["-c", CONNECTOR]).arg(socket).stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)));
    let child = python.spawn().expect("python3 is needed: run tests/run");
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0u8; 1];
    recvmsg(&ours, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::empty()).unwrap();
    let mut received = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    (UnixStream::from(received.next().unwrap()), child)
}

pub(crate) async fn agent_on(stream: UnixStream) -> Agent {
    stream.set_nonblocking(true).unwrap();
    let stream = Arc::new(Mutex::new(Some(stream)));
    let connector = tower::service_fn(move |_| {
        let stream = stream.lock().unwrap().take();
        async move {
            let stream = stream.ok_or(std::io::ErrorKind::NotConnected)?;
            tokio::net::UnixStream::from_std(stream).map(hyper_util::rt::TokioIo::new)
        }
    });
    Agent::new(Endpoint::from_static("http://localhost").connect_with_connector(connector).await.unwrap())
}
