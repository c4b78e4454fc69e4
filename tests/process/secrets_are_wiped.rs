//! Our own secret types leave nothing behind: this process's memory, read after they are gone.

use narrowgate::model::{AccessToken, AuthorizationCode, CodeVerifier, Nonce, RefreshToken, Secret, StateValue};
use std::{fs::File, hint::black_box, os::unix::fs::FileExt};
use zeroize::Zeroizing;

/// Longer than what an allocator writes into memory that was given back to it, and short enough to stay with it.
const LENGTH: usize = 400;

fn canary(mark: char) -> String {
    std::iter::repeat_n(mark, LENGTH).collect()
}

/// What an allocator may write over the beginning of memory that was given back to it, and that by chance holds a mark.
const ALLOCATORS: usize = 32;

/// How many bytes of the mark are left where something was, after it was dropped.
fn left<T>(mark: char, thing: T, address: impl FnOnce(&T) -> *const u8) -> usize {
    let memory = File::open("/proc/self/mem").unwrap();
    let mut bytes = vec![0u8; LENGTH];
    let address = address(&thing) as u64;
    memory.read_exact_at(&mut bytes, address).unwrap();
    assert!(bytes.iter().all(|b| *b == mark as u8), "the eyes of this test: it is there while it lives");
    drop(black_box(thing));
    memory.read_exact_at(&mut bytes, address).unwrap();
    marked(&bytes, mark as u8)
}

fn marked(bytes: &[u8], mark: u8) -> usize {
    bytes[ALLOCATORS..].iter().filter(|b| **b == mark).count()
}

#[expect(clippy::disallowed_methods, reason = "where a secret is, is looked at here")]
fn place<Kind>(secret: &Secret<Kind>) -> *const u8 {
    secret.reveal().as_ptr()
}

// rows: LEAK-01
#[test]
fn every_kind_of_secret() {
    assert!(left('a', canary('a'), |text| text.as_ptr()) > LENGTH / 2, "a text of no special kind stays");
    assert_eq!(left('b', AuthorizationCode::parse(canary('b')).unwrap(), place), 0);
    assert_eq!(left('c', AccessToken::parse(canary('c')).unwrap(), place), 0);
    assert_eq!(left('d', RefreshToken::parse(canary('d')).unwrap(), place), 0);
    assert_eq!(left('e', CodeVerifier::new(canary('e')), place), 0);
    assert_eq!(left('f', StateValue::new(canary('f')), place), 0);
    assert_eq!(left('g', Nonce::new(canary('g')), place), 0);
}

type Refuses = fn(String) -> bool;

// rows: LEAK-01
#[test]
fn one_that_is_refused() {
    let memory = File::open("/proc/self/mem").unwrap();
    let mut bytes = vec![0u8; LENGTH];
    // A line feed at its end makes it no code and no token.
    let parsers: [(u8, Refuses); 3] = [
        (b'h', |text| AuthorizationCode::parse(text).is_none()),
        (b'i', |text| AccessToken::parse(text).is_none()),
        (b'j', |text| RefreshToken::parse(text).is_none()),
    ];
    for (mark, refused) in parsers {
        let mut text = canary(mark as char);
        text.replace_range(LENGTH - 1.., "\n");
        let address = text.as_ptr() as u64;
        assert!(refused(text));
        memory.read_exact_at(&mut bytes, address).unwrap();
        assert_eq!(marked(&bytes, mark), 0, "{}", mark as char);
    }
}

// rows: LEAK-01
#[test]
fn what_else_holds_a_secret_on_its_way() {
    // The form of the token request, members of an answer, a callback URL; an answer's body; the installation's key.
    assert_eq!(left('k', Zeroizing::new(canary('k')), |text| text.as_ptr()), 0);
    assert_eq!(left('l', Zeroizing::new(canary('l').into_bytes()), |bytes| bytes.as_ptr()), 0);
    assert_eq!(left('m', Box::new(Zeroizing::new([b'm'; LENGTH])), |key| key.as_ptr()), 0);
    // A secret taken over keeps its place: no copy of it is made.
    let text = canary('n');
    let before = text.as_ptr();
    let secret = AuthorizationCode::parse(text).unwrap();
    assert_eq!(place(&secret), before);
    assert_eq!(left('n', secret, place), 0);
}
