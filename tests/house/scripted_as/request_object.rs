//! Request objects (RFC 9101), judged for real: who signed them, for whom, and that nothing beside them is believed.

use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

use super::assertions::{Expected, Registered, verified_jws};
use super::record::first;
use super::world::World;

/// Claims about the object that are no parameters of the request.
const ABOUT: [&str; 7] = ["iss", "aud", "iat", "nbf", "exp", "jti", "client_id"];
/// Seconds that one may be good for.
const LIFETIME_MAX: u64 = 300;

impl World {
    /// The parameters of a request: those of its request object, where it is one.
    pub(super) fn unsigned(&self, query: &[(String, String)]) -> Result<Vec<(String, String)>, String> {
        let Some(object) = first(query, "request") else { return Ok(query.to_vec()) };
        self.record.note_secret(object);
        let mut names: Vec<&str> = query.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if names != ["client_id", "request"] {
            return Err(format!("{names:?} beside a request object"));
        }
        let client_id = first(query, "client_id").unwrap_or_default();
        let registered = self.scripts().registered.get(client_id).cloned();
        let Some(Registered::PrivateKeyJwt(key)) = registered else { return Err("the client has no key".to_owned()) };
        let typ = Some("oauth-authz-req+jwt");
        let claims = verified_jws(object, &Expected { key: &key, typ, audience: &self.issuer })?;
        let claims = claims.as_object().ok_or("no claims")?;
        if claims.get("iss").and_then(Value::as_str) != Some(client_id)
            || claims.get("client_id").and_then(Value::as_str) != Some(client_id)
        {
            return Err("another client's".to_owned());
        }
        // RFC 9101 10.8: it must be of no use as an assertion.
        if ["sub", "request", "request_uri"].iter().any(|name| claims.contains_key(*name)) {
            return Err("a claim that has no place here".to_owned());
        }
        let number = |name: &str| claims.get(name).and_then(Value::as_u64).ok_or(format!("{name} is missing"));
        let (issued, from, until) = (number("iat")?, number("nbf")?, number("exp")?);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        if from > now || until.saturating_sub(issued) > LIFETIME_MAX {
            return Err("not now, or good for too long".to_owned());
        }
        let jti = claims.get("jti").and_then(Value::as_str).unwrap_or_default();
        if jti.len() < 22 || !self.scripts().jtis.insert(jti.to_owned()) {
            return Err("seen before".to_owned());
        }
        let mut parameters = vec![("client_id".to_owned(), client_id.to_owned())];
        for (name, value) in claims.iter().filter(|(name, _)| !ABOUT.contains(&name.as_str())) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            parameters.push((name.clone(), text));
        }
        self.record.note_pairs(&parameters);
        Ok(parameters)
    }
}
