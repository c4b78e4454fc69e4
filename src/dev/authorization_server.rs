//! The authorization server behind `narrowgate demo`: small and strict, on 127.0.0.1 only, with
//! everything in memory. It is a real one: codes are single-use, PKCE and certificates are
//! checked, tokens are signed. Only the person is not: "ana" approves whatever is in order.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::StatusCode;
use http::header::AUTHORIZATION;
use tokio_rustls::TlsConnector;
use url::Url;

use super::ca::Identity;
use super::oauth_authorize::{AUTHORIZE, Front};
use super::oauth_http::{self, Listener, browser_tls, server_tls};
use super::oauth_jwt::TokenKey;
use super::oauth_proof::{DPOP, Seen};
use super::oauth_state::{Counters, State, is_scope_token, is_vschar};
use super::oauth_store::Store;
use super::oauth_token::Tokens;
use super::resource_server::Api;

/// The longest lifetime of an access token, in seconds: a day.
const MAX_TOKEN_LIFETIME_SECS: u64 = 86_400;

/// Why the server could not start, or the browser could not approve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DevError {
    /// The setup cannot be served.
    #[error("the setup is wrong: {0}")]
    Setup(&'static str),
    /// A certificate or a key is not readable.
    #[error("cannot read a certificate or key: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The clients' CA cannot be used.
    #[error("cannot use the clients' CA: {0}")]
    ClientCa(#[from] rustls::server::VerifierBuilderError),
    /// A socket failed.
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    /// Generating a key or random bytes failed.
    #[error("no key or random bytes")]
    Crypto,
    /// A token could not be signed.
    #[error("cannot sign a token: {0}")]
    Jwt(#[from] jsonwebtoken::errors::Error),
    /// The URL to approve is not of this server's authorization endpoint.
    #[error("not a URL of this server's authorization endpoint")]
    NotAuthorizationUrl,
    /// The browser's request could not be written.
    #[error("cannot write the request: {0}")]
    Request(#[from] http::Error),
    /// The browser's request failed.
    #[error("HTTP failed: {0}")]
    Http(#[from] hyper::Error),
    /// The answer to the browser was larger than 64 KiB.
    #[error("the answer is too large")]
    AnswerTooLarge,
    /// The browser got no answer in 30 seconds.
    #[error("no answer in time")]
    TimedOut,
    /// The authorization endpoint did not redirect.
    #[error("not approved, status {status}: {reason}")]
    NotApproved {
        /// The HTTP status.
        status: u16,
        /// What the page says.
        reason: String,
    },
}

impl From<aws_lc_rs::error::Unspecified> for DevError {
    fn from(_: aws_lc_rs::error::Unspecified) -> DevError {
        DevError::Crypto
    }
}

/// What the server serves.
#[derive(Debug)]
pub struct ServerSetup {
    /// The certificate of both listeners, with 127.0.0.1 among its IP names.
    pub server: Identity,
    /// The CA of the clients' certificates (RFC 8705 §2.1), PEM. [`AuthorizationServer::approve`]
    /// trusts it as well, so it must have issued `server` too.
    pub client_ca_pem: String,
    /// The registered clients (RFC 6749 §2).
    pub clients: Vec<DevClient>,
    /// The APIs that tokens are for (RFC 8707 §2).
    pub resources: Vec<DevResource>,
}

/// A client registration (RFC 6749 §2).
#[derive(Debug, Clone)]
pub struct DevClient {
    /// The client identifier (RFC 6749 §2.2).
    pub client_id: String,
    /// The only URI name of the client's certificate (RFC 8705 §2.1.2).
    pub san_uri: String,
    /// The redirect URIs, byte for byte but for the port of a loopback IP literal (RFC 8252 §7.3).
    pub redirect_uris: Vec<String>,
    /// How long its access tokens live, in seconds, up to a day.
    pub token_lifetime_secs: u64,
    /// Whether its access tokens are bound to a key of its own (`dpop_bound_access_tokens`, RFC 9449 §5.2).
    pub dpop_bound: bool,
}

/// An API that tokens are for.
#[derive(Debug, Clone)]
pub struct DevResource {
    /// The resource indicator (RFC 8707 §2), which is also the audience (RFC 9068 §3).
    pub identifier: String,
    /// Its scopes (RFC 6749 §3.3).
    pub scopes: Vec<String>,
}

/// What an access token that holds up says (RFC 9068 §2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFacts {
    /// The scopes, separated by spaces.
    pub scope: String,
    /// The resource it is for.
    pub audience: String,
    /// When it ends, in seconds since 1970.
    pub expires_at: u64,
}

/// A running server. Dropping it stops it.
pub struct AuthorizationServer {
    state: Arc<State>,
    address: SocketAddr,
    browser: TlsConnector,
    front: Listener,
    tokens: Listener,
    api: Listener,
    api_address: SocketAddr,
}

impl AuthorizationServer {
    /// Starts the listeners on free ports of 127.0.0.1: one for browsers and metadata, one for
    /// clients with certificates (RFC 8705 §5), one for the APIs that the tokens are for. Must be called within a Tokio runtime.
    pub async fn start(setup: ServerSetup) -> Result<AuthorizationServer, DevError> {
        validate(&setup)?;
        let front_tls = server_tls(&setup.server, None)?;
        let token_tls = server_tls(&setup.server, Some(&setup.client_ca_pem))?;
        let api_tls = server_tls(&setup.server, None)?;
        let browser = browser_tls(&setup.client_ca_pem)?;
        let (front_socket, address) = oauth_http::bind().await?;
        let (token_socket, token_address) = oauth_http::bind().await?;
        let (api_socket, api_address) = oauth_http::bind().await?;
        let state = Arc::new(State {
            issuer: format!("https://{address}"),
            token_base: format!("https://{token_address}"),
            clients: setup.clients,
            resources: setup.resources,
            api_base: format!("https://{api_address}"),
            key: TokenKey::generate()?,
            store: Mutex::new(Store::default()),
            seen: Seen::default(),
            counters: Counters::default(),
        });
        Ok(AuthorizationServer {
            front: Listener::start(front_socket, front_tls, Front(Arc::clone(&state))),
            tokens: Listener::start(token_socket, token_tls, Tokens(Arc::clone(&state))),
            api: Listener::start(api_socket, api_tls, Api(Arc::clone(&state))),
            state,
            address,
            api_address,
            browser,
        })
    }

    /// The issuer identifier (RFC 8414 §2): `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.state.issuer
    }

    /// The token endpoint for clients with certificates (RFC 8705 §5).
    #[must_use]
    pub fn token_endpoint(&self) -> String {
        format!("{}/token", self.state.token_base)
    }

    /// How many TCP connections the token listener accepted, failed handshakes included.
    #[must_use]
    pub fn token_connections(&self) -> u64 {
        self.state.counters.token_connections.get()
    }

    /// How many HTTP requests reached the token endpoint (RFC 6749 §3.2), good or bad.
    #[must_use]
    pub fn token_requests(&self) -> u64 {
        self.state.counters.token_requests.get()
    }

    /// How many codes were exchanged for tokens (RFC 6749 §4.1.3).
    #[must_use]
    pub fn codes_redeemed(&self) -> u64 {
        self.state.counters.codes_redeemed.get()
    }

    /// How many refresh tokens were exchanged for tokens (RFC 6749 §6).
    #[must_use]
    pub fn refreshes(&self) -> u64 {
        self.state.counters.refreshes.get()
    }

    /// How often a code came a second time, which revokes its tokens (RFC 6749 §4.1.2).
    #[must_use]
    pub fn codes_replayed(&self) -> u64 {
        self.state.counters.codes_replayed.get()
    }

    /// How many live tokens the revocation endpoint ended (RFC 7009 §2).
    #[must_use]
    pub fn revocations(&self) -> u64 {
        self.state.counters.revocations.get()
    }

    /// Opens an authorization URL as the person's browser does, over HTTPS, and returns the
    /// callback URL it is redirected to (RFC 6749 §4.1.2). It is not followed.
    pub async fn approve(&self, authorization_url: &str) -> Result<String, DevError> {
        let url = Url::parse(authorization_url).map_err(|_| DevError::NotAuthorizationUrl)?;
        let same_origin = url.origin().ascii_serialization() == self.state.issuer;
        if !same_origin || url.path() != AUTHORIZE {
            return Err(DevError::NotAuthorizationUrl);
        }
        let target = format!("{AUTHORIZE}?{}", url.query().unwrap_or_default());
        let (status, location, body) = oauth_http::get(&self.browser, self.address, &target, &[]).await?;
        match location {
            Some(location) if status == StatusCode::FOUND => Ok(location),
            _ => Err(DevError::NotApproved { status: status.as_u16(), reason: body.trim_end().to_owned() }),
        }
    }

    /// Where the APIs are: an origin (RFC 6454).
    #[must_use]
    pub fn api_origin(&self) -> &str {
        &self.state.api_base
    }

    /// Calls an API as an agent does, over HTTPS: GET with a token, and with a proof where there is one (RFC 9449 §7.1).
    /// Gives the status.
    pub async fn call_api(
        &self,
        path: &str,
        (scheme, access_token): (&str, &str),
        proof: Option<&str>,
    ) -> Result<u16, DevError> {
        let authorization = format!("{scheme} {access_token}");
        let mut headers = vec![(AUTHORIZATION, authorization.as_str())];
        headers.extend(proof.map(|proof| (DPOP, proof)));
        let (status, ..) = oauth_http::get(&self.browser, self.api_address, path, &headers).await?;
        Ok(status.as_u16())
    }

    /// Judges an access token as a resource server does: signature, type, issuer, audience and
    /// end (RFC 9068 §4), and then as introspection does (RFC 7662 §2.2), that it is not revoked.
    #[must_use]
    pub fn accepts(&self, access_token: &str) -> Option<TokenFacts> {
        let claims = self.state.judge(access_token)?;
        Some(TokenFacts { scope: claims.scope, audience: claims.aud, expires_at: claims.exp })
    }

    /// Closes the listeners and ends their connections.
    pub async fn shutdown(self) {
        self.front.shutdown().await;
        self.tokens.shutdown().await;
        self.api.shutdown().await;
    }
}

/// Refuses a setup that would serve something else than it says.
fn validate(setup: &ServerSetup) -> Result<(), DevError> {
    let is_uri = |uri: &String| Url::parse(uri).is_ok() && !uri.contains('#');
    let twice = |names: Vec<&String>| {
        let unique: std::collections::BTreeSet<_> = names.iter().collect();
        unique.len() != names.len()
    };
    let clients = &setup.clients;
    let resources = &setup.resources;
    let scopes_of =
        |api: &DevResource| api.scopes.iter().all(|scope| is_scope_token(scope)) && !twice(api.scopes.iter().collect());
    let lives = |client: &DevClient| (1..=MAX_TOKEN_LIFETIME_SECS).contains(&client.token_lifetime_secs);
    let checks = [
        (!clients.iter().all(|client| is_vschar(&client.client_id)), "a client_id is not 1*VSCHAR (RFC 6749 A.1)"),
        (twice(clients.iter().map(|client| &client.client_id).collect()), "a client_id appears twice"),
        (!clients.iter().all(|client| is_uri(&client.san_uri)), "a client's SAN URI is not a URI"),
        (
            !clients.iter().all(|client| client.redirect_uris.iter().all(is_uri)),
            "a redirect URI is not absolute, or has a fragment (RFC 6749 §3.1.2)",
        ),
        (
            !resources.iter().all(|api| is_uri(&api.identifier)),
            "a resource is not an absolute URI, or has a fragment (RFC 8707 §2)",
        ),
        (twice(resources.iter().map(|api| &api.identifier).collect()), "a resource appears twice"),
        (!resources.iter().all(scopes_of), "a scope breaks RFC 6749 §3.3, or appears twice"),
        (!clients.iter().all(lives), "tokens live between a second and a day"),
    ];
    let wrong = checks.into_iter().find(|(wrong, _)| *wrong);
    wrong.map_or(Ok(()), |(_, problem)| Err(DevError::Setup(problem)))
}
