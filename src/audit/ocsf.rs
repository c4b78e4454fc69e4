//! Events as OCSF 1.8.0 JSON lines. Everything is escaped to ASCII; nothing is null or empty.

use super::{
    Code, Event, Installation, candidate, decision,
    tree::{Members, Tree, put, tree},
    words::{Class, attacks, class, fact, message, severity},
};
use crate::{
    model::fault::Detection,
    platform::{Clock, Entropy},
};
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
        put(&mut record, "unmapped", tree!({ "narrowgate": unmapped(event) }));
        Tree::Members(record).write(into)?;
        into.push(b'\n');
        Ok(())
    }

    /// What every event has.
    fn frame<'e>(&'e self, event: &'e Event, sequence: u64) -> Members<'e> {
        let (Class(uid, name, category, category_name), activity, activity_name) = class(event.code);
        let (now, type_of) = (self.clock.wall().0, if activity == 99 { "Other" } else { activity_name });
        let profiles = match (uid, event.trace) {
            // The one class that has the profile; elsewhere the trace is among our own facts alone.
            (6003, Some(_)) => Tree::from(["security_control", "host", "trace"]),
            (6003 | 3003 | 2004, _) => ["security_control", "host"].into(),
            _ => ["host"].into(),
        };
        let (severity_id, severity) = severity(event.severity);
        let app = &self.installation;
        let metadata = tree!({
            "version": VERSION,
            "product": tree!({ "name": "narrowgate", "vendor_name": "narrowgate", "version": env!("CARGO_PKG_VERSION"), "uid": &app.uid }),
            "uid": self.event_uid(now),
            "sequence": sequence,
            "event_code": event.code.as_str(),
            "correlation_uid": event.exchange.map(|id| id.to_string()),
            "log_name": "narrowgate-audit",
            "log_provider": "narrowgate",
            "log_version": "1",
            "profiles": profiles,
        });
        vec![
            ("metadata", metadata),
            ("category_uid", category.into()),
            ("category_name", category_name.into()),
            ("class_uid", uid.into()),
            ("class_name", name.into()),
            ("activity_id", activity.into()),
            ("activity_name", activity_name.into()),
            ("type_uid", (u64::from(uid) * 100 + u64::from(activity)).into()),
            ("type_name", format!("{name}: {type_of}").into()),
            ("time", now.into()),
            ("timezone_offset", 0_u8.into()),
            ("severity_id", severity_id.into()),
            ("severity", severity.into()),
            ("message", message(event).into()),
            ("actor", self.actor(event)),
            ("device", tree!({ "hostname": &app.hostname, "type_id": 1, "type": "Server", "uid": &app.uid })),
        ]
    }

    fn event_uid(&self, now: i64) -> String {
        // Without entropy the log goes on: the sequence number still tells events apart.
        crate::platform::entropy::uuid_v7(&*self.entropy, now).map_or_else(|_| format!("{now}"), |id| id.to_string())
    }

    fn actor<'e>(&'e self, event: &'e Event) -> Tree<'e> {
        let Some(actor) = &event.actor else {
            return tree!({ "app_name": "narrowgate", "app_uid": &self.installation.uid });
        };
        let groups: Vec<Tree<'_>> = actor.groups.iter().map(|g| tree!({ "name": g })).collect();
        let (type_id, kind) = if actor.is_operator { (1, "User") } else { (4, "Service") };
        let user = tree!({ "uid": &actor.agent, "name": &actor.agent, "type_id": type_id, "type": kind, "groups": groups, "domain": &actor.owner });
        let process =
            actor.pid.map(|pid| tree!({ "pid": pid, "user": tree!({ "uid": actor.uid.map(|u| u.to_string()) }) }));
        let client = event.client.as_ref();
        tree!({
            "user": user,
            "process": process,
            "app_uid": client.map(|c| &c.client_id),
            "app_name": client.map(|c| &c.alias),
            "idp": client.map(|c| tree!({ "name": &c.issuer, "uid": &c.issuer, "protocol_name": "OAuth 2.0" })),
        })
    }

    fn source<'e>(&'e self, event: &'e Event) -> Tree<'e> {
        let ip = event.actor.as_ref().and_then(|a| a.ip.as_deref());
        let by_operator = event.actor.as_ref().is_some_and(|a| a.is_operator);
        let service = if by_operator { "narrowgate-admin-api" } else { "narrowgate-agent-api" };
        tree!({ "svc_name": service, "ip": ip, "name": &self.installation.hostname, "type_id": 1, "type": "Server" })
    }

    fn authentication<'e>(&'e self, event: &'e Event, record: &mut Members<'e>) {
        let rejected = event.code == Code::AgentRejected;
        let failed = rejected || event.code == Code::TokenRevokeFailed;
        outcome(record, !failed);
        put(record, "user", user(event));
        put(record, "src_endpoint", self.source(event));
        put(record, "service", tree!({ "name": "narrowgate agent API", "uid": &self.installation.uid }));
        put(record, "status_code", event.reason.map_or("OK", crate::model::Reason::name));
        if rejected {
            put(record, "auth_protocol_id", 99);
            put(record, "auth_protocol", "Peer attestation");
        } else {
            put(record, "auth_protocol_id", 6);
            put(record, "auth_protocol", "OAUTH 2.0");
            put(record, "dst_endpoint", destination(event));
            put(record, "session", session(event));
        }
    }

    fn authorize_session<'e>(&'e self, event: &'e Event, record: &mut Members<'e>) {
        let allowed = event.code != Code::TokenWithheld;
        control(record, if allowed { Control::Allowed } else { Control::Blocked });
        outcome(record, allowed);
        put(record, "status_code", event.reason.map_or("OK", crate::model::Reason::name));
        put(record, "user", user(event));
        let privileges = if event.granted.is_empty() { &event.requested } else { &event.granted };
        put(record, "privileges", if privileges.is_empty() { Tree::from(["none"]) } else { Tree::from(privileges) });
        put(record, "session", session(event));
        put(record, "src_endpoint", self.source(event));
        put(record, "dst_endpoint", destination(event));
        decision::put(event, record);
    }

    fn api_activity<'e>(&'e self, event: &'e Event, record: &mut Members<'e>) {
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
                put(record, "status_id", 0);
                put(record, "status", "Unknown");
            }
        }
        let code = event.reason.map_or(if denied { "DENY" } else { "ALLOW" }, crate::model::Reason::name);
        put(record, "status_code", code);
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
            tree!({
                "operation": format!("{service}/{}", event.operation),
                "version": "v1",
                "service": tree!({ "name": service, "uid": &self.installation.uid }),
                "request": tree!({ "uid": request, "data": tree!({ "requested_scopes": &event.requested }) }),
            }),
        );
        let resources = event
            .resource
            .as_ref()
            .map(|r| tree!({ "uid": r, "name": r, "type": "oauth.resource_server", "role_id": 1, "role": "Target" }));
        put(record, "resources", resources.map(|it| vec![it]));
        put(record, "trace", event.trace.map_or(Tree::Nothing, |trace| tree!({ "uid": trace.to_string() })));
        decision::put(event, record);
    }

    fn entity_management<'e>(&'e self, event: &'e Event, record: &mut Members<'e>) {
        let entity = match event.code {
            // What failed is the server; leaving it alone, and coming back to it, succeeded.
            Code::IssuerUnavailable | Code::IssuerRecovered => {
                put(record, "status_code", event.reason.map_or("OK", crate::model::Reason::name));
                tree!({ "name": fact(event, "issuer_alias"), "uid": fact(event, "issuer"), "type_id": 99, "type": "Authorization server" })
            }
            Code::Frozen | Code::Unfrozen | Code::RegistrationRemoved => {
                put(record, "status_code", event.reason.map_or("OK", crate::model::Reason::name));
                let (kind, name) = fact(event, "target").split_once(' ').unwrap_or_default();
                tree!({ "name": name, "uid": name, "type_id": 99, "type": kind })
            }
            Code::ClientAuthenticationWeak => {
                put(record, "status_code", "OK");
                let client = event.client.as_ref();
                let (alias, id) = client.map(|c| (c.alias.as_str(), c.client_id.as_str())).unwrap_or_default();
                tree!({ "name": alias, "uid": id, "type_id": 99, "type": "Client registration" })
            }
            Code::Candidate(code) => candidate::entity(event, code, record),
            _ => tree!({ "name": "policies", "uid": fact(event, "policy_digest"), "type_id": 5, "type": "Policy" }),
        };
        let of_issuer =
            matches!(event.code, Code::IssuerUnavailable | Code::IssuerRecovered | Code::ClientAuthenticationWeak);
        if !matches!(event.code, Code::Candidate(_)) {
            outcome(record, of_issuer || event.reason.is_none());
        }
        put(record, "entity", entity);
        put(record, "src_endpoint", self.source(event));
    }

    fn lifecycle<'e>(&'e self, record: &mut Members<'e>) {
        outcome(record, true);
        put(
            record,
            "app",
            tree!({ "name": "narrowgate", "vendor_name": "narrowgate", "version": env!("CARGO_PKG_VERSION"), "uid": &self.installation.uid }),
        );
    }

    fn finding<'e>(&'e self, event: &'e Event, record: &mut Members<'e>) {
        let code = event.code.as_str();
        let allowed = event.code == Code::Detected(Detection::BreakGlass);
        control(record, if allowed { Control::Allowed } else { Control::Blocked });
        put(record, "status_id", 1);
        put(record, "status", "New");
        put(record, "is_alert", true);
        put(record, "attacks", attacks());
        put(
            record,
            "finding_info",
            tree!({
                "uid": self.event_uid(self.clock.wall().0),
                "title": message(event),
                "types": [code],
                "created_time": self.clock.wall().0,
                "analytic": tree!({ "uid": code, "name": code, "type_id": 1, "type": "Rule", "version": "1" }),
                "attacks": attacks(),
            }),
        );
    }
}

