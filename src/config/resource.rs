//! Where an API is: which URLs are its own, and whether its own metadata (RFC 9728) is read.

use super::{
    catalog::{Api, Catalog},
    pem,
    reader::Table,
};
use rustls::pki_types::CertificateDer;
use std::sync::Arc;
use url::Url;

impl Catalog {
    /// The declared APIs that a URL belongs to: it lies under their identifier, the longest there is. Several have the
    /// same place and an issuer each. In the order of their aliases.
    #[must_use]
    pub fn apis_at(&self, url: &Url) -> Vec<&Arc<Api>> {
        let (mut longest, mut found) = (0, Vec::new());
        for api in self.apis.values() {
            let Some(length) = lies_under(url, &api.identifier) else { continue };
            if length > longest {
                longest = length;
                found.clear();
            }
            if length == longest {
                found.push(api);
            }
        }
        found
    }
}

/// How much of a URL's path an identifier takes: the origin is the same, and the path goes on at a `/` or not at all.
fn lies_under(url: &Url, identifier: &str) -> Option<usize> {
    let base = plain_https(identifier).filter(|base| base.query().is_none() && base.origin() == url.origin())?;
    let rest = url.path().strip_prefix(base.path())?;
    (base.path().ends_with('/') || rest.is_empty() || rest.starts_with('/')).then(|| base.path().len())
}

/// A URL of https with a host, without userinfo and fragment. Its text is what a reader of any kind takes it for: no
/// blank, no control character, no backslash.
pub(crate) fn plain_https(text: &str) -> Option<Url> {
    let clean = text.bytes().all(|b| (0x21..=0x7e).contains(&b) && b != b'\\');
    let url = Url::parse(text).ok().filter(|url| clean && url.scheme() == "https" && url.has_host())?;
    let bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    (bare && text.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"))).then_some(url)
}

/// `metadata_ca`: whose certificates an API's own server may show when its metadata is read.
pub(super) fn metadata_roots(table: &Table<'_>, identifier: Option<&str>) -> Option<Vec<CertificateDer<'static>>> {
    let path = table.path("metadata_ca")?;
    if identifier.is_some_and(|text| plain_https(text).is_none_or(|url| url.query().is_some())) {
        table.wrong_at(
            "metadata_ca",
            "needs an `identifier` that is an https URL without query, or there is nobody to ask",
            Some("take it out: the catalogue alone answers then"),
        );
    }
    pem::authorities(&path).map_err(|wrong| table.wrong_at("metadata_ca", wrong, None)).ok()
}

#[cfg(test)]
mod tests {
    use super::lies_under;
    use url::Url;

    fn under(url: &str, identifier: &str) -> bool {
        lies_under(&Url::parse(url).unwrap(), identifier).is_some()
    }

    // rows: SSRF-01
    #[test]
    fn a_url_lies_under_an_identifier_on_a_segment_boundary() {
        for url in ["/api", "/api/", "/api/a/b?x=1", "/api?x=1", "/x/../api/y", "/api//"] {
            assert!(under(&format!("https://crm.example{url}"), "https://crm.example/api"), "{url}");
        }
        for url in
            ["/", "/ap", "/apis", "/api-v2", "/API", "/api%2fx", "/api/../x", "/api/%2e%2e/x", "/x/api", "/;/api"]
        {
            assert!(!under(&format!("https://crm.example{url}"), "https://crm.example/api"), "{url}");
        }
        for (url, identifier) in [
            ("https://crm.example/x", "https://crm.example"),
            ("https://crm.example/x", "https://crm.example/"),
            ("https://crm.example:443/x", "https://crm.example/"),
            ("https://crm.example/api/", "https://crm.example/api/"),
            ("https://CRM.example/x", "https://crm.example/"),
        ] {
            assert!(under(url, identifier), "{url} {identifier}");
        }
        for (url, identifier) in [
            ("https://crm.example/api", "https://crm.example/api/"),
            ("http://crm.example/x", "https://crm.example/"),
            ("https://crm.example:8443/x", "https://crm.example/"),
            ("https://crm.example.evil/x", "https://crm.example/"),
            ("https://a.crm.example/x", "https://crm.example/"),
            ("https://crm.example./x", "https://crm.example/"),
            ("http://crm.example/x", "http://crm.example/"),
            ("https://crm.example/x", "urn:crm"),
        ] {
            assert!(!under(url, identifier), "{url} {identifier}");
        }
    }
}
