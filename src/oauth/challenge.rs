//! The `WWW-Authenticate` header (RFC 9110 §11.6.1), read strictly: it comes from whoever an agent has called, so it is
//! whole and unambiguous or it is nothing. narrowgate itself is never challenged; agents are, by resources.

use std::fmt;

/// Bytes of a header that are looked at.
pub const CHALLENGE_BYTES_MAX: usize = 8 * 1024;
/// Challenges in one header.
const CHALLENGES_MAX: usize = 16;
/// Parameters of one challenge.
const PARAMETERS_MAX: usize = 32;

/// One challenge: a scheme and what it says of itself. No parameter of another challenge is in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Challenge {
    /// The scheme, in lower case.
    pub scheme: String,
    /// A bare credential (`token68`), which some schemes have instead of parameters.
    pub token: Option<String>,
    /// Names, in lower case, and values without their quotes.
    parameters: Vec<(String, String)>,
}

/// Why a header is refused as a whole. Nothing of its text is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoChallenge {
    /// More than [`CHALLENGE_BYTES_MAX`], or more challenges or parameters than anyone needs.
    Size,
    /// Not the grammar of RFC 9110 §11.6.1.
    Form,
    /// A parameter twice in one challenge, which readers could resolve either way.
    Duplicate,
}

impl fmt::Display for NoChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Size => "is too long",
            Self::Form => "is not of the form in RFC 9110 §11.6.1",
            Self::Duplicate => "has a parameter twice in one challenge",
        })
    }
}

impl Challenge {
    /// The value of a parameter of this challenge, by its name in lower case.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether this is of a scheme that RFC 6750 or RFC 9449 defines.
    #[must_use]
    pub fn is_oauth(&self) -> bool {
        matches!(self.scheme.as_str(), "bearer" | "dpop")
    }

    /// Its error code (RFC 6750 §3.1, RFC 9449 §7.1), where the scheme has such a thing: `error` of another scheme is
    /// that scheme's own affair.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.parameter("error").filter(|_| self.is_oauth())
    }
}

/// Reads the value of one `WWW-Authenticate` header.
///
/// # Errors
/// [`NoChallenge`]: nothing of the header is to be used.
pub fn challenges(header: &str) -> Result<Vec<Challenge>, NoChallenge> {
    if header.len() > CHALLENGE_BYTES_MAX {
        return Err(NoChallenge::Size);
    }
    let mut rest = Rest(header.as_bytes());
    let mut found: Vec<Challenge> = Vec::new();
    // Whether something of the list stands since its last comma.
    let mut filled = false;
    loop {
        rest.spaces();
        if rest.take(b',') {
            // Empty members of a list are read over (RFC 9110 §5.6.1.2).
            filled = false;
            continue;
        }
        if rest.is_empty() {
            break;
        }
        if filled {
            return Err(NoChallenge::Form);
        }
        filled = true;
        let name = rest.token()?;
        if rest.equals() {
            let value = rest.value()?;
            found.last_mut().ok_or(NoChallenge::Form)?.add(name, value)?;
            continue;
        }
        if found.len() >= CHALLENGES_MAX {
            return Err(NoChallenge::Size);
        }
        let mut challenge = Challenge { scheme: name, token: None, parameters: Vec::new() };
        if rest.space()
            && let Some(first) = rest.first()
        {
            match first {
                // Those of OAuth have none (RFC 6750 §3, RFC 9449 §7.1): a parameter has lost its value.
                First::Token(_) if challenge.is_oauth() => return Err(NoChallenge::Form),
                First::Token(token) => challenge.token = Some(token),
                First::Parameter(name) => challenge.add(name, rest.value()?)?,
            }
        }
        found.push(challenge);
    }
    if found.is_empty() { Err(NoChallenge::Form) } else { Ok(found) }
}

impl Challenge {
    fn add(&mut self, name: String, value: String) -> Result<(), NoChallenge> {
        // A scheme has a bare credential or parameters, never both (RFC 9110 §11.2).
        if self.token.is_some() {
            return Err(NoChallenge::Form);
        }
        if self.parameter(&name).is_some() {
            return Err(NoChallenge::Duplicate);
        }
        if self.parameters.len() >= PARAMETERS_MAX {
            return Err(NoChallenge::Size);
        }
        self.parameters.push((name, value));
        Ok(())
    }
}

/// What follows a scheme and a space.
enum First {
    Token(String),
    /// The name of a parameter, whose value is still to be read.
    Parameter(String),
}

/// What is still to be read.
#[derive(Clone, Copy)]
struct Rest<'h>(&'h [u8]);

