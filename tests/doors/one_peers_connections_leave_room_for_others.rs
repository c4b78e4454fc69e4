use crate::{
    asking::{Kept, READ, refused},
    house::{Agent, COURIER, House, Plan, binary, eventually, fact, get, unix_channel},
};
use narrowgate::{
    api::proto::{GetTokenRequest, token_service_client::TokenServiceClient},
    dev::ca::San,
};
use std::{
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::Stdio,
    time::Duration,
};
use tokio::{io::AsyncReadExt, net::UnixStream};
use tonic::Code;
use tonic_types::StatusExt;

/// Runs a program that may have so few file descriptors, and no more.
const FEW_DESCRIPTORS: &str = r#"
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))
os.execv(sys.argv[1], sys.argv[1:])
"#;

/// A house whose daemon may have 512 descriptors, so 64 connections at each door, and the port of its TLS door.
async fn cramped() -> (House, u16, Kept) {
    let plan = Plan::new().config("[limits]\n", "[limits]\ntransactions_per_agent = 1000\n");
    let mut house = plan.build();
    let mut command = std::process::Command::new("python3");
    command.args(["-c", FEW_DESCRIPTORS]).arg(binary().get_program()).args(["serve", "--log-json", "--config"]);
    command.arg(house.path("narrowgate.toml")).stdin(Stdio::null()).stdout(Stdio::null());
    let log = house.path("log");
    let daemon = Kept(command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap());
    house.wait_until_serving().await;
    let up = |text: &str| {
        let line = text.lines().find(|line| line.contains("narrowgate is up"))?;
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        line["fields"]["tcp"].as_str()?.rsplit(':').next()?.parse::<u16>().ok()
    };
    let port = eventually("the port", || up(&std::fs::read_to_string(&log).ok()?)).await;
    (house, port, daemon)
}

/// Whether the other end has hung up.
async fn is_closed(stream: &mut UnixStream) -> bool {
    let mut bytes = [0; 256];
    let reading = async { while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {} };
    tokio::time::timeout(Duration::from_millis(1), reading).await.is_ok()
}

// rows: GRPC-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_uid_with_hundreds_of_connections_does_not_use_up_the_daemon() {
    let (house, port, _daemon) = cramped().await;
    // Each costs the daemon two descriptors: its own and its process's. It may have 512.
    let mut crowd = Vec::new();
    for _ in 0..400 {
        crowd.push(UnixStream::connect(house.path("run/agent.sock")).await.unwrap());
    }
    let mut closed = 0;
    for stream in &mut crowd {
        closed += usize::from(is_closed(stream).await);
    }
    assert!(closed >= 300, "only {closed} of 400 were turned away");
    // Another agent has a whole login, which takes connections to the server and lines in the log.
    let identity = house.agents_ca.client("agent", &[San::Uri(COURIER)]).unwrap();
    let mut courier = crate::house::tls_agent(port, &house.server_ca, identity).await.unwrap();
    let grant = house.login(&mut courier, &[READ]).await.unwrap().grant;
    get(&mut courier, &grant).await.unwrap();
    assert!(
        !std::fs::read_to_string(house.path("log")).unwrap().contains("cannot accept"),
        "it ran out of descriptors"
    );
    // And the crowd's own uid is served again once it has gone.
    drop(crowd);
    let mut agent = eventually_served(&house).await;
    house.begin(&mut agent, &[READ]).await.unwrap();
}

