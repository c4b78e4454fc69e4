//! The honest half of the server: authorization, client authentication, redemption.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use url::Url;

use super::assertions::Registered;
use super::behaviour::{Behaviour, Outcome, RevocationBehaviour};
use super::delegation::{Exchanged, Trust};
use super::details;
use super::dpop::Dpop;
use super::families::Families;
use super::identity::{Identity, p256_jwk};
use super::par::{Offer, PushedRequest};
use super::record::{Record, first};
use super::{Callback, WellKnown, fresh};

/// A queue of scripted answers, and what to do when it is empty.
#[derive(Debug)]
pub(super) struct Queue<T> {
    once: VecDeque<T>,
    always: T,
}

impl<T: Clone> Queue<T> {
    fn new(always: T) -> Queue<T> {
        Queue { once: VecDeque::new(), always }
    }

    pub(super) fn push(&mut self, one: T) {
        self.once.push_back(one);
    }

    pub(super) fn set_default(&mut self, always: T) {
        self.always = always;
    }

    pub(super) fn next(&mut self) -> T {
        self.once.pop_front().unwrap_or_else(|| self.always.clone())
    }

    fn next_if(&mut self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        if wanted(self.once.front().unwrap_or(&self.always)) { Some(self.next()) } else { None }
    }
}

/// What an authorization code stands for.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) challenge: String,
    pub(super) scope: Option<String>,
    pub(super) nonce: Option<String>,
    pub(super) resources: Vec<String>,
    /// When the person logged in, in seconds since 1970.
    pub(super) logged_in: u64,
    pub(super) used: bool,
    /// The thumbprint of the key that it is bound to: by `dpop_jkt` at first, then by the proof.
    pub(super) jkt: Option<String>,
    /// What its refresh tokens are known by together.
    pub(super) family: String,
    /// The refresh token that is being used, which a new one replaces.
    pub(super) refreshing: Option<String>,
    /// What a token request without a code came to.
    pub(super) exchanged: Option<Exchanged>,
    /// The authorization details granted.
    pub(super) details: Option<Value>,
}

/// Everything behind the lock.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) token: Queue<Behaviour>,
    pub(super) revocation: Queue<RevocationBehaviour>,
    pub(super) metadata: Queue<Behaviour>,
    pub(super) jwks: Queue<Behaviour>,
    pub(super) introspection: Queue<Behaviour>,
    /// Access tokens that are not active any more.
    pub(super) ended_access: HashSet<String>,
    pub(super) par: Queue<Behaviour>,
    pub(super) par_offer: Offer,
    pub(super) pushed: HashMap<String, PushedRequest>,
    pub(super) identity: Identity,
    pub(super) metadata_override: Map<String, Value>,
    pub(super) well_known: WellKnown,
    pub(super) clients: HashMap<String, String>,
    /// Clients that authenticate by something else than a certificate.
    pub(super) registered: HashMap<String, Registered>,
    /// Assertions seen, by `jti`.
    pub(super) jtis: HashSet<String>,
    pub(super) grants: HashMap<String, Grant>,
    pub(super) families: Families,
    pub(super) dpop: Dpop,
    pub(super) trust: Trust,
    /// As a server of OAuth 2.1 alone, which may refuse `redirect_uri` in a token request.
    pub(super) redirect_uri_refused: bool,
}

/// The state both listeners share.
#[derive(Debug)]
pub(super) struct World {
    pub(super) record: Record,
    pub(super) issuer: String,
    pub(super) issuer_path: String,
    pub(super) front: String,
    pub(super) token: String,
    pub(super) paused: watch::Sender<bool>,
    pub(super) handshakes_held: watch::Sender<bool>,
    pub(super) halves_held: watch::Sender<bool>,
    verifier: Arc<dyn ClientCertVerifier>,
    pub(super) signer: EcdsaKeyPair,
    scripts: Mutex<Scripts>,
}

impl World {
    pub(super) fn new(ports: (u16, u16), path: &str, verifier: Arc<dyn ClientCertVerifier>) -> World {
        let front = format!("https://127.0.0.1:{}", ports.0);
        let signer = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let identity = Identity::new(p256_jwk(&signer, "scripted-1"));
        World {
            record: Record::default(),
            issuer: format!("{front}{path}"),
            issuer_path: path.to_owned(),
            front,
            token: format!("https://127.0.0.1:{}", ports.1),
            paused: watch::Sender::new(false),
            handshakes_held: watch::Sender::new(false),
            halves_held: watch::Sender::new(false),
            verifier,
            signer,
            scripts: Mutex::new(Scripts {
                token: Queue::new(Behaviour::Honest),
                revocation: Queue::new(RevocationBehaviour::Ok200),
                metadata: Queue::new(Behaviour::Honest),
                jwks: Queue::new(Behaviour::Honest),
                introspection: Queue::new(Behaviour::Honest),
                ended_access: HashSet::new(),
                par: Queue::new(Behaviour::Honest),
                par_offer: Offer::No,
                pushed: HashMap::new(),
                identity,
                metadata_override: Map::new(),
                well_known: WellKnown::Both,
                clients: HashMap::new(),
                registered: HashMap::new(),
                jtis: HashSet::new(),
                grants: HashMap::new(),
                families: Families::default(),
                dpop: Dpop::default(),
                trust: Trust::default(),
                redirect_uri_refused: false,
            }),
        }
    }

    pub(super) fn scripts(&self) -> MutexGuard<'_, Scripts> {
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next token behaviour, if it is this one that strikes before a request is read.
    pub(super) fn next_early(&self, wanted: impl Fn(&Behaviour) -> bool) -> Option<Behaviour> {
        self.scripts().token.next_if(wanted)
    }

