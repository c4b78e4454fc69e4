//! `custom = { ... }` of an agent, an API or a scope: what policy is to know of it besides. The schema says what may stand
//! there; here it is only bounded.

use super::{Finding, about, reader::Table};
use crate::{
    model::{Custom, CustomValue, fault::cut},
    platform::files::{read_guarded, refuse_open_link},
};
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// Bytes of the file that says what may stand there.
pub(crate) const CUSTOM_SCHEMA_BYTES_MAX: u64 = 64 << 10;
/// Tables and arrays in each other.
pub(crate) const CUSTOM_DEPTH_MAX: usize = 4;
/// Values of one entity, and bytes of each of its texts and names.
const VALUES_MAX: usize = 128;
const TEXT_BYTES_MAX: usize = 1_024;

/// What the custom attributes are, in Cedar's schema language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomSchema {
    /// The file.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

impl CustomSchema {
    /// Reads the file.
    pub(super) fn open(path: &Path, owner: Option<u32>) -> Result<Self, Finding> {
        let text = refuse_open_link(path).and_then(|()| read_guarded(path, CUSTOM_SCHEMA_BYTES_MAX, owner));
        text.map(|text| Self { path: path.to_owned(), text }).map_err(|wrong| about(path, wrong))
    }
}

/// Reads `custom`; nothing if it is not there.
pub(crate) fn custom(table: &Table<'_>) -> Custom {
    let Some(value) = table.value("custom") else { return Custom::new() };
    let Some(entries) = value.as_table() else {
        table.wrong_at("custom", "must be a table, such as { cost_center = 42 }", None);
        return Custom::new();
    };
    let mut left = VALUES_MAX;
    attributes(entries, 1, &mut left).unwrap_or_else(|wrong| {
        table.wrong_at("custom", wrong, None);
        Custom::new()
    })
}

fn attributes(table: &DeTable<'_>, depth: usize, left: &mut usize) -> Result<Custom, String> {
    let entry = |(name, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
        let name: &toml::de::DeString<'_> = name.get_ref();
        Ok((text(name)?, self::value(value.get_ref(), depth, left)?))
    };
    table.iter().map(entry).collect()
}

fn value(value: &DeValue<'_>, depth: usize, left: &mut usize) -> Result<CustomValue, String> {
    *left = left.checked_sub(1).ok_or_else(|| format!("holds more than {VALUES_MAX} values"))?;
    if depth > CUSTOM_DEPTH_MAX {
        return Err(format!("is nested deeper than {CUSTOM_DEPTH_MAX}"));
    }
    Ok(match value {
        DeValue::String(it) => CustomValue::Text(text(it)?),
        DeValue::Integer(it) => {
            let whole = i64::from_str_radix(it.as_str(), it.radix());
            CustomValue::Whole(
                whole.map_err(|_| format!("holds a number that is too large: {}", cut(it.to_string(), 40)))?,
            )
        }
        DeValue::Boolean(it) => CustomValue::Flag(*it),
        // Its schema may say that it is a `datetime`.
        DeValue::Datetime(it) => CustomValue::Text(it.to_string()),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| self::value(item.get_ref(), depth + 1, left));
            CustomValue::List(items.collect::<Result<_, _>>()?)
        }
        DeValue::Table(entries) => CustomValue::Table(attributes(entries, depth + 1, left)?),
        DeValue::Float(_) => {
            return Err("holds a number with a point: write a text, as \"1.5\", for a decimal".to_owned());
        }
    })
}

fn text(text: &str) -> Result<String, String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("holds a text of {} bytes, and {TEXT_BYTES_MAX} are the most", text.len()));
    }
    Ok(text.to_owned())
}