async fn eventually_served(house: &House) -> Agent {
    for _ in 0..200 {
        let mut stream = UnixStream::connect(house.path("run/agent.sock")).await.unwrap();
        // Turned away, it is closed well before.
        tokio::time::sleep(Duration::from_millis(50)).await;
        if !is_closed(&mut stream).await {
            return house.agent().await;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the uid is not served again")
}

/// Carries bytes between its standard input, which is a socket, and the daemon's.
const RELAY: &str = r#"
import socket, sys, threading
near, far = socket.socket(fileno=0), socket.socket(socket.AF_UNIX)
far.connect(sys.argv[1])
def pump(source, sink):
    while data := source.recv(65536):
        sink.sendall(data)
    sink.shutdown(socket.SHUT_WR)
threading.Thread(target=pump, args=(far, near), daemon=True).start()
pump(near, far)
"#;

/// An agent of its own user: a child process, which the kernel names at the socket.
async fn agent_of(house: &House, uid: u32) -> (Agent, Kept) {
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut command = std::process::Command::new("python3");
    command.args(["-c", RELAY]).arg(house.path("run/agent.sock")).uid(uid).gid(0).current_dir("/");
    command.stdin(std::os::fd::OwnedFd::from(far)).stdout(Stdio::null());
    let child = Kept(command.spawn().unwrap());
    near.set_nonblocking(true).unwrap();
    let mut near = Some(UnixStream::from_std(near).unwrap());
    let connector = tower::service_fn(move |_| {
        let near = near.take().ok_or_else(|| std::io::Error::other("it was hung up on"));
        async move { near.map(hyper_util::rt::TokioIo::new) }
    });
    let endpoint = tonic::transport::Endpoint::from_static("http://localhost");
    (TokenServiceClient::new(endpoint.connect_with_connector(connector).await.unwrap()), child)
}

// rows: GRPC-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_connections_of_one_uid_leave_room_for_another_uid() {
    const OTHER: u32 = 65_533;
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can connect as another user");
        return;
    }
    // Both ends of the crowd and the daemon's descriptors for it.
    let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if limits.maximum.is_some_and(|most| most < 8192) {
        eprintln!("SKIPPED: {limits:?} is too few for two thousand connections");
        return;
    }
    let wanted = rustix::process::Rlimit { current: Some(8192), ..limits };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, wanted).unwrap();
    let mut plan = Plan::new().config("mode = \"0600\"", "mode = \"0660\"\ngid = 0");
    let facts = "owner = \"sales\"\ngroups = [\"sales-writers\"]\nenvironment = \"prod\"\ntrust = 3";
    plan.agents.push_str(&format!("\n[[agent]]\nid = \"second\"\nuid = {OTHER}\n{facts}\n"));
    let house = plan.open().await;
    for folder in ["", "run"] {
        let mode = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(house.path(folder), mode).unwrap();
    }
    let mut crowd = Vec::new();
    for _ in 0..2000 {
        crowd.push(UnixStream::connect(house.path("run/agent.sock")).await.unwrap());
    }
    // Our own uid has no more room.
    let mut closed = 0;
    for stream in &mut crowd {
        closed += usize::from(is_closed(stream).await);
    }
    assert!((1..2000).contains(&closed), "{closed} of 2000 were turned away");
    let (mut second, _child) = agent_of(&house, OTHER).await;
    let grant = house.login(&mut second, &[READ]).await.unwrap().grant;
    get(&mut second, &grant).await.unwrap();
    // By its own name: the kernel said who it is.
    let decided = house.event("authorization.decided").await;
    assert!(decided.to_string().contains(r#""second""#), "{decided}");
    // All the while there was no room for the crowd's uid.
    let mut another = UnixStream::connect(house.path("run/agent.sock")).await.unwrap();
    let turned_away = async { while !is_closed(&mut another).await {} };
    tokio::time::timeout(Duration::from_secs(5), turned_away).await.expect("it is let in");
}

// rows: GRPC-09 GRPC-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_that_are_never_read_count_as_calls_under_way() {
    let house = Plan::new().config("[limits]\n", "[limits]\ncalls_in_flight = 4\n").open().await;
    let mut agent = house.agent().await;
    let grant = house.login(&mut agent, &[READ]).await.unwrap().grant;
    // A client that opens no window for bodies (RFC 9113 §6.9.2), and so never takes one.
    let deaf = deaf(&house).await;
    let mut unread = Vec::new();
    for _ in 0..4 {
        unread.push(deaf.clone().get_token(&grant).await);
    }
    let asked = GetTokenRequest { grant: grant.clone(), ..GetTokenRequest::default() };
    let status = refused(agent.get_token(asked).await, Code::ResourceExhausted, "QUOTA_EXCEEDED");
    assert_eq!(fact(&status, "quota").as_deref(), Some("calls_in_flight"));
    // Another agent has its own.
    let mut courier = house.svid_agent(COURIER).await;
    house.begin(&mut courier, &[READ]).await.unwrap();
    // Given up, they are over.
    drop((unread, deaf));
    for _ in 0..200 {
        if get(&mut agent, &grant).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the calls are under way for ever")
}

/// A client whose window is closed.
#[derive(Clone)]
struct Deaf(hyper::client::conn::http2::SendRequest<http_body_util::Full<bytes::Bytes>>);

async fn deaf(house: &House) -> Deaf {
    let stream = UnixStream::connect(house.path("run/agent.sock")).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let mut builder = hyper::client::conn::http2::Builder::new(executor);
    builder.initial_stream_window_size(0);
    let (sender, connection) = builder.handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    Deaf(sender)
}

impl Deaf {
    /// Asks for a token, and takes the head of the answer alone.
    async fn get_token(mut self, grant: &str) -> http::Response<hyper::body::Incoming> {
        let asked = GetTokenRequest { grant: grant.to_owned(), ..GetTokenRequest::default() };
        let bytes = prost::Message::encode_to_vec(&asked);
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        let body = [&[0u8], length.as_slice(), &bytes].concat();
        let request = http::Request::post("http://localhost/narrowgate.v1.TokenService/GetToken")
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let request = request.body(http_body_util::Full::new(bytes::Bytes::from(body))).unwrap();
        let answer = self.0.send_request(request).await.unwrap();
        assert!(!answer.headers().contains_key("grpc-status"), "{:?}", answer.headers());
        answer
    }
}

// rows: GRPC-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_behind_one_address_are_counted_apart() {
    let (house, port, _daemon) = cramped().await;
    // 64 connections of the door, so 32 of one peer.
    let mut crowd = Vec::new();
    let mut turned_away = 0;
    for _ in 0..40 {
        let identity = house.agents_ca.client("agent", &[San::Uri(COURIER)]).unwrap();
        // Hung up on before the connection stands, or at its first call.
        let Ok(mut courier) = crate::house::tls_agent(port, &house.server_ca, identity).await else {
            turned_away += 1;
            continue;
        };
        match house.begin(&mut courier, &[READ]).await {
            Ok(_) => crowd.push(courier),
            Err(status) => {
                assert!(status.get_details_error_info().is_none(), "hung up on, not answered: {status:?}");
                turned_away += 1;
            }
        }
    }
    assert_eq!((crowd.len(), turned_away), (32, 8));
    let identity = house.agents_ca.client("agent", &[San::Uri("spiffe://acme.test/agent/ledger")]).unwrap();
    let mut ledger = crate::house::tls_agent(port, &house.server_ca, identity).await.unwrap();
    // Policy says no to it, which is an answer: it was let in.
    refused(house.begin(&mut ledger, &[READ]).await, Code::PermissionDenied, "POLICY_DENIED");
    let mut quoter = TokenServiceClient::new(unix_channel(&house.path("run/agent.sock")).await);
    house.begin(&mut quoter, &[READ]).await.unwrap();
}
