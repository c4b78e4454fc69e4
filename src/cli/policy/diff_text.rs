//! A diff of policies, for people.

use super::diff::{Asked, Conclusion, Found};
use crate::{
    audit::{Redecided, Way},
    model::{Terms, Wall, time::span_text},
    policy::workbench::{
        AnnotationChange, Became, Counterexample, Lean, LooseTerms, PlainAnswer, PolicyChange, Proved,
    },
};
use serde_json::Value;
use std::{fmt::Write, time::Duration};

/// Kinds of request of a log that are listed, each way.
const KINDS_MAX: usize = 20;
/// Lines of one request's facts.
const FACTS_MAX: usize = 60;
/// Characters of one line.
const WIDTH: usize = 100;

pub(super) fn text(found: &Found<'_>, conclusion: &Conclusion) -> String {
    let mut text = format!("OLD {}\nNEW {}\n", found.old.display(), found.new.display());
    policies(&mut text, found);
    if let Some(replay) = &found.replay {
        requests(&mut text, found, replay);
    }
    solver(&mut text, &found.solver);
    let words = match conclusion.word() {
        "same" => "The same: nothing is decided otherwise.",
        "tighter" => "Tighter: NEW allows no more than OLD, and less in places.",
        "neither" => "Neither looser nor tighter: NEW allows what OLD allows, on the same terms.",
        "looser" => "LOOSER: NEW allows more than OLD, or demands less.",
        "both" => "LOOSER in places, and tighter in others.",
        _ => "CANNOT BE TOLD: for all that is known NEW may allow more than OLD.",
    };
    let _ = write!(text, "\n{words}");
    for (head, list) in [("looser", &conclusion.looser), ("untold", &conclusion.untold)] {
        for line in list.iter().take(KINDS_MAX) {
            let _ = write!(text, "\n  {head:<8} {line}");
        }
        if list.len() > KINDS_MAX {
            let _ = write!(text, "\n  {head:<8} … and {} more", list.len() - KINDS_MAX);
        }
    }
    text
}

fn policies(text: &mut String, found: &Found<'_>) {
    let count = |became| found.text.changes.iter().filter(|change| change.became == became).count();
    let _ = writeln!(
        text,
        "\nPolicies: {} added, {} removed, {} changed, {} the same",
        count(Became::Added),
        count(Became::Removed),
        count(Became::Changed),
        found.text.same
    );
    for change in &found.text.changes {
        policy(text, change);
    }
    if found.text.entities_differ {
        text.push_str("The agents, clients, APIs, scopes or their custom attributes are not the same in both.\n");
    }
}

fn policy(text: &mut String, change: &PolicyChange) {
    let mark = match change.became {
        Became::Added => '+',
        Became::Removed => '-',
        Became::Changed => '~',
    };
    let effect = if change.forbids { "forbid" } else { "permit" };
    let (file, line, column) = &change.place;
    let file = file.file_name().unwrap_or_default().to_string_lossy();
    let was = change.was.as_ref().map(|was| format!(" (was {was})")).unwrap_or_default();
    let _ = writeln!(text, "{mark} {}{was}  {effect}, {file}:{line}:{column}", change.id);
    let what = match (change.became, change.lean) {
        (Became::Changed, _) if !change.decides_otherwise => None,
        (Became::Changed, Lean::Untold) => Some("decides about other requests than it did".to_owned()),
        (_, lean) => Some(format!("by itself: {}", lean.as_str())),
    };
    if let Some(what) = what {
        let _ = writeln!(text, "    {what}");
    }
    for annotation in &change.annotations {
        let _ = writeln!(text, "    {}", annotation_text(annotation));
    }
    for line in &change.diff {
        let _ = writeln!(text, "    {line}");
    }
}

