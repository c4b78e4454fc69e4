//! The house keeps its shape: who may import whom, who may open what, how long a file may be. What the compiler holds
//! (tickets, privacy) is in `tests/tickets`; this holds what it cannot.
#![expect(clippy::unwrap_used, clippy::string_slice, clippy::panic, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// The rooms in order: none imports one that comes after it.
const CORRIDOR: [&str; 13] = [
    "model",
    "platform",
    "config",
    "caller",
    "transaction",
    "policy",
    "audit",
    "oauth",
    "grant",
    "exchange",
    "api",
    "app",
    "cli",
];
/// Rooms to the side: they import none, and these alone import them.
const ASIDE: [(&str, &[&str]); 2] = [("telemetry", &["api", "app", "audit", "cli"]), ("dev", &["cli"])];

const LINES_MAX: usize = 400;

/// Words that only some rooms, or some files, may use. A word that starts with `.` is a method.
const DOORS: [(&str, &[&str]); 15] = [
    // The key of a bound grant goes into its sealed record, and nowhere else.
    (".to_pkcs8(", &["grant/saved.rs"]),
    (".to_pkcs8v1(", &["dev/oauth_jwt.rs", "platform/proof_key.rs"]),
    // Secrets are opened at the wire, in the keyed hash, and where a refresh token goes into its sealed record.
    (
        ".reveal(",
        &[
            "api/wire.rs",
            "grant/saved.rs",
            "oauth/approval.rs",
            "oauth/authorize.rs",
            "api/wire_proof.rs",
            "oauth/bound.rs",
            "oauth/delegated_answer.rs",
            "oauth/client_authentication.rs",
            "oauth/dpop/presented.rs",
            "oauth/dpop/proof.rs",
            "oauth/dpop/retry.rs",
            "oauth/contract.rs",
            "oauth/introspect.rs",
            "oauth/identity.rs",
            "oauth/jose/id_token.rs",
            "oauth/redeem.rs",
            "oauth/refresh.rs",
            "oauth/request.rs",
            "oauth/revoke.rs",
            "oauth/subject.rs",
            "platform/digest.rs",
            "transaction/registered.rs",
        ],
    ),
    // Tickets are taken apart where they are spent. The others here take an HTTP or gRPC message apart, or a cell.
    (
        ".into_inner(",
        &[
            "api/admin.rs",
            "api/delegated.rs",
            "api/service.rs",
            "api/wire.rs",
            "cli/admin.rs",
            "cli/admin_explain.rs",
            "cli/admin_policy.rs",
            "cli/challenge.rs",
            "api/wire_proof.rs",
            "cli/demo/freeze.rs",
            "cli/demo/grants.rs",
            "cli/demo/scenes.rs",
            "cli/token.rs",
            "config/reader.rs",
            "exchange/admin.rs",
            "exchange/begin.rs",
            "exchange/explain.rs",
            "exchange/freeze.rs",
            "exchange/overtaken.rs",
            "exchange/redeem.rs",
            "exchange/register.rs",
            "oauth/redeem.rs",
            "oauth/refresh.rs",
            "oauth/request.rs",
            "policy/entities.rs",
        ],
    ),
    (
        ".into_parts(",
        &[
            "api/policy.rs",
            "dev/oauth_http.rs",
            "exchange/overtaken.rs",
            "exchange/redeem.rs",
            "exchange/refresh.rs",
            "exchange/request.rs",
            "grant/proof.rs",
            "grant/refreshing.rs",
            "grant/standing.rs",
            "grant/store.rs",
            "oauth/http.rs",
            "oauth/redeem.rs",
            "oauth/refresh.rs",
            "oauth/request.rs",
        ],
    ),
    ("cedar_policy", &["policy/"]),
    ("cedar_policy_symcc", &["policy/workbench/"]),
    // The one program that is started, by the one command that does: a daemon never gets there.
    ("Stdio", &["policy/workbench/diff_process.rs"]),
    ("ask_solver", &["cli/policy/diff.rs", "policy/workbench/"]),
    ("redb", &["platform/vault/"]),
    ("prost", &["api/", "cli/", "dev/"]),
    ("tonic", &["api/", "cli/", "dev/"]),
    ("hyper", &["api/", "cli/", "dev/", "oauth/"]),
    ("rustls", &["api/", "cli/", "config/pem.rs", "dev/", "oauth/"]),
    ("tokio_rustls", &["api/", "cli/", "dev/", "oauth/"]),
];
/// `model` is pure.
const NOT_IN_MODEL: [&str; 4] = ["tokio", "serde", "serde_json", "http"];

