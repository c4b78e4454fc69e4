//! The introspection endpoint (RFC 7662).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::behaviour::{Behaviour, Outcome, Reply};
use super::record::TokenRequest;
use super::world::{World, overlay};

impl World {
    /// What becomes of this request: of the behaviours those that bend members, and those that are fixed.
    pub(super) fn introspection_outcome(&self, request: &TokenRequest) -> (Duration, Outcome) {
        let behaviour = self.scripts().introspection.next();
        let (delay, behaviour) = behaviour.undelayed();
        if let Some(why) = &request.client_refused {
            return (delay, Outcome::Reply(Reply::error(401, "invalid_client", Some(why))));
        }
        let token = request.param("token").unwrap_or_default();
        let known = self.record.logs().issues.iter().any(|issue| issue.access == token);
        let active = known && !self.scripts().ended_access.contains(token);
        let mut members = Map::new();
        members.insert("active".into(), Value::Bool(active));
        if active {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            members.insert("iss".into(), json!(self.issuer));
            members.insert("client_id".into(), json!(request.param("client_id")));
            members.insert("exp".into(), json!(now + 3600));
        }
        if let Behaviour::Members(changes) = behaviour {
            overlay(&mut members, changes);
        }
        (delay, behaviour.fixed().unwrap_or_else(|| behaviour.package(&members)))
    }
}
