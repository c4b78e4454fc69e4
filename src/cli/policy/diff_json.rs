//! A diff of policies, for programs.

use super::{
    diff::{Asked, Conclusion, Found},
    diff_text::terms_text,
};
use crate::{
    audit::{Redecided, Way},
    policy::workbench::{Became, Counterexample, LooseTerms, PlainAnswer},
};
use serde_json::{Value, json};

pub(super) fn json(found: &Found<'_>, conclusion: &Conclusion) -> Value {
    let changes = found.text.changes.iter().map(|change| {
        let annotations = change.annotations.iter().map(
            |a| json!({ "key": a.key, "old": a.old, "new": a.new, "direction": a.lean.as_str() }),
        );
        let (file, line, column) = &change.place;
        json!({
            "policy": change.id, "was": change.was, "effect": if change.forbids { "forbid" } else { "permit" },
            "change": match change.became { Became::Added => "added", Became::Removed => "removed", Became::Changed => "changed" },
            "file": file, "line": line, "column": column,
            "decides_otherwise": change.decides_otherwise, "direction": change.lean.as_str(),
            "annotations": annotations.collect::<Vec<_>>(), "diff": change.diff.join("\n"),
        })
    });
    json!({
        "old": found.old, "new": found.new,
        "direction": conclusion.word(),
        "looser": conclusion.looser, "tighter": conclusion.tighter, "untold": conclusion.untold,
        "policies": {
            "changes": changes.collect::<Vec<_>>(), "same": found.text.same, "entities_differ": found.text.entities_differ,
        },
        "replay": found.replay.as_ref().map(replay_json),
        "solver": solver_json(&found.solver),
    })
}

fn replay_json(replay: &Redecided) -> Value {
    let moved: serde_json::Map<String, Value> =
        Way::ALL.into_iter().map(|way| (way.as_str().replace(' ', "_"), json!(replay.count(way)))).collect();
    let kinds = replay.kinds.iter().map(|((way, (agent, client, code, scopes)), count)| {
        json!({ "way": way.as_str(), "agent": agent, "client": client, "code": code, "scopes": scopes, "count": count })
    });
    let list = replay.listed.iter().map(|moved| {
        let changes = moved.differences.iter();
        let changes = changes.map(|d| json!({ "what": d.what, "old": d.recorded, "new": d.replayed }));
        json!({
            "ways": moved.ways.iter().map(|way| way.as_str()).collect::<Vec<_>>(),
            "event": moved.event, "decision_id": moved.exchange, "code": moved.code, "agent": moved.agent,
            "client": moved.client, "scopes": moved.scopes, "changes": changes.collect::<Vec<_>>(),
        })
    });
    json!({
        "lines": replay.lines, "decisions": replay.asked, "same": replay.same, "moved": moved,
        "made_under_others": replay.elsewhere, "unusable": replay.unusable, "problems": replay.problems,
        "kinds": kinds.collect::<Vec<_>>(), "list": list.collect::<Vec<_>>(),
    })
}

fn solver_json(asked: &Asked) -> Value {
    let said = |answer: &PlainAnswer| json!({ "allowed": answer.allowed, "policies": answer.policies, "errors": answer.errors });
    let examples = |all: &[Counterexample]| -> Vec<Value> {
        let example = |e: &Counterexample| {
            json!({
                "request": e.request, "entities": e.entities, "old": said(&e.old), "new": said(&e.new),
                "denied_by_error": e.denied_by_error,
            })
        };
        all.iter().map(example).collect()
    };
    let terms = |all: &[LooseTerms]| -> Vec<Value> {
        let example = |t: &LooseTerms| {
            json!({
                "term": t.demand, "request": t.request, "entities": t.entities,
                "old": { "answer": said(&t.old.0), "terms": terms_text(&t.old.1) },
                "new": { "answer": said(&t.new.0), "terms": terms_text(&t.new.1) },
            })
        };
        all.iter().map(example).collect()
    };
    match asked {
        Asked::Off => json!({ "state": "off" }),
        Asked::Needless => json!({ "state": "needless" }),
        Asked::Absent => json!({ "state": "absent" }),
        Asked::Invalid(mistakes) => json!({ "state": "invalid", "mistakes": mistakes }),
        Asked::Shown(proved) => json!({
            "state": "asked", "program": proved.program, "kinds": proved.kinds, "questions": proved.asked,
            "allows_more": examples(&proved.more), "allows_less": examples(&proved.less),
            "looser_terms": terms(&proved.looser_terms), "tighter_terms": terms(&proved.tighter_terms),
            "untold": proved.untold.iter().map(|(kind, why)| json!({
                "principal": kind.principal, "action": kind.action, "resource": kind.resource, "why": why,
            })).collect::<Vec<_>>(),
        }),
    }
}