/// A file under `src/`.
struct Source {
    /// Its path there.
    path: String,
    text: String,
    /// Its code without comments, strings and the unit tests at its end.
    code: String,
}

impl Source {
    fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap();
        first.strip_suffix(".rs").unwrap_or(first)
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                // rustls's types of certificates and keys are anyone's: to read a file is not to speak TLS.
                let code = bare(text.split("#[cfg(test)]\nmod tests").next().unwrap()).replace("rustls::pki_types", "");
                let path = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                found.push(Source { path, text, code });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 50, "src/ was not found whole");
    found
}

/// Code without comments, and with its strings and characters emptied.
fn bare(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '"' {
            string(rest)
        } else if first == 'r' && !code.ends_with(is_word) {
            raw_string(rest)
        } else if first == '\'' {
            character(rest)
        } else {
            0
        };
        let taken = if skipped == 0 { first.len_utf8() } else { skipped };
        code.push_str(if skipped == 0 { &rest[..taken] } else { " " });
        rest = &rest[taken..];
    }
    code
}

/// The length of the string that a text starts with.
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
    panic!("a string does not end")
}

/// The length of the raw string that a text starts with, or 0.
fn raw_string(text: &str) -> usize {
    let hashes = text[1..].bytes().take_while(|b| *b == b'#').count();
    let Some(inside) = text[1 + hashes..].strip_prefix('"') else { return 0 };
    let end = format!("\"{}", "#".repeat(hashes));
    hashes + 2 + inside.find(&end).unwrap() + end.len()
}

/// The length of the character that a text starts with, or 0 if it is a lifetime.
fn character(text: &str) -> usize {
    let inside: Vec<char> = text.chars().skip(1).take(2).collect();
    match inside.as_slice() {
        ['\\', escaped] => 2 + escaped.len_utf8() + text[2 + escaped.len_utf8()..].find('\'').unwrap() + 1,
        [one, '\''] => 2 + one.len_utf8(),
        _ => 0,
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether code uses a word.
fn uses(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + word.len()..]);
        word.starts_with('.') || !(before.ends_with(is_word) || after.starts_with(is_word))
    })
}

/// The rooms that code imports, by `crate::room` and `crate::{room::.., room::..}`.
fn imports(code: &str) -> BTreeSet<&str> {
    let mut rooms = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(is_word) {
            continue;
        }
        let path = code[at + "crate::".len()..].trim_start();
        match path.strip_prefix('{') {
            None => rooms.extend(word(path)),
            Some(group) => rooms.extend(group_members(group).into_iter().filter_map(word)),
        }
    }
    rooms
}

/// The members of an import group, up to its closing brace.
fn group_members(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut members) = (0_usize, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                members.push(&group[start..at]);
                start = at + 1;
                if c == '}' {
                    return members;
                }
            }
            _ => {}
        }
    }
    panic!("an import group does not end")
}

fn word(text: &str) -> Option<&str> {
    let text = text.trim_start();
    let word = &text[..text.find(|c| !is_word(c)).unwrap_or(text.len())];
    (!word.is_empty()).then_some(word)
}

/// What keeps `from` from importing `to`.
fn import_forbidden(from: &str, to: &str) -> Option<&'static str> {
    let place = |room: &str| CORRIDOR.iter().position(|r| *r == room);
    if let Some((_, importers)) = ASIDE.iter().find(|(room, _)| *room == to) {
        return (!importers.contains(&from)).then_some("that room stands aside");
    }
    match (place(from), place(to)) {
        (Some(from), Some(to)) if to <= from => None,
        (Some(_), Some(_)) => Some("that room comes later"),
        (None, _) => Some("this room stands aside"),
        (_, None) => Some("there is no such room"),
    }
}

