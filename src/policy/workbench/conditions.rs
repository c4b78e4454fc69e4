//! The conditions of a policy, taken apart: each conjunct of each `when` and `unless`, with the text it stands in, to be
//! asked alone.
//!
//! They are taken apart in the text, not in the tree that Cedar makes of it: the tree says neither where a conjunct stands
//! nor how it was written. That the parts together say what the whole says is held against the tree (tests below).

use crate::policy::depth::comment;
use cedar_policy::{Authorizer, Decision, Entities, Policy, PolicySet, Request};
use std::{fmt, str::FromStr};

/// Which kind of clause a condition stands in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// All of it must hold.
    When,
    /// Some of it must not.
    Unless,
}

/// One conjunct of a condition: of `when { a && (b || c) }` there are two.
pub(super) struct Part {
    /// The clause's kind.
    pub(super) kind: Kind,
    /// The number of the clause within the policy, from 0: the parts of one clause stand together.
    pub(super) clause: usize,
    /// As it is written.
    pub(super) text: String,
    /// The byte at which it begins, in the policy's text.
    pub(super) at: usize,
    /// The one policy that permits everything when it holds.
    alone: PolicySet,
}

impl Part {
    /// Whether it holds, asked alone.
    ///
    /// # Errors
    /// Why Cedar cannot evaluate it, as of an attribute that is not there: what stands before it may have asked.
    pub(super) fn holds(&self, request: &Request, entities: &Entities) -> Result<bool, String> {
        let response = Authorizer::new().is_authorized(request, &self.alone, entities);
        match response.diagnostics().errors().next() {
            Some(error) => Err(super::set::causes(error)),
            None => Ok(response.decision() == Decision::Allow),
        }
    }
}

/// The conjuncts of a policy's conditions, in the order they stand, which is the order Cedar evaluates them in.
pub(super) fn of(policy: &Policy) -> Vec<Part> {
    let Some(text) = policy.to_cedar() else { return Vec::new() };
    let tokens = tokens(&text);
    let mut parts = Vec::new();
    for (number, (kind, body)) in clauses(&tokens).into_iter().enumerate() {
        let (mut apart, mut read) = (Vec::new(), Vec::new());
        split(body, &mut apart);
        for piece in apart {
            read.push(part((kind, number), piece, &text));
        }
        // What cannot stand alone is left whole.
        match read.into_iter().collect::<Option<Vec<_>>>() {
            Some(read) => parts.extend(read),
            None => parts.extend(part((kind, number), body, &text)),
        }
    }
    parts
}

fn part((kind, clause): (Kind, usize), tokens: &[Token<'_>], whole: &str) -> Option<Part> {
    let (at, end) = (tokens.first()?.at, tokens.last()?.end());
    let text = whole.get(at..end)?;
    // On a line of its own: a comment may end it.
    let alone = PolicySet::from_str(&format!("permit (principal, action, resource) when {{\n{text}\n}};")).ok()?;
    Some(Part { kind, clause, text: text.to_owned(), at, alone })
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::When => "when",
            Self::Unless => "unless",
        })
    }
}

/// A word, a string, an operator or a bracket of a text that parses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'t> {
    /// The byte at which it begins.
    pub(super) at: usize,
    /// As it is written.
    pub(super) text: &'t str,
}

impl Token<'_> {
    /// The byte after it.
    pub(super) const fn end(&self) -> usize {
        self.at + self.text.len()
    }
}

/// The tokens of a text, without white space and comments.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let first = rest.chars().next().unwrap_or_default();
        let length = if first.is_whitespace() {
            rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len())
        } else if rest.starts_with("//") {
            comment(rest)
        } else {
            let length = match first {
                '"' => string(rest),
                'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => {
                    rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len())
                }
                _ if ["&&", "||", "::", "=="].iter().any(|two| rest.starts_with(two)) => 2,
                _ => first.len_utf8(),
            };
            found.extend(rest.get(..length).map(|text| Token { at, text }));
            length
        };
        at += length.max(1);
    }
    found
}

/// The bytes of the string that a text begins with.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// What stands between the braces of each `when` and `unless`.
fn clauses<'s, 't>(tokens: &'s [Token<'t>]) -> Vec<(Kind, &'s [Token<'t>])> {
    let (mut found, mut at, mut depth) = (Vec::new(), 0, 0_usize);
    while let Some(token) = tokens.get(at) {
        // An annotation may have any name.
        let is_name = at.checked_sub(1).and_then(|before| tokens.get(before)).is_some_and(|before| before.text == "@");
        let kind = match token.text {
            "when" if depth == 0 && !is_name => Some(Kind::When),
            "unless" if depth == 0 && !is_name => Some(Kind::Unless),
            _ => None,
        };
        if let (Some(kind), Some("{")) = (kind, tokens.get(at + 1).map(|next| next.text)) {
            let end = at + 1 + close(tokens.get(at + 1..).unwrap_or_default());
            found.push((kind, tokens.get(at + 2..end).unwrap_or_default()));
            at = end + 1;
            continue;
        }
        depth = deeper(depth, token);
        at += 1;
    }
    found
}

/// How deep in brackets one is after this token.
fn deeper(depth: usize, token: &Token<'_>) -> usize {
    match token.text {
        "(" | "[" | "{" => depth + 1,
        ")" | "]" | "}" => depth.saturating_sub(1),
        _ => depth,
    }
}

