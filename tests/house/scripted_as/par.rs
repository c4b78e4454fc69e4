//! Pushed authorization requests (RFC 9126), judged for real: who sends them, what is in them, and that each is used once.

use serde_json::{Value, json};
use std::time::{Duration, Instant};

use super::behaviour::{Behaviour, Outcome, Reply};
use super::fresh;
use super::record::{TokenRequest, first};
use super::world::{World, overlay};

/// A request that was pushed and not yet used.
#[derive(Debug, Clone)]
pub(super) struct PushedRequest {
    pub(super) form: Vec<(String, String)>,
    pub(super) ends: Instant,
}

/// How the server offers it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Not at all.
    #[default]
    No,
    /// To those who want it.
    Offered,
    /// The metadata says that it must be used, and the authorization endpoint takes nothing else.
    Required,
}

impl World {
    /// The pushed authorization request endpoint.
    pub(super) fn par_outcome(&self, request: &TokenRequest) -> (Duration, Outcome) {
        let behaviour = self.scripts().par.next();
        let (delay, behaviour) = behaviour.undelayed();
        let outcome = behaviour.fixed().unwrap_or_else(|| Outcome::Reply(self.pushed(request, behaviour)));
        (delay, outcome)
    }

    fn pushed(&self, request: &TokenRequest, behaviour: &Behaviour) -> Reply {
        if let Some(why) = &request.client_refused {
            return Reply::error(401, "invalid_client", Some(why));
        }
        let client = request.client_id();
        if client.is_none() || request.param("client_id") != client.as_deref() {
            return Reply::error(400, "invalid_request", Some("client_id is missing"));
        }
        if request.param("request_uri").is_some() {
            return Reply::error(400, "invalid_request", Some("request_uri has no place here"));
        }
        // What is only for authentication is no part of the request (RFC 9126 §2.1).
        let only_here = ["client_assertion", "client_assertion_type", "client_secret"];
        let form: Vec<_> =
            request.form.iter().filter(|(name, _)| !only_here.contains(&name.as_str())).cloned().collect();
        let unsigned = self.unsigned(&form);
        let Ok(form) = unsigned else {
            return Reply::error(400, "invalid_request_object", Some(&unsigned.unwrap_err()));
        };
        if let Err(why) = self.sound(&form) {
            return Reply::error(400, "invalid_request", Some(&why));
        }
        let request_uri = format!("urn:ietf:params:oauth:request_uri:{}", fresh("pushed"));
        self.record.note_secret(&request_uri);
        let pushed = PushedRequest { form, ends: Instant::now() + Duration::from_secs(60) };
        self.scripts().pushed.insert(request_uri.clone(), pushed);
        let mut members = serde_json::Map::new();
        members.insert("request_uri".into(), json!(request_uri));
        members.insert("expires_in".into(), json!(60));
        if let Behaviour::Members(changes) = behaviour {
            overlay(&mut members, changes);
        }
        Reply::json(201, &Value::Object(members))
    }

    /// What an authorization request stands for: itself, or what was pushed for it.
    pub(super) fn resolved(&self, query: &[(String, String)]) -> Result<Vec<(String, String)>, String> {
        let Some(request_uri) = first(query, "request_uri") else {
            let required = self.scripts().par_offer == Offer::Required;
            return if required { Err("it was not pushed".to_owned()) } else { self.unsigned(query) };
        };
        let names: Vec<&str> = query.iter().map(|(name, _)| name.as_str()).collect();
        if names != ["client_id", "request_uri"] {
            return Err(format!("{names:?} in a request that was pushed"));
        }
        let pushed = self.scripts().pushed.remove(request_uri).ok_or("unknown request_uri")?;
        if pushed.ends < Instant::now() {
            return Err("the request has ended".to_owned());
        }
        if first(&pushed.form, "client_id") != first(query, "client_id") {
            return Err("it was pushed by another client".to_owned());
        }
        Ok(pushed.form)
    }

    /// The metadata members about it.
    pub(super) fn par_metadata(&self, members: &mut serde_json::Map<String, Value>) {
        let offer = self.scripts().par_offer;
        if offer == Offer::No {
            return;
        }
        let name = "pushed_authorization_request_endpoint";
        members.insert(name.into(), json!(format!("{}/par", self.front)));
        if let Some(aliases) = members.get_mut("mtls_endpoint_aliases") {
            aliases[name] = json!(format!("{}/par", self.token));
        }
        if offer == Offer::Required {
            members.insert("require_pushed_authorization_requests".into(), json!(true));
        }
    }
}
