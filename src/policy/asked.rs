//! The questions that made one decision, as the log keeps them and as a replay reads them back (POL-09).

use super::{
    question::{Own, Question},
    value::{Uid, Value as Fact},
};
use crate::model::{Scope, TokenBinding};
use cedar_policy::{Context, Schema};
use serde_json::{Map, Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Facts of a base, and what they are where there is nothing to say: left out of the log then, and put back.
fn unsaid() -> [(&'static str, Value); 2] {
    [("actors", json!({ "depth": 0, "members": [] })), ("claimed", json!({}))]
}

/// What an answer is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// Which of the scopes asked for are worth asking for.
    Narrowing(Scope),
    /// The exchange as a whole.
    Gate,
    /// One scope.
    Scope(Scope),
    /// One element of authorization details, of this type.
    Detail(String),
}

impl Part {
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Narrowing(_) => "narrowing",
            Self::Gate => "gate",
            Self::Scope(_) => "scope",
            Self::Detail(_) => "detail",
        }
    }
}

/// A question and what its answer is for.
#[derive(Clone, Debug)]
pub(super) struct Step<'a> {
    pub(super) part: Part,
    /// `None` where a recorded one cannot be put to Cedar any more: that counts as an error.
    pub(super) question: Option<Question<'a>>,
}

/// What, beside Cedar's answers, tells whether terms can be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Keeping {
    /// What the client's tokens are bound to.
    pub(super) bound: TokenBinding,
    /// Whether the token is for one API.
    pub(super) audience: bool,
}

/// Every question of one decision, in the order asked.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Entities made for this decision alone, beside the generation's: what they say must be on record too.
    pub(super) own: Vec<Own>,
    pub(super) steps: Vec<Step<'static>>,
    /// `None` where no scope hangs on the decision.
    pub(super) keeping: Option<Keeping>,
    /// Whether an event that holds it is durable.
    recorded: Arc<AtomicBool>,
}

impl Asked {
    pub(super) fn new(own: Vec<Own>, steps: Vec<Step<'static>>, keeping: Option<Keeping>) -> Self {
        Self { own, steps, keeping, recorded: Arc::default() }
    }

    /// An event that holds these questions is durable: from now on another one may name it instead of holding them.
    pub fn is_recorded(&self) {
        self.recorded.store(true, Ordering::Release);
    }

    /// Tells later whether they are on record.
    pub(super) fn record(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.recorded)
    }

    /// The form in the log. What several questions share is there once: `bases` holds their common facts, but for those
    /// that say nothing, and questions that differ in their resource alone are one entry with several `ids`. A person stands there by `person`, the keyed
    /// reference of the event, never by name: so a policy that names one person cannot be replayed from it exactly.
    #[must_use]
    pub fn to_json(&self, person: Option<&str>) -> Value {
        let mut bases: Vec<Value> = Vec::new();
        let mut questions: Vec<(Value, Vec<Value>)> = Vec::new();
        for step in &self.steps {
            let (entry, id) = step.to_json(&mut bases);
            match questions.last_mut() {
                Some((last, ids)) if *last == entry => ids.push(id),
                _ => questions.push((entry, vec![id])),
            }
        }
        let principal = self.steps.iter().find_map(|step| step.question.as_ref()).map(|q| q.principal.to_json());
        let questions = questions.into_iter().map(|(mut entry, ids)| {
            if let Some(map) = entry.as_object_mut() {
                map.insert("ids".to_owned(), Value::Array(ids));
            }
            entry
        });
        let mut record = json!({ "principal": principal, "bases": bases, "questions": questions.collect::<Vec<_>>() });
        if let Some(map) = record.as_object_mut() {
            if let Some(keeping) = self.keeping {
                map.insert("bound".to_owned(), json!(keeping.bound.proof()));
                map.insert("audience".to_owned(), json!(keeping.audience));
            }
            if !self.own.is_empty() {
                map.insert("entities".to_owned(), self.own.iter().map(Own::to_json).collect());
            }
        }
        for uid in self.own.iter().map(|own| &own.uid).filter(|uid| uid.kind == "Narrowgate::User") {
            let name = &*uid.id;
            let issuer = name.split_once('|').map_or("", |(issuer, _)| issuer);
            rename(&mut record, name, &format!("{issuer}|{}", person.unwrap_or("withheld")));
        }
        record
    }

    /// Reads the form in the log.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn from_json(record: &Value, schema: &Schema) -> Result<Self, String> {
        let flag = |key: &str| record.get(key).and_then(Value::as_bool);
        let bound = match record.get("bound") {
            // Before there was DPoP it was a flag.
            Some(Value::Bool(true)) => Some(TokenBinding::Certificate),
            Some(Value::Bool(false)) => Some(TokenBinding::Unbound),
            other => other.and_then(Value::as_str).and_then(TokenBinding::of_proof),
        };
        let keeping = match (bound, flag("audience")) {
            (Some(bound), Some(audience)) => Some(Keeping { bound, audience }),
            _ => None,
        };
        let bases = record.get("bases").and_then(Value::as_array).ok_or("has no bases")?;
        let principal = record.get("principal").filter(|p| !p.is_null()).map(Uid::from_json).transpose()?;
        let questions = record.get("questions").and_then(Value::as_array).ok_or("has no questions")?;
        let mut steps = Vec::new();
        for entry in questions {
            for id in entry.get("ids").and_then(Value::as_array).ok_or("a question has no ids")? {
                let id = id.as_str().ok_or("an id is no text")?;
                steps.push(Step::from_json(entry, id, bases, principal.as_ref(), schema)?);
            }
        }
        let own = record.get("entities").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Ok(Self::new(own.iter().map(Own::from_json).collect::<Result<_, _>>()?, steps, keeping))
    }
}

