//! What is wrong with policy files, and what is only odd: found all at once, each with the bytes it is about.

use super::{
    conditions::{Token, tokens},
    lints,
    set::{Files, causes, read, walk},
};
use crate::{
    config::{Config, FILE_BYTES_MAX, Finding, position},
    model::Wall,
    policy::{
        annotations::Note,
        depth::{DEPTH_MAX, too_deep},
        entities,
        load::{self, is_policy_id},
        schema::Linked,
        sources::{self, POLICY_FILE_BYTES_MAX, Source},
    },
};
use cedar_policy::{Entities, Policy, PolicyId, PolicySet, Schema};
use miette::Diagnostic;
use std::{
    collections::BTreeSet,
    ops::Range,
    path::{Path, PathBuf},
    str::FromStr,
};

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LintLevel {
    /// The set is not to be used.
    Error,
    /// It may be used, and is probably not what was meant.
    Warning,
    /// Worth knowing.
    Note,
}

impl LintLevel {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// Something found.
#[derive(Debug)]
pub struct Lint {
    /// How bad it is.
    pub level: LintLevel,
    /// The rule that found it: a word that stays.
    pub rule: &'static str,
    /// The file.
    pub file: PathBuf,
    /// The bytes in the file that it is about; `None` where the file as a whole is meant.
    pub span: Option<Range<usize>>,
    /// Line and column of their beginning, from 1.
    pub position: Option<(usize, usize)>,
    /// The policy.
    pub policy: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// What was found in a set.
pub struct Linted {
    /// Everything, in the order of the files.
    pub lints: Vec<Lint>,
    /// How many policies could be read.
    pub policies: usize,
    sources: Vec<Source>,
}

impl Linted {
    /// How many findings are as bad as this.
    #[must_use]
    pub fn count(&self, severity: LintLevel) -> usize {
        self.lints.iter().filter(|lint| lint.level == severity).count()
    }

    /// The files that were looked at.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.sources.iter().map(|source| source.path.as_path())
    }

    /// The text of one of them.
    #[must_use]
    pub fn text(&self, file: &Path) -> Option<&str> {
        self.sources.iter().find(|source| source.path == file).map(|source| source.text.as_str())
    }
}

/// Looks at the set that a configuration names. What the daemon would not load is an error, whatever else is found.
///
/// # Errors
/// What cannot be read at all.
pub fn check_own(config: &Config, now: Wall) -> Result<Linted, Vec<Finding>> {
    let sources = sources::policies(config)?;
    let Linked { schema, .. } = Linked::of_estate(&config.estate)?;
    let entities = entities::build(config, &config.estate, &schema)?;
    let mut draft = Draft::new(Some(now), sources);
    draft.read();
    if draft.policies.is_empty() && draft.lints.is_empty() {
        let empty = "holds no policy, and nothing is allowed without one";
        draft.lints.push(whole(&config.policies, "empty-set", empty));
    }
    draft.look(&schema, Some(&entities));
    if draft.lints.iter().all(|lint| lint.level != LintLevel::Error) {
        let refused = load::load(config, 1, Some(now)).err().unwrap_or_default();
        draft.lints.extend(refused.into_iter().map(|finding| Lint {
            position: finding.position,
            hint: finding.hint,
            ..whole(&finding.file, "load", &finding.message)
        }));
    }
    Ok(draft.finish())
}

/// Looks at any other set: what Cedar says of it, and what is odd in any. Annotations are its own.
///
/// # Errors
/// What cannot be read at all, and what is no schema or does not fit it.
pub fn check_files(files: &Files) -> Result<Linted, Vec<Finding>> {
    let mut found = Vec::new();
    for path in &files.policies {
        let cannot = |e: std::io::Error| vec![crate::config::about(path, format!("cannot be read: {e}"))];
        walk(path, true, &mut found).map_err(cannot)?;
    }
    let mut sources = Vec::new();
    for path in found {
        sources.push(read(&path, POLICY_FILE_BYTES_MAX).map_err(|finding| vec![finding])?);
    }
    let schema = read(&files.schema, FILE_BYTES_MAX).map_err(|finding| vec![finding])?;
    let (schema, _) = Schema::from_cedarschema_str(&schema.text)
        .map_err(|e| vec![load::finding(&schema, &format!("is no schema: {e}"), &e)])?;
    let entities = match &files.entities {
        None => None,
        Some(path) => {
            let text = read(path, FILE_BYTES_MAX).map_err(|finding| vec![finding])?.text;
            let unfit = |e| format!("these entities do not fit the schema: {}", causes(&e));
            let entities = Entities::from_json_str(&text, Some(&schema));
            Some(entities.map_err(|e| vec![crate::config::about(path, unfit(e))])?)
        }
    };
    let mut draft = Draft::new(None, sources);
    draft.read();
    draft.look(&schema, entities.as_ref());
    Ok(draft.finish())
}

/// An error of a file as a whole.
fn whole(file: &Path, rule: &'static str, message: &str) -> Lint {
    Lint {
        level: LintLevel::Error,
        rule,
        file: file.to_owned(),
        span: None,
        position: None,
        policy: None,
        message: message.to_owned(),
        hint: None,
    }
}

/// A policy as it stands in its file.
pub(super) struct Standing {
    pub(super) id: String,
    pub(super) policy: Policy,
    /// What its annotations say, where that is narrowgate's to read and can be read.
    pub(super) note: Option<Note>,
    pub(super) source: usize,
    /// The byte at which it begins.
    at: usize,
    text: String,
}

impl Standing {
    pub(super) fn tokens(&self) -> Vec<Token<'_>> {
        tokens(&self.text)
    }

