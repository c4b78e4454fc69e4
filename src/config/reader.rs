//! Reads TOML tables strictly and goes on after a mistake, so that all are reported at once.

use super::findings::{Finding, about, nearest, position};
use crate::{
    model::time::{parse_span, span_text},
    platform::files,
};
use std::{
    cell::RefCell,
    collections::BTreeSet,
    ops::{Range, RangeInclusive},
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};
use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

/// The longest configuration or data file, in bytes.
pub(crate) const FILE_BYTES_MAX: u64 = 8 << 20;

/// A file being read, and the mistakes found in it so far.
pub struct Document {
    path: PathBuf,
    base: Option<PathBuf>,
    text: String,
    findings: RefCell<Vec<Finding>>,
    files: Rc<RefCell<Vec<PathBuf>>>,
}

impl Document {
    /// Reads a file.
    ///
    /// # Errors
    /// A finding, if it cannot be read.
    pub fn open(path: &Path) -> Result<Self, Finding> {
        let text = files::read_text(path, FILE_BYTES_MAX).map_err(|e| Finding {
            hint: Some("check the path and the file's permissions".to_owned()),
            ..about(path, format!("cannot be read: {e}"))
        })?;
        files::require_guarded(path).map_err(|wrong| about(path, wrong))?;
        Ok(Self::of(path, text))
    }

    /// A document whose text was read before.
    #[must_use]
    pub fn of(path: &Path, text: String) -> Self {
        Self { path: path.to_owned(), base: None, text, findings: RefCell::default(), files: Rc::default() }
    }

    /// The same, with paths in it that start from this folder instead of its own.
    #[must_use]
    pub fn based_on(self, base: Option<PathBuf>) -> Self {
        Self { base, ..self }
    }

    /// The files and folders that the document names; filled while it is read.
    pub(super) fn files(&self) -> Rc<RefCell<Vec<PathBuf>>> {
        Rc::clone(&self.files)
    }

    /// Parses the file and hands its root table over; then gives back every mistake.
    pub fn read<T>(self, read: impl FnOnce(&Table<'_>) -> Option<T>) -> (Option<T>, Vec<Finding>) {
        let (root, errors) = DeTable::parse_recoverable(&self.text);
        for error in errors {
            self.report(error.span().unwrap_or(0..0), error.message().to_owned(), None);
        }
        let value = {
            let table = Table::new(&self, String::new(), root.span(), root.get_ref());
            let value = read(&table);
            table.finish();
            value
        };
        (value, self.findings.into_inner())
    }

    /// A path in the file, made absolute by the file's folder.
    fn resolve(&self, path: &str) -> PathBuf {
        let folder = self.base.as_deref().or_else(|| self.path.parent());
        let path = folder.unwrap_or(Path::new(".")).join(path);
        self.files.borrow_mut().push(path.clone());
        path
    }

    fn report(&self, span: Range<usize>, message: String, hint: Option<String>) {
        let position = Some(position(&self.text, span.start));
        self.findings.borrow_mut().push(Finding { file: self.path.clone(), position, message, hint });
    }
}

/// One table of a document.
pub struct Table<'d> {
    document: &'d Document,
    name: String,
    span: Range<usize>,
    entries: &'d DeTable<'d>,
    known: RefCell<BTreeSet<&'static str>>,
    /// Keys that are missing, and what to say of each.
    absent: RefCell<Vec<(&'static str, String)>>,
}

impl<'d> Table<'d> {
    fn new(document: &'d Document, name: String, span: Range<usize>, entries: &'d DeTable<'d>) -> Self {
        Self { document, name, span, entries, known: RefCell::default(), absent: RefCell::default() }
    }

    /// Line and column at which the table begins, from 1.
    pub fn position(&self) -> (usize, usize) {
        position(&self.document.text, self.span.start)
    }

    /// Reports a mistake of the whole table.
    pub fn wrong(&self, message: impl Into<String>, hint: Option<&str>) {
        self.document.report(self.span.clone(), message.into(), hint.map(str::to_owned));
    }

    /// Reports a mistake of one key.
    pub fn wrong_at(&self, key: &str, message: impl Into<String>, hint: Option<&str>) {
        let span = self.entries.get(key).map_or(self.span.clone(), Spanned::span);
        self.document.report(span, format!("`{}{key}` {}", self.name, message.into()), hint.map(str::to_owned));
    }

