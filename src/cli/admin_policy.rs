//! `narrowgate admin reload`, and what `narrowgate admin status` says of policy.

use super::{Exit, output::Output, token::time};
use crate::api::proto::{
    GetStatusResponse, Mistake, PendingSet, PolicySet, ReloadFailure, ReloadRequest, ShadowStatus,
    admin_service_client::AdminServiceClient, reload_response::Outcome,
};
use serde_json::{Value, json};
use tonic::{Status, transport::Channel};

pub(super) async fn reload(
    service: &mut AdminServiceClient<Channel>,
    accept_weakening: Option<String>,
    output: &Output,
) -> Result<Exit, Status> {
    let accept_weakening = accept_weakening.unwrap_or_default();
    let done = service.reload(ReloadRequest { accept_weakening }).await?.into_inner();
    let (word, head, exit) = match done.outcome() {
        Outcome::Activated => ("activated", "reloaded", Exit::Ok),
        Outcome::Unchanged => ("unchanged", "nothing is new", Exit::Ok),
        Outcome::Pending => ("pending", "not taken; nothing was changed", Exit::Policy),
        Outcome::Refused | Outcome::Unspecified => ("refused", "refused; nothing was changed", Exit::Policy),
    };
    let value = json!({
        "outcome": word, "policy": done.policy.as_ref().map(set_value), "mistake_count": done.mistake_count,
        "mistakes": done.mistakes.iter().map(mistake_value).collect::<Vec<_>>(), "decision_id": done.decision_id,
        "pending": done.pending.as_ref().map(pending_value),
    });
    let mut text = format!("{head}\n{}\ndecision: {}", set_text(done.policy.as_ref()), done.decision_id);
    if let Some(pending) = &done.pending {
        text = format!("{text}\n{}", pending_text(pending));
    }
    for mistake in &done.mistakes {
        text = format!("{text}\n{}", mistake_text(mistake));
    }
    if done.mistake_count > 0 {
        text = format!("{text}\nmistakes: {}", done.mistake_count);
    }
    output.result(&text, &value);
    Ok(exit)
}

pub(super) fn status_text(it: &GetStatusResponse) -> String {
    let mut text = set_text(it.policy.as_ref());
    if let Some(at) = it.policy_time.filter(|_| it.policy.is_some()) {
        text = format!("{text}\npolicy since: {} ({})", time(Some(at)), it.policy_trigger);
    }
    if let Some(failure) = &it.policy_failure {
        let head = if failure.stands { "the newest policy files are not taken" } else { "last refused reload" };
        text = format!("{text}\n{head}: {} ({})", time(failure.time), failure.trigger);
        let first = failure.first.as_ref().map(mistake_text).unwrap_or_default();
        text = format!("{text}, {} mistakes, the first: {first}", failure.mistake_count);
    }
    if let Some(pending) = &it.policy_pending {
        text = format!("{text}\n{}", pending_text(pending));
    }
    if let Some(shadow) = &it.shadow {
        text = format!("{text}\n{}", shadow_text(shadow));
    }
    text
}

fn pending_text(it: &PendingSet) -> String {
    let mut text = format!(
        "waiting: sha256:{} since {} ({})\n  of {} denials of late it allows {}; to have it become current:\n  narrowgate admin reload --accept-weakening {}",
        it.policy_digest,
        time(it.time),
        it.trigger,
        it.denials_asked,
        it.weakened,
        it.digest
    );
    for first in &it.first {
        let scopes = if first.scopes.is_empty() { "no scope".to_owned() } else { first.scopes.join(" ") };
        text = format!("{text}\n  {}: {scopes}, denied in {}", first.agent, first.decision_id);
    }
    text
}

fn pending_value(it: &PendingSet) -> Value {
    let first = it.first.iter();
    let first = first.map(|it| json!({ "decision_id": it.decision_id, "agent": it.agent, "scopes": it.scopes }));
    json!({
        "time": time(it.time), "trigger": it.trigger, "policy_digest": it.policy_digest,
        "entities_digest": it.entities_digest, "denials_asked": it.denials_asked, "weakened": it.weakened,
        "first": first.collect::<Vec<_>>(), "digest": it.digest,
    })
}

fn shadow_text(it: &ShadowStatus) -> String {
    let mut text = match &it.policy {
        Some(set) => format!("shadow: sha256:{}, {} policies, decides nothing", set.policy_digest, set.policy_count),
        None => "shadow: none: nothing is compared".to_owned(),
    };
    if let Some(failure) = &it.failure {
        let first = failure.first.as_ref().map(mistake_text).unwrap_or_default();
        text = format!("{text}, {} mistakes, the first: {first}", failure.mistake_count);
    }
    format!(
        "{text}\n  compared {}: would allow {}, would deny {}, other terms {}, errors {}; not compared {}, not recorded {}",
        it.compared, it.would_allow, it.would_deny, it.other_terms, it.errors, it.dropped, it.unrecorded
    )
}

fn shadow_value(it: &ShadowStatus) -> Value {
    json!({
        "current": it.policy.as_ref().map(set_value), "since": it.time.map(|at| time(Some(at))),
        "failure": it.failure.as_ref().map(failure_value), "compared": it.compared, "would_allow": it.would_allow,
        "would_deny": it.would_deny, "other_terms": it.other_terms, "errors": it.errors, "dropped": it.dropped,
        "unrecorded": it.unrecorded,
    })
}

pub(super) fn status_value(it: &GetStatusResponse) -> Value {
    json!({
        "current": it.policy.as_ref().map(set_value), "since": it.policy_time.map(|at| time(Some(at))),
        "trigger": it.policy_trigger, "checked": it.policy_check_time.map(|at| time(Some(at))),
        "failure": it.policy_failure.as_ref().map(failure_value),
        "pending": it.policy_pending.as_ref().map(pending_value), "shadow": it.shadow.as_ref().map(shadow_value),
    })
}

fn failure_value(failure: &ReloadFailure) -> Value {
    json!({
        "time": time(failure.time), "trigger": failure.trigger, "mistake_count": failure.mistake_count,
        "first": failure.first.as_ref().map(mistake_value), "stands": failure.stands,
    })
}

fn set_text(set: Option<&PolicySet>) -> String {
    match set {
        None => "policy: none: every call is refused".to_owned(),
        Some(set) => format!(
            "policy: generation {}, sha256:{}\nentities: sha256:{}\npolicies: {}",
            set.generation, set.policy_digest, set.entities_digest, set.policy_count
        ),
    }
}

fn set_value(set: &PolicySet) -> Value {
    json!({
        "generation": set.generation, "policy_digest": set.policy_digest, "schema_digest": set.schema_digest,
        "entities_digest": set.entities_digest, "policy_count": set.policy_count,
    })
}

fn mistake_text(mistake: &Mistake) -> String {
    let place = if mistake.line > 0 { format!(":{}:{}", mistake.line, mistake.column) } else { String::new() };
    let hint = if mistake.hint.is_empty() { String::new() } else { format!("\n  hint: {}", mistake.hint) };
    format!("{}{place}: {}{hint}", mistake.file, mistake.message)
}

fn mistake_value(mistake: &Mistake) -> Value {
    let place = |number: u32| (number > 0).then_some(number);
    json!({
        "file": mistake.file, "line": place(mistake.line), "column": place(mistake.column),
        "message": mistake.message, "hint": (!mistake.hint.is_empty()).then_some(&mistake.hint),
    })
}