    /// The bytes in the file of a stretch of its text.
    pub(super) const fn within(&self, from: usize, to: usize) -> Range<usize> {
        self.at + from..self.at + to
    }

    /// From `permit` or `forbid` to the end of its scope.
    pub(super) fn head(&self) -> Range<usize> {
        let tokens = self.tokens();
        let starts = tokens.iter().zip([""].into_iter().chain(tokens.iter().map(|token| token.text)));
        let word = starts.into_iter().find(|(t, before)| *before != "@" && ["permit", "forbid"].contains(&t.text));
        let Some((word, _)) = word else { return self.within(0, self.text.len()) };
        let mut depth = 0_usize;
        for token in tokens.iter().filter(|token| token.at > word.at) {
            match token.text {
                "(" => depth += 1,
                ")" if depth == 1 => return self.within(word.at, token.end()),
                ")" => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        self.within(word.at, word.end())
    }

    /// An annotation.
    pub(super) fn annotation(&self, key: &str) -> Option<Range<usize>> {
        let tokens = self.tokens();
        let at = tokens.windows(2).position(|two| matches!(two, [at, name] if at.text == "@" && name.text == key))?;
        let texts: Vec<&str> = tokens.iter().skip(at + 2).take(3).map(|token| token.text).collect();
        let last = if matches!(texts.as_slice(), ["(", _, ")"]) { at + 4 } else { at + 1 };
        Some(self.within(tokens.get(at)?.at, tokens.get(last)?.end()))
    }
}

/// A set being looked at.
pub(super) struct Draft {
    /// The day; `None` for a set that is not narrowgate's.
    now: Option<Wall>,
    pub(super) sources: Vec<Source>,
    /// The policies that could be read, each under its id.
    pub(super) policies: Vec<Standing>,
    /// The same, and templates, for Cedar.
    pub(super) set: PolicySet,
    pub(super) lints: Vec<Lint>,
}

impl Draft {
    fn new(now: Option<Wall>, sources: Vec<Source>) -> Self {
        Self { now, sources, policies: Vec::new(), set: PolicySet::new(), lints: Vec::new() }
    }

    /// Whether it is narrowgate's own.
    pub(super) const fn is_own(&self) -> bool {
        self.now.is_some()
    }

    fn read(&mut self) {
        let sources = std::mem::take(&mut self.sources);
        let mut lints = Vec::new();
        let mut ids = BTreeSet::new();
        for (number, source) in sources.iter().enumerate() {
            lints::hidden_characters(source, &mut lints);
            if let Some(at) = too_deep(&source.text) {
                lints.push(found(source, "nesting", at..at + 1, format!("is nested deeper than {DEPTH_MAX}")));
                continue;
            }
            match PolicySet::from_str(&source.text) {
                Ok(set) => self.take(&set, (number, source), &mut ids, &mut lints),
                Err(errors) => lints.extend(errors.iter().map(|e| of_diagnostic(source, "syntax", e, e.to_string()))),
            }
        }
        self.sources = sources;
        self.lints.append(&mut lints);
    }

    fn take(
        &mut self,
        set: &PolicySet,
        (number, source): (usize, &Source),
        ids: &mut BTreeSet<String>,
        lints: &mut Vec<Lint>,
    ) {
        let name = source.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if self.is_own() && set.policies().next().is_none() && set.templates().next().is_none() {
            let empty = "holds no policy: a file cut short would silently drop its rules; fill it or remove it";
            lints.push(whole(&source.path, "empty-file", empty));
        }
        for (nth, template) in set.templates().enumerate() {
            if self.is_own() {
                let text = template.to_cedar();
                let at = source.text.find(&text).unwrap_or(0);
                lints.push(found(
                    source,
                    "template",
                    at..at + text.len(),
                    "is a template; write plain policies".into(),
                ));
            } else {
                let id = template.annotation("id").map_or_else(|| format!("{name}#template{}", nth + 1), str::to_owned);
                // Of two with one name, one is enough to look at.
                let _ = self.set.add_template(template.new_id(PolicyId::new(id)));
            }
        }
        let mut policies: Vec<&Policy> = set.policies().collect();
        // Cedar numbers them as they stand: policy0, policy1.
        policies
            .sort_by_key(|policy| AsRef::<str>::as_ref(policy.id()).trim_start_matches("policy").parse::<usize>().ok());
        let mut from = 0;
        for (nth, policy) in policies.into_iter().enumerate() {
            let text = policy.to_cedar().unwrap_or_default();
            let at = source.text.get(from..).and_then(|rest| rest.find(&text)).map_or(from, |at| from + at);
            from = at + text.len();
            let id = policy.annotation("id").map_or_else(|| format!("{name}#{}", nth + 1), str::to_owned);
            let mut standing =
                Standing { id: id.clone(), policy: policy.clone(), note: None, source: number, at, text };
            if let Some(now) = self.now {
                standing.note = lints::annotations(source, &standing, now, lints);
                if !policy.annotation("id").is_some_and(is_policy_id) {
                    let message = "a policy needs @id(\"...\"), unique, 1 to 128 letters, digits and . _ : / -";
                    let at = standing.annotation("id").unwrap_or_else(|| standing.head());
                    let hint = Some("decisions are explained by it: name the policy for what it is about".to_owned());
                    lints.push(Lint { hint, ..about(source, &standing, "id", at, message.to_owned()) });
                }
            }
            if !ids.insert(id.clone()) {
                let at = standing.annotation("id").unwrap_or_else(|| standing.head());
                lints.push(about(source, &standing, "id", at, format!("@id(\"{id}\") is used twice")));
                continue;
            }
            // What has an id of its own is added.
            let _ = self.set.add(policy.new_id(PolicyId::new(id)));
            self.policies.push(standing);
        }
    }

    fn look(&mut self, schema: &Schema, entities: Option<&Entities>) {
        lints::validation(self, schema);
        lints::unscoped_permits(self);
        if let Some(entities) = entities {
            lints::unknown_entities(self, entities);
        }
        if let (true, Some(entities)) = (self.is_own(), entities) {
            lints::overlapping_terms(self, entities);
        }
    }

    fn finish(mut self) -> Linted {
        let number = |lint: &Lint| self.sources.iter().position(|source| source.path == lint.file);
        self.lints.sort_by_cached_key(|lint| (number(lint), lint.position, lint.level));
        Linted { lints: self.lints, policies: self.policies.len(), sources: self.sources }
    }
}

/// An error at these bytes.
pub(super) fn found(source: &Source, rule: &'static str, span: Range<usize>, message: String) -> Lint {
    let position = Some(position(&source.text, span.start));
    Lint { span: Some(span), position, ..whole(&source.path, rule, &message) }
}

/// An error of a policy.
pub(super) fn about(
    source: &Source,
    standing: &Standing,
    rule: &'static str,
    span: Range<usize>,
    message: String,
) -> Lint {
    Lint { policy: Some(standing.id.clone()), ..found(source, rule, span, message) }
}

/// What Cedar says.
pub(super) fn of_diagnostic(source: &Source, rule: &'static str, it: &dyn Diagnostic, message: String) -> Lint {
    let label = it.labels().and_then(|mut labels| labels.next());
    let hint = it.help().map(|help| help.to_string());
    match label {
        Some(label) => {
            let span = label.offset()..label.offset() + label.len().max(1);
            Lint { hint, ..found(source, rule, span, message) }
        }
        None => Lint { hint, ..whole(&source.path, rule, &message) },
    }
}
