//! How deep a policy's text is nested, before anything is made of it: the parser and what it makes are recursive, and a
//! stack that overflows ends the process.

/// How deep expressions may be in each other.
pub(super) const DEPTH_MAX: usize = 40;

/// What is open at one level of brackets: chains of which each link is inside the next.
#[derive(Default)]
struct Level {
    members: usize,
    terms: usize,
    conditions: usize,
}

impl Level {
    fn take(&mut self, byte: u8) {
        match byte {
            b'.' => self.members += 1,
            b'+' | b'-' | b'*' => (self.members, self.terms) = (0, self.terms + 1),
            b'&' | b'|' | b'=' | b'<' | b'>' => (self.members, self.terms) = (0, 0),
            b',' | b';' => *self = Self::default(),
            _ => {}
        }
    }

    const fn depth(&self) -> usize {
        1 + self.members + self.terms + self.conditions
    }
}

/// The bytes of the comment that a text begins with: as Cedar's lexer has it, a carriage return ends it too.
pub(super) fn comment(text: &str) -> usize {
    text.find(['\n', '\r']).unwrap_or(text.len())
}

/// Where a text is nested deeper than it may be: the byte offset.
pub(super) fn too_deep(text: &str) -> Option<usize> {
    let (mut levels, mut word) = (vec![Level::default()], 0);
    // The depth of all levels but the last one.
    let mut below = 0;
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => while bytes.next().is_some_and(|(_, b)| b != b'"' && (b != b'\\' || bytes.next().is_some())) {},
            b'/' if bytes.peek().is_some_and(|(_, next)| *next == b'/') => {
                // Its slashes are two of its bytes, and the first is taken.
                let rest = text.get(at..).map_or(0, comment);
                let _ = bytes.nth(rest.saturating_sub(2));
            }
            b'(' | b'[' | b'{' => {
                below += levels.last().map_or(0, Level::depth);
                levels.push(Level::default());
            }
            b')' | b']' | b'}' if levels.len() > 1 => {
                levels.pop();
                below -= levels.last().map_or(0, Level::depth);
            }
            _ => levels.last_mut()?.take(byte),
        }
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            continue;
        }
        // A word has ended.
        if text.get(word..at) == Some("if") {
            levels.last_mut()?.conditions += 1;
        }
        word = at + 1;
        if below + levels.last().map_or(0, Level::depth) > DEPTH_MAX {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{DEPTH_MAX, too_deep};

    // rows: POL-08
    #[test]
    fn brackets_and_chains_are_counted_and_texts_are_not() {
        let many = 2 * DEPTH_MAX;
        for deep in [
            "(".repeat(many),
            "[".repeat(many),
            "{a:".repeat(many),
            "if true then 1 else ".repeat(many),
            "1 + ".repeat(many),
            "1*".repeat(many),
            format!("context{}", ".a".repeat(many)),
            ".a(".repeat(DEPTH_MAX),
            format!("// a\r{}", "(".repeat(many)),
        ] {
            assert!(too_deep(&deep).is_some(), "{deep}");
        }
        for flat in [
            format!("\"{}\\\"((\" // {}\n", "(".repeat(many), "(".repeat(many)),
            "permit (principal, action, resource) when { context.a.b + 1 == 2 };".repeat(many),
            format!("[{}]", "context.a, ".repeat(many)),
            "context.base.a == 1 && ".repeat(many),
            "()".repeat(many),
        ] {
            assert_eq!(too_deep(&flat), None, "{flat}");
        }
    }
}