fn annotation_text(change: &AnnotationChange) -> String {
    let value = |value: &Option<String>| match value.as_deref() {
        None => "none".to_owned(),
        Some("") => "set".to_owned(),
        Some(value) => format!("{value:?}"),
    };
    let said = format!("@{}: {} -> {}", change.key, value(&change.old), value(&change.new));
    match change.lean {
        Lean::Neither => said,
        lean => format!("{said}, {}", lean.as_str()),
    }
}

fn requests(text: &mut String, found: &Found<'_>, replay: &Redecided) {
    let log = found.log.map(|log| log.display().to_string()).unwrap_or_default();
    let _ = writeln!(
        text,
        "\nRecorded requests: {} decisions in {} lines of {log}, {} the same",
        replay.asked, replay.lines, replay.same
    );
    for way in Way::ALL {
        let count = replay.count(way);
        if count == 0 {
            continue;
        }
        let _ = writeln!(text, "  {count} {}", way.as_str());
        let mut kinds: Vec<_> = replay.kinds.iter().filter(|((of, _), _)| *of == way).collect();
        kinds.sort_by_key(|(key, count)| (std::cmp::Reverse(**count), (*key).clone()));
        for ((_, (agent, client, code, scopes)), count) in kinds.iter().take(KINDS_MAX) {
            let client = if client.is_empty() { String::new() } else { format!(" by {client}") };
            let _ = writeln!(text, "{}", cut(&format!("    {count:>6} x {agent}{client}, {code}: {scopes}")));
        }
        if kinds.len() > KINDS_MAX {
            let _ = writeln!(text, "    … and {} kinds more", kinds.len() - KINDS_MAX);
        }
        let examples = replay.listed.iter().filter(|moved| moved.ways.contains(&way)).take(1);
        for moved in examples {
            let _ = writeln!(text, "    for instance event {}:", moved.event);
            for difference in &moved.differences {
                let (what, old, new) = (difference.what, &difference.recorded, &difference.replayed);
                let _ = writeln!(text, "      {what}: {old} -> {new}");
            }
        }
    }
    if replay.elsewhere > 0 {
        let _ =
            writeln!(text, "  {} of them were made under other policies, agents or APIs than OLD's", replay.elsewhere);
    }
    if replay.unusable > 0 {
        let _ = writeln!(text, "  {} could not be read or asked:", replay.unusable);
        for problem in &replay.problems {
            let _ = writeln!(text, "    {problem}");
        }
    }
}

fn solver(text: &mut String, asked: &Asked) {
    match asked {
        Asked::Off => text.push_str("\nEvery request there can be: no solver was asked (--solver off)\n"),
        Asked::Needless => text.push_str("\nEvery request there can be: decided the same, as the policies are\n"),
        Asked::Absent => text.push_str(
            "\nEvery request there can be: no solver is here to ask\n  \
             install cvc5, or name one by --solver-command or CVC5\n",
        ),
        Asked::Invalid(mistakes) => {
            text.push_str(
                "\nEvery request there can be: a solver can be asked about valid policies of one schema only\n",
            );
            for mistake in mistakes {
                let _ = writeln!(text, "  {mistake}");
            }
        }
        Asked::Shown(proved) => shown(text, proved),
    }
}

fn shown(text: &mut String, proved: &Proved) {
    let _ = writeln!(
        text,
        "\nEvery request there can be: {} kinds, {} questions to {}",
        proved.kinds,
        proved.asked,
        proved.program.display()
    );
    let heads = ["NEW allows what OLD denies", "NEW denies what OLD allows"];
    for (head, examples) in heads.into_iter().zip([&proved.more, &proved.less]) {
        if examples.is_empty() {
            let _ = writeln!(text, "  {head}: never");
        }
        for example in examples {
            let _ = writeln!(text, "  {head}, for instance:");
            counterexample(text, example);
        }
    }
    let heads = ["OLD demands and NEW does not", "NEW demands and OLD does not"];
    for (head, all) in heads.into_iter().zip([&proved.looser_terms, &proved.tighter_terms]) {
        for terms in all {
            let _ = writeln!(text, "  {head}: {}, for instance:", terms.demand);
            loose_terms(text, terms);
        }
    }
    for (kind, why) in &proved.untold {
        let _ = writeln!(text, "  untold: {kind}: {why}");
    }
    text.push_str(
        "  A solver sees no annotations, and no agents and clients: these requests are made up. Each was\n  \
         really decided under both. Terms are compared by policy above, and here by which permits hold.\n",
    );
}

