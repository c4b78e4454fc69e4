//! What a test case expects of its answer.

use super::{
    Snapshot,
    ask::Answer,
    cases::{instant, owned},
};
use crate::{
    config::Table,
    model::{Terms, Wall, time::parse_span},
};

/// When a case is asked that does not say: 2026-11-22T10:00:00Z.
const NOW: Wall = Wall(1_795_341_600_000);

/// A case, asked once.
pub(super) struct Step {
    /// The time it is asked at.
    pub(super) now: Wall,
    /// Whether its case is asked at several.
    pub(super) is_one_of_several: bool,
    pub(super) expected: Expected,
}

/// Reads when a case is asked, and what is expected each time: `at = [{ now = "...", expect = "..." }, ...]`, or, of one
/// that is asked once, the same keys by themselves.
pub(super) fn steps(table: &Table<'_>) -> Option<Vec<Step>> {
    if !table.holds("at") {
        let now = table.optional("now", instant).unwrap_or(NOW);
        return Some(vec![Step { now, is_one_of_several: false, expected: Expected::read(table)? }]);
    }
    for key in ["now", "expect", "reasons", "code", "terms"] {
        table.refuse(key, "stands beside `at`", "write it into each entry of `at`");
    }
    if table.is_bare("at") {
        table.wrong_at("at", "is empty", Some("write at = [{ now = \"2026-11-22T10:00:00Z\", expect = \"allow\" }]"));
    }
    let steps = table.tables("at", |step| {
        let (now, expected) = (step.required("now", instant), Expected::read(step));
        Some(Step { now: now?, is_one_of_several: true, expected: expected? })
    });
    (!steps.is_empty()).then_some(steps)
}

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
