//! What these tests share: a house that asks for ID tokens, and everything that must be so after a bad one.

use crate::house::{
    Agent, House, Plan, eventually, fact, reason, redeem,
    scripted_as::{
        behaviour::{Behaviour, Script},
        identity::Forgery,
    },
};
use narrowgate::{
    api::proto::RedeemCodeResponse,
    platform::{Clock, SystemClock},
};
use serde_json::{Map, Value, json};
use tonic::{Code, Status};

pub(crate) const READ: &str = "customers.read";
pub(crate) const OPENID: &str = "openid";
pub(crate) const BOTH: [&str; 2] = [READ, OPENID];

/// A plan with these lines in `[issuer.id_token]`. An agent may hold one grant only: a refused token that was kept all
/// the same would block the next login.
pub(crate) fn plan(settings: &str) -> Plan {
    Plan::new()
        .config("deadline = \"5s\"\n", &format!("deadline = \"5s\"\n\n[issuer.id_token]\n{settings}\n"))
        .config("[limits]\n", "[limits]\ngrants_per_agent = 1\n")
}

/// A plan with room for many grants.
pub(crate) fn roomy(settings: &str) -> Plan {
    plan(settings).config("grants_per_agent = 1\n", "")
}

pub(crate) async fn login(house: &House, agent: &mut Agent) -> Result<RedeemCodeResponse, Status> {
    house.login(agent, &BOTH).await
}

/// A login whose ID token is this. It is refused so, with this rule; nothing of it is handed out or kept, both other
/// tokens are revoked, and its record is closed.
pub(crate) async fn refuses(house: &House, agent: &mut Agent, forgery: Forgery, why: &str, rule: &str) -> Status {
    let mut what = format!("{forgery:?}");
    what.truncate(200);
    let server = &house.server;
    let (posts, revoked) = (server.token_posts(), server.revocations().len());
    server.behave(Script::Token(Behaviour::IdToken(forgery)));
    let (transaction, callback) = house.approved(agent, &BOTH).await;
    let status = redeem(agent, &transaction, &callback).await.err().unwrap_or_else(|| panic!("{what} was taken"));
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, why), "{what}");
    if why != "STEP_UP_REQUIRED" {
        assert_eq!(fact(&status, "rule").as_deref(), Some(rule), "{what}");
    }
    let told = format!("{status:?}");
    assert!(!server.secrets().iter().any(|secret| told.contains(secret)), "{what}: a secret is in the status");
    assert_eq!(server.token_posts(), posts + 1, "{what}");
    let decision = fact(&status, "decision_id").unwrap();
    let closing = about(house, "exchange.failed", &decision);
    assert_eq!(closing.len(), 1, "{what}");
    assert_eq!(closing[0]["status_code"], why, "{what}");
    let gone = || Some(about(house, "token.revoked", &decision)).filter(|gone| gone.len() >= 2);
    let gone = eventually(&what, gone).await;
    let kinds: Vec<&Value> = gone.iter().map(|event| &facts(event)["token_kind"]).collect();
    assert_eq!(kinds, ["refresh_token", "access_token"], "{what}");
    assert!(server.revocations().len() >= revoked + 2, "{what}");
    assert_eq!(about(house, "token.issued", &decision).len(), 0, "{what}");
    let again = redeem(agent, &transaction, &callback).await.err().unwrap();
    assert_eq!(reason(&again), "CODE_ALREADY_USED", "{what}");
    status
}

/// The events with this code about this exchange.
pub(crate) fn about(house: &House, code: &str, decision: &str) -> Vec<Value> {
    house.events(code).into_iter().filter(|e| e["metadata"]["correlation_uid"] == decision).collect()
}

/// The further facts of an event.
pub(crate) fn facts(event: &Value) -> &Value {
    &event["unmapped"]["narrowgate"]
}

/// Members of an object.
pub(crate) fn object(value: Value) -> Map<String, Value> {
    let Value::Object(members) = value else { panic!("no object") };
    members
}

/// These claims, well signed.
pub(crate) fn claims(changes: Value) -> Forgery {
    Forgery::Claims(object(changes))
}

/// Seconds since 1970, moved.
pub(crate) fn seconds(moved: i64) -> Value {
    json!(SystemClock.wall().0 / 1000 + moved)
}

/// A parameter of a URL.
pub(crate) fn param(url: &str, name: &str) -> Option<String> {
    let url = url::Url::parse(url).unwrap();
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}
