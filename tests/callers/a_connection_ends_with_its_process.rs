use crate::house::{Agent, Plan, begin_request, eventually, reason};
use narrowgate::api::proto::WatchTokenRequest;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::{
    io::IoSliceMut,
    mem::MaybeUninit,
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};
use tonic::{Code, transport::Endpoint};

/// Connects, hands the connection to whoever holds the other end of its standard input, and waits to be killed.
const CONNECTOR: &str = r#"
import socket, sys, time
door = socket.socket(socket.AF_UNIX); door.connect(sys.argv[1])
socket.send_fds(socket.socket(fileno=0), [b"x"], [door.fileno()])
time.sleep(60)
"#;

/// A connection that another process made, and that process.
fn passed_on(socket: &Path) -> (UnixStream, Child) {
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

async fn agent_on(stream: UnixStream) -> Agent {
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

// rows: CALL-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_outlives_its_process_is_refused() {
    let house = Plan::new().open().await;
    let (stream, mut child) = passed_on(&house.path("run/agent.sock"));
    let mut agent = agent_on(stream).await;
    let alive = agent.begin_authorization(begin_request(&["customers.read"])).await;
    assert!(alive.is_ok(), "the process is there: {alive:?}", alive = alive.err());
    child.kill().unwrap();
    child.wait().unwrap();
    let status = agent.begin_authorization(begin_request(&["customers.read"])).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "PEER_CHANGED"));
    eventually("the detection", || house.events("detect.peer_changed").pop()).await;
}

// rows: CALL-03 LEAK-05
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_outlives_its_process_ends() {
    let house = Plan::new().open().await;
    let (stream, mut child) = passed_on(&house.path("run/agent.sock"));
    let mut agent = agent_on(stream).await;
    let grant = house.login(&mut agent, &["customers.read"]).await.unwrap().grant;
    let request = WatchTokenRequest { grant, ..WatchTokenRequest::default() };
    let mut messages = agent.watch_token(request).await.unwrap().into_inner();
    assert!(messages.message().await.unwrap().is_some());
    child.kill().unwrap();
    child.wait().unwrap();
    let status = messages.message().await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "PEER_CHANGED"));
    eventually("the detection", || house.events("detect.peer_changed").pop()).await;
}

// rows: CALL-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_is_the_program_it_is_registered_as() {
    let mut plan = Plan::new();
    let uid = format!("uid = {}", rustix::process::geteuid().as_raw());
    plan.agents = plan.agents.replace(&uid, &format!("{uid}\nexecutable = \"/usr/bin/another-program\""));
    let house = plan.open().await;
    let status = house.begin(&mut house.agent().await, &["customers.read"]).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "PEER_CHANGED"));

    let mut plan = Plan::new();
    let own = std::env::current_exe().unwrap();
    plan.agents = plan.agents.replace(&uid, &format!("{uid}\nexecutable = \"{}\"", own.display()));
    let house = plan.open().await;
    assert!(house.begin(&mut house.agent().await, &["customers.read"]).await.is_ok());
}
