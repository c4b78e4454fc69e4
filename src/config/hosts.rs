//! Where an issuer's metadata may send us: hosts and ports that the configuration names.
//!
//! A host written in the configuration is trusted to be what it is, a private address included. A host that only a
//! wildcard admits is the metadata's choice: it is contacted at public addresses alone.

use super::{issuers::Endpoints, reader::Table};
use std::collections::BTreeSet;
use url::{Host, Url};

/// The port of https.
const HTTPS_PORT: u16 = 443;

/// How far a connection to a host may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Any address: the host is written in the configuration.
    Anywhere,
    /// Public addresses alone: the host's name comes from a document.
    PublicOnly,
}

/// Why a URL of a document is not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAllowed {
    /// Its host is not one that the configuration names.
    Host(String),
    /// Its port is not one that the configuration names.
    Port(u16),
}

/// The hosts and ports of one issuer.
#[derive(Clone, Debug)]
pub struct AllowedHosts {
    named: BTreeSet<String>,
    /// The part after `*.`.
    under: Vec<String>,
    ports: BTreeSet<u16>,
}

/// One entry of `allowed_hosts`.
pub(super) enum Entry {
    Named(String),
    Under(String),
}

impl AllowedHosts {
    /// The host and port of the issuer itself, those of its configured endpoints, and port 443.
    #[must_use]
    pub fn of(issuer: &str, endpoints: Option<&Endpoints>) -> Self {
        let mut hosts = Self { named: BTreeSet::new(), under: Vec::new(), ports: BTreeSet::from([HTTPS_PORT]) };
        let fixed = endpoints.map(|e| {
            let optional = [&e.revocation, &e.introspection, &e.pushed, &e.jwks].map(Option::as_ref);
            [Some(&e.authorization), Some(&e.token)].into_iter().chain(optional)
        });
        let fixed = fixed.into_iter().flatten().flatten().map(String::as_str);
        for url in fixed.chain([issuer]).filter_map(|text| Url::parse(text).ok()) {
            hosts.named.extend(url.host_str().map(str::to_owned));
            hosts.ports.extend(url.port());
        }
        hosts
    }

    /// Adds a host by its name, as written in the configuration.
    #[must_use]
    pub fn and(mut self, host: &str) -> Self {
        self.named.insert(host.to_owned());
        self
    }

    pub(super) fn extend(&mut self, entries: Vec<Entry>, ports: Vec<u16>) {
        for entry in entries {
            match entry {
                Entry::Named(host) => drop(self.named.insert(host)),
                Entry::Under(parent) => self.under.push(parent),
            }
        }
        self.ports.extend(ports);
    }

    /// How far a connection to this URL may reach.
    ///
    /// # Errors
    /// What the configuration would have to name.
    pub fn reach(&self, url: &Url) -> Result<Reach, NotAllowed> {
        let host = url.host_str().unwrap_or_default();
        let reach = if self.named.contains(host) {
            Reach::Anywhere
        } else if matches!(url.host(), Some(Host::Domain(name)) if self.under.iter().any(|parent| is_child(name, parent)))
        {
            Reach::PublicOnly
        } else {
            return Err(NotAllowed::Host(host.to_owned()));
        };
        match url.port_or_known_default() {
            Some(port) if self.ports.contains(&port) => Ok(reach),
            port => Err(NotAllowed::Port(port.unwrap_or_default())),
        }
    }
}

/// Whether a name is one label below another, as a certificate's wildcard would have it (RFC 9525 §6.3).
fn is_child(name: &str, parent: &str) -> bool {
    name.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent)
}

/// `allowed_hosts` and `allowed_ports`.
pub(super) fn entries(table: &Table<'_>) -> (Vec<Entry>, Vec<u16>) {
    let hosts = table.list("allowed_hosts", |text| {
        let host =
            |text: &str| Host::parse(text).map_err(|_| "must hold host names without scheme and port".to_owned());
        let Some(parent) = text.strip_prefix("*.") else { return Ok(Entry::Named(host(text)?.to_string())) };
        match host(parent)? {
            Host::Domain(name) if name.contains('.') && !name.contains('*') => Ok(Entry::Under(name)),
            _ => Err("may hold a wildcard only below a name of at least two labels: \"*.example.com\"".to_owned()),
        }
    });
    let ports = table.integers("allowed_ports", 1..=u64::from(u16::MAX)).into_iter();
    (hosts, ports.filter_map(|port| u16::try_from(port).ok()).collect())
}

