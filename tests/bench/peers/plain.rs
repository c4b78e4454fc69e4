//! A policy set that every peer takes: narrowgate's sample guardrails and permits on facts that are plain values. Peers
//! that are given a call's entities as JSON know no reference in them, and the Cedar of cedar-agent (2.5) knows neither
//! `is` nor `duration`.

use serde_json::{Value, json};

pub(crate) const SCOPES: [&str; 3] = ["customers.read", "customers.write", "openid"];

/// What a call is about: the gate, or one scope.
#[derive(Clone, Copy)]
pub(crate) enum Question {
    Gate,
    Scope(&'static str),
}

/// The questions of one hand-out.
pub(crate) fn questions() -> impl Iterator<Item = Question> {
    [Question::Gate].into_iter().chain(SCOPES.map(Question::Scope))
}

/// Ids and texts: so many permits, of which one is about the agent that asks, the gate's permit, and the guardrails.
pub(crate) fn policies(permits: usize) -> Vec<(String, String)> {
    let permit = |number: usize| {
        let text = format!(
            "permit (principal == Narrowgate::Agent::\"agent-{number}\", action == Narrowgate::Action::\"grant_scope\", \
             resource) when {{ principal.trust >= 2 && context.base.lifetime <= 3600 }};"
        );
        (format!("p.{number}"), text)
    };
    let rest = [("gate", GATE)].into_iter().chain(GUARDRAILS).map(|(id, text)| (id.to_owned(), text.to_owned()));
    (0..permits).map(permit).chain(rest).collect()
}

impl Question {
    pub(crate) const fn action(self) -> &'static str {
        match self {
            Self::Gate => "release_token",
            Self::Scope(_) => "grant_scope",
        }
    }

    pub(crate) const fn resource(self) -> (&'static str, &'static str) {
        match self {
            Self::Gate => ("Narrowgate::Client", "sales-crm"),
            Self::Scope(name) => ("Narrowgate::Scope", name),
        }
    }

    pub(crate) fn resource_attributes(self) -> Value {
        match self {
            Self::Gate => json!({ "owner": "sales", "environment": "prod", "lifetimeCeiling": 3600 }),
            Self::Scope(name) => json!({ "name": name, "risk": 1 }),
        }
    }

    pub(crate) fn context(self) -> Value {
        let attestation = json!({ "method": "spiffe-x509", "verified": true, "trustDomain": "acme.test" });
        let base = json!({
            "caller": { "transport": "mtls", "attestation": attestation },
            "scopes": SCOPES,
            "lifetime": 300,
            "claimed": { "task": "quote-4711" },
            "proof": { "method": "none" },
            "actors": { "depth": 0 },
        });
        match self {
            Self::Gate => json!({
                "base": base,
                "handOut": "again",
                "token": { "scopes": SCOPES, "lifetime": 300, "refreshable": true, "unknownScopes": false },
            }),
            Self::Scope(_) => json!({ "base": base, "client": "sales-crm", "flow": "hold" }),
        }
    }
}

pub(crate) const PRINCIPAL: (&str, &str) = ("Narrowgate::Agent", "agent-0");

/// An entity in Cedar's JSON.
pub(crate) fn entity((kind, id): (&str, &str), attributes: Value) -> Value {
    json!({ "uid": { "type": kind, "id": id }, "attrs": attributes, "parents": [] })
}

pub(crate) fn principal_attributes() -> Value {
    json!({ "owner": "sales", "environment": "prod", "trust": 3, "quarantined": false })
}

pub(crate) const SCHEMA: &str = r#"namespace Narrowgate {
  type Base = {
    "caller": {
      "transport": String,
      "attestation": { "method": String, "verified": Bool, "trustDomain"?: String },
    },
    "scopes": Set<String>,
    "lifetime": Long,
    "claimed": { "purpose"?: String, "task"?: String },
    "proof": { "method": String },
    "actors": { "depth": Long },
    "approval"?: { "approver": String, "scopes": Set<String> },
  };
  entity Agent = { "owner": String, "environment": String, "trust": Long, "quarantined": Bool };
  entity Client = { "owner": String, "environment": String, "lifetimeCeiling": Long };
  entity Scope = { "name": String, "risk": Long };
  action "release_token" appliesTo {
    principal: [Agent], resource: [Client],
    context: {
      "base": Base,
      "handOut": String,
      "token": { "scopes": Set<String>, "lifetime": Long, "refreshable": Bool, "unknownScopes": Bool },
    },
  };
  action "grant_scope" appliesTo {
    principal: [Agent], resource: [Scope],
    context: { "base": Base, "client": String, "flow": String },
  };
}
"#;

const GATE: &str = r#"permit (principal, action == Narrowgate::Action::"release_token", resource)
when { principal.trust >= 2 };"#;

const GUARDRAILS: [(&str, &str); 8] = [
    (
        "guard.attested",
        r#"forbid (principal, action == Narrowgate::Action::"release_token", resource)
unless { context.base.caller.attestation.verified };"#,
    ),
    (
        "guard.quarantine",
        r#"forbid (principal, action == Narrowgate::Action::"release_token", resource) when { principal.quarantined };"#,
    ),
    (
        "guard.environment",
        r#"forbid (principal, action == Narrowgate::Action::"release_token", resource)
unless { principal.environment == resource.environment };"#,
    ),
    (
        "guard.trust",
        r#"forbid (principal, action == Narrowgate::Action::"release_token", resource) when { principal.trust < 2 };"#,
    ),
    (
        "guard.toxic.read-and-send",
        r#"forbid (principal, action == Narrowgate::Action::"release_token", resource)
when { context.base.scopes.containsAll(["customers.read", "mail.send"]) };"#,
    ),
    (
        "guard.bulk-export",
        r#"forbid (principal, action == Narrowgate::Action::"release_token", resource)
when { context.base.claimed has purpose && context.base.claimed.purpose == "bulk-export" };"#,
    ),
    (
        "guard.stepup.high-risk",
        r#"forbid (principal, action == Narrowgate::Action::"grant_scope", resource)
when { resource.risk >= 3 }
unless { context.base has approval && context.base.approval.scopes.contains(resource.name) };"#,
    ),
    (
        "guard.release",
        r#"forbid (principal, action == Narrowgate::Action::"release_token", resource)
when {
  context.token.unknownScopes ||
  !(context.base.scopes.containsAll(context.token.scopes)) ||
  context.token.lifetime > resource.lifetimeCeiling
};"#,
    ),
];