/// The number of the token that closes the bracket which is the first.
fn close(tokens: &[Token<'_>]) -> usize {
    let mut depth = 0;
    for (number, token) in tokens.iter().enumerate() {
        depth = deeper(depth, token);
        if depth == 0 {
            return number;
        }
    }
    tokens.len()
}

/// Takes a conjunction apart.
fn split<'s, 't>(mut tokens: &'s [Token<'t>], into: &mut Vec<&'s [Token<'t>]>) {
    while let [Token { text: "(", .. }, inner @ .., Token { text: ")", .. }] = tokens
        && close(tokens) == inner.len() + 1
    {
        tokens = inner;
    }
    let (mut depth, mut cuts) = (0, Vec::new());
    for (number, token) in tokens.iter().enumerate() {
        match token.text {
            // They bind less than `&&`: there is no conjunction at all.
            "||" | "if" if depth == 0 => return into.push(tokens),
            "&&" if depth == 0 => cuts.push(number),
            _ => {}
        }
        depth = deeper(depth, token);
    }
    if cuts.is_empty() {
        return into.push(tokens);
    }
    let mut from = 0;
    for cut in cuts.into_iter().chain([tokens.len()]) {
        split(tokens.get(from..cut).unwrap_or_default(), into);
        from = cut + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn texts(policy: &str) -> Vec<(String, usize, String)> {
        let policy = Policy::from_str(policy).unwrap();
        of(&policy).into_iter().map(|part| (part.kind.to_string(), part.clause, part.text)).collect()
    }

    fn part(kind: &str, clause: usize, text: &str) -> (String, usize, String) {
        (kind.to_owned(), clause, text.to_owned())
    }

    #[test]
    fn conjuncts_are_taken_apart_and_nothing_else_is() {
        let texts_of: Vec<&str> = tokens("a // b\rc // d\n//").into_iter().map(|token| token.text).collect();
        assert_eq!(texts_of, ["a", "c"], "a comment ends where Cedar says");
        let policy = r#"@when("{ a && b }") @unless permit (principal, action, resource is A)
            when { ((context.a && (context.b && context.c))) && // why { not
                   (context.d || context.e && context.f) && !(context.g && context.h) }
            unless { if context.a then context.b && context.c else context.d }
            when { { "a": "&& \" }" }.a == "&&" && [1].contains(2) }
            unless { context.a && context.b || context.c }
            when { (context.a) == (context.b) && principal has a.b };"#;
        let expected = [
            part("when", 0, "context.a"),
            part("when", 0, "context.b"),
            part("when", 0, "context.c"),
            part("when", 0, "context.d || context.e && context.f"),
            part("when", 0, "!(context.g && context.h)"),
            part("unless", 1, "if context.a then context.b && context.c else context.d"),
            part("when", 2, r#"{ "a": "&& \" }" }.a == "&&""#),
            part("when", 2, "[1].contains(2)"),
            part("unless", 3, "context.a && context.b || context.c"),
            part("when", 4, "(context.a) == (context.b)"),
            part("when", 4, "principal has a.b"),
        ];
        assert_eq!(texts(policy), expected);
        assert_eq!(texts("permit (principal, action, resource);"), []);
    }

    #[test]
    fn a_part_stands_where_it_says_and_is_asked_alone() {
        let text =
            "permit (principal, action, resource) when { context.n > 1 && context.a.b }\nunless { context.n > 8 };";
        let policy = Policy::from_str(text).unwrap();
        let parts = of(&policy);
        for part in &parts {
            assert_eq!(text.get(part.at..part.at + part.text.len()), Some(part.text.as_str()));
        }
        let uid = || r#"A::"a""#.parse().unwrap();
        let context = cedar_policy::Context::from_json_value(json!({ "n": 5 }), None).unwrap();
        let request = Request::new(uid(), uid(), uid(), context, None).unwrap();
        let held: Vec<_> = parts.iter().map(|part| part.holds(&request, &Entities::empty())).collect();
        assert_eq!((&held[0], &held[2]), (&Ok(true), &Ok(false)));
        assert!(held[1].as_ref().is_err_and(|wrong| wrong.contains("does not have the attribute")), "{held:?}");
    }

    /// Of a tree, the conjuncts.
    fn conjuncts(tree: &Value, into: &mut Vec<Value>) {
        match tree.get("&&") {
            Some(both) => ["left", "right"].iter().for_each(|side| conjuncts(&both[side], into)),
            None => into.push(tree.clone()),
        }
    }

    #[test]
    fn the_parts_together_are_the_tree_that_cedar_makes() {
        let samples = ["flows", "grants", "guardrails", "operators"];
        let samples = samples.map(|name| format!("{}/policies/base/{name}.cedar", env!("CARGO_MANIFEST_DIR")));
        let mut seen = 0;
        for sample in samples {
            let set = PolicySet::from_str(&std::fs::read_to_string(sample).unwrap()).unwrap();
            for policy in set.policies() {
                let mut expected = Vec::new();
                for condition in policy.to_json().unwrap()["conditions"].as_array().unwrap() {
                    conjuncts(&condition["body"], &mut expected);
                }
                let parts = of(policy);
                let ours: Vec<Value> = parts
                    .iter()
                    .map(|part| {
                        part.alone.policies().next().unwrap().to_json().unwrap()["conditions"][0]["body"].clone()
                    })
                    .collect();
                assert_eq!(ours, expected, "{policy}");
                seen += ours.len();
            }
        }
        assert!(seen > 30, "{seen}");
    }
}
