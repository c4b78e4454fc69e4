//! A decision in its event: what it says, and the questions that made it, so that it can be asked again (POL-09).

use super::{
    Code, Event,
    tree::{Members, Tree, put as put_value, tree},
};
use crate::{
    model::{ProofDemand, Terms},
    policy::{DenyKind, Verdict},
};
use serde_json::Value;

/// The decision that an event is the record of. A detection repeats one that has an event of its own.
pub(super) fn of(event: &Event) -> Option<&Verdict> {
    event.verdict.as_ref().filter(|_| !matches!(event.code, Code::Detected(_)))
}

/// Puts a decision where OCSF has a place for it.
pub(super) fn put<'e>(event: &'e Event, record: &mut Members<'e>) {
    let Some(verdict) = &event.verdict else { return };
    let version = format!("sha256:{}", verdict.policy_digest);
    let authorizations = verdict.determining.iter().map(|d| {
        let (decision, kind) = if d.forbids { ("Deny", "Cedar forbid") } else { ("Allow", "Cedar permit") };
        // Its version is that of the set, which stands beside it once.
        tree!({ "decision": decision, "policy": tree!({ "uid": &*d.policy, "is_applied": true, "type": kind }) })
    });
    put_value(record, "authorizations", authorizations.collect::<Vec<_>>());
    put_value(
        record,
        "policy",
        tree!({ "uid": version, "name": "policies", "version": verdict.generation.to_string(), "type": "Cedar policy set", "is_applied": true }),
    );
    put_value(record, "status_detail", status_detail(verdict));
}

fn status_detail(verdict: &Verdict) -> String {
    let forbids = verdict.determining.iter().filter(|d| d.forbids).count();
    let permits = verdict.determining.len() - forbids;
    format!("{permits} permit, {forbids} forbid, {} evaluation errors", verdict.errors)
}

/// What OCSF has no place for.
pub(super) fn facts(verdict: &Verdict) -> Members<'_> {
    let removed = verdict.refused.iter().map(|(s, code)| tree!({ "scope": s.as_str(), "policy_code": code }));
    vec![
        ("removed_scopes", Tree::List(removed.collect())),
        ("deny_kind", verdict.denied.map(DenyKind::as_str).into()),
        ("terms", terms(&verdict.terms)),
        ("policy_digest", (&*verdict.policy_digest).into()),
        ("schema_digest", (&*verdict.schema_digest).into()),
        ("entities_digest", (&*verdict.entities_digest).into()),
        ("generation", verdict.generation.into()),
        // Answers that were given before: whose, and with its event its questions.
        ("decision_cache", verdict.answered_by.map(|_| "hit").into()),
        ("answered_by", verdict.answered_by.map(|id| id.to_string()).into()),
    ]
}

fn granted(verdict: &Verdict) -> Tree<'_> {
    Tree::List(verdict.granted.iter().map(|scope| scope.as_str().into()).collect())
}

/// A decision in short, inside an event that is not its own.
#[must_use]
pub fn decision_facts(verdict: &Verdict) -> Value {
    let mut record = facts(verdict);
    record.retain(|(name, _)| !["decision_cache", "answered_by"].contains(name));
    let policies = verdict.determining.iter().map(|d| tree!({ "policy": &*d.policy, "forbids": d.forbids }));
    record.extend([
        ("verdict", Tree::from(if verdict.denied.is_some() { "deny" } else { "allow" })),
        ("granted_scopes", granted(verdict)),
        ("policies", Tree::List(policies.collect())),
        ("evaluation_errors", verdict.errors.into()),
    ]);
    Tree::Members(record).into_value()
}

fn terms(terms: &Terms) -> Tree<'static> {
    let said = |flag: bool| flag.then_some(true);
    tree!({
        "max_lifetime_ms": terms.max_lifetime.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
        "proof": terms.proof.map(ProofDemand::as_str),
        "no_refresh": said(terms.no_refresh),
        "single_audience": said(terms.single_audience),
        "audit_high": said(terms.audit_high),
        "notify": said(terms.notify),
        "max_uses": terms.max_uses,
    })
}

/// What a replay must find again: a word for it, and the text that says it.
pub(super) type Said = [(&'static str, String); 6];

/// What a decision says.
pub(super) fn said(verdict: &Verdict) -> Said {
    let mut record = facts(verdict);
    record.push(("granted_scopes", granted(verdict)));
    let mut record = Tree::Members(record).into_value();
    super::line::prune(&mut record);
    let policies = verdict.determining.iter().map(|d| (d.forbids, &*d.policy));
    told(&record, policies.collect(), &status_detail(verdict))
}

/// What an event says of its decision.
pub(super) fn read(event: &Value) -> Said {
    let authorizations = event.get("authorizations").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let policies = authorizations.iter().map(|a| {
        let text = |pointer: &str| a.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        (text("/decision") == "Deny", text("/policy/uid"))
    });
    let detail = event.get("status_detail").and_then(Value::as_str).unwrap_or_default();
    told(event.pointer("/unmapped/narrowgate").unwrap_or(&Value::Null), policies.collect(), detail)
}

fn told(facts: &Value, policies: Vec<(bool, &str)>, detail: &str) -> Said {
    let text = |key: &str| facts.get(key).and_then(Value::as_str).map(str::to_owned);
    let list = |key: &str| facts.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let granted: Vec<String> = list("granted_scopes").iter().filter_map(|s| s.as_str().map(str::to_owned)).collect();
    let removed = list("removed_scopes").into_iter().map(|removed| {
        let text = |key: &str| removed.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        format!("{} ({})", text("scope"), text("policy_code"))
    });
    let policies =
        policies.into_iter().map(|(forbids, id)| format!("{} {id}", if forbids { "forbid" } else { "permit" }));
    [
        ("answer", text("deny_kind").map_or_else(|| "allow".to_owned(), |kind| format!("deny, {kind}"))),
        ("policies", joined(policies)),
        ("granted", joined(granted)),
        ("removed", joined(removed)),
        ("terms", joined(terms_told(facts.get("terms")))),
        ("evaluation", detail.to_owned()),
    ]
}

fn terms_told(terms: Option<&Value>) -> impl Iterator<Item = String> {
    let mut told: Vec<String> = (terms.and_then(Value::as_object).into_iter().flatten())
        .map(|(key, value)| format!("{key}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    told.sort();
    told.into_iter()
}

fn joined(words: impl IntoIterator<Item = String>) -> String {
    let words: Vec<String> = words.into_iter().collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}
