//! The books of the audit log: read as it grows, over crashes and restarts, each rule checked line by line.

use narrowgate::platform::{KeyedHash, digest::hex};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// An exchange that was decided to go ahead.
pub(crate) struct Exchange {
    pub(crate) code_ref: String,
    /// When its decision was written, in milliseconds.
    pub(crate) decided: i64,
    /// The event that closed it.
    pub(crate) closed: Option<String>,
    /// Why it failed.
    pub(crate) why: String,
}

/// What the log said so far.
#[derive(Default)]
pub(crate) struct Ledger {
    folder: PathBuf,
    read: BTreeMap<PathBuf, usize>,
    next: u64,
    pub(crate) exchanges: BTreeMap<String, Exchange>,
    /// Those without an outcome so far.
    pub(crate) open: BTreeSet<String>,
    /// By keyed reference of the code.
    pub(crate) by_code: BTreeMap<String, Vec<String>>,
    /// References of the tokens issued, with their exchange.
    pub(crate) issued: BTreeMap<String, String>,
    /// References of the tokens handed out again.
    pub(crate) served: BTreeSet<String>,
    /// References of the tokens revoked.
    pub(crate) revoked: BTreeSet<String>,
    /// Starts, stops and lines.
    pub(crate) starts: usize,
    pub(crate) stops: usize,
    pub(crate) lines: usize,
    pub(crate) torn: usize,
    pub(crate) violations: Vec<String>,
}

impl Ledger {
    /// The books of this folder.
    pub(crate) fn of(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), ..Self::default() }
    }

    /// The books of a folder, read whole; nothing in them may be wrong.
    pub(crate) fn closed(folder: &Path) -> Self {
        let mut ledger = Self::of(folder);
        ledger.read();
        ledger.assert_sound();
        assert!(ledger.open.is_empty(), "never closed: {:?}", ledger.open);
        ledger
    }

    pub(crate) fn assert_sound(&self) {
        assert!(self.violations.is_empty(), "{:#?}", self.violations);
    }

    /// Reads what is new. A last line without its line feed is left for later.
    pub(crate) fn read(&mut self) {
        let mut paths: Vec<PathBuf> = fs::read_dir(&self.folder).unwrap().map(|e| e.unwrap().path()).collect();
        self.torn = paths.iter().filter(|p| p.extension().is_some_and(|e| e == "bin")).count();
        paths.retain(|p| p.extension().is_some_and(|e| e == "jsonl"));
        paths.sort();
        for path in paths {
            let from = self.read.get(&path).copied().unwrap_or(0);
            if fs::metadata(&path).unwrap().len() == u64::try_from(from).unwrap() {
                continue;
            }
            let bytes = fs::read(&path).unwrap();
            let to = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
            for line in bytes.get(from..to).unwrap_or_default().split_inclusive(|b| *b == b'\n') {
                self.lines += 1;
                match serde_json::from_slice::<Value>(line) {
                    Ok(event) => self.follow(&event),
                    Err(error) => self.violations.push(format!("a line does not parse: {error}")),
                }
            }
            self.read.insert(path, to.max(from));
        }
    }

    fn follow(&mut self, event: &Value) {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (code, id) = (text("/metadata/event_code"), text("/metadata/correlation_uid"));
        let sequence = event["metadata"]["sequence"].as_u64().unwrap();
        if sequence != self.next {
            self.violations.push(format!("sequence {sequence} where {} was due", self.next));
        }
        self.next = sequence + 1;
        match code.as_str() {
            "exchange.decided" if event["action_id"] == 1 => self.decided(&id, event),
            "token.issued" | "exchange.failed" | "exchange.unknown" => {
                if code == "token.issued" {
                    self.issued.insert(text("/session/uid"), id.clone());
                }
                match self.exchanges.get_mut(&id) {
                    // The decision waited too long and was taken back unwritten; its end is told in case it was not.
                    None if text("/status_code") == "AUDIT_UNAVAILABLE" => {}
                    None => self.violations.push(format!("{code} of {id}, which was never decided")),
                    Some(exchange) => {
                        if let Some(before) = exchange.closed.replace(code.clone()) {
                            self.violations.push(format!("{id} was closed by {before} and again by {code}"));
                        }
                        exchange.why = text("/status_code");
                    }
                }
                self.open.remove(&id);
            }
            "token.served" => drop(self.served.insert(text("/session/uid"))),
            "token.revoked" => drop(self.revoked.insert(text("/session/uid"))),
            "daemon.started" => {
                // What the run before left open is closed before anything else.
                for id in std::mem::take(&mut self.open) {
                    self.violations.push(format!("{id} was left open over a restart"));
                }
                self.starts += 1;
            }
            "daemon.stopped" => self.stops += 1,
            _ => {}
        }
    }

    fn decided(&mut self, id: &str, event: &Value) {
        let code_ref = event["unmapped"]["narrowgate"]["code_ref"].as_str().unwrap().to_owned();
        self.by_code.entry(code_ref.clone()).or_default().push(id.to_owned());
        let exchange =
            Exchange { code_ref, decided: event["time"].as_i64().unwrap(), closed: None, why: String::new() };
        if self.exchanges.insert(id.to_owned(), exchange).is_some() {
            self.violations.push(format!("{id} was decided twice"));
        }
        self.open.insert(id.to_owned());
    }

    /// The exchange in which a code was let go; the last one, if it was tried again after never having left.
    pub(crate) fn exchange_of(&self, code_ref: &str) -> Option<&Exchange> {
        self.exchanges.get(self.by_code.get(code_ref)?.last()?)
    }

    /// The exchanges closed as unknown.
    pub(crate) fn unknown(&self) -> usize {
        self.exchanges.values().filter(|e| e.closed.as_deref() == Some("exchange.unknown")).count()
    }
}

/// The installation's keyed references, computed as the daemon does.
pub(crate) struct References(KeyedHash);

impl References {
    /// With the key that lies beside the log.
    pub(crate) fn of(folder: &Path) -> Self {
        let text = fs::read_to_string(folder.join("correlation.key")).unwrap();
        let mut key = [0u8; 32];
        for (at, byte) in key.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
        }
        Self(KeyedHash::new(&key))
    }

    pub(crate) fn code(&self, code: &str) -> String {
        format!("hk1:{}", &hex(&self.0.of("code", code.as_bytes()))[..32])
    }

    pub(crate) fn access_token(&self, token: &str) -> String {
        self.0.reference("access_token", token.as_bytes())
    }

    pub(crate) fn refresh_token(&self, token: &str) -> String {
        self.0.reference("refresh_token", token.as_bytes())
    }
}
