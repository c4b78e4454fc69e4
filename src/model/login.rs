//! How a person is to log in: what an agent may ask for with an authorization request (OIDC Core §3.1.2.1).

use std::{fmt, time::Duration};

/// What is asked of a login. What can be checked afterwards (`max_age`, `acr_values`) is held against the ID token.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct LoginDemand {
    /// `prompt`: what the server is to ask the person.
    pub prompt: Vec<Prompt>,
    /// `max_age`: how long ago the person may have logged in.
    pub max_age: Option<Duration>,
    /// `acr_values`: one of these must be how the person logged in; empty for any.
    pub acr_values: Vec<String>,
    /// `login_hint`: whom the server should expect. It names a person, so it is told to nobody else.
    pub hint: Option<String>,
}

/// A value of `prompt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// Nothing: a server that would have to ask answers with an error.
    None,
    /// Log in anew.
    Login,
    /// Consent anew.
    Consent,
    /// Choose an account.
    SelectAccount,
}

impl Prompt {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Login => "login",
            Self::Consent => "consent",
            Self::SelectAccount => "select_account",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::None, Self::Login, Self::Consent, Self::SelectAccount].into_iter().find(|p| p.as_str() == word)
    }
}

impl fmt::Debug for LoginDemand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoginDemand({:?}, {:?}, {:?})", self.prompt, self.max_age, self.acr_values)
    }
}

/// A request field and what is wrong with it.
pub type Wrong = (&'static str, &'static str);

impl LoginDemand {
    /// Values in `acr_values`.
    const ACR_MAX: usize = 16;
    /// Bytes of one of them.
    const ACR_BYTES_MAX: usize = 128;
    /// Bytes of `login_hint`.
    const HINT_BYTES_MAX: usize = 256;
    /// The longest `max_age`.
    const AGE_MAX: Duration = Duration::from_secs(366 * 86_400);

    /// Reads what a request asks.
    ///
    /// # Errors
    /// The field that is wrong.
    pub fn parse(
        prompt: &[String],
        max_age: Option<Duration>,
        acr_values: Vec<String>,
        hint: String,
    ) -> Result<Self, Wrong> {
        let prompts: Option<Vec<Prompt>> = prompt.iter().map(|word| Prompt::parse(word)).collect();
        let prompt = prompts.ok_or(("prompt", "must hold none, login, consent or select_account"))?;
        let repeated = prompt.iter().enumerate().any(|(at, one)| prompt.iter().take(at).any(|earlier| earlier == one));
        if repeated || (prompt.contains(&Prompt::None) && prompt.len() > 1) {
            return Err(("prompt", "may hold each word once, and none goes with no other"));
        }
        if max_age.is_some_and(|age| age.subsec_nanos() != 0 || age.is_zero() || age > Self::AGE_MAX) {
            return Err(("max_age", "must be whole seconds from 1s to 366d"));
        }
        let word =
            |acr: &String| (1..=Self::ACR_BYTES_MAX).contains(&acr.len()) && acr.bytes().all(|b| b.is_ascii_graphic());
        if acr_values.len() > Self::ACR_MAX || !acr_values.iter().all(word) {
            return Err(("acr_values", "must hold at most 16 values of 1 to 128 visible ASCII characters"));
        }
        if hint.len() > Self::HINT_BYTES_MAX || hint.chars().any(char::is_control) {
            return Err(("login_hint", "must be at most 256 bytes without control characters"));
        }
        Ok(Self { prompt, max_age, acr_values, hint: (!hint.is_empty()).then_some(hint) })
    }

    /// Whether anything is asked that only an ID token can prove.
    #[must_use]
    pub const fn needs_proof(&self) -> bool {
        self.max_age.is_some() || !self.acr_values.is_empty()
    }

    /// Whether anything is asked at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// This and what the issuer's configuration demands of every login: the strictest of both.
    ///
    /// # Errors
    /// If no `acr` would do for both.
    pub fn with(mut self, max_age: Option<Duration>, acr_values: &[String]) -> Result<Self, Wrong> {
        self.max_age = self.max_age.into_iter().chain(max_age).min();
        if self.acr_values.is_empty() {
            acr_values.clone_into(&mut self.acr_values);
        } else if !acr_values.is_empty() {
            self.acr_values.retain(|acr| acr_values.contains(acr));
            if self.acr_values.is_empty() {
                return Err(("acr_values", "names none that the issuer's configuration takes"));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // rows: IDT-07
    #[test]
    fn the_strictest_of_both_demands_counts() {
        let seconds = |n| Some(Duration::from_secs(n));
        let texts = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        let asked = |age, acr: &[&str]| LoginDemand::parse(&[], age, texts(acr), String::new()).unwrap();
        let both = asked(seconds(60), &["gold", "silver"]).with(seconds(30), &texts(&["silver", "bronze"])).unwrap();
        assert_eq!((both.max_age, both.acr_values), (seconds(30), texts(&["silver"])));
        let stricter = asked(seconds(10), &["gold"]).with(seconds(30), &[]).unwrap();
        assert_eq!((stricter.max_age, stricter.acr_values), (seconds(10), texts(&["gold"])));
        let silent = asked(None, &[]).with(seconds(30), &texts(&["gold"])).unwrap();
        assert_eq!((silent.max_age, silent.acr_values), (seconds(30), texts(&["gold"])));
        assert_eq!(asked(None, &["bronze"]).with(None, &texts(&["gold"])).unwrap_err().0, "acr_values");
        assert!(
            !format!("{:?}", LoginDemand::parse(&[], None, Vec::new(), "ana@acme.test".to_owned())).contains("ana")
        );
    }
}