/// Puts another text in place of this one, wherever it is a value of its own.
fn rename(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::String(text) if text == from => to.clone_into(text),
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, from, to)),
        Value::Object(map) => map.values_mut().for_each(|item| rename(item, from, to)),
        _ => {}
    }
}

impl Step<'_> {
    pub(super) fn to_owned(&self) -> Step<'static> {
        Step { part: self.part.clone(), question: self.question.as_ref().map(Question::to_owned) }
    }

    /// As [`Self::to_owned`], with the context of the step before where that is the same: it is copied once for all.
    pub(super) fn to_owned_after(&self, before: Option<&Self>, owned: Option<&Step<'static>>) -> Step<'static> {
        let before = before.and_then(|step| step.question.as_ref());
        match (&self.question, before, owned.and_then(|owned| owned.question.as_ref())) {
            (Some(own), Some(before), Some(owned)) if before.shares_context(own) => Step {
                part: self.part.clone(),
                question: Some(Question {
                    principal: own.principal.clone().into_owned(),
                    action: own.action.clone(),
                    resource: own.resource.clone().into_owned(),
                    context: Arc::clone(&owned.context),
                }),
            },
            _ => self.to_owned(),
        }
    }

    /// The entry without its id, and the id.
    fn to_json(&self, bases: &mut Vec<Value>) -> (Value, Value) {
        let scope = match &self.part {
            Part::Narrowing(scope) | Part::Scope(scope) => scope.as_str(),
            Part::Detail(name) => name,
            Part::Gate => "",
        };
        let Some(question) = &self.question else {
            return (json!({ "part": self.part.word(), "unaskable": true }), json!(scope));
        };
        let mut context = question.context_json();
        let base = context.remove("base").map(|mut base| {
            if let Some(base) = base.as_object_mut() {
                base.retain(|name, value| !unsaid().iter().any(|(unsaid, nothing)| name == unsaid && value == nothing));
            }
            bases.iter().position(|b| *b == base).unwrap_or_else(|| {
                bases.push(base);
                bases.len() - 1
            })
        });
        let mut entry = Map::new();
        entry.insert("part".to_owned(), json!(self.part.word()));
        entry.insert("action".to_owned(), json!(question.action.id));
        entry.insert("type".to_owned(), json!(question.resource.kind));
        entry.insert("context".to_owned(), Value::Object(context));
        if let Some(base) = base {
            entry.insert("base".to_owned(), json!(base));
        }
        (Value::Object(entry), json!(question.resource.id))
    }

    fn from_json(
        entry: &Value,
        id: &str,
        bases: &[Value],
        principal: Option<&Uid<'static>>,
        schema: &Schema,
    ) -> Result<Step<'static>, String> {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).ok_or_else(|| format!("a question has no {key}"));
        let scope = || Scope::parse(id).ok_or_else(|| "a scope is none".to_owned());
        let part = match text("part")? {
            "narrowing" => Part::Narrowing(scope()?),
            "gate" => Part::Gate,
            "scope" => Part::Scope(scope()?),
            "detail" => Part::Detail(id.to_owned()),
            other => return Err(format!("a question is of an unknown part {other:?}")),
        };
        if entry.get("unaskable").is_some() {
            return Ok(Step { part, question: None });
        }
        let action = Uid::new("Action", text("action")?.to_owned());
        let mut context = entry.get("context").and_then(Value::as_object).cloned().unwrap_or_default();
        if let Some(base) = entry.get("base").and_then(Value::as_u64) {
            let base = usize::try_from(base).ok().and_then(|at| bases.get(at)).ok_or("a question's base is missing")?;
            let mut base = base.as_object().cloned().ok_or("a question's base is no record")?;
            for (unsaid, nothing) in unsaid() {
                base.entry(unsaid).or_insert(nothing);
            }
            context.insert("base".to_owned(), Value::Object(base));
        }
        let principal = principal.cloned().ok_or("has no principal")?;
        let resource = Uid { kind: text("type")?.to_owned().into(), id: id.to_owned().into() };
        // A context that does not fit the schema is an error to Cedar, and so it was when it was first asked.
        let context = Context::from_json_value(Value::Object(context), Some((schema, &action.to_cedar()?)));
        let context = context.ok().and_then(|context| context.to_json_value().ok());
        let fields = context.and_then(|context| match Fact::from_cedar(context) {
            Ok(Fact::Record(fields)) => Some(fields),
            _ => None,
        });
        Ok(Step { part, question: fields.map(|context| Question { principal, action, resource, context }) })
    }
}
