//! Everything that reads bytes from outside, on a corpus and on thousands of mutations of it: it may refuse, and must
//! never panic, hang or take what is broken. Deterministic, so that a finding can be run again; a finding is kept by
//! adding its bytes to the corpus.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod eat;

use narrowgate::{
    caller::Svid,
    dev::ca::{Ca, San},
    model::{
        AccessToken, AuthorizationCode, Handle, PinnedRedirect, Scope, ScopeSet, id::parse_spiffe_id, time::parse_span,
    },
};
use std::{fs, path::PathBuf};

/// Mutations of each file of the corpus.
const ROUNDS: usize = 40_000;

/// xorshift64*: enough to wander, and the same everywhere.
struct Wander(u64);

impl Wander {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }
}

/// Pieces that parsers stumble over.
const PIECES: [&[u8]; 17] = [
    b"\"",
    b"\\",
    b"{",
    b"}}",
    b"[[[[[[[[",
    b"\0",
    b"\xff\xfe",
    b"%00",
    b"&code=",
    b"#",
    b"1e309",
    b"-1",
    b"\\ud800",
    b"\r\n",
    b"//\r",
    b"://",
    b"@",
];

fn mutate(wander: &mut Wander, bytes: &mut Vec<u8>) {
    for _ in 0..=wander.below(6) {
        let at = wander.below(bytes.len() + 1);
        match wander.below(6) {
            0 => bytes.truncate(at),
            1 => {
                let piece = PIECES.get(wander.below(PIECES.len())).unwrap();
                bytes.splice(at..at, piece.iter().copied());
            }
            2 => {
                let end = (at + wander.below(16)).min(bytes.len());
                bytes.drain(at..end);
            }
            3 => {
                let end = (at + wander.below(64)).min(bytes.len());
                let copy: Vec<u8> = bytes.get(at..end).unwrap().to_vec();
                bytes.splice(at..at, copy);
            }
            _ => {
                let byte = u8::try_from(wander.below(256)).unwrap();
                if let Some(slot) = bytes.get_mut(at) {
                    *slot = byte;
                }
            }
        }
        bytes.truncate(64 * 1024);
    }
}

/// Feeds the corpus of a target and mutations of it.
fn feed(target: &str, rounds: usize, extra: &[Vec<u8>], mut eat: impl FnMut(&[u8])) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).into_iter().flatten().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let seeds: Vec<Vec<u8>> = files.chain(extra.iter().cloned()).collect();
    assert!(!seeds.is_empty(), "{target} has no corpus");
    let mut wander = Wander(0x9e37_79b9_7f4a_7c15);
    for seed in seeds {
        eat(&seed);
        for _ in 0..rounds {
            let mut bytes = seed.clone();
            mutate(&mut wander, &mut bytes);
            eat(&bytes);
        }
    }
}

/// Feeds a target, whose corpus must hold something that it takes.
fn taken_by(target: &str, rounds: usize, mut eat: impl FnMut(&[u8]) -> bool) {
    let mut taken = 0;
    feed(target, rounds, &[], |bytes| taken += usize::from(eat(bytes)));
    assert!(taken > 0, "nothing in the corpus of {target} is taken");
}

#[test]
fn requests() {
    taken_by("request", ROUNDS, eat::request);
}

#[test]
fn callback_urls() {
    taken_by("callback", ROUNDS, eat::callback);
}

#[test]
fn challenges() {
    taken_by("challenge", ROUNDS, eat::challenge);
}

#[test]
fn token_answers() {
    taken_by("answer", ROUNDS, eat::answer);
}

#[test]
fn metadata() {
    taken_by("metadata", ROUNDS, eat::metadata);
}

#[test]
fn metadata_of_apis() {
    taken_by("resource_metadata", ROUNDS, eat::resource_metadata);
}

#[test]
fn key_sets() {
    taken_by("keys", ROUNDS / 20, eat::keys);
}

#[test]
fn id_tokens() {
    taken_by("id_token", ROUNDS / 20, eat::id_token);
}

#[test]
fn configuration_files() {
    let deployment = eat::Deployment::new();
    taken_by("configuration", ROUNDS / 200, |bytes| deployment.configuration(bytes));
}

#[test]
fn policies() {
    taken_by("policy", ROUNDS / 200, eat::policy);
}

#[test]
fn schemas_of_custom_attributes() {
    taken_by("custom_schema", ROUNDS / 200, eat::custom_schema);
}

#[test]
fn bundles() {
    taken_by("bundle", ROUNDS / 20, eat::bundle);
}

#[test]
fn certificates() {
    let ca = Ca::new("fuzz").unwrap();
    let leaf = ca.client("agent", &[San::Uri("spiffe://acme.test/agent/quoter")]).unwrap().certificate_der;
    assert!(Svid::read(&leaf).is_ok());
    feed("svid", ROUNDS, &[leaf], |bytes| {
        let _ = Svid::read(bytes);
    });
}

#[test]
fn words() {
    feed(
        "callback",
        ROUNDS,
        &[
            b"spiffe://acme.test/agent/quoter".to_vec(),
            b"txn_00112233445566778899aabbccddeeff".to_vec(),
            b"10m".to_vec(),
        ],
        |bytes| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let _ =
                (parse_spiffe_id(&text), parse_span(&text), Handle::parse("txn_", &text), PinnedRedirect::parse(&text));
            let _ = (
                Scope::parse(&text),
                ScopeSet::parse(&text),
                AuthorizationCode::parse(text.clone()),
                AccessToken::parse(text),
            );
        },
    );
}
