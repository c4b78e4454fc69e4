//! Buffers that hold secrets while they grow. Wiping on drop reaches the last place of a buffer only: one that grows
//! frees its earlier places as they are. What hyper, rustls and the kernel copy is out of our reach (decisions 27).

use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

/// What names, separators and escapes add at most to values of the configuration, in bytes.
const FORM_ROOM: usize = 4096;

/// A form with room for these secrets and what goes with them, so that it never moves.
pub(super) fn roomy_form(secrets: &[&str]) -> Serializer<'static, String> {
    Serializer::new(roomy(secrets))
}

/// The same room, for what is not begun as a form.
pub(super) fn roomy(secrets: &[&str]) -> String {
    // Each byte of a value takes three when it is escaped.
    let escaped: usize = secrets.iter().map(|secret| secret.len() * 3).sum();
    String::with_capacity(escaped + FORM_ROOM)
}

/// Adds to a buffer; if it must move, its old place is wiped.
pub(super) fn add(buffer: &mut Zeroizing<Vec<u8>>, bytes: &[u8]) {
    if buffer.capacity() - buffer.len() < bytes.len() {
        let mut wider = Zeroizing::new(Vec::with_capacity((buffer.len() + bytes.len()) * 2));
        wider.extend_from_slice(buffer);
        *buffer = wider;
    }
    buffer.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::File, os::unix::fs::FileExt};

    const SECRET: &[u8; 32] = b"canary-of-a-buffer-that-is-moved";

    /// How often the secret is at these addresses: our own memory, whoever owns it by now.
    fn count(memory: &File, places: &[(u64, usize)]) -> usize {
        let mut seen = 0;
        for (address, length) in places {
            let mut bytes = vec![0; *length];
            memory.read_exact_at(&mut bytes, *address).unwrap();
            seen += bytes.windows(16).filter(|w| *w == &SECRET[16..]).count();
        }
        seen
    }

    /// The places of a buffer that is filled piece by piece, and what is in them once it is gone.
    fn left_behind(mut put: impl FnMut(&mut Zeroizing<Vec<u8>>, &[u8])) -> usize {
        let memory = File::open("/proc/self/mem").unwrap();
        let mut places = Vec::with_capacity(64);
        let mut buffer = Zeroizing::new(Vec::new());
        for _ in 0..20 {
            put(&mut buffer, SECRET);
            places.push((buffer.as_ptr() as u64, buffer.len()));
        }
        assert_eq!(count(&memory, &places[19..]), 20, "these eyes see");
        drop(buffer);
        count(&memory, &places)
    }

    // rows: LEAK-01
    #[test]
    fn a_body_that_grows_leaves_nothing_behind() {
        assert_eq!(left_behind(add), 0);
        // Which is not how vectors grow by themselves.
        assert!(left_behind(|buffer, bytes| buffer.extend_from_slice(bytes)) > 0);
    }

    // rows: LEAK-01
    #[test]
    fn a_form_never_moves() {
        let secret = "+".repeat(4096);
        let mut form = roomy_form(&[&secret, &secret]);
        form.append_pair("grant_type", "authorization_code").append_pair("code", &secret);
        form.append_pair("redirect_uri", &"/".repeat(900)).append_pair("code_verifier", &secret);
        let text = form.finish();
        assert!(text.len() > 6 * 4096);
        assert_eq!(text.capacity(), roomy_form(&[&secret, &secret]).finish().capacity());
    }
}
