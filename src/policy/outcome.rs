//! How the comparisons of policies come out now, told without Cedar.

use super::{
    reads::{Path, Reads, Term},
    value::{Fields, Found, Uid, Value, at},
};
use cedar_policy::{Context, Entities, Entity, EntityUid, EvalResult, Expression, Request, eval_expression};
use std::{cmp::Ordering, str::FromStr};

const DAY: i64 = 86_400_000;

/// What the answers about one principal and resource hang on: as [`Reads`], with every attribute of theirs looked up.
#[derive(Default, Debug)]
pub(super) struct Looked {
    values: Vec<Path>,
    presence: Vec<Path>,
    comparisons: Vec<(Side, Side)>,
}

/// One side of a comparison.
#[derive(PartialEq, Debug)]
enum Side {
    Context(Path),
    Is(Quantity),
    Method(&'static str, Vec<Side>),
}

/// A number, or a time or span in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Quantity {
    Long(i64),
    Instant(i64),
    Span(i64),
}

/// Why a side has no quantity.
enum Without {
    /// The fact is not there, from this step of its path on.
    Missing(usize),
    /// Nothing can be told: Cedar must be asked.
    Untold,
}

impl Looked {
    /// Looks up what policies read of the principal and the resource. `None` where that cannot be told: then no answer is
    /// kept.
    pub(super) fn up(reads: &Reads, about: (&EntityUid, &EntityUid), entities: &Entities) -> Option<Self> {
        if reads.opaque.is_some() {
            return None;
        }
        let (principal, resource) = (entities.get(about.0)?, entities.get(about.1)?);
        let side = |term: &Term| Side::of(term, principal, resource);
        let comparisons = reads.comparisons.iter().map(|(left, right)| Some((side(left)?, side(right)?)));
        Some(Self {
            values: reads.values.iter().cloned().collect(),
            presence: reads.presence.iter().cloned().collect(),
            comparisons: comparisons.collect::<Option<_>>()?,
        })
    }

    /// Adds what these answers hang on besides.
    pub(super) fn extend(&mut self, other: Self) {
        add(&mut self.values, other.values);
        add(&mut self.presence, other.presence);
        add(&mut self.comparisons, other.comparisons);
    }

    /// Appends to a key what is read of this context. `None` if no answer may be kept under it.
    pub(super) fn key(&self, context: &Fields<'_>, into: &mut Vec<u8>) -> Option<()> {
        for path in &self.values {
            match at(context, path) {
                Found::Value(value) => put_value(value, into)?,
                Found::Through(uid) => put_uid(uid, into),
                Found::Missing(depth) => put_missing(depth, into),
            }
        }
        for path in &self.presence {
            match at(context, path) {
                Found::Value(_) => into.push(b'p'),
                Found::Through(uid) => put_uid(uid, into),
                Found::Missing(depth) => put_missing(depth, into),
            }
        }
        for (left, right) in &self.comparisons {
            match (left.quantity(context), right.quantity(context)) {
                (Ok(left), Ok(right)) => into.push(match left.compare(right)? {
                    Ordering::Less => b'<',
                    Ordering::Equal => b'=',
                    Ordering::Greater => b'>',
                }),
                (Err(Without::Untold), _) | (_, Err(Without::Untold)) => return None,
                (left, right) => [left, right].into_iter().for_each(|side| match side {
                    Err(Without::Missing(depth)) => put_missing(depth, into),
                    _ => into.push(b'q'),
                }),
            }
        }
        Some(())
    }
}

fn add<T: PartialEq>(to: &mut Vec<T>, more: Vec<T>) {
    for item in more {
        if !to.contains(&item) {
            to.push(item);
        }
    }
}

impl Side {
    fn of(term: &Term, principal: &Entity, resource: &Entity) -> Option<Self> {
        Some(match term {
            Term::Context(path) => Self::Context(path.clone()),
            Term::Long(number) => Self::Is(Quantity::Long(*number)),
            Term::Principal(name) => Self::Is(attribute(principal, name)?),
            Term::Resource(name) => Self::Is(attribute(resource, name)?),
            Term::Written(function, text) => Self::Is(written(&format!("{function}({text:?})"))?),
            Term::Method(method, arguments) => {
                let sides: Option<_> = arguments.iter().map(|term| Self::of(term, principal, resource)).collect();
                Self::Method(method, sides?)
            }
        })
    }

