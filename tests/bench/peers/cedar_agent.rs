//! cedar-agent: one question in each call.

use crate::{
    IN_FLIGHT, Round, SCOPES,
    client::{Server, allowed},
    house, micros,
    plain::{self, Question},
    processor_time,
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::{fs, path::PathBuf, process::Command, time::Instant};
use tempfile::TempDir;
use tokio::{net::TcpStream, task::JoinSet};

pub(crate) struct CedarAgent {
    server: Server,
    address: String,
    connections: Vec<http1::SendRequest<Full<Bytes>>>,
    _folder: TempDir,
}

impl CedarAgent {
    pub(crate) async fn start(size: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, value: &Value| {
            let path = folder.path().join(name);
            fs::write(&path, value.to_string()).unwrap();
            path
        };
        let policy = |(id, content): (String, String)| json!({ "id": id, "content": content });
        let policies = put("policies.json", &plain::policies(size).into_iter().map(policy).collect());
        let data = put("data.json", &entities());
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(binary());
        command.args(["--addr", "127.0.0.1", "--port", &port.to_string(), "--log-level", "error"]);
        command.arg("--policies").arg(policies).arg("--data").arg(data).env("ROCKET_LOG_LEVEL", "off");
        let server = Server::spawn(&mut command);
        let address = format!("127.0.0.1:{port}");
        house::eventually("cedar-agent", || std::net::TcpStream::connect(&address).ok()).await;
        let mut connections = Vec::new();
        for _ in 0..IN_FLIGHT {
            let tcp = TcpStream::connect(&address).await.unwrap();
            tcp.set_nodelay(true).unwrap();
            let (sender, connection) = http1::handshake(TokioIo::new(tcp)).await.unwrap();
            tokio::spawn(connection);
            connections.push(sender);
        }
        Self { server, address, connections, _folder: folder }
    }

    pub(crate) async fn round(&mut self, calls: usize) -> Round {
        let (each, pids, body) = (calls / IN_FLIGHT, [self.server.pid()], question());
        let mut tasks = JoinSet::new();
        let (start, cpu) = (Instant::now(), processor_time(&pids));
        for mut connection in self.connections.drain(..) {
            let (body, host) = (body.clone(), self.address.clone());
            tasks.spawn(async move {
                let mut times = Vec::with_capacity(each);
                for _ in 0..each {
                    let start = Instant::now();
                    let request = Request::post("/v1/is_authorized").header(HOST, &host);
                    let request = request.header(CONTENT_TYPE, "application/json").body(Full::new(body.clone()));
                    connection.ready().await.unwrap();
                    allowed(connection.send_request(request.unwrap()).await.unwrap(), b"\"Allow\"").await;
                    times.push(micros(start));
                }
                (connection, times)
            });
        }
        let (connections, times): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().unzip();
        let round = Round::of(times.concat(), start, processor_time(&pids) - cpu);
        self.connections = connections;
        round
    }
}

fn question() -> Bytes {
    let uid = |(kind, id): (&str, &str)| format!("{kind}::\"{id}\"");
    let question = Question::Scope(SCOPES[0]);
    let call = json!({
        "principal": uid(plain::PRINCIPAL),
        "action": uid(("Narrowgate::Action", question.action())),
        "resource": uid(question.resource()),
        "context": question.context(),
    });
    call.to_string().into()
}

/// The agent, and what it is asked about.
fn entities() -> Value {
    let resources =
        plain::questions().map(|question| plain::entity(question.resource(), question.resource_attributes()));
    [plain::entity(plain::PRINCIPAL, plain::principal_attributes())].into_iter().chain(resources).collect()
}

fn binary() -> PathBuf {
    let installed = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../target/peers/bin/cedar-agent"));
    std::env::var_os("CEDAR_AGENT").map_or_else(installed, PathBuf::from)
}