fn event_log(record: &mut Members<'_>) {
    outcome(record, true);
    put(record, "log_name", "narrowgate-audit");
    put(record, "log_provider", "narrowgate");
    put(record, "log_type_id", 2);
    put(record, "log_type", "Application");
}

enum Control {
    Allowed,
    Blocked,
    Error,
}

fn control(record: &mut Members<'_>, control: Control) {
    let (action_id, action, disposition_id, disposition) = match control {
        Control::Allowed => (1, "Allowed", 1, "Allowed"),
        Control::Blocked => (2, "Denied", 2, "Blocked"),
        Control::Error => (1, "Allowed", 27, "Error"),
    };
    put(record, "action_id", action_id);
    put(record, "action", action);
    put(record, "disposition_id", disposition_id);
    put(record, "disposition", disposition);
}

fn outcome(record: &mut Members<'_>, success: bool) {
    put(record, "status_id", if success { 1 } else { 2 });
    put(record, "status", if success { "Success" } else { "Failure" });
}

/// Whose token it is: the person's, by keyed reference; without an ID token that names them, the agent's.
fn user(event: &Event) -> Tree<'_> {
    if let Some(reference) = &event.subject {
        let domain = event.client.as_ref().map(|client| &client.issuer);
        return tree!({ "uid": reference, "name": reference, "type_id": 1, "type": "User", "domain": domain });
    }
    let name = event.actor.as_ref().map_or("unknown", |a| a.agent.as_str());
    tree!({ "uid": name, "name": name, "type_id": 4, "type": "Service" })
}

