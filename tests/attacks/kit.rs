//! What the attackers share.

pub(crate) use crate::{
    answers::{Trap, about, facts, member, raw as body, raw_with},
    asking::{READ, WRITE, ask, by_fields, param, refused, run, words},
    house::{
        Agent, COURIER, House, Plan, begin_request, eventually, fact, get, reason, redeem, redeem_request,
        scripted_as::{
            Callback, ScriptedAs, Setup,
            behaviour::{Behaviour, RevocationBehaviour, Script},
            identity::Forgery,
        },
        write,
    },
    raw,
};
pub(crate) use narrowgate::api::proto::{
    BeginAuthorizationRequest, Claimed, GetTokenRequest, RedeemCodeRequest, RevokeGrantRequest,
};
pub(crate) use std::{fs, time::Duration};
pub(crate) use tonic::{Code, Status};

/// A handle that nobody was given.
pub(crate) const GUESS: &str = "0123456789abcdef0123456789abcdef";

/// The sample house with one agent of each door.
pub(crate) async fn house_of_two() -> (House, Agent, Agent) {
    let house = Plan::new().open().await;
    let (quoter, courier) = (house.agent().await, house.svid_agent(COURIER).await);
    (house, quoter, courier)
}

/// What a caller can tell two refusals apart by.
pub(crate) fn looks(status: &Status) -> (Code, String, Vec<u8>) {
    (status.code(), status.message().to_owned(), status.details().to_vec())
}

/// A login whose code gets this answer, and what the agent is told.
pub(crate) async fn answered(house: &House, agent: &mut Agent, answer: Behaviour) -> Status {
    house.server.behave(Script::Token(answer));
    house.login(agent, &[READ]).await.err().expect("the answer is refused")
}

/// Waits until this much of what was issued is revoked at the server.
pub(crate) async fn revoked(house: &House, count: usize) {
    eventually("the revocation", || (house.server.revocations().len() >= count).then_some(())).await;
}

/// Nothing was handed out: the log has no issue and no hand-out.
pub(crate) fn assert_nothing_issued(house: &House) {
    for code in ["token.issued", "token.served"] {
        assert!(house.events(code).is_empty(), "{code}");
    }
}

/// A daemon that must not come up: its exit code and all it says.
pub(crate) async fn stays_down(house: &House) -> (Option<i32>, String) {
    let output = run(house.command("serve")).await;
    let words = words(&output);
    assert!(!words.contains("narrowgate is up"), "{words}");
    (output.status.code(), words)
}
