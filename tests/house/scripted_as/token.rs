//! The token and revocation endpoints: the honest judgement, and the bending of its result.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::behaviour::{Behaviour, Outcome, Reply, RevocationBehaviour, Wire};
use super::delegation::{JWT_BEARER, TOKEN_EXCHANGE};
use super::fresh;
use super::record::{Issue, TokenRequest};
use super::world::{Grant, World, overlay};

impl World {
    /// The token endpoint: what becomes of this request under this behaviour.
    pub(super) fn token_outcome(&self, request: &TokenRequest) -> (Duration, Outcome) {
        let behaviour = self.scripts().token.next();
        let (delay, behaviour) = behaviour.undelayed();
        if behaviour.loses_answer() {
            let redeemed = self.redeem(request);
            redeemed.map(|grant| self.members(behaviour, &grant, request)).ok();
        }
        let outcome = behaviour.fixed().unwrap_or_else(|| match self.redeem(request) {
            Ok(grant) => match behaviour.package(&self.members(behaviour, &grant, request)) {
                Outcome::Reply(reply) => Outcome::Reply(self.with_next_nonce(reply)),
                wire => wire,
            },
            Err(refusal) => Outcome::Reply(refusal),
        });
        (delay, self.noted(outcome))
    }

    /// The revocation endpoint.
    pub(super) fn revocation_outcome(&self, request: &TokenRequest) -> Outcome {
        match self.scripts().revocation.next() {
            RevocationBehaviour::Ok200 => Outcome::Reply(match &request.client_refused {
                None => Reply::empty(200),
                Some(why) => Reply::error(401, "invalid_client", Some(why)),
            }),
            RevocationBehaviour::Status(status) => Outcome::Reply(Reply::empty(status)),
            RevocationBehaviour::Unsupported400 => Outcome::Reply(Reply::error(400, "unsupported_token_type", None)),
            RevocationBehaviour::Reset => Outcome::Wire(Wire::Reset),
            RevocationBehaviour::Redirect(status, port) => {
                Outcome::Reply(Reply::empty(status).with("Location", &format!("https://127.0.0.1:{port}/revoke")))
            }
        }
    }

    /// Notes the secrets an outcome gives away.
    fn noted(&self, outcome: Outcome) -> Outcome {
        match &outcome {
            Outcome::Reply(reply) => {
                self.record.note_bytes(&reply.body);
                for (_, value) in &reply.headers {
                    self.record.note_bytes(value.as_bytes());
                }
            }
            Outcome::Wire(Wire::Bytes(bytes) | Wire::Dribble(bytes, _)) => self.record.note_bytes(bytes),
            Outcome::Wire(Wire::Endless { head, .. }) => self.record.note_bytes(head),
            Outcome::Wire(Wire::Halves(first, second)) => self.record.note_bytes(&[&first[..], &second[..]].concat()),
            Outcome::Wire(Wire::Reset | Wire::Close) => {}
        }
        outcome
    }

