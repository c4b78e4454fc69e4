//! What these tests share: one bad answer at a time, and everything that must then be so.

use crate::house::{
    Agent, House, Plan, eventually, fact, reason, redeem,
    scripted_as::behaviour::{Behaviour, Script},
};
use prost::Message;
use serde_json::{Map, Value};
use std::net::TcpListener;
use tonic::{Code, Status};

/// The scope most of these tests ask for.
pub(crate) const READ: &str = "customers.read";
/// Nothing to revoke, or nothing that could be read.
pub(crate) const NONE: &[&str] = &[];
/// What is revoked of an honest answer, in order.
pub(crate) const BOTH: &[&str] = &["refresh_token", "access_token"];
/// What is revoked of an answer with an access token only.
pub(crate) const ACCESS: &[&str] = &["access_token"];
/// How an answer that breaks RFC 6749 §5 is refused.
pub(crate) const MALFORMED: (Code, &str) = (Code::FailedPrecondition, "AS_RESPONSE_MALFORMED");

/// An agent may hold one grant only: a refused token that was kept all the same would block the last login. However
/// many bad answers come in a row, the server is asked again.
pub(crate) fn plan() -> Plan {
    let all = "issuer = \"@ISSUER@\"\ncircuit_breaker = false\n";
    Plan::new().config("[limits]\n", "[limits]\ngrants_per_agent = 1\n").config("issuer = \"@ISSUER@\"\n", all)
}

/// A login that gets this answer. It is refused so, nothing of it is handed out, what could be read is revoked, its
/// record is closed, and the code is not sent again.
pub(crate) async fn refuses(
    house: &House,
    agent: &mut Agent,
    behaviour: Behaviour,
    (code, why): (Code, &str),
    hints: &[&str],
) -> Status {
    let mut what = format!("{behaviour:?}");
    what.truncate(200);
    let server = &house.server;
    let (posts, revoked) = (server.token_posts(), server.revocations().len());
    server.behave(Script::Token(behaviour));
    let (transaction, callback) = house.approved(agent, &[READ]).await;
    let status = redeem(agent, &transaction, &callback).await.err().expect(&what);
    assert_eq!((status.code(), reason(&status).as_str()), (code, why), "{what}");
    assert_eq!(server.token_posts(), posts + 1, "{what}");
    assert_tells_no_secret(house, &status);
    let decision = fact(&status, "decision_id").unwrap();
    let closing = about(house, "exchange.failed", &decision);
    assert_eq!(closing.len(), 1, "{what}");
    assert_eq!(closing[0]["status_code"], why, "{what}");
    let gone = eventually(&what, || {
        let seen = server.revocations().split_off(revoked);
        (seen.len() >= hints.len()).then_some(seen)
    });
    let gone = gone.await;
    assert_eq!(gone.iter().map(|(hint, _)| hint.as_str()).collect::<Vec<_>>(), hints, "{what}");
    assert!(gone.iter().all(|(_, token)| server.secrets().contains(token)), "{what}");
    eventually(&what, || (about(house, "token.revoked", &decision).len() == hints.len()).then_some(())).await;
    let again = redeem(agent, &transaction, &callback).await.err().expect(&what);
    assert_eq!(reason(&again), "CODE_ALREADY_USED", "{what}");
    assert_eq!(server.token_posts(), posts + 1, "{what}");
    status
}

/// After all refusals: none of them left anything behind, and an honest login works.
pub(crate) async fn settled(house: &House, agent: &mut Agent) {
    house.login(agent, &[READ]).await.unwrap();
    house.assert_no_secret_leaked();
}

/// Fails if a status tells anything the server knows as a secret.
pub(crate) fn assert_tells_no_secret(house: &House, status: &Status) {
    let told = format!("{status:?}");
    for secret in house.server.secrets() {
        assert!(!told.contains(&secret), "a secret is in the status");
    }
}

/// Fails if a reply holds a secret besides the one access token it is for.
pub(crate) fn assert_holds_only(house: &House, reply: &impl Message, access_token: &str) {
    let bytes = String::from_utf8_lossy(&reply.encode_to_vec()).into_owned();
    assert!(bytes.contains(access_token));
    for secret in house.server.secrets() {
        assert!(secret == access_token || !bytes.contains(&secret), "another secret is in the reply");
    }
}

/// The events with this code about this exchange.
pub(crate) fn about(house: &House, code: &str, decision: &str) -> Vec<Value> {
    house.events(code).into_iter().filter(|e| e["metadata"]["correlation_uid"] == decision).collect()
}

/// The further facts of an event.
pub(crate) fn facts(event: &Value) -> &Value {
    &event["unmapped"]["narrowgate"]
}

/// Exactly this status and JSON text. The code stays unused at the server.
pub(crate) fn raw(status: u16, body: &str) -> Behaviour {
    raw_with(status, &[("Content-Type", "application/json")], body)
}

/// As [`raw`], with these headers.
pub(crate) fn raw_with(status: u16, headers: &[(&str, &str)], body: &str) -> Behaviour {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Behaviour::Raw { status, headers, body: body.as_bytes().to_vec() }
}

/// An honest answer with this member.
pub(crate) fn member(name: &str, value: Value) -> Behaviour {
    Behaviour::Members(members([(name, value)]))
}

/// Members of an object.
pub(crate) fn members<const N: usize>(pairs: [(&str, Value); N]) -> Map<String, Value> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A port that nobody may connect to.
pub(crate) struct Trap(TcpListener);

impl Trap {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// Fails if anyone has connected: the connection would wait in the backlog.
    pub(crate) fn assert_untouched(&self) {
        assert!(self.0.accept().is_err(), "somebody connected");
    }
}