    fn get(&self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.known.borrow_mut().insert(key);
        self.entries.get(key)
    }

    /// What the key holds, for those who read it themselves.
    pub(super) fn value(&self, key: &'static str) -> Option<&'d DeValue<'d>> {
        self.get(key).map(Spanned::get_ref)
    }

    /// Whether the key is there, whatever it holds.
    pub fn holds(&self, key: &'static str) -> bool {
        self.get(key).is_some()
    }

    /// Whether the key is missing, or an empty list: where one is needed, anything else has its own mistake.
    pub fn is_bare(&self, key: &'static str) -> bool {
        self.get(key).is_none_or(|value| value.get_ref().as_array().is_some_and(|items| items.iter().next().is_none()))
    }

    /// Reports a key that is missing, once everything is read: one that is there, written wrongly, is told as that.
    pub fn absent(&self, key: &'static str, message: impl Into<String>) {
        self.absent.borrow_mut().push((key, message.into()));
    }

    fn missing(&self, key: &'static str) {
        let place =
            if self.name.is_empty() { "the file".to_owned() } else { format!("[{}]", self.name.trim_end_matches('.')) };
        self.absent(key, format!("`{key}` is missing in {place}"));
    }

    fn ill_typed(&self, key: &str, wanted: &str, found: &DeValue<'_>) {
        self.wrong_at(key, format!("must be {wanted}, not {}", found.type_str()), None);
    }

    /// A text value parsed by `parse`, which says what is wrong.
    pub fn optional<T>(&self, key: &'static str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let value = self.get(key)?.get_ref();
        let Some(text) = value.as_str() else {
            self.ill_typed(key, "a text", value);
            return None;
        };
        if text.contains("-----BEGIN") {
            self.wrong_at(
                key,
                "holds key or certificate material inline",
                Some("put it into a file and name the file"),
            );
            return None;
        }
        parse(text).map_err(|wrong| self.wrong_at(key, wrong, None)).ok()
    }

    /// As [`Self::optional`], and its absence is a mistake.
    pub fn required<T>(&self, key: &'static str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        if self.get(key).is_none() {
            self.missing(key);
        }
        self.optional(key, parse)
    }

    /// A span of time such as `10m`, within limits.
    pub fn span(&self, key: &'static str, default: Duration, limits: RangeInclusive<Duration>) -> Duration {
        self.optional(key, |text| {
            let (least, most) = (span_text(*limits.start()), span_text(*limits.end()));
            // The default is the best example, where there is one.
            let example = span_text(if limits.contains(&default) { default } else { *limits.end() });
            let between = format!("between {least} and {most}, such as \"{example}\"");
            match parse_span(text) {
                Some(span) if limits.contains(&span) => Ok(span),
                Some(_) => Err(format!("must be {between}")),
                None => Err(format!("must be a span of time (ms, s, m, h or d) {between}")),
            }
        })
        .unwrap_or(default)
    }

