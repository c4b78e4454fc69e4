//! What a test case expects of its answer.

use super::{Snapshot, ask::Answer, cases::owned};
use crate::{
    config::Table,
    model::{Terms, time::parse_span},
};

/// The answer that is expected.
pub(super) struct Expected {
    allow: bool,
    reasons: Vec<String>,
    code: Option<String>,
    terms: Option<Terms>,
}

impl Expected {
    /// Reads `expect`, `reasons`, `code` and `terms` of a case.
    pub(super) fn read(table: &Table<'_>) -> Option<Self> {
        let allow = table.required("expect", |t| match t {
            "allow" => Ok(true),
            "deny" => Ok(false),
            _ => Err("must be \"allow\" or \"deny\"".to_owned()),
        });
        let reasons = table.list("reasons", owned);
        let (code, terms) = (table.optional("code", owned), table.table("terms", terms));
        Some(Self { allow: allow?, reasons, code, terms })
    }

    /// Holds an answer against it.
    ///
    /// # Errors
    /// What is otherwise.
    pub(super) fn hold(&self, answer: &Answer, snapshot: &Snapshot) -> Result<(), String> {
        if answer.errors > 0 {
            return Err(
                "the question could not be answered: an entity is missing, or a policy failed to evaluate".to_owned()
            );
        }
        let word = |allow: bool| if allow { "allow" } else { "deny" };
        let ids: Vec<&str> = answer.determining.iter().map(|d| &*d.policy).collect();
        if answer.allowed != self.allow {
            return Err(format!("expected {}, got {} by {ids:?}", word(self.allow), word(answer.allowed)));
        }
        let mut expected: Vec<&str> = self.reasons.iter().map(String::as_str).collect();
        expected.sort_unstable();
        if expected != ids {
            return Err(format!("expected the reasons {expected:?}, got {ids:?}"));
        }
        let first = answer.determining.iter().find(|d| d.forbids).and_then(|d| snapshot.note(&d.policy));
        let code = first.and_then(|n| n.code.as_deref()).unwrap_or("no_permit");
        if let Some(expected) = self.code.as_deref().filter(|c| *c != code) {
            return Err(format!("expected the code {expected:?}, got {code:?}"));
        }
        match &self.terms {
            Some(expected) if *expected != answer.terms => {
                Err(format!("expected the terms {expected:?}, got {:?}", answer.terms))
            }
            _ => Ok(()),
        }
    }
}

fn terms(table: &Table<'_>) -> Terms {
    Terms {
        max_lifetime: table.optional("max_lifetime", |t| parse_span(t).ok_or_else(|| "is no span of time".to_owned())),
        proof: None,
        no_refresh: table.boolean("no_refresh", false),
        single_audience: table.boolean("single_audience", false),
        audit_high: table.optional("audit", owned).is_some_and(|a| a == "high"),
        notify: table.boolean("notify", false),
        max_uses: table.integer("max_uses", 1..=u64::MAX),
    }
}
