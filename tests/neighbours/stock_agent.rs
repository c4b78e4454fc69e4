//! A gRPC client as agents have it in stock: one process, one call, one JSON value.

use crate::{
    house::{House, write},
    tools::{node_script, python, repository},
};
use narrowgate::dev::ca::San;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A client program and the door it goes to.
#[derive(Clone)]
pub(crate) struct StockAgent {
    interpreter: PathBuf,
    script: PathBuf,
    door: Vec<String>,
}

impl StockAgent {
    /// Both stock clients, at the Unix socket.
    pub(crate) fn both_unix(house: &House) -> [Self; 2] {
        Self::both(vec!["--target".to_owned(), house.endpoint()])
    }

    /// Both stock clients, at the mutual TLS door with a fresh SVID.
    pub(crate) async fn both_tls(house: &House, spiffe_id: &str) -> [Self; 2] {
        let identity = house.agents_ca.client("agent", &[San::Uri(spiffe_id)]).unwrap();
        let (certificate, key) = (house.path("stock.pem"), house.path("stock.key"));
        write(&certificate, &identity.certificate_pem);
        write(&key, &identity.key_pem);
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        Self::both(vec![
            "--target".to_owned(),
            format!("localhost:{}", house.tcp_port().await),
            "--ca".to_owned(),
            text(&house.path("server-ca.pem")),
            "--cert".to_owned(),
            text(&certificate),
            "--key".to_owned(),
            text(&key),
        ])
    }

    fn both(door: Vec<String>) -> [Self; 2] {
        [Self::grpcio(door.clone()), Self::grpc_js(door)]
    }

    /// Python's grpcio.
    pub(crate) fn grpcio(door: Vec<String>) -> Self {
        Self { interpreter: python(), script: repository().join("tests/clients/python/agent.py"), door }
    }

    /// Node's @grpc/grpc-js.
    pub(crate) fn grpc_js(door: Vec<String>) -> Self {
        Self { interpreter: "node".into(), script: node_script("clients/node", "agent.mjs"), door }
    }

    /// Adds an option.
    pub(crate) fn with(mut self, option: &str) -> Self {
        self.door.push(option.to_owned());
        self
    }

    /// Calls a method. What the daemon answered is `ok` or `error`; anything else fails the test.
    pub(crate) async fn call(&self, method: &str, request: &Value) -> Value {
        let mut command = Command::new(&self.interpreter);
        command.arg(&self.script).args(&self.door).args([method, &request.to_string()]);
        // Made once for all tests, and made anew when the protocol changes.
        command.env("NARROWGATE_TEST_GEN", Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-stubs"));
        let run = move || command.output().expect("the client cannot be started: run tests/run");
        let output: Output = tokio::task::spawn_blocking(run).await.unwrap();
        assert!(output.status.success(), "{self} {method}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Calls a method that is allowed.
    pub(crate) async fn allowed(&self, method: &str, request: &Value) -> Value {
        let mut answer = self.call(method, request).await;
        assert!(answer["error"].is_null(), "{self} {method}: {answer}");
        answer["ok"].take()
    }

    /// Calls a method that is refused.
    pub(crate) async fn refused(&self, method: &str, request: &Value) -> Value {
        let mut answer = self.call(method, request).await;
        assert!(answer["ok"].is_null(), "{self} {method} was not refused");
        answer["error"].take()
    }
}

impl std::fmt::Display for StockAgent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.script.file_name().unwrap().display())
    }
}
