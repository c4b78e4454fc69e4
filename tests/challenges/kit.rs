//! An API's own server, over real TLS, whose every answer is the test's; and a house whose catalogue declares it.

use crate::house::{Agent, House, Plan, write};
use narrowgate::{
    api::proto::{ResolveChallengeRequest, ResolveChallengeResponse},
    dev::ca::{Ca, San},
};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};
use tonic::Status;

/// The well-known place of an identifier with the path `/api`.
pub(crate) const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource/api";

/// The agents that come by mutual TLS: each has a budget of its own.
pub(crate) const ASKERS: usize = 40;

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    showed_certificate: AtomicBool,
    heads: Mutex<Vec<String>>,
    answers: Mutex<HashMap<String, Vec<u8>>>,
}

/// The server of an API. What it answers is set for each path; else 404.
pub(crate) struct Resource {
    port: u16,
    pub(crate) ca: Ca,
    seen: Arc<Seen>,
}

impl Resource {
    pub(crate) fn start() -> Self {
        let ca = Ca::new("resources").unwrap();
        let identity = ca.server(&[San::Ip([127, 0, 0, 1].into()), San::Dns("localhost")]).unwrap();
        let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(der(ca.certificate_pem())).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        // It asks for a client certificate, and serves those without one.
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
            .with_single_cert(
                vec![der(&identity.certificate_pem)],
                PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap(),
            )
            .unwrap();
        let (listener, config) = (TcpListener::bind("127.0.0.1:0").unwrap(), Arc::new(config));
        let (port, seen) = (listener.local_addr().unwrap().port(), Arc::<Seen>::default());
        let to = Arc::clone(&seen);
        std::thread::spawn(move || {
            for tcp in listener.incoming().map_while(Result::ok) {
                let (seen, config) = (Arc::clone(&to), Arc::clone(&config));
                seen.connections.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || serve(tcp, config, &seen));
            }
        });
        Self { port, ca, seen }
    }

    /// `https://127.0.0.1:port` and the rest.
    pub(crate) fn url(&self, rest: &str) -> String {
        format!("https://127.0.0.1:{}{rest}", self.port)
    }

    /// Answers requests for a path with a document.
    pub(crate) fn publish(&self, path: &str, document: &Value) {
        self.answer(path, 200, &[("Content-Type", "application/json")], &document.to_string());
    }

    /// Answers requests for a path so.
    pub(crate) fn answer(&self, path: &str, status: u16, headers: &[(&str, &str)], body: &str) {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        let text =
            format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        self.answer_bytes(path, text.as_bytes());
    }

    /// Answers requests for a path with these very bytes.
    pub(crate) fn answer_bytes(&self, path: &str, bytes: &[u8]) {
        self.seen.answers.lock().unwrap().insert(path.to_owned(), bytes.to_vec());
    }

    /// The heads of the requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.seen.heads.lock().unwrap().clone()
    }

    /// The paths that were requested so far.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.heads().iter().map(|head| head.split(' ').nth(1).unwrap().to_owned()).collect()
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn saw_a_certificate(&self) -> bool {
        self.seen.showed_certificate.load(Ordering::SeqCst)
    }
}

fn serve(tcp: TcpStream, config: Arc<ServerConfig>, seen: &Seen) {
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), tcp);
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    if stream.conn.peer_certificates().is_some() {
        seen.showed_certificate.store(true, Ordering::SeqCst);
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    seen.heads.lock().unwrap().push(head);
    let none = || b"HTTP/1.1 404 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec();
    let answer = seen.answers.lock().unwrap().get(&path).cloned().unwrap_or_else(none);
    let _ = stream.write_all(&answer);
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

/// A house with the API `crm` at a server of its own, whose metadata is read.
pub(crate) async fn open(resource: &Resource) -> House {
    open_with(Plan::new(), resource, "metadata_ca = \"resource-ca.pem\"").await
}

/// The same, with these further lines of the API.
pub(crate) async fn open_with(plan: Plan, resource: &Resource, lines: &str) -> House {
    let mut house = build(plan, resource, lines);
    house.start();
    house.wait_until_serving().await;
    house
}

/// The same, not started.
pub(crate) fn build(mut plan: Plan, resource: &Resource, lines: &str) -> House {
    let identifier = "identifier = \"https://crm.example.test/api\"";
    assert!(plan.apis.contains(identifier));
    plan.apis = plan.apis.replace(identifier, &format!("identifier = \"{}\"\n{lines}", resource.url("/api")));
    for number in 0..ASKERS {
        plan.agents.push_str(&format!(
            "\n[[agent]]\nid = \"asker-{number}\"\nspiffe_id = \"{}\"\nowner = \"sales\"\nenvironment = \"prod\"\ntrust = 3\n",
            asker_id(number)
        ));
    }
    let house = plan.build();
    write(&house.path("resource-ca.pem"), resource.ca.certificate_pem());
    house
}

fn asker_id(number: usize) -> String {
    format!("spiffe://acme.test/agent/asker-{number}")
}

/// An agent that has fetched nothing yet.
pub(crate) async fn asker(house: &House, number: usize) -> Agent {
    assert!(number < ASKERS);
    house.svid_agent(&asker_id(number)).await
}

/// A document about a resource, which names these authorization servers.
pub(crate) fn document(resource: &str, servers: &[&str]) -> Value {
    json!({ "resource": resource, "authorization_servers": servers, "scopes_supported": ["customers.read", "nobody.knows"] })
}

/// Asks what to begin.
pub(crate) async fn resolve(
    agent: &mut Agent,
    url: &str,
    headers: &[&str],
) -> Result<ResolveChallengeResponse, Status> {
    let request = ResolveChallengeRequest {
        url: url.to_owned(),
        www_authenticate: headers.iter().map(ToString::to_string).collect(),
        ..ResolveChallengeRequest::default()
    };
    Ok(agent.resolve_challenge(request).await?.into_inner())
}

/// A challenge that names a place of metadata.
pub(crate) fn naming(place: &str) -> String {
    format!("Bearer resource_metadata=\"{place}\"")
}

/// A port that nobody may connect to.
pub(crate) struct Trap(TcpListener);

impl Trap {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// Fails if anyone has connected: the connection would wait in the backlog.
    pub(crate) fn assert_untouched(&self) {
        assert!(self.0.accept().is_err(), "somebody connected");
    }
}
