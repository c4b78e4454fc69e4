//! What came back on the redirect URI (RFC 6749 §4.1.2, RFC 9207 §2).

use crate::model::{AuthorizationCode, Fault, Reason, RedirectUri, StateValue};
use url::form_urlencoded;

/// The longest callback URL, in bytes.
pub const CALLBACK_BYTES_MAX: usize = 16 * 1024;

/// The registered error codes of an authorization response (RFC 6749 §4.1.2.1, OIDC Core §3.1.2.6).
const ERRORS: [&str; 13] = [
    "invalid_request",
    "unauthorized_client",
    "access_denied",
    "unsupported_response_type",
    "invalid_scope",
    "server_error",
    "temporarily_unavailable",
    "interaction_required",
    "login_required",
    "account_selection_required",
    "consent_required",
    "invalid_target",
    "unmet_authentication_requirements",
];

/// The answer of the authorization endpoint.
pub enum Answer {
    /// A code.
    Code(AuthorizationCode),
    /// An error, by its registered name, or `unregistered`. Its text is dropped.
    Error(&'static str),
}

/// The parameters of an authorization response.
pub struct Callback {
    /// Code or error.
    pub answer: Answer,
    /// The state, where there was one.
    pub state: Option<StateValue>,
    /// The issuer identifier, where there was one.
    pub iss: Option<String>,
    /// The URL without its response parameters, where the whole URL was given.
    pub arrived_at: Option<String>,
}

impl Callback {
    /// Reads the separate fields.
    ///
    /// # Errors
    /// [`Reason::CodeSyntax`].
    pub fn from_fields(code: String, state: String, iss: String) -> Result<Self, Fault> {
        let code = AuthorizationCode::parse(code).ok_or_else(|| code_syntax("response.code"))?;
        if iss.len() > CALLBACK_BYTES_MAX || state.len() > CALLBACK_BYTES_MAX {
            return Err(Fault::field(Reason::FieldInvalid, "response", "is longer than 16 KiB"));
        }
        Ok(Self {
            answer: Answer::Code(code),
            state: (!state.is_empty()).then(|| StateValue::new(state)),
            iss: (!iss.is_empty()).then_some(iss),
            arrived_at: None,
        })
    }

    /// Reads a whole callback URL, or its path and query. Unknown parameters are ignored, known ones may appear once.
    ///
    /// # Errors
    /// [`Reason::FieldInvalid`], [`Reason::ParamDuplicate`], [`Reason::ImplicitResponse`], [`Reason::CodeSyntax`].
    pub fn from_url(url: &str) -> Result<Self, Fault> {
        let bad = |wrong: &str| Fault::field(Reason::FieldInvalid, "callback_url", wrong);
        if url.len() > CALLBACK_BYTES_MAX || !url.bytes().all(|b| (0x21..=0x7e).contains(&b)) {
            return Err(bad("must be printable ASCII of at most 16 KiB, without spaces"));
        }
        let (url, fragment) = url.split_once('#').map_or((url, None), |(u, f)| (u, Some(f)));
        if fragment.is_some_and(|f| f.contains("_token=")) {
            return Err(Fault::field(Reason::ImplicitResponse, "callback_url", "has a token in its fragment"));
        }
        let (base, query) = url.split_once('?').ok_or_else(|| bad("has no query"))?;
        let mut known = Known::default();
        let mut rest = form_urlencoded::Serializer::new(String::new());
        let mut foreign = false;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if let Some(slot) = known.slot(&name) {
                if slot.replace(value.into_owned()).is_some() {
                    return Err(Fault::field(Reason::ParamDuplicate, "callback_url", "has a parameter twice"));
                }
            } else {
                foreign = true;
                rest.append_pair(&name, &value);
            }
        }
        let arrived_at = if foreign { format!("{base}?{}", rest.finish()) } else { base.to_owned() };
        known.into_callback(arrived_at)
    }

    /// Whether the URL it arrived at is the redirect URI: host and path byte for byte, and every parameter that is
    /// pinned. Parameters that the server added beside its own do not count.
    #[must_use]
    pub fn arrived_on(&self, redirect: &RedirectUri) -> bool {
        let Some(arrived) = &self.arrived_at else { return true };
        let parts = |text: &str| {
            let (bare, query) = text.split_once('?').unwrap_or((text, ""));
            let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            (bare.to_owned(), pairs)
        };
        let ((arrived, given), (pinned, wanted)) = (parts(arrived), parts(redirect.as_str()));
        let authority = pinned.find("://").and_then(|i| pinned.get(i + 3..));
        let path = authority.and_then(|rest| rest.find('/').and_then(|i| rest.get(i..)));
        let same_place = arrived == pinned || (arrived.starts_with('/') && Some(arrived.as_str()) == path);
        same_place && wanted.iter().all(|pair| given.contains(pair))
    }