fn counterexample(text: &mut String, example: &Counterexample) {
    request(text, &example.request, &example.entities);
    let _ = writeln!(text, "      OLD: {}", answer(&example.old));
    let _ = writeln!(text, "      NEW: {}", answer(&example.new));
    if example.denied_by_error {
        text.push_str("      narrowgate denies it under both: a policy fails to evaluate\n");
    }
}

fn loose_terms(text: &mut String, terms: &LooseTerms) {
    request(text, &terms.request, &terms.entities);
    for (head, (said, terms)) in [("OLD", &terms.old), ("NEW", &terms.new)] {
        let _ = writeln!(text, "      {head}: {}; terms: {}", answer(said), terms_text(terms));
    }
}

fn answer(answer: &PlainAnswer) -> String {
    let by = answer.policies.join(", ");
    let errors = if answer.errors == 0 { String::new() } else { format!(" ({} failed to evaluate)", answer.errors) };
    match (answer.allowed, by.is_empty()) {
        (true, _) => format!("allow, by {by}{errors}"),
        (false, true) => format!("deny, as nothing permits it{errors}"),
        (false, false) => format!("deny, by {by}{errors}"),
    }
}

pub(super) fn terms_text(terms: &Terms) -> String {
    let said = [
        terms.max_lifetime.map(|span| format!("max_lifetime {}", span_text(span))),
        terms.max_uses.map(|uses| format!("max_uses {uses}")),
        terms.proof.map(|proof| format!("proof {}", proof.as_str())),
        terms.no_refresh.then(|| "no_refresh".to_owned()),
        terms.single_audience.then(|| "single_audience".to_owned()),
        terms.audit_high.then(|| "audit high".to_owned()),
        terms.notify.then(|| "notify".to_owned()),
    ];
    let said: Vec<String> = said.into_iter().flatten().collect();
    if said.is_empty() { "none".to_owned() } else { said.join(", ") }
}

/// A request, one fact a line.
fn request(text: &mut String, request: &Value, entities: &Value) {
    for word in ["principal", "action", "resource"] {
        let name = request.get(word).and_then(Value::as_str).unwrap_or("any");
        let _ = writeln!(text, "      {word:<9} {name}");
    }
    let mut facts = Vec::new();
    flatten("context", request.get("context").unwrap_or(&Value::Null), &mut facts);
    for entity in concerned(request, entities) {
        let Some(name) = entity.get("uid").map(literal) else { continue };
        let mut own = Vec::new();
        flatten(&name, entity.get("attrs").unwrap_or(&Value::Null), &mut own);
        // Nothing was made up for these; JSON has them.
        facts.extend(own.into_iter().filter(|fact| !(fact.ends_with("= \"\"") || fact.ends_with("= []"))));
        let parents: Vec<String> =
            entity.get("parents").and_then(Value::as_array).into_iter().flatten().map(literal).collect();
        if !parents.is_empty() {
            facts.push(format!("{name} in {}", parents.join(", ")));
        }
    }
    for fact in facts.iter().take(FACTS_MAX) {
        let _ = writeln!(text, "{}", cut(&format!("        {fact}")));
    }
    if facts.len() > FACTS_MAX {
        let _ = writeln!(text, "        … and {} facts more; --output json has all", facts.len() - FACTS_MAX);
    }
}