impl Rest<'_> {
    const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    fn skip(&mut self, bytes: usize) {
        self.0 = self.0.get(bytes..).unwrap_or_default();
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.0.first() == Some(&byte);
        if there {
            self.skip(1);
        }
        there
    }

    fn spaces(&mut self) {
        let count = self.0.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        self.skip(count);
    }

    /// At least one SP, which alone may stand between a scheme and what follows it.
    fn space(&mut self) -> bool {
        let count = self.0.iter().take_while(|byte| **byte == b' ').count();
        self.skip(count);
        count > 0
    }

    /// The `=` of a parameter, with the bad whitespace that RFC 9110 §11.2 lets recipients expect. Nothing is taken
    /// where there is none.
    fn equals(&mut self) -> bool {
        let mut ahead = *self;
        ahead.spaces();
        if !ahead.take(b'=') {
            return false;
        }
        ahead.spaces();
        *self = ahead;
        true
    }

    fn run(&mut self, fits: impl Fn(u8) -> bool) -> String {
        let count = self.0.iter().take_while(|byte| fits(**byte)).count();
        let run = self.0.get(..count).unwrap_or_default();
        self.skip(count);
        // Every alphabet here is ASCII.
        run.iter().map(|byte| char::from(*byte)).collect()
    }

    /// A token (RFC 9110 §5.6.2), in lower case: schemes and names of parameters know no case.
    fn token(&mut self) -> Result<String, NoChallenge> {
        let token = self.run(is_tchar);
        if token.is_empty() { Err(NoChallenge::Form) } else { Ok(token.to_ascii_lowercase()) }
    }

    /// A parameter's name or a `token68`; `None` if the challenge ends here.
    fn first(&mut self) -> Option<First> {
        let mut ahead = *self;
        if let Ok(name) = ahead.token()
            && ahead.equals()
            && !ahead.0.is_empty()
            && !matches!(ahead.0.first(), Some(b'=' | b','))
        {
            *self = ahead;
            return Some(First::Parameter(name));
        }
        let mut ahead = *self;
        let mut text = ahead.run(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte));
        if text.is_empty() {
            return None;
        }
        text.push_str(&ahead.run(|byte| byte == b'='));
        *self = ahead;
        Some(First::Token(text))
    }

    /// A token or a quoted string (RFC 9110 §5.6.4).
    fn value(&mut self) -> Result<String, NoChallenge> {
        if !self.take(b'"') {
            let value = self.run(is_tchar);
            return if value.is_empty() { Err(NoChallenge::Form) } else { Ok(value) };
        }
        let mut value = String::new();
        loop {
            let (first, more) = self.0.split_first().ok_or(NoChallenge::Form)?;
            self.0 = more;
            let byte = match first {
                b'"' => return Ok(value),
                b'\\' => {
                    let (escaped, more) = self.0.split_first().ok_or(NoChallenge::Form)?;
                    self.0 = more;
                    *escaped
                }
                byte => *byte,
            };
            // What is not ASCII is nothing that OAuth puts here (RFC 6750 §3), and controls are never.
            if byte != b'\t' && !(0x20..=0x7e).contains(&byte) {
                return Err(NoChallenge::Form);
            }
            value.push(char::from(byte));
        }
    }
}