fn session(event: &Event) -> Tree<'_> {
    let issuer = event.client.as_ref().map(|c| &c.issuer);
    event.session.as_ref().map_or(Tree::Nothing, |s| {
        tree!({ "uid": &s.reference, "created_time": s.created.0, "expiration_time": s.expires.0, "issuer": issuer })
    })
}

fn destination(event: &Event) -> Tree<'_> {
    let url = event.client.as_ref().and_then(|c| url::Url::parse(&c.issuer).ok().map(|u| (u, &c.issuer)));
    url.map_or(Tree::Nothing, |(url, issuer)| {
        tree!({ "hostname": url.host_str().map(str::to_owned), "port": url.port_or_known_default(), "svc_name": issuer, "type_id": 1, "type": "Server" })
    })
}

fn unmapped(event: &Event) -> Tree<'_> {
    let mut facts: Members<'_> = Vec::new();
    for (key, value) in &event.facts {
        put(&mut facts, key, value);
    }
    put(&mut facts, "operation", event.operation);
    put(&mut facts, "requested_scopes", &event.requested);
    put(&mut facts, "trace_id", event.trace.map(|trace| trace.to_string()));
    put(&mut facts, "granted_scopes", &event.granted);
    if event.session.is_some() || event.subject.is_some() {
        put(&mut facts, "subject_known", event.subject.is_some());
        put(&mut facts, "subject_ref", event.subject.as_ref());
    }
    if let Some(actor) = &event.actor {
        put(&mut facts, "owner", &actor.owner);
        put(&mut facts, "spiffe_id", actor.spiffe_id.as_ref());
    }
    if let Some(verdict) = &event.verdict {
        decision::facts(verdict).into_iter().for_each(|(key, value)| put(&mut facts, key, value));
    }
    if let Some((verdict, asked)) = decision::of(event).and_then(|it| Some((it, it.asked.as_ref()?))) {
        // In a question an empty set is a fact. Its texts are bounded where they came in.
        put(&mut facts, "asked", Tree::Verbatim(asked.to_json(event.subject.as_deref())));
        put(&mut facts, "asked_by", verdict.answered_by.unwrap_or(verdict.id).to_string());
    }
    Tree::Members(facts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::{SystemClock, SystemEntropy};
    use serde_json::Value;

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