/// The entities that a request leads to, by what it names and what those name, the action left out: its groups are the
/// schema's. In the order of the first that is met.
fn concerned<'v>(request: &Value, entities: &'v Value) -> Vec<&'v Value> {
    let mut known: Vec<(String, &Value)> = Vec::new();
    let all = entities.as_array().into_iter().flatten();
    let all: Vec<(String, &Value)> = all.filter_map(|entity| Some((literal(entity.get("uid")?), entity))).collect();
    let mut named: Vec<String> = Vec::new();
    for word in ["principal", "resource"] {
        named.extend(request.get(word).and_then(Value::as_str).map(str::to_owned));
    }
    names(request.get("context").unwrap_or(&Value::Null), &mut named);
    let mut next = 0;
    while let Some(name) = named.get(next).cloned() {
        next += 1;
        let Some((_, entity)) = all.iter().find(|(of, _)| *of == name) else { continue };
        if known.iter().any(|(of, _)| *of == name) {
            continue;
        }
        for part in ["attrs", "parents", "tags"] {
            names(entity.get(part).unwrap_or(&Value::Null), &mut named);
        }
        known.push((name, entity));
    }
    known.into_iter().map(|(_, entity)| entity).collect()
}

/// The entities that a value names.
fn names(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(fields)
            if fields.contains_key("__entity") || (fields.len() == 2 && fields.contains_key("id")) =>
        {
            into.push(literal(value));
        }
        Value::Object(fields) => fields.values().for_each(|value| names(value, into)),
        Value::Array(items) => items.iter().for_each(|value| names(value, into)),
        _ => {}
    }
}

fn flatten(path: &str, value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) if !fields.contains_key("__extn") && !fields.contains_key("__entity") => {
            for (name, value) in fields {
                flatten(&format!("{path}.{name}"), value, into);
            }
        }
        Value::Null => {}
        other => into.push(format!("{path} = {}", literal(other))),
    }
}

/// A value as a policy would write it.
fn literal(value: &Value) -> String {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let entity = value.get("__entity").unwrap_or(value);
    if let (Some(kind), Some(id)) = (text(entity, "type"), text(entity, "id")) {
        return format!("{kind}::{id:?}");
    }
    if let Some(time) = time(value) {
        return time;
    }
    if let Some(extension) = value.get("__extn") {
        let arguments = extension.get("args").and_then(Value::as_array).cloned();
        let arguments = arguments.unwrap_or_else(|| extension.get("arg").cloned().into_iter().collect());
        let arguments: Vec<String> = arguments.iter().map(literal).collect();
        return match (text(extension, "fn").unwrap_or_default(), arguments.as_slice()) {
            (name, [of, rest @ ..]) if name == "offset" => format!("{of}.offset({})", rest.join(", ")),
            (name, arguments) => format!("{name}({})", arguments.join(", ")),
        };
    }
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{name}: {}", literal(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// A time or span that a solver found, as a person writes it.
fn time(value: &Value) -> Option<String> {
    let text = |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let millis = |value: &Value| {
        text(value, "/__extn/fn").filter(|name| name == "duration")?;
        text(value, "/__extn/arg")?.strip_suffix("ms")?.parse::<i64>().ok()
    };
    if let Some(millis) = millis(value).and_then(|millis| u64::try_from(millis).ok()) {
        return Some(format!("duration(\"{}\")", span_text(Duration::from_millis(millis))));
    }
    text(value, "/__extn/fn").filter(|name| name == "offset")?;
    text(value, "/__extn/args/0/__extn/arg").filter(|day| day == "1970-01-01")?;
    let millis = millis(value.pointer("/__extn/args/1")?)?;
    // Beyond a few thousand years there is no calendar.
    (millis.unsigned_abs() < 1 << 47).then(|| format!("datetime(\"{}\")", Wall(millis).rfc3339()))
}

/// A line within the width.
fn cut(line: &str) -> String {
    match line.char_indices().nth(WIDTH) {
        None => line.to_owned(),
        Some(_) => line.chars().take(WIDTH - 1).chain(['…']).collect(),
    }
}