const fn is_tchar(byte: u8) -> bool {
    matches!(byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &str) -> Vec<Challenge> {
        challenges(header).unwrap_or_else(|no| panic!("{header:?} {no}"))
    }

    fn refused(header: &str) -> NoChallenge {
        challenges(header).err().unwrap_or_else(|| panic!("{header:?} was taken"))
    }

    // rows: SSRF-08
    #[test]
    fn errors_belong_to_their_own_scheme() {
        // The example of RFC 9449 §7.2, and its like.
        let both = read(r#"Bearer error="invalid_token", error_description="no", DPoP algs="ES256 PS256""#);
        assert_eq!(both.len(), 2);
        let (bearer, dpop) = (&both[0], &both[1]);
        assert_eq!((bearer.scheme.as_str(), bearer.error()), ("bearer", Some("invalid_token")));
        assert_eq!((dpop.scheme.as_str(), dpop.error(), dpop.parameter("algs")), ("dpop", None, Some("ES256 PS256")));
        assert_eq!(bearer.parameter("algs"), None);
        let both = read(r#"DPoP algs="ES256", Bearer error=insufficient_scope, scope="a b""#);
        assert_eq!((both[0].error(), both[1].error()), (None, Some("insufficient_scope")));
        assert_eq!(both[1].parameter("scope"), Some("a b"));
        // The same name in two challenges is no repeat.
        let both = read(r#"Bearer realm="x", scope="a", DPoP scope="b", realm="y""#);
        assert_eq!((both[0].parameter("scope"), both[1].parameter("scope")), (Some("a"), Some("b")));
        // Another scheme's error is none of OAuth's.
        let other = read(r#"Negotiate, Custom error="invalid_token""#);
        assert_eq!((other[1].error(), other[1].parameter("error")), (None, Some("invalid_token")));
        // What is quoted starts no challenge.
        let one = read(r#"Bearer realm="a, DPoP error=\"x\", Bearer scope=y""#);
        assert_eq!((one.len(), one[0].error()), (1, None));
        assert_eq!(one[0].parameter("realm"), Some(r#"a, DPoP error="x", Bearer scope=y"#));
    }

    // rows: SSRF-08
    #[test]
    fn the_grammar_is_that_of_rfc_9110() {
        let basic = read(r#"Newauth realm="apps", type=1, title="Login to \"apps\"", Basic realm="simple""#);
        assert_eq!((basic.len(), basic[0].parameter("title")), (2, Some(r#"Login to "apps""#)));
        assert_eq!(basic[1].parameter("realm"), Some("simple"));
        let bare = read("Negotiate");
        assert_eq!((bare[0].scheme.as_str(), &bare[0].token), ("negotiate", &None));
        let token = read("Negotiate abc/+~-._9==, bearer");
        assert_eq!((token[0].token.as_deref(), token[1].scheme.as_str()), (Some("abc/+~-._9=="), "bearer"));
        let one = read("Negotiate a=");
        assert_eq!(one[0].token.as_deref(), Some("a="));
        // Empty members, and whitespace where recipients must bear with it.
        let loose = read(", ,Bearer  realm = \"x\" ,\t, scope=\"y\",");
        assert_eq!((loose.len(), loose[0].parameter("realm"), loose[0].parameter("scope")), (1, Some("x"), Some("y")));
        assert_eq!(read(r#"BEARER REALM="x""#)[0].parameter("realm"), Some("x"));
        assert_eq!(read(r#"Bearer realm="""#)[0].parameter("realm"), Some(""));
    }

    // rows: SSRF-08
    #[test]
    fn what_is_ambiguous_is_nothing() {
        for twice in [
            r#"Bearer scope="a", scope="b""#,
            r#"Bearer scope="a", SCOPE="a""#,
            r#"DPoP algs="ES256", Bearer error="x", error="y""#,
        ] {
            assert_eq!(refused(twice), NoChallenge::Duplicate, "{twice}");
        }
        for broken in [
            "",
            " ",
            ",,",
            "=",
            "\"Bearer\"",
            r#"Bearer realm="x"#,
            r#"Bearer realm="x\"#,
            r#"Bearer realm="x" scope="y""#,
            r#"Bearer realm="x"scope="y""#,
            r#"Bearer "x""#,
            r"Bearer realm=x\y",
            "Bearer realm=",
            "Bearer realm= ,scope=x y",
            "realm=\"x\"",
            "scope=x, Bearer",
            "Bearer\trealm=x",
            "Negotiate abc==, realm=x",
            "Negotiate abc== def",
            "Bearer realm=\"x\r\ny\"",
            "Bearer realm=\"x\0y\"",
            "Bearer realm=\"\u{e9}\"",
            "Bear\u{e9}r realm=x",
            "Bearer realm=x\r\nSet-Cookie: a=b",
            "Bearer realm==x",
            "Bearer {realm=x}",
        ] {
            assert_eq!(refused(broken), NoChallenge::Form, "{broken:?}");
        }
    }

    // rows: SSRF-08
    #[test]
    fn nothing_is_read_without_end() {
        assert_eq!(refused(&format!("Bearer realm=\"{}\"", "x".repeat(1 << 20))), NoChallenge::Size);
        assert_eq!(refused(&",".repeat(CHALLENGE_BYTES_MAX + 1)), NoChallenge::Size);
        assert_eq!(refused(&"Bearer,".repeat(CHALLENGES_MAX + 1)), NoChallenge::Size);
        assert_eq!(read(&"Bearer,".repeat(CHALLENGES_MAX)).len(), CHALLENGES_MAX);
        let many: Vec<String> = (0..=PARAMETERS_MAX).map(|number| format!("p{number}=x")).collect();
        assert_eq!(refused(&format!("Bearer {}", many.join(","))), NoChallenge::Size);
    }
}
