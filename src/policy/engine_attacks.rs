//! Attacks on the engine: questions that are alike to its keys, and not to the policies or the log.

use super::{
    asked::{Keeping, Part, Step},
    context::{context, count, duration, entity, now, record, text},
    engine::{Answered, Round},
    engine_worlds::entities,
    load::of_texts,
    panel::Panel,
    question::Question,
    value::{Uid, Value},
};
use crate::model::{DecisionId, TokenBinding, Wall};
use std::time::Duration;
use uuid::Uuid;

const AT: Wall = Wall(1_795_340_000_000);

/// A question about a scope, with these words of the caller's, at this API.
fn question(at: Wall, purpose: &'static str, depth: u64) -> Question<'static> {
    let attestation = record([("method", text("unix-peer")), ("verified", super::context::boolean(true))]);
    let base = record([
        ("now", now(at)),
        ("caller", record([("transport", text("uds")), ("attestation", attestation)])),
        ("scopes", Value::set([entity("Scope", "openid")])),
        ("audiences", Value::set([])),
        ("proof", record([("method", text("none"))])),
        ("lifetime", duration(Duration::from_secs(300))),
        ("claimed", record([("purpose", text(purpose))])),
        ("actors", record([("depth", count(depth)), ("members", Value::set([]))])),
    ]);
    Question {
        principal: Uid::new("Agent", "a"),
        action: Uid::new("Action", "grant_scope"),
        resource: Uid::new("Scope", "openid"),
        context: context([("base", base), ("client", entity("Client", "crm")), ("flow", text("hold"))]),
    }
}

fn steps(question: Question<'static>) -> Vec<Step<'static>> {
    vec![Step { part: Part::Gate, question: Some(question) }]
}

fn id(number: u128) -> DecisionId {
    DecisionId(Uuid::from_u128(number))
}

// rows: CACH-01
#[test]
fn a_record_whose_field_is_called_value_is_read_like_any_other() {
    for (condition, facts) in [
        ("{\"Value\": context.base.actors.depth}.Value < 2", [(AT, 0), (AT, 5)]),
        (
            "{\"Value\": context.base.now.toDate()}.Value == datetime(\"2026-11-22\")",
            [(AT, 0), (Wall(AT.0 + 86_400_000), 0)],
        ),
    ] {
        let rule = format!(
            "@id(\"p\") permit (principal, action == Narrowgate::Action::\"grant_scope\", resource) when {{ {condition} }};"
        );
        let (snapshot, left_out) = of_texts([rule.as_str()], &entities());
        assert_eq!(left_out, 0, "{condition}");
        for (number, (at, depth)) in facts.into_iter().enumerate() {
            let steps = steps(question(at, "q", depth));
            let answered = snapshot.answers(&Round {
                steps: &steps,
                own: &[],
                keeping: None,
                id: id(number as u128),
                recorded: true,
            });
            answered.asked.iter().for_each(|asked| asked.is_recorded());
            let full = snapshot.ask_all(steps[0].question.as_ref().unwrap(), &snapshot.entities);
            assert_eq!(answered.answers[0], full, "{condition}, {number}: by {:?}", answered.by);
        }
    }
}

// rows: POL-09 CACH-09 (what tells whether terms can be kept is in the questions that an event is referred to)
#[test]
fn a_decision_is_never_referred_to_one_that_keeps_other_terms() {
    let rule =
        "@id(\"p\") @single_audience permit (principal, action == Narrowgate::Action::\"grant_scope\", resource);";
    let (snapshot, _) = of_texts([rule], &entities());
    let steps = steps(question(AT, "q", 0));
    let by = |audience, number| {
        let keeping = Some(Keeping { bound: TokenBinding::Unbound, audience });
        let answered: Answered =
            snapshot.answers(&Round { steps: &steps, own: &[], keeping, id: id(number), recorded: true });
        answered.asked.iter().for_each(|asked| asked.is_recorded());
        answered.by
    };
    assert_eq!(by(true, 1), None);
    assert_eq!(by(true, 2), Some(id(1)));
    // Its questions say `audience: true`: replayed from them it would be allowed, and it is not.
    assert_eq!(by(false, 3), None);
}

// rows: POL-09 CACH-09 (a look before a proof or a refresh has the id of the decision after it, which alone is on record)
#[test]
fn no_decision_is_referred_to_questions_that_never_go_on_record() {
    let rule = "@id(\"p\") permit (principal, action == Narrowgate::Action::\"grant_scope\", resource);";
    let (snapshot, _) = of_texts([rule], &entities());
    let panel = |number, purpose| {
        let client = Uid::new("Client", "crm");
        let mut panel = Panel::between(&snapshot, Uid::new("Agent", "a"), client, id(number));
        let asked = question(AT, purpose, 0);
        panel.ask(Part::Gate, "grant_scope", asked.resource, asked.context);
        panel
    };
    // The look; while it is held, another thread decides the same; then the decision itself, about something else.
    let look = panel(1, "q").beforehand().close_gate().unwrap();
    let other = panel(2, "q").close_gate().unwrap();
    let decision = panel(1, "another").close_gate().unwrap();
    drop(look);
    let names = |verdict: &super::Verdict| verdict.answered_by.unwrap_or(verdict.id);
    assert!(other.asked.is_some() && decision.asked.is_some());
    assert_ne!(names(&other), names(&decision), "two lists of questions are on record under one id");
}
