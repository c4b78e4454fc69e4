//! An authorization server that misbehaves on demand, for the integration tests.
//!
//! It runs in the test's process, on its own thread, behind two TLS listeners on 127.0.0.1: the
//! front (authorization endpoint, metadata, keys; no client certificate asked for) and the token
//! listener (token and revocation endpoints behind mutual TLS). Left alone it is honest and strict.
#![expect(clippy::disallowed_methods, reason = "the clock port is the product's; this server keeps its own time")]

pub(crate) mod assertions;
pub(crate) mod behaviour;
pub(crate) mod delegation;
pub(crate) mod details;
pub(crate) mod dpop;
mod families;
mod gzip;
pub(crate) mod identity;
mod introspection;
mod listener;
pub(crate) mod par;
pub(crate) mod record;
mod request_object;
pub(crate) mod tls;
mod token;
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use narrowgate::dev::ca::Ca;
use serde_json::{Map, Value};
use tokio::runtime::Runtime;
use url::Url;
use uuid::Uuid;

use self::behaviour::Script;
use self::listener::{Door, Listener, Side};
use self::record::{Issue, TokenRequest};
use self::tls::{AnyCertificate, ClientAuth, ServerCertificate};
use self::world::World;

/// How to start the server.
pub(crate) struct Setup<'a> {
    /// The authority that vouches for the server's certificates.
    pub(crate) ca: &'a Ca,
    /// The authority, PEM, whose client certificates are good.
    pub(crate) client_ca_pem: String,
    /// What the front shows.
    pub(crate) front_certificate: ServerCertificate,
    /// What the token listener shows.
    pub(crate) token_certificate: ServerCertificate,
    /// Refuse TLS 1.3, on both listeners.
    pub(crate) tls12_only: bool,
    /// The token listener takes connections and never says a word.
    pub(crate) silent: bool,
    /// How long the token listener waits before each TLS handshake.
    pub(crate) handshake_delay: Duration,
    /// Where client certificates are judged on the token listener.
    pub(crate) client_auth: ClientAuth,
    /// The front asks for a client certificate it does not need, to see who sends one.
    pub(crate) front_asks_certificate: bool,
    /// A path for the issuer to end in, such as `/tenant`.
    pub(crate) issuer_path: String,
    /// Metadata members to add, replace, or (null) remove.
    pub(crate) metadata_override: Map<String, Value>,
    /// Where the metadata is.
    pub(crate) well_known: WellKnown,
}

/// Where the metadata is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WellKnown {
    /// At both places.
    Both,
    /// At `/.well-known/oauth-authorization-server` only.
    OAuth,
    /// At `/.well-known/openid-configuration` only.
    OpenId,
}

/// The redirect that ends a user's visit to the authorization endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Callback {
    /// The authorization code; empty after a refusal.
    pub(crate) code: String,
    /// The state; empty if none was sent.
    pub(crate) state: String,
    /// The issuer.
    pub(crate) iss: String,
    /// The whole redirect URL.
    pub(crate) url: String,
}

/// The server.
#[derive(Debug)]
pub(crate) struct ScriptedAs {
    world: Arc<World>,
    front: Listener,
    token: Listener,
    runtime: Option<Runtime>,
}

