//! What an event says before it is a line: a tree that borrows from the event what it can. One is made for every event, and
//! a hand-out costs little more than its event.

use super::line::text;
use serde_json::{Map, Number, Value};
use std::{
    borrow::Cow,
    io::{self, Write},
};

/// Members by name.
pub(super) type Members<'e> = Vec<(&'e str, Tree<'e>)>;

/// A value of JSON (RFC 8259). What is null or empty is not written: OCSF has no use for either.
pub(super) enum Tree<'e> {
    Nothing,
    Flag(bool),
    Number(Number),
    Text(Cow<'e, str>),
    List(Vec<Tree<'e>>),
    Members(Members<'e>),
    /// Written as it is, what is empty in it too.
    Verbatim(Value),
}

/// Members written as in JSON; each value is anything that a [`Tree`] is made from.
macro_rules! tree {
    ({ $($name:literal: $value:expr),* $(,)? }) => {
        $crate::audit::tree::Tree::Members(vec![$(($name, $crate::audit::tree::Tree::from($value))),*])
    };
}
pub(super) use tree;

/// Puts a member, in place of one of the same name.
pub(super) fn put<'e>(members: &mut Members<'e>, name: &'e str, value: impl Into<Tree<'e>>) {
    let value = value.into();
    match members.iter_mut().find(|(known, _)| *known == name) {
        Some((_, slot)) => *slot = value,
        None => members.push((name, value)),
    }
}

impl Tree<'_> {
    /// Appends it.
    pub(super) fn write(self, into: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Nothing => into.write_all(b"null"),
            Self::Flag(flag) => write!(into, "{flag}"),
            Self::Number(number) => write!(into, "{number}"),
            Self::Text(it) => text(&it, into),
            Self::List(items) => {
                let said = items.into_iter().filter(Self::is_said);
                enclosed(*b"[]", said, into, Self::write)
            }
            Self::Members(members) => {
                let said = members.into_iter().filter(|(_, value)| value.is_said());
                enclosed(*b"{}", said, into, |(name, value), into| {
                    text(name, into)?;
                    into.push(b':');
                    value.write(into)
                })
            }
            Self::Verbatim(value) => super::line::write(&value, into),
        }
    }

    /// Whether it says anything.
    fn is_said(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Text(text) => !text.is_empty(),
            Self::List(items) => items.iter().any(Self::is_said),
            Self::Members(members) => members.iter().any(|(_, value)| value.is_said()),
            Self::Flag(_) | Self::Number(_) | Self::Verbatim(_) => true,
        }
    }

    /// All of it, what is empty too.
    pub(super) fn into_value(self) -> Value {
        match self {
            Self::Nothing => Value::Null,
            Self::Flag(flag) => Value::Bool(flag),
            Self::Number(number) => Value::Number(number),
            Self::Text(text) => Value::String(text.into_owned()),
            Self::List(items) => Value::Array(items.into_iter().map(Self::into_value).collect()),
            Self::Members(members) => {
                let members = members.into_iter().map(|(name, value)| (name.to_owned(), value.into_value()));
                Value::Object(members.collect::<Map<_, _>>())
            }
            Self::Verbatim(value) => value,
        }
    }
}

/// What stands between two brackets, with commas.
fn enclosed<T>(
    [open, close]: [u8; 2],
    items: impl Iterator<Item = T>,
    into: &mut Vec<u8>,
    mut write: impl FnMut(T, &mut Vec<u8>) -> io::Result<()>,
) -> io::Result<()> {
    into.push(open);
    for (number, item) in items.enumerate() {
        if number > 0 {
            into.push(b',');
        }
        write(item, into)?;
    }
    into.push(close);
    Ok(())
}

macro_rules! from {
    ($($kind:ty => $make:expr),* $(,)?) => {
        $(impl<'e> From<$kind> for Tree<'e> {
            fn from(it: $kind) -> Self {
                $make(it)
            }
        })*
    };
}

from! {
    bool => Self::Flag,
    u8 => |it| Self::Number(Number::from(it)),
    u16 => |it| Self::Number(Number::from(it)),
    u32 => |it| Self::Number(Number::from(it)),
    u64 => |it| Self::Number(Number::from(it)),
    usize => |it| Self::Number(Number::from(it)),
    i32 => |it| Self::Number(Number::from(it)),
    i64 => |it| Self::Number(Number::from(it)),
    String => |it| Self::Text(Cow::Owned(it)),
    &'e str => |it| Self::Text(Cow::Borrowed(it)),
    &'e String => |it: &'e String| Self::Text(Cow::Borrowed(it)),
    Members<'e> => Self::Members,
    Vec<Tree<'e>> => Self::List,
    &'e Vec<String> => |it: &'e Vec<String>| Self::List(it.iter().map(Tree::from).collect()),
}

impl<'e, T: Into<Self>> From<Option<T>> for Tree<'e> {
    fn from(it: Option<T>) -> Self {
        it.map_or(Self::Nothing, Into::into)
    }
}

impl<'e, const N: usize> From<[&'e str; N]> for Tree<'e> {
    fn from(it: [&'e str; N]) -> Self {
        Self::List(it.into_iter().map(Tree::from).collect())
    }
}

impl<'e> From<&'e Value> for Tree<'e> {
    fn from(it: &'e Value) -> Self {
        match it {
            Value::Null => Self::Nothing,
            Value::Bool(flag) => Self::Flag(*flag),
            Value::Number(number) => Self::Number(number.clone()),
            Value::String(text) => Self::from(text),
            Value::Array(items) => Self::List(items.iter().map(Tree::from).collect()),
            Value::Object(map) => Self::Members(map.iter().map(|(k, v)| (k.as_str(), Tree::from(v))).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::line::{prune, write};
    use proptest::prelude::*;

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
            (4_000_usize..5_000).prop_map(|length| Value::from("\u{e9}".repeat(length / 2))),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((".{0,4}", inner), 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        // rows: AUD-05
        #[test]
        fn it_is_written_as_its_value_is_without_what_is_empty(value in json()) {
            let mut pruned = value.clone();
            prune(&mut pruned);
            let (mut expected, mut written) = (Vec::new(), Vec::new());
            write(&pruned, &mut expected).unwrap();
            Tree::from(&value).write(&mut written).unwrap();
            prop_assert_eq!(&written, &expected);
            prop_assert!(written.is_ascii());
            let mut whole = Vec::new();
            Tree::Verbatim(value.clone()).write(&mut whole).unwrap();
            prop_assert_eq!(serde_json::from_slice::<Value>(&whole).unwrap(), Tree::from(&value).into_value());
        }
    }

    #[test]
    fn a_member_of_the_same_name_takes_its_place() {
        let mut members = vec![("a", Tree::from(1_u8)), ("b", Tree::from(2_u8))];
        put(&mut members, "a", "x");
        put(&mut members, "c", Some(true));
        let mut written = Vec::new();
        Tree::Members(members).write(&mut written).unwrap();
        assert_eq!(written, br#"{"a":"x","b":2,"c":true}"#);
    }
}
