//! An explanation for people, in a hundred columns.

use crate::policy::workbench::{
    DeterminingPolicy, ExplainedDecision, ExplainedQuestion, Explanation, Fact, Missed, NearMiss, Place, TermShown,
};
use std::collections::BTreeSet;

/// The width of a terminal.
pub(in crate::cli) const COLUMNS: usize = 100;

/// All of it.
pub(in crate::cli) fn text(explanation: &Explanation) -> String {
    let mut lines = Lines::default();
    for (number, decision) in explanation.decisions.iter().enumerate() {
        if number > 0 {
            lines.put(0, "");
        }
        lines.decision(decision);
    }
    explanation.notes.iter().for_each(|note| lines.put(0, &format!("note: {note}")));
    lines.0.join("\n")
}

/// A line as several where it is too long; what follows the first stands four columns further.
pub(in crate::cli) fn wrapped(indent: usize, text: &str) -> Vec<String> {
    let mut lines = Lines::default();
    lines.put(indent, text);
    lines.0
}

/// The lines, and the policies whose texts are among them.
#[derive(Default)]
struct Lines(Vec<String>, BTreeSet<String>);

impl Lines {
    fn put(&mut self, indent: usize, text: &str) {
        let mut line = " ".repeat(indent);
        let mut is_first = true;
        for word in text.split(' ') {
            let length = line.chars().count() + 1 + word.chars().count();
            if !is_first && length > COLUMNS {
                self.0.push(std::mem::replace(&mut line, " ".repeat(indent + 4)));
                is_first = true;
            }
            if !is_first {
                line.push(' ');
            }
            line.push_str(word);
            is_first = false;
        }
        self.0.push(line.trim_end().to_owned());
    }

    fn decision(&mut self, decision: &ExplainedDecision) {
        let mut head =
            format!("{} {}", word(decision.allowed).to_uppercase(), short(&decision.operation).trim_matches('"'));
        if let Some(kind) = &decision.deny_kind {
            head = format!("{head}: {kind}");
        }
        if let Some(unmet) = &decision.unmet {
            head = format!("{head}, @{unmet} cannot be kept");
        }
        self.put(0, &head);
        if let Some(event) = &decision.event {
            let id = decision.decision_id.as_deref().unwrap_or_default();
            self.put(2, &format!("event {event}, decision {id}"));
        }
        for difference in &decision.differs {
            self.put(2, &format!("otherwise than recorded, {difference}"));
        }
        for question in &decision.questions {
            self.question(question);
        }
        if !decision.terms.is_empty() {
            self.put(2, "terms, the strictest of each");
            decision.terms.iter().for_each(|term| self.put(4, &term_text(term)));
        }
    }

    fn question(&mut self, question: &ExplainedQuestion) {
        let ExplainedQuestion { part, principal, action, resource, .. } = question;
        let action = short(action).trim_matches('"').to_owned();
        let (principal, resource) = (short(principal), short(resource));
        let code = question.code.as_ref().map(|code| format!(", {code}")).unwrap_or_default();
        self.put(2, &format!("{}{code}  {part}: {principal} {action} {resource}", word(question.allowed)));
        question.determining.iter().for_each(|policy| self.policy(policy));
        for error in &question.errors {
            self.put(4, &format!("cannot be evaluated: {error}"));
        }
        if question.allowed || !question.determining.is_empty() && question.near_misses.is_empty() {
            return;
        }
        if question.near_misses.is_empty() {
            self.put(4, &format!("no permit is near; about this action there are {}", question.farther));
            return;
        }
        for miss in &question.near_misses {
            self.near(miss);
        }
        if question.farther > 0 {
            self.put(4, &format!("{} more about this action miss by more", question.farther));
        }
    }

    fn policy(&mut self, it: &DeterminingPolicy) {
        let policy = &it.policy;
        let is_new = self.1.insert(policy.id.clone());
        let above = if is_new { "" } else { ", above" };
        self.put(4, &format!("by {} {}{}{above}", policy.effect, policy.id, place(policy.place.as_ref())));
        for line in policy.text.lines().filter(|line| is_new && !line.starts_with("@id(")) {
            // As its writer broke it.
            self.0.push(format!("    | {line}"));
        }
        for missing in &it.missing {
            self.put(6, &format!("it would not apply, but this does not hold: {}", missing.clause));
            self.facts(&missing.facts);
        }
    }

    fn near(&mut self, miss: &NearMiss) {
        let how = match miss.missed {
            Missed::Condition => "its condition fails at",
            Missed::Expired => "its last day is over",
            Missed::Principal => "it is for others",
            Missed::Resource => "it is about something else",
        };
        self.put(4, &format!("near: permit {}{}", miss.policy, place(miss.place.as_ref())));
        self.put(6, &format!("{how}: {}", miss.clause));
        self.facts(&miss.facts);
        for also in &miss.also {
            self.put(6, &format!("and this fails besides: {also}"));
        }
    }

    fn facts(&mut self, facts: &[Fact]) {
        facts.iter().for_each(|fact| self.put(8, &format!("{} = {}", fact.name, short(&fact.value))));
    }
}

fn place(place: Option<&Place>) -> String {
    place.map(|it| format!("  {}:{}:{}", it.file, it.line, it.column)).unwrap_or_default()
}

fn term_text(term: &TermShown) -> String {
    let value = if term.value.is_empty() { String::new() } else { format!(" {}", term.value) };
    let by = if term.by.is_empty() { String::new() } else { format!("  ({})", term.by.join(", ")) };
    format!("{}{value}{by}", term.term)
}

fn word(allowed: bool) -> &'static str {
    if allowed { "allow" } else { "deny" }
}

/// Names without the namespace that they all have.
pub(in crate::cli) fn short(text: &str) -> String {
    text.replace("Narrowgate::Action::", "").replace("Narrowgate::", "")
}
