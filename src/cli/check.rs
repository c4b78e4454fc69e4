//! `narrowgate check`: every mistake at once.

use super::{Exit, output::Output};
use crate::{
    app,
    config::Finding,
    platform::{Clock, SystemClock},
    policy,
};
use serde_json::{Value, json};
use std::path::Path;

pub(super) fn run(file: &Path, output: &Output) -> Exit {
    let config = match super::bundles::load(file) {
        Ok((config, unfetched)) => {
            if let Some(finding) = unfetched {
                output.say(&format!("warning: {finding}"));
            }
            config
        }
        Err(findings) => return report(&findings, Exit::Usage, output),
    };
    let findings = app::would_refuse(&config, file);
    if !findings.is_empty() {
        return report(&findings, Exit::Usage, output);
    }
    let sources = policy::Sources::read(&config);
    let signed = sources.as_ref().ok().and_then(|sources| sources.bundle().cloned());
    let prepared = sources.and_then(|sources| policy::prepare(&config, &sources, 1, Some(SystemClock.wall())));
    let policy::Prepared { snapshot, cases_passed, .. } = match prepared {
        Ok(prepared) => prepared,
        Err(findings) => return report(&findings, Exit::Policy, output),
    };
    let shadow = config.shadow.as_ref().map(|folder| policy::check_shadow(&config, folder, SystemClock.wall()));
    let shadow = match shadow.transpose() {
        Ok(shadow) => shadow,
        Err(findings) => return report(&findings, Exit::Policy, output),
    };
    let warnings = super::forecast::of(&config, file);
    let expiry = snapshot.first_expiry();
    let mut text = format!(
        "{}: valid\n{} agents, {} clients at {} issuers, {} APIs, {} scopes\n{} policies, {} cases passed, digest sha256:{}",
        file.display(),
        snapshot.estate.registry.agents().count(),
        config.clients.len(),
        config.issuers.len(),
        snapshot.estate.catalog.apis.len(),
        snapshot.estate.catalog.scopes.len(),
        snapshot.len(),
        cases_passed,
        snapshot.policy_digest,
    );
    let signature = signed.as_ref().map(|signed| &signed.signature);
    if let Some(signature) = signature {
        let (serial, key, digest) = (signature.serial, &signature.key_id, &signature.archive_sha256);
        text.push_str(&format!("\nbundle of serial {serial}, signed by key {key}, sha256:{digest}"));
    }
    if let Some(shadow) = &shadow {
        let (set, cases) = (&shadow.snapshot, shadow.cases_passed);
        text.push_str(&format!(
            "\nshadow, which decides nothing: {} policies, {cases} cases passed, digest sha256:{}",
            set.len(),
            set.policy_digest
        ));
    }
    if let Some((day, id)) = &expiry {
        text.push_str(&format!(
            "\n{day} is the last day of {id}: from the next on a permit counts for nothing, and a start fails"
        ));
    }
    let uncacheable: Vec<(&str, &str)> = snapshot.uncacheable().collect();
    if !uncacheable.is_empty() {
        text.push_str("\ndecided anew each time, for no answer can be kept that these have a say in:");
        uncacheable.iter().for_each(|(id, why)| text.push_str(&format!("\n  {id} {why}")));
    }
    let value = json!({
        "uncacheable": uncacheable.iter().map(|(id, why)| json!({ "policy": id, "why": why })).collect::<Vec<_>>(),
        "first_expiry": expiry.map(|(day, id)| json!({ "day": day, "policy": id })),
        "bundle": signature.map(|it| json!({
            "serial": it.serial, "key_id": it.key_id, "archive_digest": format!("sha256:{}", it.archive_sha256),
        })),
        "valid": true, "policies": snapshot.len(), "cases_passed": cases_passed,
        "policy_digest": format!("sha256:{}", snapshot.policy_digest), "findings": [],
        "shadow": shadow.as_ref().map(|it| json!({
            "policies": it.snapshot.len(), "cases_passed": it.cases_passed,
            "policy_digest": format!("sha256:{}", it.snapshot.policy_digest),
        })),
        "warnings": warnings.iter().map(entry).collect::<Vec<_>>(),
    });
    output.result(&text, &value);
    if !output.is_json() {
        warnings.iter().for_each(|warning| output.say(&format!("warning: {warning}")));
    }
    Exit::Ok
}

fn entry(finding: &Finding) -> Value {
    let (line, column) = finding.position.unzip();
    json!({ "file": finding.file, "line": line, "column": column, "message": finding.message, "hint": finding.hint })
}

/// Prints mistakes.
pub(super) fn report(findings: &[Finding], exit: Exit, output: &Output) -> Exit {
    if output.is_json() {
        let list: Vec<Value> = findings.iter().map(entry).collect();
        output.result("", &json!({ "valid": false, "findings": list }));
        return exit;
    }
    for finding in findings {
        output.say(&finding.to_string());
    }
    let count = findings.len();
    output.say(&format!("{count} mistake{}", if count == 1 { "" } else { "s" }));
    exit
}