    /// Whether it says at which host it arrived.
    #[must_use]
    pub fn says_where(&self) -> bool {
        self.arrived_at.as_ref().is_some_and(|at| !at.starts_with('/'))
    }
}

/// The parameters that mean something to us.
#[derive(Default)]
struct Known {
    code: Option<String>,
    state: Option<String>,
    iss: Option<String>,
    error: Option<String>,
    implicit: Option<String>,
    text: Option<String>,
    uri: Option<String>,
}

impl Known {
    fn slot(&mut self, name: &str) -> Option<&mut Option<String>> {
        Some(match name {
            "code" => &mut self.code,
            "state" => &mut self.state,
            "iss" => &mut self.iss,
            "error" => &mut self.error,
            "error_description" => &mut self.text,
            "error_uri" => &mut self.uri,
            "access_token" | "id_token" | "token" => &mut self.implicit,
            _ => return None,
        })
    }

    fn into_callback(self, arrived_at: String) -> Result<Callback, Fault> {
        let field = "callback_url";
        if self.implicit.map(StateValue::new).is_some() {
            return Err(Fault::field(Reason::ImplicitResponse, field, "has a token in its query"));
        }
        let answer = match (self.code, self.error) {
            (Some(code), None) => Answer::Code(AuthorizationCode::parse(code).ok_or_else(|| code_syntax(field))?),
            (None, Some(error)) => Answer::Error(ERRORS.into_iter().find(|e| *e == error).unwrap_or("unregistered")),
            (Some(_), Some(_)) => return Err(Fault::field(Reason::FieldInvalid, field, "has both code and error")),
            (None, None) => return Err(Fault::field(Reason::FieldRequired, field, "has neither code nor error")),
        };
        Ok(Callback { answer, state: self.state.map(StateValue::new), iss: self.iss, arrived_at: Some(arrived_at) })
    }
}

fn code_syntax(field: &'static str) -> Fault {
    Fault::field(Reason::CodeSyntax, field, "must be 1 to 4096 visible ASCII characters")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PinnedRedirect;

    fn reason(url: &str) -> Option<Reason> {
        Callback::from_url(url).err().map(|fault| fault.reason)
    }

    #[test]
    fn parameters_may_appear_once() {
        assert_eq!(reason("/cb?code=a&code=b&state=s"), Some(Reason::ParamDuplicate));
        assert_eq!(reason("/cb?code=a&state=s&state=s"), Some(Reason::ParamDuplicate));
        assert_eq!(reason("/cb?code=a&state=s&session_state=x&session_state=y"), None);
    }

    #[test]
    fn codes_are_visible_ascii_and_bounded() {
        let too_long = format!("/cb?state=s&code={}", "c".repeat(4097));
        for url in [
            "/cb?state=s&code=",
            "/cb?state=s&code=a%0d%0ab",
            "/cb?state=s&code=a%00",
            "/cb?state=s&code=%c3%a9",
            &too_long,
        ] {
            assert_eq!(reason(url), Some(Reason::CodeSyntax), "{url}");
        }
        assert!(reason(&format!("/cb?state=s&code={}", "c".repeat(4096))).is_none());
    }

    #[test]
    fn tokens_in_the_front_channel_are_refused() {
        for url in ["/cb?access_token=x&state=s", "/cb?id_token=x&code=c", "/cb?code=c&state=s#access_token=x"] {
            assert_eq!(reason(url), Some(Reason::ImplicitResponse), "{url}");
        }
    }

    #[test]
    fn the_callback_must_arrive_on_the_redirect_uri() {
        let redirect = PinnedRedirect::parse("http://127.0.0.1/cb").unwrap().admit("http://127.0.0.1:9000/cb").unwrap();
        let arrives = |url: &str| Callback::from_url(url).unwrap().arrived_on(&redirect);
        assert!(arrives("http://127.0.0.1:9000/cb?code=a&state=s"));
        assert!(arrives("/cb?code=a&state=s&hd=example"));
        assert!(!arrives("http://127.0.0.1:9001/cb?code=a&state=s"));
        assert!(!arrives("/cb/?code=a&state=s"));
        assert!(!arrives("https://evil.test/cb?code=a&state=s"));
    }

    #[test]
    fn errors_become_registered_names_and_their_text_is_dropped() {
        let named = Callback::from_url("/cb?error=access_denied&error_description=x%0ay&state=s").unwrap();
        assert!(matches!(named.answer, Answer::Error("access_denied")));
        let odd = Callback::from_url("/cb?error=%1b[2J&state=s").unwrap();
        assert!(matches!(odd.answer, Answer::Error("unregistered")));
    }
}