    /// Checks everything an honest token endpoint checks, and uses the code up.
    fn redeem(&self, request: &TokenRequest) -> Result<Grant, Reply> {
        let refuse = |error: &str, why: &str| Reply::error(400, error, Some(why));
        if request.header("content-type") != Some("application/x-www-form-urlencoded") {
            return Err(refuse("invalid_request", "not a form"));
        }
        for (at, (name, _)) in request.form.iter().enumerate() {
            let twice = request.form[..at].iter().any(|(earlier, _)| earlier == name);
            if twice && name != "resource" && name != "audience" {
                return Err(refuse("invalid_request", &format!("{name} is given twice")));
            }
        }
        let need = |name: &str| {
            let missing = || refuse("invalid_request", &format!("{name} is missing"));
            request.param(name).ok_or_else(missing)
        };
        self.authenticate(request)?;
        let jkt = self.proven(request)?;
        match need("grant_type")? {
            "authorization_code" => {}
            "refresh_token" => {
                let refused = |(error, why): (&str, &str)| refuse(error, why);
                let grant = self.scripts().families.refresh(request).map_err(refused)?;
                return if grant.jkt == jkt { Ok(grant) } else { Err(refuse("invalid_grant", "another key")) };
            }
            "client_credentials" | TOKEN_EXCHANGE | JWT_BEARER => return Ok(Grant { jkt, ..self.delegate(request)? }),
            _ => return Err(refuse("unsupported_grant_type", "none of ours")),
        }
        let (code, verifier) = (need("code")?, need("code_verifier")?);
        let mut scripts = self.scripts();
        let redirect_uri_refused = scripts.redirect_uri_refused;
        if redirect_uri_refused && request.param("redirect_uri").is_some() {
            return Err(refuse("invalid_request", "redirect_uri has no place here"));
        }
        let grant = scripts.grants.get_mut(code);
        let grant = grant.ok_or_else(|| refuse("invalid_grant", "unknown code"))?;
        if grant.jkt.is_some() && grant.jkt != jkt {
            return Err(refuse("invalid_grant", "the code is bound to another key"));
        }
        if std::mem::replace(&mut grant.used, true) {
            return Err(refuse("invalid_grant", "the code was used before"));
        }
        if !redirect_uri_refused && need("redirect_uri")? != grant.redirect_uri {
            return Err(refuse("invalid_grant", "another redirect_uri"));
        }
        if request.client_id().as_deref() != Some(&grant.client_id) {
            return Err(refuse("invalid_grant", "the code is another client's"));
        }
        let hash = digest(&SHA256, verifier.as_bytes());
        if URL_SAFE_NO_PAD.encode(hash) != grant.challenge {
            return Err(refuse("invalid_grant", "the verifier does not fit the challenge"));
        }
        Ok(Grant { jkt, ..grant.clone() })
    }

    fn authenticate(&self, request: &TokenRequest) -> Result<(), Reply> {
        let refuse = |why: &str| Err(Reply::error(401, "invalid_client", Some(why)));
        if let Some(why) = &request.client_refused {
            return refuse(why);
        }
        let Some(client_id) = request.client_id() else {
            return refuse("client_id is missing");
        };
        let scripts = self.scripts();
        if scripts.clients.is_empty() || scripts.registered.contains_key(&client_id) {
            return Ok(());
        }
        let der = request.client_certificate_der.as_deref().unwrap_or_default();
        match scripts.clients.get(&client_id) {
            Some(uri) if super::tls::uri_names(der).contains(uri) => Ok(()),
            Some(_) => refuse("the certificate is another client's"),
            None => refuse("unknown client"),
        }
    }

    /// The members of a good answer, bent as far as members go.
    fn members(&self, behaviour: &Behaviour, grant: &Grant, request: &TokenRequest) -> Map<String, Value> {
        let mut members = Map::new();
        members.insert("access_token".into(), json!(fresh("at")));
        members.insert("refresh_token".into(), json!(fresh("rt")));
        members.insert("token_type".into(), json!(if grant.jkt.is_some() { "DPoP" } else { "Bearer" }));
        members.insert("expires_in".into(), json!(3600));
        if let Some(scope) = &grant.scope {
            members.insert("scope".into(), json!(scope));
        }
        super::details::granted(&mut members, grant.details.as_ref());
        self.delegated(&mut members, grant, request);
        self.bend(behaviour, &mut members, grant, request);
        self.note_issued(&members);
        if let Some(Value::String(token)) = members.get("refresh_token") {
            self.scripts().families.issued(token, grant);
        }
        self.identify(behaviour, &mut members, grant);
        self.record.note_members(&members);
        let text = |name: &str| members.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let code = request.param("code").unwrap_or_default().to_owned();
        let issue = Issue { code, access: text("access_token"), refresh: text("refresh_token") };
        self.record.logs().issues.push(issue);
        members
    }

