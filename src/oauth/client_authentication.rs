//! How narrowgate proves to an authorization server which client it is: decided by the configuration, once for each
//! client, and applied here to every request that is POSTed there: token, refresh, revocation, introspection, pushed authorization.
//!
//! Invariant: nothing can be POSTed but an [`Authenticated`], and only this file makes one, with exactly one method in
//! it (RFC 6749 §2.3). Each is for one HTTP request: a request that is sent again is made again, with an assertion of
//! its own.

use super::{
    AuthorizationServers,
    client_assertion::{self, Speaks},
    jwt_svid, wiped,
};
use crate::{
    audit::{Code, Event, Severity},
    config::{Client, ClientAuth, Config, Issuer},
    model::{ClientAssertion, ClientSecret, Fault, Reason},
    transaction::Opening,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderValue;
use url::form_urlencoded::{self, Serializer};
use zeroize::Zeroizing;

/// `client_assertion_type` of an assertion of ours (RFC 7523 §2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// `client_assertion_type` of a JWT-SVID (draft-ietf-oauth-spiffe-client-auth).
const JWT_SPIFFE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";

/// A request that proves who sends it, for one attempt.
pub(super) struct Authenticated {
    pub(super) form: Zeroizing<String>,
    pub(super) authorization: Option<HeaderValue>,
}

impl AuthorizationServers {
    /// Adds to a form what proves the client of a transaction.
    ///
    /// # Errors
    /// [`Reason::ClientCredentialUnusable`], [`Reason::Internal`]. Nothing was sent.
    pub(super) fn authenticated(&self, opening: &Opening, form: &Zeroizing<String>) -> Result<Authenticated, Fault> {
        let (client, issuer) = (&opening.client, &opening.issuer);
        let client_id = client.client_id.as_str();
        let form = match &client.auth {
            // RFC 8705 §2: the certificate proves who the client_id says.
            ClientAuth::TlsClientAuth(_) | ClientAuth::SelfSignedTlsClientAuth => {
                extended(form, &[("client_id", client_id)])
            }
            ClientAuth::PrivateKeyJwt(key) => {
                let legacy = issuer.assertions.legacy_aud;
                let audience = if legacy { opening.endpoints.token.as_str() } else { issuer.url.as_str() };
                let speaks = Speaks { client_id, audience };
                let now = self.clock.wall();
                let assertion = client_assertion::sign(key, &issuer.assertions, &speaks, &*self.entropy, now)?;
                asserted(form, client_id, JWT_BEARER, &assertion)
            }
            ClientAuth::SpiffeJwt(file) => {
                let svid = jwt_svid::read(file, issuer, self.clock.wall())?;
                asserted(form, client_id, JWT_SPIFFE, &svid)
            }
            ClientAuth::ClientSecretPost(secret) => posted(form, client_id, secret),
            ClientAuth::ClientSecretBasic(secret) => {
                let authorization = Some(basic(client_id, secret)?);
                return Ok(Authenticated { form: extended(form, &[("client_id", client_id)]), authorization });
            }
        };
        Ok(Authenticated { form, authorization: None })
    }

    /// Whether the client of a transaction could prove itself now: asked before a code is spent for nothing.
    ///
    /// # Errors
    /// [`Reason::ClientCredentialUnusable`].
    pub(super) fn can_authenticate(&self, opening: &Opening) -> Result<(), Fault> {
        match &opening.client.auth {
            ClientAuth::SpiffeJwt(file) => jwt_svid::read(file, &opening.issuer, self.clock.wall()).map(drop),
            _ => Ok(()),
        }
    }

    /// Tells the SOC at each start which clients prove themselves in a way that is weaker than it need be.
    pub fn tell_weak_authentication(&self, config: &Config) {
        for client in config.clients.values() {
            let Some(issuer) = config.issuers.get(&client.issuer) else { continue };
            let Some(setting) = weakness(client, issuer) else { continue };
            tracing::warn!(client = %client.alias, issuer = %issuer.alias, setting, "this client's authentication is weaker than it need be");
            let mut event = Event::new(Code::ClientAuthenticationWeak, "lifecycle").through(client, issuer);
            event.severity = Severity::Medium;
            self.recorder.report(event.with("setting", setting).with("method", client.auth.as_str()));
        }
    }
}

/// The switch that makes a client's authentication weaker, where one does.
fn weakness(client: &Client, issuer: &Issuer) -> Option<&'static str> {
    match &client.auth {
        ClientAuth::ClientSecretBasic(_) | ClientAuth::ClientSecretPost(_) => Some("allow_client_secret"),
        ClientAuth::PrivateKeyJwt(_) if issuer.assertions.legacy_aud => Some("legacy_aud"),
        _ => None,
    }
}

/// A form with more in it, in a buffer of its own that never moves.
fn extended(form: &str, pairs: &[(&str, &str)]) -> Zeroizing<String> {
    let values: Vec<&str> = pairs.iter().map(|(_, value)| *value).chain([form]).collect();
    let mut longer = wiped::roomy(&values);
    longer.push_str(form);
    let mut longer = Serializer::new(longer);
    longer.extend_pairs(pairs);
    Zeroizing::new(longer.finish())
}

#[expect(clippy::disallowed_methods, reason = "this is the wire")]
fn asserted(form: &str, client_id: &str, kind: &str, assertion: &ClientAssertion) -> Zeroizing<String> {
    let pairs = [("client_id", client_id), ("client_assertion_type", kind), ("client_assertion", assertion.reveal())];
    extended(form, &pairs)
}

#[expect(clippy::disallowed_methods, reason = "this is the wire")]
fn posted(form: &str, client_id: &str, secret: &ClientSecret) -> Zeroizing<String> {
    extended(form, &[("client_id", client_id), ("client_secret", secret.reveal())])
}

/// The Authorization header of RFC 6749 §2.3.1: both parts are form-encoded before they are joined.
#[expect(clippy::disallowed_methods, reason = "this is the wire")]
fn basic(client_id: &str, secret: &ClientSecret) -> Result<HeaderValue, Fault> {
    let mut both = Zeroizing::new(wiped::roomy(&[client_id, secret.reveal()]));
    both.extend(form_urlencoded::byte_serialize(client_id.as_bytes()));
    both.push(':');
    both.extend(form_urlencoded::byte_serialize(secret.reveal().as_bytes()));
    let text = Zeroizing::new(format!("Basic {}", Zeroizing::new(STANDARD.encode(both.as_bytes())).as_str()));
    let mut value = HeaderValue::from_str(&text).map_err(|_| Fault::new(Reason::Internal))?;
    value.set_sensitive(true);
    Ok(value)
}