    /// A whole number, within limits.
    pub fn integer(&self, key: &'static str, limits: RangeInclusive<u64>) -> Option<u64> {
        let value = self.get(key)?.get_ref();
        let number = value.as_integer().and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok());
        match number {
            Some(number) if limits.contains(&number) => Some(number),
            _ => {
                self.wrong_at(key, format!("must be a whole number from {} to {}", limits.start(), limits.end()), None);
                None
            }
        }
    }

    /// True or false.
    pub fn boolean(&self, key: &'static str, default: bool) -> bool {
        let Some(value) = self.get(key) else { return default };
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.ill_typed(key, "true or false", value.get_ref());
            default
        })
    }

    /// A list of texts, each parsed by `parse`.
    pub fn list<T>(&self, key: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.ill_typed(key, "a list of texts", value.get_ref());
            return Vec::new();
        };
        let item = |item: &Spanned<DeValue<'_>>| {
            let parsed = item.get_ref().as_str().ok_or_else(|| "must hold texts only".to_owned()).and_then(&parse);
            parsed
                .map_err(|wrong| {
                    self.document.report(item.span(), format!("`{}{key}` {wrong}", self.name), None);
                })
                .ok()
        };
        items.iter().filter_map(item).collect()
    }

    /// A list of whole numbers, each within limits.
    pub fn integers(&self, key: &'static str, limits: RangeInclusive<u64>) -> Vec<u64> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let number = |item: &Spanned<DeValue<'_>>| {
            let number = item.get_ref().as_integer().and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok());
            number.filter(|number| limits.contains(number))
        };
        let numbers: Option<Vec<u64>> = value.get_ref().as_array().and_then(|items| items.iter().map(number).collect());
        numbers.unwrap_or_else(|| {
            self.wrong_at(
                key,
                format!("must be a list of whole numbers from {} to {}", limits.start(), limits.end()),
                None,
            );
            Vec::new()
        })
    }

    /// A table of texts by names of its own, each pair parsed by `parse`.
    pub fn pairs<T>(&self, key: &'static str, parse: impl Fn(&str, &str) -> Result<T, String>) -> Vec<T> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Some(entries) = value.get_ref().as_table() else {
            self.ill_typed(key, "a table of texts", value.get_ref());
            return Vec::new();
        };
        let pair = |(name, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
            let text = value.get_ref().as_str().ok_or_else(|| "must hold texts only".to_owned());
            let parsed = text.and_then(|text| parse(name.get_ref(), text));
            parsed.map_err(|wrong| self.wrong_at(key, wrong, None)).ok()
        };
        entries.iter().filter_map(pair).collect()
    }

    /// A key that people write and that cannot be had: says so instead of calling it unknown.
    pub fn refuse(&self, key: &'static str, message: &str, hint: &str) {
        let found = self.entries.iter().map(|(name, _)| name).find(|name| name.get_ref().as_ref() == key);
        if let Some(found) = found {
            self.known.borrow_mut().insert(key);
            self.document.report(found.span(), format!("`{}{key}` {message}", self.name), Some(hint.to_owned()));
        }
    }

    /// A file's or folder's path, relative to the document's folder.
    pub fn path(&self, key: &'static str) -> Option<PathBuf> {
        self.optional(
            key,
            |text| if text.is_empty() { Err("is empty".to_owned()) } else { Ok(self.document.resolve(text)) },
        )
    }

    /// A list of paths, each as [`Self::path`] reads one.
    pub fn paths(&self, key: &'static str) -> Vec<PathBuf> {
        self.list(
            key,
            |text| if text.is_empty() { Err("is empty".to_owned()) } else { Ok(self.document.resolve(text)) },
        )
    }

    /// As [`Self::path`], and its absence is a mistake.
    pub fn required_path(&self, key: &'static str) -> Option<PathBuf> {
        if self.get(key).is_none() {
            self.missing(key);
        }
        self.path(key)
    }

    /// A table below this one; unknown keys in it are mistakes once `read` returns.
    pub fn table<T>(&self, key: &'static str, read: impl FnOnce(&Table<'d>) -> T) -> Option<T> {
        let value = self.get(key)?;
        let Some(entries) = value.get_ref().as_table() else {
            self.ill_typed(key, "a table", value.get_ref());
            return None;
        };
        let table = Table::new(self.document, format!("{}{key}.", self.name), value.span(), entries);
        let result = read(&table);
        table.finish();
        Some(result)
    }

    /// Every table of an array of tables, `[[key]]`.
    pub fn tables<T>(&self, key: &'static str, mut read: impl FnMut(&Table<'d>) -> Option<T>) -> Vec<T> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.ill_typed(key, "an array of tables, written [[...]]", value.get_ref());
            return Vec::new();
        };
        let mut results = Vec::new();
        for item in items.iter() {
            let Some(entries) = item.get_ref().as_table() else {
                self.ill_typed(key, "an array of tables", item.get_ref());
                continue;
            };
            let table = Table::new(self.document, format!("{key}."), item.span(), entries);
            results.extend(read(&table));
            table.finish();
        }
        results
    }

    /// Reports the keys that nobody asked for, and those that are missing.
    fn finish(&self) {
        let known = self.known.borrow();
        let mut meant = BTreeSet::new();
        for (key, _) in self.entries.iter() {
            let name: &str = key.get_ref();
            if known.contains(name) {
                continue;
            }
            let near = nearest(name, known.iter().copied());
            meant.extend(near);
            let hint = near.map_or_else(
                || format!("known keys: {}", known.iter().copied().collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            self.document.report(key.span(), format!("unknown key `{}{name}`", self.name), Some(hint));
        }
        for (_, message) in self.absent.take().into_iter().filter(|(key, _)| !meant.contains(key)) {
            self.wrong(message, None);
        }
    }
}
