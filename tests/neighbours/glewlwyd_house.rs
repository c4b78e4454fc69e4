//! A house whose authorization server is Debian's Glewlwyd, which answers oddly. Where this machine cannot bring it the
//! tests say SKIPPED.

use crate::{
    house::{House, Plan, write},
    oidc_house::{CALLBACK, CLIENT_NAME, CRM},
    tools::repository,
};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Lines, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, PoisonError},
};

const LOG: &str = "glewlwyd.log";

/// A house with its server, not yet serving.
pub(crate) struct GlewlwydHouse {
    pub(crate) house: House,
    process: Child,
    person: Mutex<Option<(ChildStdin, Lines<BufReader<ChildStdout>>)>>,
}

impl GlewlwydHouse {
    /// Writes everything and starts the server; the daemon is left to [`Self::serve`]. `None` where there is no
    /// Glewlwyd.
    pub(crate) fn build(plan: Plan) -> Option<Self> {
        let program = repository().join("target/test-env/glewlwyd");
        if !program.join("usr/bin/glewlwyd").exists() {
            eprintln!("SKIPPED: there is no Glewlwyd here; tests/run brings it where Debian's packages can be had");
            return None;
        }
        let house = plan.build();
        let folder = house.path("glewlwyd");
        fs::create_dir(&folder).unwrap();
        let settings = json!({
            "folder": folder, "program_root": program,
            "certificate": house.path("daemon.pem"), "key": house.path("daemon.key"),
            "server_ca": house.path("server-ca.pem"), "client_ca": house.path("clients-ca.pem"),
            "client_id": "narrowgate-sales", "client_san_uri": CLIENT_NAME, "redirect_uri": CALLBACK,
            "scopes": ["customers.read", "customers.write"], "resource": CRM,
        });
        write(&house.path("glewlwyd.json"), &settings.to_string());
        let mut process = Command::new("python3")
            .arg(repository().join("tests/neighbours/glewlwyd/server.py"))
            .arg(house.path("glewlwyd.json"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(house.path(LOG)).unwrap())
            .spawn()
            .expect("python3 cannot be started: tests/run needs it on the PATH");
        let stdin = process.stdin.take().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let hello = lines.next().unwrap_or_else(|| panic!("{}", fs::read_to_string(house.path(LOG)).unwrap()));
        let hello: Value = serde_json::from_str(&hello.unwrap()).unwrap();
        let config = fs::read_to_string(house.path("narrowgate.toml")).unwrap();
        let config = config.replace(&house.server.issuer(), hello["issuer"].as_str().unwrap());
        write(&house.path("narrowgate.toml"), &config);
        Some(Self { house, process, person: Mutex::new(Some((stdin, lines))) })
    }

    /// Starts the daemon and waits until it serves.
    pub(crate) async fn serve(mut self) -> Self {
        self.house.start();
        self.house.wait_until_serving().await;
        self
    }

    /// The person logs in and consents; the callback.
    pub(crate) fn browse(&self, authorization_url: &str) -> String {
        let mut person = self.person.lock().unwrap();
        let (stdin, lines) = person.as_mut().unwrap();
        writeln!(stdin, "{authorization_url}").unwrap();
        lines.next().expect("the person is sent back").unwrap()
    }
}

impl Drop for GlewlwydHouse {
    fn drop(&mut self) {
        // With its input closed it ends its server and itself.
        drop(self.person.lock().unwrap_or_else(PoisonError::into_inner).take());
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- the server's log\n{}", fs::read_to_string(self.house.path(LOG)).unwrap_or_default());
        }
    }
}