    fn quantity(&self, context: &Fields<'_>) -> Result<Quantity, Without> {
        match self {
            Self::Is(quantity) => Ok(*quantity),
            Self::Context(path) => match at(context, path) {
                Found::Value(Value::Long(it)) => Ok(Quantity::Long(*it)),
                Found::Value(Value::Instant(it, _)) => Ok(Quantity::Instant(*it)),
                Found::Value(Value::Span(it, _)) => Ok(Quantity::Span(*it)),
                Found::Missing(depth) => Err(Without::Missing(depth)),
                Found::Value(_) | Found::Through(_) => Err(Without::Untold),
            },
            Self::Method(method, sides) => {
                let mut arguments = Vec::with_capacity(2);
                for side in sides {
                    arguments.push(side.quantity(context)?);
                }
                apply(method, &arguments).ok_or(Without::Untold)
            }
        }
    }
}

impl Quantity {
    fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Long(a), Self::Long(b)) | (Self::Instant(a), Self::Instant(b)) | (Self::Span(a), Self::Span(b)) => {
                Some(a.cmp(&b))
            }
            _ => None,
        }
    }
}

/// A method as Cedar has it (RFC 80 of Cedar's): what would overflow is left to Cedar, which makes it an error.
fn apply(method: &str, arguments: &[Quantity]) -> Option<Quantity> {
    use Quantity::{Instant, Long, Span};
    Some(match (method, arguments) {
        ("toTime", [Instant(at)]) => Span(at.rem_euclid(DAY)),
        ("toDate", [Instant(at)]) => Instant(at.checked_sub(at.rem_euclid(DAY))?),
        ("durationSince", [Instant(at), Instant(since)]) => Span(at.checked_sub(*since)?),
        ("offset", [Instant(at), Span(by)]) => Instant(at.checked_add(*by)?),
        ("toMilliseconds", [Span(span)]) => Long(*span),
        ("toSeconds", [Span(span)]) => Long(span / 1_000),
        ("toMinutes", [Span(span)]) => Long(span / 60_000),
        ("toHours", [Span(span)]) => Long(span / 3_600_000),
        ("toDays", [Span(span)]) => Long(span / DAY),
        _ => return None,
    })
}

fn attribute(entity: &Entity, name: &str) -> Option<Quantity> {
    match entity.attr(name)?.ok()? {
        EvalResult::Long(number) => Some(Quantity::Long(number)),
        EvalResult::ExtensionValue(text) => written(&text),
        _ => None,
    }
}

/// A literal's value, as Cedar reads it.
fn written(text: &str) -> Option<Quantity> {
    if text.starts_with("duration(") {
        return long(&format!("{text}.toMilliseconds()")).map(Quantity::Span);
    }
    long(&format!("{text}.durationSince(datetime(\"1970-01-01\")).toMilliseconds()")).map(Quantity::Instant)
}

/// The number that an expression of Cedar's comes to.
fn long(expression: &str) -> Option<i64> {
    let nobody = || EntityUid::from_str("Nobody::\"\"").ok();
    let request = Request::new(nobody()?, nobody()?, nobody()?, Context::empty(), None).ok()?;
    match eval_expression(&request, &Entities::empty(), &Expression::from_str(expression).ok()?).ok()? {
        EvalResult::Long(number) => Some(number),
        _ => None,
    }
}

/// A length before the bytes: no two lists of texts are written alike.
pub(super) fn put_text(text: &str, into: &mut Vec<u8>) {
    into.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    into.extend_from_slice(text.as_bytes());
}

pub(super) fn put_uid(uid: &Uid<'_>, into: &mut Vec<u8>) {
    into.push(b'e');
    put_text(&uid.kind, into);
    put_text(&uid.id, into);
}

fn put_missing(depth: usize, into: &mut Vec<u8>) {
    into.push(b'-');
    into.extend_from_slice(&u32::try_from(depth).unwrap_or(u32::MAX).to_be_bytes());
}

