//! Events as OCSF 1.8.0 JSON lines. Everything is escaped to ASCII; nothing is null or empty.

use super::{
    Code, Event, Installation, candidate, decision,
    line::{prune, write_line},
    words::{Class, class, fact, message, severity},
};
use crate::{
    model::fault::Detection,
    platform::{Clock, Entropy},
};
use serde_json::{Map, Value, json};
use std::{io, sync::Arc};

const VERSION: &str = "1.8.0";
const SERVICE: &str = "narrowgate.v1.TokenService";
const ADMIN_SERVICE: &str = "narrowgate.v1.AdminService";
const POLICY_SERVICE: &str = "narrowgate.v1.PolicyService";

pub(super) struct Renderer {
    installation: Installation,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Renderer {
    pub(super) const fn new(installation: Installation, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { installation, clock, entropy }
    }

    /// Appends the event as one line.
    pub(super) fn line(&self, event: &Event, sequence: u64, into: &mut Vec<u8>) -> io::Result<()> {
        let mut record = self.frame(event, sequence);
        match class(event.code).0 {
            Class(3002, ..) => self.authentication(event, &mut record),
            Class(3003, ..) => self.authorize_session(event, &mut record),
            Class(3004, ..) => self.entity_management(event, &mut record),
            Class(6003, ..) => self.api_activity(event, &mut record),
            Class(6002, ..) => self.lifecycle(&mut record),
            Class(1008, ..) => event_log(&mut record),
            _ => self.finding(event, &mut record),
        }
        record.insert("unmapped".to_owned(), json!({ "narrowgate": unmapped(event) }));
        let mut record = Value::Object(record);
        prune(&mut record);
        // After pruning: in a question an empty set is a fact. Its texts are bounded where they came in.
        let facts = record.pointer_mut("/unmapped/narrowgate").and_then(Value::as_object_mut);
        let asked = decision::of(event).and_then(|verdict| Some((verdict, verdict.asked.as_ref()?)));
        if let (Some((verdict, asked)), Some(facts)) = (asked, facts) {
            facts.insert("asked".to_owned(), asked.to_json(event.subject.as_deref()));
            facts.insert("asked_by".to_owned(), json!(verdict.answered_by.unwrap_or(verdict.id).to_string()));
        }
        write_line(&record, into)
    }

    /// What every event has.
    fn frame(&self, event: &Event, sequence: u64) -> Map<String, Value> {
        let (Class(uid, name, category, category_name), activity, activity_name) = class(event.code);
        let (now, type_of) = (self.clock.wall().0, if activity == 99 { "Other" } else { activity_name });
        let profiles: &[&str] = match (uid, event.trace) {
            // The one class that has the profile; elsewhere the trace is among our own facts alone.
            (6003, Some(_)) => &["security_control", "host", "trace"],
            (6003 | 3003 | 2004, _) => &["security_control", "host"],
            _ => &["host"],
        };
        let (severity_id, severity) = severity(event.severity);
        let record = json!({
            "metadata": {
                "version": VERSION,
                "product": { "name": "narrowgate", "vendor_name": "narrowgate", "version": env!("CARGO_PKG_VERSION"), "uid": self.installation.uid },
                "uid": self.event_uid(now),
                "sequence": sequence,
                "event_code": event.code.as_str(),
                "correlation_uid": event.exchange.map(|id| id.to_string()),
                "log_name": "narrowgate-audit",
                "log_provider": "narrowgate",
                "log_version": "1",
                "profiles": profiles,
            },
            "category_uid": category, "category_name": category_name,
            "class_uid": uid, "class_name": name,
            "activity_id": activity, "activity_name": activity_name,
            "type_uid": u64::from(uid) * 100 + u64::from(activity), "type_name": format!("{name}: {type_of}"),
            "time": now, "timezone_offset": 0,
            "severity_id": severity_id, "severity": severity,
            "message": message(event),
            "actor": self.actor(event),
            "device": { "hostname": self.installation.hostname, "type_id": 1, "type": "Server", "uid": self.installation.uid },
        });
        match record {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    fn event_uid(&self, now: i64) -> String {
        // Without entropy the log goes on: the sequence number still tells events apart.
        crate::platform::entropy::uuid_v7(&*self.entropy, now).map_or_else(|_| format!("{now}"), |id| id.to_string())
    }

    fn actor(&self, event: &Event) -> Value {
        let Some(actor) = &event.actor else {
            return json!({ "app_name": "narrowgate", "app_uid": self.installation.uid });
        };
        let groups: Vec<Value> = actor.groups.iter().map(|g| json!({ "name": g })).collect();
        let (type_id, kind) = if actor.is_operator { (1, "User") } else { (4, "Service") };
        let user = json!({ "uid": actor.agent, "name": actor.agent, "type_id": type_id, "type": kind, "groups": groups, "domain": actor.owner });
        let process = actor.pid.map(|pid| json!({ "pid": pid, "user": { "uid": actor.uid.map(|u| u.to_string()) } }));
        let client = event.client.as_ref();
        json!({
            "user": user,
            "process": process,
            "app_uid": client.map(|c| &c.client_id),
            "app_name": client.map(|c| &c.alias),
            "idp": client.map(|c| json!({ "name": c.issuer, "uid": c.issuer, "protocol_name": "OAuth 2.0" })),
        })
    }

    fn source(&self, event: &Event) -> Value {
        let ip = event.actor.as_ref().and_then(|a| a.ip.clone());
        let by_operator = event.actor.as_ref().is_some_and(|a| a.is_operator);
        let service = if by_operator { "narrowgate-admin-api" } else { "narrowgate-agent-api" };
        json!({ "svc_name": service, "ip": ip, "name": self.installation.hostname, "type_id": 1, "type": "Server" })
    }

    fn authentication(&self, event: &Event, record: &mut Map<String, Value>) {
        let rejected = event.code == Code::AgentRejected;
        let failed = rejected || event.code == Code::TokenRevokeFailed;
        outcome(record, !failed);
        put(record, "user", user(event));
        put(record, "src_endpoint", self.source(event));
        put(record, "service", json!({ "name": "narrowgate agent API", "uid": self.installation.uid }));
        put(record, "status_code", json!(event.reason.map_or("OK", crate::model::Reason::name)));
        if rejected {
            put(record, "auth_protocol_id", json!(99));
            put(record, "auth_protocol", json!("Peer attestation"));
        } else {
            put(record, "auth_protocol_id", json!(6));
            put(record, "auth_protocol", json!("OAUTH 2.0"));
            put(record, "dst_endpoint", destination(event));
            put(record, "session", session(event));
        }
    }

    fn authorize_session(&self, event: &Event, record: &mut Map<String, Value>) {
        let allowed = event.code != Code::TokenWithheld;
        control(record, if allowed { Control::Allowed } else { Control::Blocked });
        outcome(record, allowed);
        put(record, "status_code", json!(event.reason.map_or("OK", crate::model::Reason::name)));
        put(record, "user", user(event));
        let privileges = if event.granted.is_empty() { &event.requested } else { &event.granted };
        put(record, "privileges", if privileges.is_empty() { json!(["none"]) } else { json!(privileges) });
        put(record, "session", session(event));
        put(record, "src_endpoint", self.source(event));
        put(record, "dst_endpoint", destination(event));
        decision::put(event, record);
    }

    fn api_activity(&self, event: &Event, record: &mut Map<String, Value>) {
        let denied = event.verdict.as_ref().is_some_and(|v| v.denied.is_some());
        let (how, success) = match event.code {
            Code::ExchangeFailed => (Control::Error, Some(false)),
            Code::ExchangeUnknown => (Control::Error, None),
            Code::ExchangeRefused => (Control::Blocked, Some(false)),
            _ if denied || event.reason.is_some() => (Control::Blocked, Some(false)),
            _ => (Control::Allowed, Some(true)),
        };
        control(record, how);
        match success {
            Some(success) => outcome(record, success),
            None => {
                put(record, "status_id", json!(0));
                put(record, "status", json!("Unknown"));
            }
        }
        let code = event.reason.map_or(if denied { "DENY" } else { "ALLOW" }, crate::model::Reason::name);
        put(record, "status_code", json!(code));
        put(record, "src_endpoint", self.source(event));
        put(record, "dst_endpoint", destination(event));
        let is_admin = matches!(event.code, Code::AdminDecided | Code::AdminCompleted);
        let service = match event.operation {
            "Explain" | "WhatIf" if is_admin => POLICY_SERVICE,
            _ if is_admin => ADMIN_SERVICE,
            _ => SERVICE,
        };
        let request = event.exchange.map_or_else(|| "none".to_owned(), |id| id.to_string());
        put(
            record,
            "api",
            json!({
                "operation": format!("{service}/{}", event.operation),
                "version": "v1",
                "service": { "name": service, "uid": self.installation.uid },
                "request": { "uid": request, "data": { "requested_scopes": event.requested } },
            }),
        );
        let resources = event
            .resource
            .as_ref()
            .map(|r| json!([{ "uid": r, "name": r, "type": "oauth.resource_server", "role_id": 1, "role": "Target" }]));
        put(record, "resources", json!(resources));
        put(record, "trace", event.trace.map_or(Value::Null, |trace| json!({ "uid": trace.to_string() })));
        decision::put(event, record);
    }

    fn entity_management(&self, event: &Event, record: &mut Map<String, Value>) {
        let entity = match event.code {
            // What failed is the server; leaving it alone, and coming back to it, succeeded.
            Code::IssuerUnavailable | Code::IssuerRecovered => {
                put(record, "status_code", json!(event.reason.map_or("OK", crate::model::Reason::name)));
                json!({ "name": fact(event, "issuer_alias"), "uid": fact(event, "issuer"), "type_id": 99, "type": "Authorization server" })
            }
            Code::Frozen | Code::Unfrozen | Code::RegistrationRemoved => {
                put(record, "status_code", json!(event.reason.map_or("OK", crate::model::Reason::name)));
                let (kind, name) = fact(event, "target").split_once(' ').unwrap_or_default();
                json!({ "name": name, "uid": name, "type_id": 99, "type": kind })
            }
            Code::ClientAuthenticationWeak => {
                put(record, "status_code", json!("OK"));
                let client = event.client.as_ref();
                let (alias, id) = client.map(|c| (c.alias.as_str(), c.client_id.as_str())).unwrap_or_default();
                json!({ "name": alias, "uid": id, "type_id": 99, "type": "Client registration" })
            }
            Code::Candidate(code) => candidate::entity(event, code, record),
            _ => json!({ "name": "policies", "uid": fact(event, "policy_digest"), "type_id": 5, "type": "Policy" }),
        };
        let of_issuer =
            matches!(event.code, Code::IssuerUnavailable | Code::IssuerRecovered | Code::ClientAuthenticationWeak);
        if !matches!(event.code, Code::Candidate(_)) {
            outcome(record, of_issuer || event.reason.is_none());
        }
        put(record, "entity", entity);
        put(record, "src_endpoint", self.source(event));
    }

    fn lifecycle(&self, record: &mut Map<String, Value>) {
        outcome(record, true);
        put(
            record,
            "app",
            json!({ "name": "narrowgate", "vendor_name": "narrowgate", "version": env!("CARGO_PKG_VERSION"), "uid": self.installation.uid }),
        );
    }

    fn finding(&self, event: &Event, record: &mut Map<String, Value>) {
        let code = event.code.as_str();
        let allowed = event.code == Code::Detected(Detection::BreakGlass);
        control(record, if allowed { Control::Allowed } else { Control::Blocked });
        put(record, "status_id", json!(1));
        put(record, "status", json!("New"));
        put(record, "is_alert", json!(true));
        let attacks = json!([{ "version": "17.1", "tactic": { "uid": "TA0006", "name": "Credential Access" }, "technique": { "uid": "T1528", "name": "Steal Application Access Token" } }]);
        put(record, "attacks", attacks.clone());
        put(
            record,
            "finding_info",
            json!({
                "uid": self.event_uid(self.clock.wall().0),
                "title": message(event),
                "types": [code],
                "created_time": self.clock.wall().0,
                "analytic": { "uid": code, "name": code, "type_id": 1, "type": "Rule", "version": "1" },
                "attacks": attacks,
            }),
        );
    }
}

fn event_log(record: &mut Map<String, Value>) {
    outcome(record, true);
    put(record, "log_name", json!("narrowgate-audit"));
    put(record, "log_provider", json!("narrowgate"));
    put(record, "log_type_id", json!(2));
    put(record, "log_type", json!("Application"));
}

enum Control {
    Allowed,
    Blocked,
    Error,
}

fn control(record: &mut Map<String, Value>, control: Control) {
    let (action_id, action, disposition_id, disposition) = match control {
        Control::Allowed => (1, "Allowed", 1, "Allowed"),
        Control::Blocked => (2, "Denied", 2, "Blocked"),
        Control::Error => (1, "Allowed", 27, "Error"),
    };
    put(record, "action_id", json!(action_id));
    put(record, "action", json!(action));
    put(record, "disposition_id", json!(disposition_id));
    put(record, "disposition", json!(disposition));
}

fn outcome(record: &mut Map<String, Value>, success: bool) {
    put(record, "status_id", json!(if success { 1 } else { 2 }));
    put(record, "status", json!(if success { "Success" } else { "Failure" }));
}

/// Whose token it is: the person's, by keyed reference; without an ID token that names them, the agent's.
fn user(event: &Event) -> Value {
    if let Some(reference) = &event.subject {
        let domain = event.client.as_ref().map(|client| &client.issuer);
        return json!({ "uid": reference, "name": reference, "type_id": 1, "type": "User", "domain": domain });
    }
    let name = event.actor.as_ref().map_or("unknown", |a| a.agent.as_str());
    json!({ "uid": name, "name": name, "type_id": 4, "type": "Service" })
}

fn session(event: &Event) -> Value {
    let issuer = event.client.as_ref().map(|c| &c.issuer);
    event.session.as_ref().map_or(Value::Null, |s| {
        json!({ "uid": s.reference, "created_time": s.created.0, "expiration_time": s.expires.0, "issuer": issuer })
    })
}

fn destination(event: &Event) -> Value {
    let url = event.client.as_ref().and_then(|c| url::Url::parse(&c.issuer).ok().map(|u| (u, &c.issuer)));
    url.map_or(Value::Null, |(url, issuer)| {
        json!({ "hostname": url.host_str(), "port": url.port_or_known_default(), "svc_name": issuer, "type_id": 1, "type": "Server" })
    })
}

fn unmapped(event: &Event) -> Value {
    let mut facts = Map::new();
    for (key, value) in &event.facts {
        facts.insert((*key).to_owned(), value.clone());
    }
    facts.insert("operation".to_owned(), json!(event.operation));
    facts.insert("requested_scopes".to_owned(), json!(event.requested));
    facts.insert("trace_id".to_owned(), json!(event.trace.map(|trace| trace.to_string())));
    facts.insert("granted_scopes".to_owned(), json!(event.granted));
    if event.session.is_some() || event.subject.is_some() {
        facts.insert("subject_known".to_owned(), json!(event.subject.is_some()));
        facts.insert("subject_ref".to_owned(), json!(event.subject));
    }
    if let Some(actor) = &event.actor {
        facts.insert("owner".to_owned(), json!(actor.owner));
        facts.insert("spiffe_id".to_owned(), json!(actor.spiffe_id));
    }
    if let Some(verdict) = &event.verdict {
        facts.extend(decision::facts(verdict));
    }
    Value::Object(facts)
}

pub(super) fn put(record: &mut Map<String, Value>, key: &str, value: Value) {
    record.insert(key.to_owned(), value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::{SystemClock, SystemEntropy};

    fn rendered(event: &Event) -> (String, Value) {
        let installation = Installation { uid: "test".to_owned(), hostname: "host".to_owned() };
        let renderer = Renderer::new(installation, Arc::new(SystemClock), Arc::new(SystemEntropy::new()));
        let mut bytes = Vec::new();
        renderer.line(event, 7, &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let value = serde_json::from_str(&text).unwrap();
        (text, value)
    }

    // rows: AUD-05
    #[test]
    fn no_text_breaks_or_forges_a_line() {
        let hostile = [
            "\n{\"metadata\":{\"event_code\":\"token.issued\"}}\n",
            "\u{202e}txt.exe\u{2066}",
            "\u{1b}[2J\u{7f}\u{85}\u{9b}31m\0\r",
            "\u{2028}\u{2029}\u{feff}\u{fffe}",
            "\"}],\"decision\":\"allow\",[{\"\\",
            "\u{1f4a3}",
        ];
        for text in hostile {
            let event = Event::new(Code::ExchangeRefused, "RedeemCode").with("peer", text);
            let (line, value) = rendered(&event);
            assert!(line.is_ascii() && line.ends_with('\n'));
            assert!(line.trim_end_matches('\n').bytes().all(|b| (0x20..0x7f).contains(&b)), "{line:?}");
            assert_eq!(value["unmapped"]["narrowgate"]["peer"], text);
            assert_eq!(value["metadata"]["event_code"], "exchange.refused");
        }
    }

    // rows: AUD-05
    #[test]
    fn a_long_text_is_cut_and_marked() {
        let event = Event::new(Code::ExchangeRefused, "RedeemCode").with("peer", "\u{202e}".repeat(350_000));
        let (line, value) = rendered(&event);
        assert!(line.len() < 64 * 1024);
        assert!(value["unmapped"]["narrowgate"]["peer"].as_str().unwrap().ends_with(" [cut, 1050000 bytes]"));
    }
}