    /// The authorization endpoint, with consent given.
    pub(super) fn authorize(&self, query: &[(String, String)]) -> Result<Callback, String> {
        self.record.note_pairs(query);
        let query = &self.resolved(query)?;
        let grant = self.sound(query)?;
        let code = fresh("code");
        self.record.note_secret(&code);
        let callback = self.callback(query, &[("code", &code)])?;
        self.scripts().grants.insert(code.clone(), grant);
        Ok(Callback { code, ..callback })
    }

    /// What a request is for, if a strict server takes it.
    pub(super) fn sound(&self, query: &[(String, String)]) -> Result<Grant, String> {
        for (at, (name, _)) in query.iter().enumerate() {
            if name != "resource" && query[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(format!("{name} is given twice"));
            }
        }
        let need = |name: &str| first(query, name).ok_or(format!("{name} is missing"));
        if need("response_type")? != "code" {
            return Err("response_type is not code".into());
        }
        if need("code_challenge_method")? != "S256" {
            return Err("code_challenge_method is not S256".into());
        }
        let challenge = need("code_challenge")?;
        if URL_SAFE_NO_PAD.decode(challenge).map_or(0, |raw| raw.len()) != 32 {
            return Err("code_challenge is not an S256 challenge".into());
        }
        let resources = query.iter().filter(|(name, _)| name == "resource");
        Ok(Grant {
            client_id: need("client_id")?.to_owned(),
            redirect_uri: need("redirect_uri")?.to_owned(),
            challenge: challenge.to_owned(),
            scope: first(query, "scope").map(str::to_owned),
            nonce: first(query, "nonce").map(str::to_owned),
            resources: resources.map(|(_, value)| value.clone()).collect(),
            logged_in: SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs(),
            used: false,
            jkt: first(query, "dpop_jkt").map(str::to_owned),
            family: fresh("family"),
            refreshing: None,
            exchanged: None,
            details: details::requested(query)?,
        })
    }

    /// The redirect back to the client, with these parameters, the state and the issuer.
    pub(super) fn callback(&self, query: &[(String, String)], answer: &[(&str, &str)]) -> Result<Callback, String> {
        let redirect_uri = first(query, "redirect_uri").ok_or("redirect_uri is missing")?;
        let mut url = Url::parse(redirect_uri).map_err(|error| format!("redirect_uri: {error}"))?;
        let state = first(query, "state");
        url.query_pairs_mut()
            .extend_pairs(answer)
            .extend_pairs(state.map(|state| ("state", state)))
            .append_pair("iss", &self.issuer);
        Ok(Callback {
            code: String::new(),
            state: state.unwrap_or_default().to_owned(),
            iss: self.issuer.clone(),
            url: url.into(),
        })
    }

    /// Why this chain is no client authentication.
    pub(super) fn judge_certificate(&self, chain: &[CertificateDer<'_>]) -> Option<String> {
        let Some((leaf, rest)) = chain.split_first() else {
            return Some("no client certificate".into());
        };
        let verdict = self.verifier.verify_client_cert(leaf, rest, UnixTime::now());
        verdict.err().map(|error| error.to_string())
    }

    /// Whether this is a metadata path, and if so whether the metadata is there.
    pub(super) fn serves_metadata(&self, path: &str) -> Option<bool> {
        let place = self.scripts().well_known;
        let tenant = &self.issuer_path;
        if path == format!("/.well-known/oauth-authorization-server{tenant}") {
            return Some(place != WellKnown::OpenId);
        }
        let openid = "/.well-known/openid-configuration";
        if path == format!("{tenant}{openid}") || path == format!("{openid}{tenant}") {
            return Some(place != WellKnown::OAuth);
        }
        None
    }

    /// The metadata endpoint.
    pub(super) fn metadata_outcome(&self) -> (Duration, Outcome) {
        let (behaviour, replaced) = {
            let mut scripts = self.scripts();
            (scripts.metadata.next(), scripts.metadata_override.clone())
        };
        let (delay, behaviour) = behaviour.undelayed();
        let mut members = self.metadata();
        self.par_metadata(&mut members);
        overlay(&mut members, &replaced);
        (delay, behaviour.fixed().unwrap_or_else(|| behaviour.package(&members)))
    }

    fn metadata(&self) -> Map<String, Value> {
        let (front, token) = (&self.front, &self.token);
        let all = json!({
            "issuer": self.issuer,
            "authorization_endpoint": format!("{front}/authorize"),
            "token_endpoint": format!("{front}/token"),
            "revocation_endpoint": format!("{front}/revoke"),
            "introspection_endpoint": format!("{front}/introspect"),
            "jwks_uri": format!("{front}/jwks"),
            "mtls_endpoint_aliases": {
                "token_endpoint": format!("{token}/token"),
                "revocation_endpoint": format!("{token}/revoke"),
                "introspection_endpoint": format!("{token}/introspect"),
            },
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
            "authorization_details_types_supported": details::TYPES,
            "token_endpoint_auth_methods_supported": [
                "tls_client_auth", "self_signed_tls_client_auth", "private_key_jwt", "spiffe_jwt",
                "client_secret_basic", "client_secret_post",
            ],
            "revocation_endpoint_auth_methods_supported": ["tls_client_auth"],
            "tls_client_certificate_bound_access_tokens": true,
        });
        let Value::Object(members) = all else { return Map::new() };
        members
    }
}

/// Adds and replaces members; null removes.
pub(super) fn overlay(members: &mut Map<String, Value>, changes: &Map<String, Value>) {
    for (name, value) in changes {
        match value {
            Value::Null => drop(members.remove(name)),
            value => drop(members.insert(name.clone(), value.clone())),
        }
    }
}
