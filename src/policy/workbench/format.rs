//! Policy files, written as Cedar's own formatter writes them.

use super::conditions::tokens;
use crate::policy::{
    depth::{DEPTH_MAX, too_deep},
    workbench::set::{causes, read, walk},
};
use crate::{
    config::{Finding, about},
    policy::sources::POLICY_FILE_BYTES_MAX,
};
use cedar_policy::PolicySet;
use cedar_policy_formatter::{Config, policies_str_to_pretty};
use serde_json::Value;
use std::{
    fs, io,
    io::Write,
    os::unix::fs::{MetadataExt, OpenOptionsExt, fchown},
    path::{Path, PathBuf},
    str::FromStr,
};

/// How lines are laid out.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Characters of a line, where it can be broken.
    pub line_width: usize,
    /// Spaces of an indent.
    pub indent: u8,
}

/// The Cedar files at or below these paths.
///
/// # Errors
/// What cannot be read.
pub fn policy_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Finding> {
    let mut found = Vec::new();
    for path in paths {
        walk(path, true, &mut found).map_err(|e| about(path, format!("cannot be read: {e}")))?;
    }
    Ok(found)
}

/// Formats a file, and writes it if `writes`. Whether there was something to change.
///
/// # Errors
/// A file that does not parse, or that would say something else after; it stays as it is.
pub fn format_file(path: &Path, layout: Layout, writes: bool) -> Result<bool, Finding> {
    let source = read(path, POLICY_FILE_BYTES_MAX)?;
    let formatted = format_text(&source.text, layout).map_err(|wrong| about(path, wrong))?;
    let is_changed = formatted != source.text;
    if is_changed && writes {
        replace(path, formatted.as_bytes()).map_err(|e| about(path, format!("cannot be written: {e}")))?;
    }
    Ok(is_changed)
}

/// Formats a text.
///
/// # Errors
/// Why it cannot be, for a person.
pub fn format_text(text: &str, layout: Layout) -> Result<String, String> {
    if too_deep(text).is_some() {
        return Err(format!("is nested deeper than {DEPTH_MAX}"));
    }
    let before = PolicySet::from_str(text).map_err(|e| format!("does not parse: {}", causes(&e)))?;
    // A formatter of policies has nothing to write where there are none.
    if before.is_empty() {
        return Ok(text.to_owned());
    }
    let config = Config { line_width: layout.line_width, indent_width: layout.indent.into() };
    let formatted = policies_str_to_pretty(text, &config).map_err(|e| format!("cannot be formatted: {e}"))?;
    let after = PolicySet::from_str(&formatted).map_err(|e| format!("would not parse after: {}", causes(&e)))?;
    if said(&before)? != said(&after)? {
        return Err("would say something else after, so it stays as it is: this is a fault in the formatter".to_owned());
    }
    if comments(text) != comments(&formatted) {
        return Err("would lose a comment, so it stays as it is: this is a fault in the formatter".to_owned());
    }
    Ok(formatted)
}

/// What policies say, in their order.
fn said(set: &PolicySet) -> Result<Vec<(String, Value)>, String> {
    let policies = set.policies().map(|policy| (policy.id(), policy.to_json().map_err(|e| causes(&e))));
    let templates = set.templates().map(|template| (template.id(), template.to_json().map_err(|e| causes(&e))));
    let all = policies.chain(templates).map(|(id, json)| Ok((AsRef::<str>::as_ref(id).to_owned(), json?)));
    let mut said = all.collect::<Result<Vec<_>, String>>()?;
    said.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(said)
}

/// The comments of a text, sorted: which line they stand on is the formatter's to say.
fn comments(text: &str) -> Vec<&str> {
    let tokens = tokens(text);
    let begins = tokens.iter().map(|token| token.at).chain([text.len()]);
    let ends = [0].into_iter().chain(tokens.iter().map(super::conditions::Token::end));
    let gaps = ends.zip(begins).filter_map(|(from, to)| text.get(from..to));
    let mut found: Vec<&str> = gaps.flat_map(str::lines).map(str::trim).filter(|line| !line.is_empty()).collect();
    found.sort_unstable();
    found
}

/// Puts a text in the place of a file, whole or not at all, with the file's mode and owner.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // What a link leads to is written, not the link.
    let path = path.canonicalize()?;
    let meta = fs::metadata(&path)?;
    let mut name = path.as_os_str().to_owned();
    name.push(".narrowgate-fmt");
    let draft = PathBuf::from(name);
    let written = || -> io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        let filled = file.write_all(bytes).and_then(|()| {
            if file.metadata()?.uid() != meta.uid() || file.metadata()?.gid() != meta.gid() {
                fchown(&file, Some(meta.uid()), Some(meta.gid()))?;
            }
            file.set_permissions(meta.permissions())?;
            file.sync_all()?;
            fs::rename(&draft, &path)
        });
        // Ours, and of no use.
        filled.inspect_err(|_| drop(fs::remove_file(&draft)))
    };
    written()
}
