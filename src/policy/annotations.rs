//! The closed vocabulary of annotations. Cedar ignores annotations, so a typo would silently loosen a rule: here an
//! unknown, ill-typed or misplaced one refuses the load.

use crate::{
    config::nearest,
    model::{ProofDemand, Terms, Wall, time::parse_span},
};
use cedar_policy::{Effect, Policy};
use jiff::civil::Date;
use std::sync::Arc;

const BOTH: [&str; 4] = ["id", "owner", "ticket", "expires"];
const PERMIT: [&str; 7] = ["max_lifetime", "proof", "no_refresh", "single_audience", "audit", "notify", "max_uses"];
const FORBID: [&str; 3] = ["code", "advice", "message"];

/// What a policy says beside its condition.
#[derive(Clone, Debug)]
pub(super) struct Note {
    /// Its `@id`.
    pub(super) id: Arc<str>,
    /// Permit or forbid.
    pub(super) effect: Effect,
    /// A permit's terms.
    pub(super) terms: Terms,
    /// A forbid's reason code.
    pub(super) code: Option<String>,
    /// A forbid's advice: `approval` or `step_up:<acr>`.
    pub(super) advice: Option<String>,
    /// A forbid's word to the agent's developer.
    pub(super) message: Option<String>,
    /// Its last day, in UTC.
    pub(super) expires: Option<Date>,
}

impl Note {
    /// Reads a policy's annotations.
    ///
    /// # Errors
    /// Every mistake, for a person.
    pub(super) fn read(policy: &Policy) -> Result<Self, Vec<String>> {
        let effect = policy.effect();
        let id = policy.annotation("id").unwrap_or_default().into();
        let mut note =
            Self { id, effect, terms: Terms::default(), code: None, advice: None, message: None, expires: None };
        let mut wrong = Vec::new();
        for (key, value) in policy.annotations() {
            if let Err(message) = note.take(key, value) {
                wrong.push(message);
            }
        }
        if effect == Effect::Forbid && note.code.is_none() {
            wrong.push("a forbid needs @code(\"...\"), the reason that callers and the audit log see".to_owned());
        }
        if wrong.is_empty() { Ok(note) } else { Err(wrong) }
    }

    /// Whether its last day is over (UTC). What cannot be told is over.
    pub(super) fn is_over(&self, now: Wall) -> bool {
        self.expires.is_some_and(|last| is_past(last, now))
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), String> {
        if BOTH.contains(&key) || key.starts_with("x_") {
            if key == "expires" {
                let date = value.parse::<Date>();
                self.expires = Some(date.map_err(|_| "@expires must be a date such as \"2027-01-31\"".to_owned())?);
            }
            return Ok(());
        }
        match self.effect {
            Effect::Permit if PERMIT.contains(&key) => self.take_term(key, value),
            Effect::Forbid if FORBID.contains(&key) => self.take_reason(key, value),
            _ => Err(self.unknown(key)),
        }
    }

    fn take_term(&mut self, key: &str, value: &str) -> Result<(), String> {
        let terms = &mut self.terms;
        match key {
            "max_lifetime" => {
                let span = parse_span(value)
                    .ok_or_else(|| format!("@max_lifetime(\"{value}\") is not a span such as \"10m\""))?;
                terms.max_lifetime = Some(span);
            }
            "proof" => {
                let known = [("mtls", ProofDemand::Mtls), ("dpop", ProofDemand::Dpop), ("any", ProofDemand::Any)];
                let demand = known.into_iter().find(|(word, _)| *word == value);
                terms.proof = Some(demand.ok_or("@proof must be \"mtls\", \"dpop\" or \"any\"")?.1);
            }
            "audit" => match value {
                "normal" => {}
                "high" => terms.audit_high = true,
                _ => return Err("@audit must be \"normal\" or \"high\"".to_owned()),
            },
            "max_uses" => {
                let uses = value.parse().ok().filter(|n| *n > 0);
                terms.max_uses = Some(uses.ok_or("@max_uses must be a whole number from 1")?);
            }
            _ if !value.is_empty() => return Err(format!("@{key} takes no value")),
            "no_refresh" => terms.no_refresh = true,
            "single_audience" => terms.single_audience = true,
            _ => terms.notify = true,
        }
        Ok(())
    }

    fn take_reason(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "code" => {
                let snake = value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
                if value.is_empty() || value.len() > 63 || !snake {
                    return Err("@code must be snake_case of at most 63 characters".to_owned());
                }
                self.code = Some(value.to_owned());
            }
            "advice" => {
                let step_up = value.strip_prefix("step_up:").is_some_and(|acr| !acr.is_empty());
                if value != "approval" && !step_up {
                    return Err("@advice must be \"approval\" or \"step_up:<acr>\"".to_owned());
                }
                self.advice = Some(value.to_owned());
            }
            _ => {
                if value.is_empty() || value.len() > 256 || value.chars().any(char::is_control) {
                    return Err("@message must be 1 to 256 characters on one line".to_owned());
                }
                self.message = Some(value.to_owned());
            }
        }
        Ok(())
    }

    fn unknown(&self, key: &str) -> String {
        let (word, own, other) = match self.effect {
            Effect::Permit => ("permit", PERMIT.as_slice(), FORBID.as_slice()),
            Effect::Forbid => ("forbid", FORBID.as_slice(), PERMIT.as_slice()),
        };
        if other.contains(&key) {
            return format!("@{key} has no meaning on a {word}");
        }
        let known = || BOTH.iter().chain(own).copied();
        nearest(key, known()).map_or_else(
            || format!("unknown annotation @{key}; known on a {word}: {}", known().collect::<Vec<_>>().join(", ")),
            |near| format!("unknown annotation @{key}; did you mean @{near}?"),
        )
    }
}

/// Whether a day is over (UTC). What cannot be told is over.
pub(super) fn is_past(day: Date, now: Wall) -> bool {
    let today = jiff::Timestamp::from_millisecond(now.0).map(|at| at.to_zoned(jiff::tz::TimeZone::UTC).date());
    today.map_or(true, |today| today > day)
}
