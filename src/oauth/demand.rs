//! What an API demands of an agent with its challenges (RFC 6750 §3, RFC 9449 §7.1, RFC 9470 §3, RFC 9728 §5.1). The
//! headers come from whoever the agent has called: they are whole and unambiguous, or they are nothing.

use super::challenge::{CHALLENGE_BYTES_MAX, Challenge, NoChallenge, challenges};
use crate::{
    config::plain_https,
    model::{Fault, LoginDemand, Reason, Scope, ScopeSet},
};
use std::time::Duration;
use url::Url;

/// Headers of one answer.
const HEADERS_MAX: usize = 8;
/// Bytes of a URL.
pub(super) const URL_BYTES_MAX: usize = 2048;

/// The request's field.
const HEADERS: &str = "www_authenticate";
/// The error codes of RFC 6750 §3.1, RFC 9449 §7.1 and §9, and RFC 9470 §3.
const ERRORS: [&str; 6] = [
    STEP_UP,
    "insufficient_user_authentication",
    "invalid_token",
    "invalid_request",
    "invalid_dpop_proof",
    "use_dpop_nonce",
];
/// A token was good, but not for enough.
const STEP_UP: &str = "insufficient_scope";

/// The URL of the request that was challenged.
#[derive(Debug)]
pub struct RequestedUrl {
    /// As it was requested, byte for byte.
    pub text: String,
    /// The same, in its parts.
    pub url: Url,
}

impl RequestedUrl {
    /// Reads it.
    ///
    /// # Errors
    /// [`Reason::FieldInvalid`].
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let url = plain_https(text).filter(|_| text.len() <= URL_BYTES_MAX).ok_or_else(|| {
            let wrong = "must be an https URL without userinfo and fragment, of at most 2048 bytes";
            Fault::field(Reason::FieldInvalid, "url", wrong)
        })?;
        Ok(Self { text: text.to_owned(), url })
    }
}

/// What the challenges of one answer say together.
#[derive(Debug, Default)]
pub struct Demand {
    /// The schemes of RFC 6750 and RFC 9449 among them, in lower case, each once.
    pub schemes: Vec<String>,
    /// The error code, if it is one of those that RFCs define.
    pub error: Option<&'static str>,
    /// The scopes that are demanded.
    pub scopes: Vec<Scope>,
    /// Where the API's metadata is said to be. Not looked at yet.
    pub metadata: Option<String>,
    /// How the person must have logged in.
    pub login: LoginDemand,
}

impl Demand {
    /// Reads the values of the `WWW-Authenticate` headers of one answer. Challenges of other schemes are read over.
    ///
    /// # Errors
    /// [`Reason::FieldInvalid`]: one is malformed, two of them contradict each other, or none is for an access token.
    pub fn read(headers: &[String]) -> Result<Self, Fault> {
        if headers.len() > HEADERS_MAX {
            return Err(wrong("holds more than 8 headers"));
        }
        let mut found = Vec::new();
        for header in headers {
            found.extend(challenges(header).map_err(|why| malformed(&why))?);
        }
        found.retain(Challenge::is_oauth);
        if found.is_empty() && !headers.is_empty() {
            return Err(wrong("holds no challenge of the schemes Bearer (RFC 6750) or DPoP (RFC 9449)"));
        }
        let mut schemes: Vec<String> = found.iter().map(|challenge| challenge.scheme.clone()).collect();
        schemes.sort();
        schemes.dedup();
        let scopes = match one(&found, "scope")?.filter(|text| !text.is_empty()) {
            None => Vec::new(),
            Some(text) => {
                let scopes = ScopeSet::parse(text);
                let scopes = scopes.ok_or_else(|| wrong("has a scope that is no list of scope-tokens (RFC 6749 §3.3)"));
                scopes?.iter().cloned().collect()
            }
        };
        // In the order of ERRORS: what can be done about it comes first.
        let error = ERRORS.into_iter().find(|code| found.iter().any(|challenge| challenge.error() == Some(code)));
        Ok(Self {
            schemes,
            error,
            scopes,
            metadata: one(&found, "resource_metadata")?.map(str::to_owned),
            login: login(&found)?,
        })
    }

    /// Whether a token was good, but not for enough (RFC 6750 §3.1).
    #[must_use]
    pub fn is_step_up(&self) -> bool {
        self.error == Some(STEP_UP)
    }
}

/// The value of a parameter, which no two challenges may have differently.
fn one<'c>(found: &'c [Challenge], name: &str) -> Result<Option<&'c str>, Fault> {
    let mut values = found.iter().filter_map(|challenge| challenge.parameter(name));
    let first = values.next();
    if values.all(|value| Some(value) == first) {
        Ok(first)
    } else {
        Err(wrong("holds two challenges that contradict each other"))
    }
}

