//! Envoy with static rules: it answers by itself, and it stands before a bare service.

use crate::{
    IN_FLIGHT, Round, Tokens,
    client::{self, Server},
    house, micros, processor_time,
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, client::conn::http2::SendRequest};
use serde_json::{Value, json};
use std::{fs, os::unix::net::UnixStream, path::Path, process::Command, time::Instant};
use tempfile::TempDir;
use tokio::task::JoinSet;

const SERVICE: &str = "/narrowgate.v1.TokenService/";
/// The route that Envoy answers.
const ALONE: &str = "/narrowgate.v1.TokenService/Decide";

pub(crate) struct Envoy {
    envoy: Server,
    /// Through Envoy to a bare service.
    pub(crate) echo: Tokens,
    connection: SendRequest<Full<Bytes>>,
    rule: Vec<(&'static str, String)>,
    _bare: Server,
    _folder: TempDir,
}

impl Envoy {
    /// Nothing if there is no binary.
    pub(crate) async fn start(size: usize) -> Option<Self> {
        let binary = std::env::var_os("ENVOY")?;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (front, back) = (path("envoy.sock"), path("echo.sock"));
        let bare = Server::spawn(Command::new(std::env::current_exe().unwrap()).arg("--echo").arg(&back));
        fs::write(path("envoy.json"), config(size, &front, &back).to_string()).unwrap();
        let mut command = Command::new(binary);
        command.arg("-c").arg(path("envoy.json"));
        let envoy = Server::spawn(command.args(["--concurrency", "2", "--disable-hot-restart", "-l", "error"]));
        for socket in [&front, &back] {
            house::eventually("Envoy and the bare service", || UnixStream::connect(socket).ok()).await;
        }
        let rule = vec![("x-agent", format!("agent-{}", size - 1)), ("x-scope", "customers.read".to_owned())];
        let echo = Tokens {
            agent: house::unix_agent(&front).await,
            pids: vec![envoy.pid(), bare.pid()],
            grant: "any".to_owned(),
            rule: Some(rule.clone()),
        };
        let connection = client::http2(&front).await;
        Some(Self { envoy, echo, connection, rule, _bare: bare, _folder: folder })
    }

    /// A round of what it answers by itself.
    pub(crate) async fn alone(&self, calls: usize) -> Round {
        let (each, pids) = (calls / IN_FLIGHT, [self.envoy.pid()]);
        let mut tasks = JoinSet::new();
        let (start, cpu) = (Instant::now(), processor_time(&pids));
        for _ in 0..IN_FLIGHT {
            let (mut connection, rule) = (self.connection.clone(), self.rule.clone());
            tasks.spawn(async move {
                let mut times = Vec::with_capacity(each);
                for _ in 0..each {
                    let start = Instant::now();
                    let mut request = Request::post(format!("http://localhost{ALONE}"));
                    for (name, value) in &rule {
                        request = request.header(*name, value);
                    }
                    let request = request.body(Full::new(Bytes::from_static(b"{}"))).unwrap();
                    connection.ready().await.unwrap();
                    client::allowed(connection.send_request(request).await.unwrap(), b"{}").await;
                    times.push(micros(start));
                }
                times
            });
        }
        let times = tasks.join_all().await.into_iter().flatten().collect();
        Round::of(times, start, processor_time(&pids) - cpu)
    }
}

fn config(size: usize, front: &Path, back: &Path) -> Value {
    let kind = |name: &str| format!("type.googleapis.com/envoy.extensions.{name}");
    let is = |name: &str, value: &str| json!({ "header": { "name": name, "string_match": { "exact": value } } });
    let path = json!({ "header": { "name": ":path", "string_match": { "prefix": SERVICE } } });
    let rule = |number: usize| {
        let allowed = json!({ "and_rules": { "rules": [path, is("x-scope", "customers.read")] } });
        let policy = json!({ "permissions": [allowed], "principals": [is("x-agent", &format!("agent-{number}"))] });
        // Envoy tries them in the order of their names.
        (format!("p.{number:05}"), policy)
    };
    let rules: serde_json::Map<String, Value> = (0..size).map(rule).collect();
    let answer = json!({ "status": 200, "body": { "inline_string": "{}" } });
    let manager = json!({
        "@type": kind("filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "in",
        "codec_type": "HTTP2",
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [
            { "match": { "path": ALONE }, "direct_response": answer },
            { "match": { "prefix": SERVICE, "grpc": {} }, "route": { "cluster": "echo" } },
        ] }] },
        "http_filters": [
            { "name": "rbac", "typed_config": {
                "@type": kind("filters.http.rbac.v3.RBAC"), "rules": { "action": "ALLOW", "policies": rules },
            } },
            { "name": "router", "typed_config": { "@type": kind("filters.http.router.v3.Router") } },
        ],
    });
    let pipe = |socket: &Path| json!({ "pipe": { "path": socket } });
    let endpoint = json!({ "endpoint": { "address": pipe(back) } });
    let options = json!({
        "@type": kind("upstreams.http.v3.HttpProtocolOptions"), "explicit_http_config": { "http2_protocol_options": {} },
    });
    json!({ "static_resources": {
        "listeners": [{
            "name": "front",
            "address": pipe(front),
            "filter_chains": [{ "filters": [{ "name": "manager", "typed_config": manager }] }],
        }],
        "clusters": [{
            "name": "echo",
            "type": "STATIC",
            "load_assignment": { "cluster_name": "echo", "endpoints": [{ "lb_endpoints": [endpoint] }] },
            "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options },
        }],
    } })
}