fn complain(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn no_room_imports_a_later_one() {
    let mut problems = Vec::new();
    let mut seen = BTreeMap::<&str, BTreeSet<&str>>::new();
    let sources = sources();
    for source in &sources {
        if source.path == "main.rs" || source.path == "lib.rs" {
            continue;
        }
        let from = source.room();
        for to in imports(&source.code).into_iter().filter(|to| *to != from) {
            seen.entry(from).or_default().insert(to);
            if let Some(why) = import_forbidden(from, to) {
                problems.push(format!("src/{} imports {to}: {why}", source.path));
            }
        }
        // `super` of a room's mod.rs is the house, and two of them may be: rooms are named from `crate`.
        let at_the_door = source.path.ends_with("/mod.rs") || !source.path.contains('/');
        if source.code.contains("super::super::") || (at_the_door && source.code.contains("super::")) {
            problems.push(format!("src/{} leaves its room by `super`: write `crate`", source.path));
        }
    }
    complain(&problems);
    // The parser has eyes: these are what the corridor is made of.
    for to in ["caller", "transaction", "policy", "audit", "oauth", "grant"] {
        assert!(seen["exchange"].contains(to), "exchange was not seen to import {to}");
    }
}

#[test]
fn main_calls_the_command_line_and_nothing_else() {
    let sources = sources();
    let main = sources.iter().find(|s| s.path == "main.rs").unwrap();
    assert_eq!(imports(&main.code.replace("narrowgate::", "crate::")), ["cli"].into());
}

#[test]
fn there_are_no_other_rooms() {
    let known: BTreeSet<&str> =
        CORRIDOR.into_iter().chain(ASIDE.map(|(room, _)| room)).chain(["lib", "main"]).collect();
    let sources = sources();
    let found: BTreeSet<&str> = sources.iter().map(Source::room).collect();
    assert_eq!(found, known);
}

#[test]
fn doors_are_opened_only_where_they_may_be() {
    let mut problems = Vec::new();
    for source in sources() {
        for (door, places) in DOORS {
            let may = places.iter().any(|p| source.path == *p || (p.ends_with('/') && source.path.starts_with(p)));
            if !may && uses(&source.code, door) {
                problems.push(format!("src/{} uses `{door}`, which is for {}", source.path, places.join(", ")));
            }
        }
        for word in NOT_IN_MODEL {
            if source.room() == "model" && uses(&source.code, word) {
                problems.push(format!("src/{} uses `{word}`, but model is pure", source.path));
            }
        }
    }
    complain(&problems);
}

#[test]
fn every_door_on_the_list_is_in_use() {
    let sources = sources();
    let mut problems = Vec::new();
    for (door, places) in DOORS.iter().take(3) {
        for place in *places {
            if !sources.iter().any(|s| s.path == *place && uses(&s.code, door)) {
                problems.push(format!("src/{place} does not use `{door}`: take it off the list"));
            }
        }
    }
    complain(&problems);
}

#[test]
fn no_file_is_too_long() {
    let long = |s: &Source| {
        let lines = s.text.lines().count();
        (lines > LINES_MAX).then(|| format!("src/{} has {lines} lines, more than {LINES_MAX}", s.path))
    };
    complain(&sources().iter().filter_map(long).collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_for_later() {
    // In two pieces, so that this file does not find itself.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let mut problems = Vec::new();
    for source in sources() {
        for (number, line) in source.text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                problems.push(format!("src/{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    complain(&problems);
}

#[test]
fn the_reader_of_sources_can_read() {
    let code = bare("a /* crate::api */ \"crate::app \\\" x\" // crate::cli\n r#\"crate::dev\"# 'x' '\\n' &'a b");
    assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a", "&'a", "b"]);
    let rooms = imports("use crate::{api::{A, B}, model::C, policy};\n fn f() -> crate::oauth::D { mycrate::x }");
    assert_eq!(rooms, ["api", "model", "oauth", "policy"].into());
    assert_eq!(import_forbidden("policy", "oauth"), Some("that room comes later"));
    assert_eq!(import_forbidden("oauth", "policy"), None);
    assert_eq!(import_forbidden("oauth", "dev"), Some("that room stands aside"));
    assert_eq!(import_forbidden("dev", "model"), Some("this room stands aside"));
    assert!(uses("x.reveal()", ".reveal(") && !uses("x.reveal_all()", ".reveal(") && !uses("hypers", "hyper"));
}