/// `max_age` and `acr_values` (RFC 9470 §3).
fn login(found: &[Challenge]) -> Result<LoginDemand, Fault> {
    let unusable = || wrong("has a max_age or acr_values that cannot be asked for (RFC 9470 §3)");
    let max_age = match one(found, "max_age")? {
        None => None,
        Some(text) if text.len() <= 10 && text.bytes().all(|b| b.is_ascii_digit()) => {
            Some(Duration::from_secs(text.parse().map_err(|_| unusable())?))
        }
        Some(_) => return Err(unusable()),
    };
    let acr_values = one(found, "acr_values")?.unwrap_or_default();
    let acr_values = acr_values.split(' ').filter(|acr| !acr.is_empty()).map(str::to_owned).collect();
    // Zero seconds ask for a login right now; that is what one second asks for too.
    let max_age = max_age.map(|age: Duration| age.max(Duration::from_secs(1)));
    LoginDemand::parse(&[], max_age, acr_values, String::new()).map_err(|_| unusable())
}

fn malformed(why: &NoChallenge) -> Fault {
    wrong(&match why {
        NoChallenge::Size => format!("holds a header that {why}: at most {CHALLENGE_BYTES_MAX} bytes"),
        NoChallenge::Form | NoChallenge::Duplicate => format!("holds a header that {why}"),
    })
}

fn wrong(what: &str) -> Fault {
    Fault::field(Reason::FieldInvalid, HEADERS, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[&str]) -> Result<Demand, Fault> {
        Demand::read(&headers.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    // rows: SSRF-08
    #[test]
    fn challenges_are_read_together_and_contradict_each_other_nowhere() {
        let all = read(&[
            r#"Basic realm="x", Bearer error="insufficient_scope", scope="b a", resource_metadata="https://h/m""#,
            r#"DPoP algs="ES256", scope="b a""#,
        ])
        .unwrap();
        assert_eq!(all.schemes, ["bearer", "dpop"]);
        assert!(all.is_step_up() && all.metadata.as_deref() == Some("https://h/m"));
        assert_eq!(all.scopes.iter().map(Scope::as_str).collect::<Vec<_>>(), ["a", "b"]);
        let login =
            read(&[r#"Bearer error="insufficient_user_authentication", max_age=0, acr_values="gold silver""#]).unwrap();
        assert_eq!(login.error, Some("insufficient_user_authentication"));
        assert_eq!((login.login.max_age, login.login.acr_values.len()), (Some(Duration::from_secs(1)), 2));
        let none = read(&[]).unwrap();
        assert!(none.schemes.is_empty() && none.error.is_none() && !none.is_step_up());
        // An error of another scheme, or one of nobody's, is none.
        assert_eq!(read(&[r#"Custom error="insufficient_scope", Bearer error="odd""#]).unwrap().error, None);
        for bad in [
            vec![r#"Bearer scope="a", DPoP scope="b""#],
            vec![r#"Bearer resource_metadata="https://h/1""#, r#"Bearer resource_metadata="https://h/2""#],
            vec![r#"Bearer scope="a", scope="a""#],
            vec![r#"Bearer scope="a  b""#],
            vec![r#"Bearer scope="a\"b""#],
            vec![r"Bearer max_age=1h"],
            vec![r"Bearer max_age=99999999999"],
            vec!["Basic realm=x"],
            vec!["Bearer", ""],
            vec!["Bearer"; 9],
        ] {
            let fault = read(&bad).err().unwrap_or_else(|| panic!("{bad:?} was taken"));
            assert_eq!((fault.reason, fault.field.unwrap().0), (Reason::FieldInvalid, HEADERS), "{bad:?}");
        }
    }

    #[test]
    fn only_a_plain_https_url_was_requested() {
        RequestedUrl::parse("https://h.example:8443/a?b=c").unwrap();
        for bad in [
            "",
            "h.example/a",
            "http://h.example/",
            "https://u:p@h.example/",
            "https://u@h.example/",
            "https://h.example/#f",
            "https:/h.example/",
            "https:\\\\h.example\\a",
            "https://h.example/ a",
            "https://h.example/\u{e9}",
            "file:///etc/passwd",
        ] {
            assert!(RequestedUrl::parse(bad).is_err(), "{bad:?}");
        }
        assert!(RequestedUrl::parse(&format!("https://h.example/{}", "x".repeat(URL_BYTES_MAX))).is_err());
    }
}