/// Parameters that narrowgate puts into the authorization request, and those that would put another request in its
/// place (RFC 9101 §5).
const OURS: [&str; 17] = [
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "max_age",
    "acr_values",
    "prompt",
    "login_hint",
    "code_challenge",
    "code_challenge_method",
    "resource",
    "response_mode",
    "request",
    "request_uri",
    "claims",
];

/// The first parameter that an authorization endpoint brings along in its own query and that is ours to set
/// (RFC 6749 §3.1: a parameter may appear once).
#[must_use]
pub(crate) fn repeats_ours(authorization_endpoint: &Url) -> Option<&'static str> {
    let mut names = authorization_endpoint.query_pairs().map(|(name, _)| name);
    names.find_map(|name| OURS.into_iter().find(|ours| *ours == name))
}

/// The hosts of Microsoft's identity platform, which serves many tenants under one host.
const MANY_TENANTS: [&str; 5] = [
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.partner.microsoftonline.cn",
    "login.windows.net",
    "sts.windows.net",
];

/// Says what is wrong with an issuer identifier that stands for any tenant: whoever has an account anywhere could sign
/// in through it, and the tokens of each tenant name another issuer.
pub(super) fn any_tenant(text: &str, url: &Url) -> Option<&'static str> {
    let first = url.path_segments().and_then(|mut segments| segments.next()).unwrap_or_default();
    let shared = ["common", "organizations", "consumers"].contains(&first.to_ascii_lowercase().as_str());
    let many = url.host_str().is_some_and(|host| MANY_TENANTS.contains(&host));
    if text.contains(['{', '}']) || (many && shared) {
        Some("stands for any tenant; name yours: https://login.microsoftonline.com/<tenant id>/v2.0")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> AllowedHosts {
        let mut hosts = AllowedHosts::of("https://as.example.com:8443/t1", None).and("mtls.example.com");
        hosts.extend(vec![Entry::Under("pool.example.com".to_owned())], vec![9443]);
        hosts
    }

    // rows: DISC-04 SSRF-03 SSRF-04
    #[test]
    fn a_host_and_a_port_are_followed_only_if_the_configuration_names_them() {
        let hosts = hosts();
        let reach = |text: &str| hosts.reach(&Url::parse(text).unwrap());
        for written in ["https://as.example.com:8443/x", "https://as.example.com/x", "https://mtls.example.com:9443/"] {
            assert_eq!(reach(written), Ok(Reach::Anywhere), "{written}");
        }
        assert_eq!(reach("https://a.pool.example.com/x"), Ok(Reach::PublicOnly));
        for host in [
            "a.b.pool.example.com",
            "pool.example.com",
            ".pool.example.com",
            "evil.example.com",
            "as.example.com.",
            "as.example.com.evil.test",
            "127.0.0.1",
            "0x7f.1",
            "2130706433",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "169.254.169.254",
        ] {
            let refused = Url::parse(&format!("https://{host}/x")).map(|url| hosts.reach(&url));
            assert!(matches!(refused, Ok(Err(NotAllowed::Host(_))) | Err(_)), "{host}: {refused:?}");
        }
        for port in [22, 80, 6379, 8080, 8444] {
            assert_eq!(reach(&format!("https://as.example.com:{port}/x")), Err(NotAllowed::Port(port)));
        }
    }

    // rows: DISC-04
    #[test]
    fn an_authorization_endpoint_may_not_bring_our_parameters() {
        let brings = |query: &str| repeats_ours(&Url::parse(&format!("https://as.example/a{query}")).unwrap());
        assert_eq!(brings("?client_id=evil"), Some("client_id"));
        assert_eq!(brings("?x=1&redirect%5furi=https://evil.test"), Some("redirect_uri"));
        assert_eq!(brings("?request_uri=urn:x"), Some("request_uri"));
        for fine in ["", "?p=B2C_1_signin", "?CLIENT_ID=1"] {
            assert_eq!(brings(fine), None, "{fine}");
        }
    }
}
