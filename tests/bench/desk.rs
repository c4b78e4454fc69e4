//! A set of narrowgate's own, loaded as the daemon loads it, and one token that is handed out; and the same for raw Cedar.

use crate::sets::{self, SCOPES, Set};
use cedar_policy::{Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request, Schema};
use narrowgate::{
    caller::Caller,
    config::Config,
    model::{Approvable, AuthorizationDetails, Boot, Claimed, DecisionId, ScopeSet, TokenBinding},
    platform::SystemClock,
    policy::{self, BASE_SCHEMA, IssuedFacts, Policies, Releasable, Released},
    transaction::Flow,
};
use serde_json::{Value, json};
use std::{hint::black_box, str::FromStr, sync::Arc, time::Duration};

/// A held token.
pub(crate) struct Token<'a> {
    caller: Caller,
    config: &'a Config,
    scopes: ScopeSet,
    details: AuthorizationDetails,
    flow: Flow,
    approvable: Approvable,
}

impl Releasable for &Token<'_> {
    fn caller(&self) -> &Caller {
        &self.caller
    }

    fn facts(&self) -> IssuedFacts<'_> {
        IssuedFacts {
            client: self.config.clients.values().next().unwrap(),
            api: self.config.estate.catalog.apis.values().next().map(AsRef::as_ref),
            allowed: &self.scopes,
            scopes: &self.scopes,
            details: &self.details,
            tolerated: &[],
            lifetime: Duration::from_secs(300),
            bound: TokenBinding::Unbound,
            refreshable: true,
            again: true,
            subject: None,
            begun: Boot(0),
            registered_by: None,
        }
    }

    fn flow(&self) -> &Flow {
        &self.flow
    }

    fn approvable(&self) -> &Approvable {
        &self.approvable
    }
}

/// A set, loaded as the daemon loads it, and one token that it is asked about.
pub(crate) struct Desk<'a> {
    pub(crate) policies: Policies,
    pub(crate) token: Token<'a>,
    decisions: u128,
}

impl<'a> Desk<'a> {
    pub(crate) fn open(config: &'a Config) -> Self {
        let snapshot = policy::load(config, 1, None).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        let token = Token {
            caller: sets::caller(config),
            config,
            scopes: ScopeSet::parse(&SCOPES.join(" ")).unwrap(),
            details: AuthorizationDetails::default(),
            flow: Flow::AuthorizationCode,
            approvable: Approvable::default(),
        };
        Self {
            policies: Policies::new(Some(snapshot), Arc::clone(&config.estate), Arc::new(SystemClock)),
            token,
            decisions: 0,
        }
    }

    fn ask(&mut self, claimed: &Claimed) -> Released<&Token<'a>> {
        self.decisions += 1;
        decide(&self.policies, &self.token, claimed, self.decisions)
    }

    /// Asks the same again and again.
    pub(crate) fn cached(&mut self, times: usize) {
        let claimed = Claimed::default();
        let first = self.ask(&claimed);
        // As the recorder has it: what is in the log is not held any longer.
        first.verdict().asked.iter().for_each(|asked| asked.is_recorded());
        drop(first);
        for _ in 0..times {
            assert!(black_box(self.ask(&claimed)).verdict().answered_by.is_some());
        }
    }

    /// Asks what was never asked before.
    pub(crate) fn uncached(&mut self, times: usize) {
        for _ in 0..times {
            let claimed = Claimed { task: Some(self.decisions.to_string()), ..Claimed::default() };
            assert!(black_box(self.ask(&claimed)).verdict().answered_by.is_none());
        }
    }
}

/// Never inlined: callgrind counts what is below it.
#[inline(never)]
pub(crate) fn decide<'t, 'a>(
    policies: &Policies,
    token: &'t Token<'a>,
    claimed: &Claimed,
    number: u128,
) -> Released<&'t Token<'a>> {
    let id = DecisionId(uuid::Uuid::from_u128(number));
    policies.release(token, claimed, id).unwrap_or_else(|refused| panic!("{:?}", refused.1))
}

/// The same set and questions, without narrowgate.
pub(crate) struct Raw {
    policies: PolicySet,
    entities: Entities,
    requests: Vec<Request>,
}

impl Raw {
    pub(crate) fn of(set: &Set, desk: &mut Desk<'_>) -> Self {
        let (schema, _) = Schema::from_cedarschema_str(BASE_SCHEMA).unwrap();
        let entities = desk.policies.current().unwrap().entities_json().unwrap();
        let claimed = Claimed { task: Some("raw".to_owned()), ..Claimed::default() };
        let asked = desk.ask(&claimed).verdict().asked.clone().unwrap().to_json(None);
        Self {
            policies: PolicySet::from_str(&set.text()).unwrap(),
            entities: Entities::from_json_value(entities, Some(&schema)).unwrap(),
            requests: requests(&asked, &schema),
        }
    }

    pub(crate) fn decide(&self, times: usize) {
        let authorizer = Authorizer::new();
        for _ in 0..times {
            for request in &self.requests {
                let answer = authorizer.is_authorized(request, &self.policies, &self.entities);
                assert_eq!(black_box(answer).decision(), Decision::Allow);
            }
        }
    }
}

/// The questions of a decision, from its record.
fn requests(asked: &Value, schema: &Schema) -> Vec<Request> {
    let uid = |kind: &str, id: &Value| EntityUid::from_json(json!({ "type": kind, "id": id })).unwrap();
    let principal = EntityUid::from_json(asked["principal"].clone()).unwrap();
    let mut requests = Vec::new();
    for question in asked["questions"].as_array().unwrap() {
        let action = uid("Narrowgate::Action", &question["action"]);
        let mut context = question["context"].clone();
        let mut base = asked["bases"][usize::try_from(question["base"].as_u64().unwrap()).unwrap()].clone();
        for (unsaid, nothing) in [("actors", json!({ "depth": 0, "members": [] })), ("claimed", json!({}))] {
            let base = base.as_object_mut().unwrap();
            base.entry(unsaid).or_insert(nothing);
        }
        context["base"] = base;
        let context = Context::from_json_value(context, Some((schema, &action))).unwrap();
        for id in question["ids"].as_array().unwrap() {
            let resource = uid(question["type"].as_str().unwrap(), id);
            let whole = Request::new(principal.clone(), action.clone(), resource, context.clone(), Some(schema));
            requests.push(whole.unwrap());
        }
    }
    assert_eq!(requests.len(), 1 + SCOPES.len());
    requests
}