    fn bend(&self, behaviour: &Behaviour, members: &mut Map<String, Value>, grant: &Grant, request: &TokenRequest) {
        let mut set = |name: &str, value: Value| members.insert(name.into(), value);
        match behaviour {
            Behaviour::All(all) => {
                all.iter().for_each(|one| self.bend(one, members, grant, request));
            }
            Behaviour::Broader(extra) => {
                let asked = grant.scope.as_deref().unwrap_or_default();
                set("scope", json!(format!("{asked} {extra}").trim()));
            }
            Behaviour::Narrower(scope) => drop(set("scope", json!(scope))),
            Behaviour::EmptyScope => drop(set("scope", json!(""))),
            Behaviour::OmitScope => drop(members.remove("scope")),
            Behaviour::Lifetime(value) => drop(set("expires_in", value.clone())),
            Behaviour::NoExpiresIn => drop(members.remove("expires_in")),
            Behaviour::TokenType(Some(kind)) => drop(set("token_type", json!(kind))),
            Behaviour::TokenType(None) => drop(members.remove("token_type")),
            Behaviour::NoRefreshToken => drop(members.remove("refresh_token")),
            Behaviour::AccessTokenValue(token) => drop(set("access_token", json!(token))),
            Behaviour::JwtBound { thumbprint } => {
                let scope = members.get("scope").cloned();
                let claims = self.claims(grant, request, thumbprint.as_deref(), scope);
                members.insert("access_token".into(), json!(self.sign(&claims)));
            }
            Behaviour::JwtTyp(typ) => {
                let claims = self.claims(grant, request, None, members.get("scope").cloned());
                members.insert(
                    "access_token".into(),
                    json!(self.sign_as(&Map::from_iter([("typ".to_owned(), json!(typ))]), &claims)),
                );
            }
            Behaviour::JwtClaims(changes) => {
                let mut claims = self.claims(grant, request, None, members.get("scope").cloned());
                overlay(&mut claims, changes);
                members.insert("access_token".into(), json!(self.sign(&claims)));
            }
            Behaviour::ExtraMembers => {
                set("id_token", json!(fresh("idt")));
                set("issuer", json!("https://elsewhere.example"));
                set("details", json!([{ "type": "everything" }]));
                set("extra", json!({ "nested": [null, { "deep": [1.5e300, "\u{202e}"] }] }));
            }
            Behaviour::Members(changes) => overlay(members, changes),
            _ => {}
        }
    }

    pub(super) fn claims(
        &self,
        grant: &Grant,
        request: &TokenRequest,
        thumbprint: Option<&str>,
        scope: Option<Value>,
    ) -> Map<String, Value> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let der = request.client_certificate_der.as_deref().unwrap_or_default();
        let own = || URL_SAFE_NO_PAD.encode(digest(&SHA256, der));
        let mut claims = Map::new();
        claims.insert("iss".into(), json!(self.issuer));
        claims.insert("sub".into(), json!("user-1"));
        claims.insert(
            "aud".into(),
            match &grant.resources[..] {
                [] => json!(self.issuer),
                [one] => json!(one),
                many => json!(many),
            },
        );
        claims.insert("client_id".into(), json!(grant.client_id));
        claims.insert("iat".into(), json!(now));
        claims.insert("exp".into(), json!(now + 3600));
        claims.insert("jti".into(), json!(Uuid::new_v4().to_string()));
        claims.insert("cnf".into(), json!({ "x5t#S256": thumbprint.map_or_else(own, str::to_owned) }));
        if let Some(scope) = scope {
            claims.insert("scope".into(), scope);
        }
        Self::delegated_claims(&mut claims, grant);
        claims
    }

    pub(super) fn sign(&self, claims: &Map<String, Value>) -> String {
        self.sign_as(&Map::new(), claims)
    }

    /// The same, with these members of the header added, replaced, or (null) removed.
    pub(super) fn sign_as(&self, changes: &Map<String, Value>, claims: &Map<String, Value>) -> String {
        let mut header = Map::new();
        for (name, value) in [("typ", "at+jwt"), ("alg", "ES256"), ("kid", "scripted-1")] {
            header.insert(name.to_owned(), json!(value));
        }
        overlay(&mut header, changes);
        let header = json!(header);
        let part = |json: String| URL_SAFE_NO_PAD.encode(json);
        let signed = [part(header.to_string()), part(json!(claims).to_string())].join(".");
        let signature = self.signer.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
