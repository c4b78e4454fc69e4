//! Redirect URIs (RFC 6749 §3.1.2, RFC 8252 §7.3): pinned by configuration, compared byte for byte.

/// The longest redirect URI, in bytes.
pub const REDIRECT_BYTES_MAX: usize = 2048;

/// A redirect URI that matched a pinned one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RedirectUri(String);

impl RedirectUri {
    /// The URI of a flow that redirects nobody.
    #[must_use]
    pub const fn none() -> Self {
        Self(String::new())
    }

    /// The URI, exactly as it was pinned or, for a loopback literal, given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A redirect URI from the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PinnedRedirect {
    uri: String,
    /// For `http` loopback IP literals without a port: what stands before and after the port.
    loopback: Option<(String, String)>,
}

impl PinnedRedirect {
    /// Accepts an absolute `https` URI, or `http` on a loopback IP literal, without fragment and userinfo.
    ///
    /// # Errors
    /// What is wrong, for the configuration's error message.
    pub fn parse(uri: &str) -> Result<Self, &'static str> {
        if uri.len() > REDIRECT_BYTES_MAX || !uri.bytes().all(|b| (0x21..=0x7e).contains(&b)) {
            return Err("is not printable ASCII of at most 2048 bytes");
        }
        if uri.contains('#') {
            return Err("has a fragment (RFC 6749 §3.1.2)");
        }
        if let Some(rest) = uri.strip_prefix("https://") {
            let authority = rest.split(['/', '?']).next().unwrap_or_default();
            let plain = !authority.is_empty() && !authority.contains('@');
            return if plain {
                Ok(Self { uri: uri.to_owned(), loopback: None })
            } else {
                Err("has no host, or has userinfo")
            };
        }
        for host in ["http://127.0.0.1", "http://[::1]"] {
            let Some(rest) = uri.strip_prefix(host) else { continue };
            if rest.starts_with('/') {
                return Ok(Self { uri: uri.to_owned(), loopback: Some((host.to_owned(), rest.to_owned())) });
            }
            let after_port = rest.strip_prefix(':').and_then(split_port);
            if after_port.is_some_and(|path| path.starts_with('/')) {
                return Ok(Self { uri: uri.to_owned(), loopback: None });
            }
        }
        Err("must be https, or http on the literal 127.0.0.1 or [::1] with a path (RFC 8252 §7.3)")
    }

    /// The URI as pinned.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.uri
    }

    /// The given URI, if it is this one byte for byte, or differs only by a port after a pinned loopback literal.
    #[must_use]
    pub fn admit(&self, given: &str) -> Option<RedirectUri> {
        if given.len() > REDIRECT_BYTES_MAX {
            return None;
        }
        let exact = given == self.uri;
        let other_port = self.loopback.as_ref().is_some_and(|(before, after)| {
            let port_and_rest = given.strip_prefix(before.as_str()).and_then(|rest| rest.strip_prefix(':'));
            port_and_rest.and_then(split_port).is_some_and(|rest| rest == after)
        });
        (exact || other_port).then(|| RedirectUri(given.to_owned()))
    }
}

/// What follows a canonical port number 1..=65535, if one stands at the beginning.
fn split_port(text: &str) -> Option<&str> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (port, rest) = text.split_at_checked(digits)?;
    let canonical = !port.starts_with('0') && port.parse::<u16>().is_ok();
    canonical.then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pinned_bytes_match() {
        let pin = PinnedRedirect::parse("https://app.example/cb").unwrap();
        assert!(pin.admit("https://app.example/cb").is_some());
        for other in [
            "https://app.example/cb/",
            "https://app.example/c%62",
            "https://app.example/CB",
            "https://app.example/cb?x=1",
            "https://app.example/a/../cb",
            "https://u@app.example/cb",
            "https://app.example:443/cb",
            "HTTPS://app.example/cb",
            "https://app.example/cb%2e",
        ] {
            assert!(pin.admit(other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_loopback_literal_may_vary_in_port_alone() {
        let pin = PinnedRedirect::parse("http://127.0.0.1/cb").unwrap();
        assert!(pin.admit("http://127.0.0.1:51004/cb").is_some());
        for other in [
            "http://localhost:1/cb",
            "http://127.0.0.1.evil.test/cb",
            "http://127.1:9/cb",
            "http://0x7f000001/cb",
            "http://127.0.0.1:9@evil/cb",
            "http://127.0.0.1:0/cb",
            "http://127.0.0.1:051004/cb",
            "http://127.0.0.1:65536/cb",
            "http://127.0.0.1:51004/cb?next=1",
            "http://[::1]:51004/cb",
        ] {
            assert!(pin.admit(other).is_none(), "{other}");
        }
        let fixed = PinnedRedirect::parse("http://127.0.0.1:8765/cb").unwrap();
        assert!(fixed.admit("http://127.0.0.1:8766/cb").is_none());
    }

    #[test]
    fn unsafe_pins_are_refused() {
        for bad in [
            "http://app.example/cb",
            "https://a/cb#x",
            "http://localhost/cb",
            "/cb",
            "https://u@a/cb",
            "https:///cb",
            "http://127.0.0.1@evil/cb",
            "http://127.0.0.1",
            "com.example:/cb",
        ] {
            assert!(PinnedRedirect::parse(bad).is_err(), "{bad}");
        }
    }
}