/// An obviously fake secret nobody can guess.
fn fresh(kind: &str) -> String {
    format!("canary-{kind}-{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

impl<'a> Setup<'a> {
    /// An honest, well configured server.
    pub(crate) fn new(ca: &'a Ca, client_ca_pem: &str) -> Setup<'a> {
        Setup {
            ca,
            client_ca_pem: client_ca_pem.to_owned(),
            front_certificate: ServerCertificate::Good,
            token_certificate: ServerCertificate::Good,
            tls12_only: false,
            silent: false,
            handshake_delay: Duration::ZERO,
            client_auth: ClientAuth::PerRequest,
            front_asks_certificate: false,
            issuer_path: String::new(),
            metadata_override: Map::new(),
            well_known: WellKnown::Both,
        }
    }
}

impl ScriptedAs {
    /// Starts the server; it stops when dropped.
    pub(crate) fn start(setup: Setup<'_>) -> ScriptedAs {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("scripted-as")
            .enable_all()
            .build()
            .unwrap();
        let sockets = (listener::bind(0), listener::bind(0));
        let port = |socket: &std::net::TcpListener| socket.local_addr().unwrap().port();
        let ports = (port(&sockets.0), port(&sockets.1));
        let verifier = tls::client_verifier(&setup.client_ca_pem, true);
        let any = Arc::new(AnyCertificate(verifier.clone()));
        let world = Arc::new(World::new(ports, &setup.issuer_path, verifier.clone()));
        world.scripts().metadata_override = setup.metadata_override;
        world.scripts().well_known = setup.well_known;
        let config = |kind, verifier| tls::server_config(setup.ca, kind, setup.tls12_only, verifier);
        let front = Door {
            world: world.clone(),
            side: Side::Front,
            tls: config(setup.front_certificate, if setup.front_asks_certificate { Some(any.clone()) } else { None }),
            silent: false,
            handshake_delay: Duration::ZERO,
        };
        let token = Door {
            world: world.clone(),
            side: Side::Token,
            tls: config(
                setup.token_certificate,
                Some(match setup.client_auth {
                    ClientAuth::PerRequest => any,
                    ClientAuth::InHandshake => verifier,
                }),
            ),
            silent: setup.silent,
            handshake_delay: setup.handshake_delay,
        };
        ScriptedAs {
            world,
            front: Listener::start(front, sockets.0, runtime.handle().clone()),
            token: Listener::start(token, sockets.1, runtime.handle().clone()),
            runtime: Some(runtime),
        }
    }

    /// The issuer identifier.
    pub(crate) fn issuer(&self) -> String {
        self.world.issuer.clone()
    }

    /// The port of the front.
    pub(crate) fn front_port(&self) -> u16 {
        self.front.port()
    }

    /// The port of the token listener.
    pub(crate) fn token_port(&self) -> u16 {
        self.token.port()
    }

    /// The token endpoint's mutual TLS alias, `https://127.0.0.1:PORT/token`.
    pub(crate) fn token_url(&self) -> String {
        format!("{}/token", self.world.token)
    }

    /// The revocation endpoint's mutual TLS alias.
    pub(crate) fn revocation_url(&self) -> String {
        format!("{}/revoke", self.world.token)
    }

    /// Plays the browser, the user who consents and the authorization endpoint. Panics when the
    /// request is not one a strict server takes.
    pub(crate) fn approve(&self, authorization_url: &str) -> Callback {
        self.try_approve(authorization_url).unwrap()
    }

    /// As [`ScriptedAs::approve`], with the reason for refusing the request.
    pub(crate) fn try_approve(&self, authorization_url: &str) -> Result<Callback, String> {
        self.world.authorize(&query(authorization_url)?)
    }

    /// Plays the user who refuses: the callback carries this `error` and no code.
    pub(crate) fn deny(&self, authorization_url: &str, error: &str) -> Callback {
        let query = query(authorization_url).unwrap();
        self.world.record.note_pairs(&query);
        let query = self.world.resolved(&query).unwrap();
        self.world.callback(&query, &[("error", error)]).unwrap()
    }

    /// Queues one scripted answer; each is used once, in order, before the default.
    pub(crate) fn behave(&self, script: Script) {
        let mut scripts = self.world.scripts();
        match script {
            Script::Token(behaviour) => scripts.token.push(behaviour),
            Script::Revocation(behaviour) => scripts.revocation.push(behaviour),
            Script::Metadata(behaviour) => scripts.metadata.push(behaviour),
            Script::Jwks(behaviour) => scripts.jwks.push(behaviour),
            Script::Introspection(behaviour) => scripts.introspection.push(behaviour),
            Script::Par(behaviour) => scripts.par.push(behaviour),
        }
    }

    /// Sets the default, for when the queue is empty. It starts as honest.
    pub(crate) fn always(&self, script: Script) {
        let mut scripts = self.world.scripts();
        match script {
            Script::Token(behaviour) => scripts.token.set_default(behaviour),
            Script::Revocation(behaviour) => scripts.revocation.set_default(behaviour),
            Script::Metadata(behaviour) => scripts.metadata.set_default(behaviour),
            Script::Jwks(behaviour) => scripts.jwks.set_default(behaviour),
            Script::Introspection(behaviour) => scripts.introspection.set_default(behaviour),
            Script::Par(behaviour) => scripts.par.set_default(behaviour),
        }
    }

    /// Replaces the metadata members to add, replace, or (null) remove.
    pub(crate) fn metadata_override(&self, members: Map<String, Value>) {
        self.world.scripts().metadata_override = members;
    }

    /// Adds, replaces, or (null) removes claims of everyone who logs in from now on.
    pub(crate) fn person(&self, claims: &Map<String, Value>) {
        self.world.scripts().identity.person(claims);
    }

    /// Signs ID tokens with a fresh key of this name from now on, and gives its public half, which is not published yet.
    pub(crate) fn sign_anew(&self, kid: &str) -> Value {
        self.world.scripts().identity.sign_anew(kid)
    }

    /// The published keys.
    pub(crate) fn keys(&self) -> Vec<Value> {
        self.world.scripts().identity.published()
    }

    /// Publishes these keys instead.
    pub(crate) fn publish(&self, keys: Vec<Value>) {
        self.world.scripts().identity.publish(keys);
    }

    /// Requests for the key set.
    pub(crate) fn jwks_requests(&self) -> usize {
        self.requests().iter().filter(|line| line.starts_with("front GET /jwks")).count()
    }

    /// Moves the metadata.
    pub(crate) fn metadata_at(&self, place: WellKnown) {
        self.world.scripts().well_known = place;
    }

    /// Changes what the token endpoint wants of proofs.
    pub(crate) fn dpop(&self, change: impl FnOnce(&mut dpop::Dpop)) {
        change(&mut self.world.scripts().dpop);
    }

    /// The proofs of every complete token request, in order.
    pub(crate) fn proofs(&self) -> Vec<dpop::Proof> {
        let requests = self.token_requests();
        let headers = requests.iter().filter_map(|request| request.header("dpop"));
        headers.map(|proof| dpop::Proof::read(proof).expect("a proof")).collect()
    }

    /// From now on this client ID needs a certificate with this URI name; once any client is
    /// registered, unregistered ones are refused.
    pub(crate) fn register_client(&self, client_id: &str, uri: &str) {
        self.world.scripts().clients.insert(client_id.to_owned(), uri.to_owned());
    }

    /// From now on this client ID authenticates in this way alone, at the endpoints without mutual TLS too.
    pub(crate) fn register(&self, client_id: &str, registered: assertions::Registered) {
        self.world.scripts().registered.insert(client_id.to_owned(), registered);
    }

    /// Offers pushed authorization requests in the metadata from now on.
    pub(crate) fn offer_par(&self, offer: par::Offer) {
        self.world.scripts().par_offer = offer;
    }

    /// Every complete pushed authorization request.
    pub(crate) fn pushed_requests(&self) -> Vec<TokenRequest> {
        self.world.record.logs().pushed_requests.clone()
    }

    /// Judges the client of a request once more, as if it had come again.
    pub(crate) fn judge_again(&self, request: &TokenRequest) -> Option<String> {
        let mut again = request.clone();
        self.world.judge_registered(&mut again);
        again.client_refused
    }

    /// From now on, or no more, a token request with `redirect_uri` is refused.
    pub(crate) fn refuse_redirect_uri_at_token(&self, refuse: bool) {
        self.world.scripts().redirect_uri_refused = refuse;
    }

    /// Holds the token listener's answers back, after the requests have taken effect; or lets go.
    pub(crate) fn set_pause(&self, paused: bool) {
        self.world.paused.send_replace(paused);
    }

    /// Takes connections on the token listener and keeps them waiting for their handshake; or lets go.
    pub(crate) fn hold_handshakes(&self, held: bool) {
        self.world.handshakes_held.send_replace(held);
    }

    /// Keeps the second half of every [`behaviour::Behaviour::HalfAnswer`] back; or lets go.
    pub(crate) fn hold_halves(&self, held: bool) {
        self.world.halves_held.send_replace(held);
    }

    /// Half answers that were written up to their middle.
    pub(crate) fn half_answers(&self) -> usize {
        self.world.record.half_answers.get()
    }

    /// Every token that was issued, in order, whether or not its answer arrived.
    pub(crate) fn issues(&self) -> Vec<Issue> {
        self.world.record.logs().issues.clone()
    }

    /// Closes the token listener and its connections: connection refused from here on.
    pub(crate) fn stop_listening_token(&self) {
        self.token.stop();
    }

    /// Opens the token listener again, on the same port.
    pub(crate) fn resume_listening_token(&self) {
        self.token.resume();
    }

    /// Resets every open connection of the token listener, idle ones included.
    pub(crate) fn reset_token_connections(&self) {
        self.token.reset_connections();
    }

    /// Closes the front and its connections.
    pub(crate) fn stop_listening_front(&self) {
        self.front.stop();
    }

    /// Opens the front again, on the same port.
    pub(crate) fn resume_listening_front(&self) {
        self.front.resume();
    }

    /// TCP connections the token listener has taken.
    pub(crate) fn token_connections(&self) -> usize {
        self.world.record.token_connections.get()
    }

    /// TLS handshakes the token listener has finished.
    pub(crate) fn token_handshakes(&self) -> usize {
        self.world.record.token_handshakes.get()
    }

    /// Complete token requests the token listener has read.
    pub(crate) fn token_posts(&self) -> usize {
        self.world.record.token_posts.get()
    }

    /// Complete revocation requests the token listener has read.
    pub(crate) fn revocation_posts(&self) -> usize {
        self.world.record.revocation_posts.get()
    }

    /// TLS sessions the token listener has resumed, and how many of its connections began with early data.
    pub(crate) fn token_resumptions(&self) -> (usize, usize) {
        (self.world.record.token_resumed.get(), self.world.record.early_data.get())
    }

    /// TCP connections the front has taken.
    pub(crate) fn front_connections(&self) -> usize {
        self.world.record.front_connections.get()
    }

    /// Token and revocation requests sent to the front, past the mutual TLS aliases.
    pub(crate) fn front_token_posts(&self) -> usize {
        self.world.record.front_token_posts.get()
    }

    /// Requests for either well-known place, answered or 404.
    pub(crate) fn metadata_requests(&self) -> usize {
        self.world.record.metadata_requests.get()
    }

    /// Bytes of endless bodies the peers let the server write.
    pub(crate) fn endless_bytes(&self) -> u64 {
        self.world.record.endless_bytes.load(Ordering::SeqCst)
    }

    /// Every request seen so far, in order, as `token POST /token` or `front GET /authorize?...`.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.world.record.logs().requests.clone()
    }

    /// The errors of the TLS handshakes that failed, on either listener.
    pub(crate) fn handshake_errors(&self) -> Vec<String> {
        self.world.record.logs().handshake_errors.clone()
    }

    /// The client certificates somebody sent to the front.
    pub(crate) fn front_client_certificates(&self) -> Vec<Vec<u8>> {
        self.world.record.logs().front_certificates.clone()
    }

    /// The headers (names in lower case) of every request to the front.
    pub(crate) fn front_headers(&self) -> Vec<Vec<(String, String)>> {
        self.world.record.logs().front_headers.clone()
    }

    /// The last complete token request.
    pub(crate) fn last_token_request(&self) -> Option<TokenRequest> {
        self.world.record.logs().token_requests.last().cloned()
    }

    /// Every complete token request.
    pub(crate) fn token_requests(&self) -> Vec<TokenRequest> {
        self.world.record.logs().token_requests.clone()
    }

    /// Every complete revocation request.
    pub(crate) fn revocation_requests(&self) -> Vec<TokenRequest> {
        self.world.record.logs().revocation_requests.clone()
    }

    /// The `token_type_hint` (empty if none) and `token` of every revocation request.
    pub(crate) fn revocations(&self) -> Vec<(String, String)> {
        let param = |request: &TokenRequest, name| request.param(name).unwrap_or_default().to_owned();
        let logs = self.world.record.logs();
        let seen = logs.revocation_requests.iter();
        seen.map(|one| (param(one, "token_type_hint"), param(one, "token"))).collect()
    }

    /// Every code, verifier, state, nonce and token ever seen or issued here.
    pub(crate) fn secrets(&self) -> BTreeSet<String> {
        self.world.record.logs().secrets.clone()
    }

    /// The token requests of a refresh so far.
    pub(crate) fn refreshes(&self) -> Vec<TokenRequest> {
        let mut requests = self.token_requests();
        requests.retain(|request| request.param("grant_type") == Some("refresh_token"));
        requests
    }

    /// The most refresh requests of one family that were under way at once.
    pub(crate) fn most_refreshes_at_once(&self) -> usize {
        self.world.scripts().families.most_at_once()
    }

    /// Families that were ended because a refresh token was used twice.
    pub(crate) fn reused_families(&self) -> usize {
        self.world.scripts().families.reused()
    }

    /// Stands no more by any access token issued so far.
    pub(crate) fn end_all_access(&self) {
        let issued: Vec<String> = self.issues().into_iter().map(|issue| issue.access).collect();
        self.world.scripts().ended_access.extend(issued);
    }

    /// The introspection requests so far.
    pub(crate) fn introspections(&self) -> Vec<TokenRequest> {
        self.world.record.logs().introspection_requests.clone()
    }

    /// Those of them whose client may well have read the new refresh token: the connection on which the old one was spent
    /// was over within this time.
    pub(crate) fn families_reused_though_answered_within(&self, limit: Duration) -> usize {
        self.world.scripts().families.reused_though_answered_within(limit)
    }

    /// Ends every refresh token, as when people take their consent back.
    pub(crate) fn end_all_families(&self) {
        self.world.scripts().families.end_all();
    }

    /// Waits until the condition on this server holds; `false` if it does not in time.
    pub(crate) fn wait_for(&self, within: Duration, condition: impl Fn(&ScriptedAs) -> bool) -> bool {
        let deadline = Instant::now() + within;
        while !condition(self) {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    }
}

impl Drop for ScriptedAs {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn query(url: &str) -> Result<Vec<(String, String)>, String> {
    let url = Url::parse(url).map_err(|error| format!("authorization URL: {error}"))?;
    Ok(url.query_pairs().into_owned().collect())
}