/// A fact. `None` for one that moves with the clock: under it nothing would be found again.
pub(super) fn put_value(value: &Value<'_>, into: &mut Vec<u8>) -> Option<()> {
    use super::value::Pace::{Moving, Still};
    let mut number = |tag: u8, number: i64| {
        into.push(tag);
        into.extend_from_slice(&number.to_be_bytes());
    };
    match value {
        Value::Instant(_, Moving) | Value::Span(_, Moving) => return None,
        Value::Bool(it) => into.push(if *it { b't' } else { b'f' }),
        Value::Long(it) => number(b'l', *it),
        Value::Instant(it, Still) => number(b'i', *it),
        Value::Span(it, Still) => number(b's', *it),
        Value::Text(it) => {
            into.push(b'"');
            put_text(it, into);
        }
        Value::Entity(uid) => put_uid(uid, into),
        Value::Decimal(it) => {
            into.push(b'd');
            put_text(&it.to_string(), into);
        }
        Value::Ip(it) => {
            into.push(b'a');
            put_text(&it.to_string(), into);
        }
        Value::Set(members) => {
            into.push(b'[');
            for member in members.iter() {
                put_value(member, into)?;
            }
            into.push(b']');
        }
        Value::Record(fields) => {
            into.push(b'{');
            for (name, value) in fields.iter() {
                put_text(name, into);
                put_value(value, into)?;
            }
            into.push(b'}');
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::{Quantity, apply, written};
    use crate::model::Wall;
    use Quantity::{Instant, Long, Span};

    #[test]
    fn times_are_told_as_cedar_tells_them() {
        let instants = [
            0,
            1,
            -1,
            86_399_999,
            86_400_000,
            -86_400_000,
            -86_400_001,
            1_795_341_600_123,
            253_402_207_200_000,
            -62_167_219_200_000,
        ];
        let spans = [0, 1, -1, 999, 1_000, -1_999, 59_999, 3_600_000, -3_600_001, 86_400_000, 172_799_999];
        let time = |at: i64| format!("datetime(\"{}\")", Wall(at).rfc3339());
        let span = |ms: i64| format!("duration(\"{ms}ms\")");
        for at in instants {
            assert_eq!(written(&time(at)), Some(Instant(at)));
            for (method, told) in [("toTime", "duration("), ("toDate", "")] {
                let cedar = match told {
                    "" => format!("{}.{method}().durationSince(datetime(\"1970-01-01\"))", time(at)),
                    _ => format!("{}.{method}()", time(at)),
                };
                let cedar = cedar_millis(&cedar);
                let ours = apply(method, &[Instant(at)]).map(|quantity| match quantity {
                    Instant(ms) | Span(ms) | Long(ms) => ms,
                });
                assert_eq!(ours, cedar, "{at}.{method}()");
            }
            for other in instants {
                let cedar = cedar_millis(&format!("{}.durationSince({})", time(at), time(other)));
                assert_eq!(apply("durationSince", &[Instant(at), Instant(other)]), cedar.map(Span));
            }
            for by in spans {
                let since = format!("{}.offset({}).durationSince(datetime(\"1970-01-01\"))", time(at), span(by));
                assert_eq!(apply("offset", &[Instant(at), Span(by)]), cedar_millis(&since).map(Instant));
            }
        }
        for ms in spans {
            assert_eq!(written(&span(ms)), Some(Span(ms)));
            for method in ["toMilliseconds", "toSeconds", "toMinutes", "toHours", "toDays"] {
                let cedar = super::long(&format!("{}.{method}()", span(ms)));
                assert_eq!(apply(method, &[Span(ms)]), cedar.map(Long), "{ms}.{method}()");
            }
        }
        // What is beyond Cedar is left to it.
        assert_eq!(apply("offset", &[Instant(i64::MAX), Span(1)]), None);
        assert_eq!(apply("durationSince", &[Instant(i64::MAX), Instant(-1)]), None);
        assert_eq!(apply("toTime", &[Span(1)]), None);
        assert_eq!(written("datetime(\"2026-11-22T10:00:00+0130\")"), Some(Instant(1_795_336_200_000)));
    }

    fn cedar_millis(span: &str) -> Option<i64> {
        super::long(&format!("({span}).toMilliseconds()"))
    }
}
