//! How these tests ask.

use crate::house::{Agent, House, Plan, reason};
use narrowgate::api::proto::{GetTokenRequest, GetTokenResponse, RedeemCodeResponse, Token};
use std::time::Duration;
use tonic::{Code, Status};

pub(crate) const READ: &str = "customers.read";
pub(crate) const WRITE: &str = "customers.write";

/// A request for a token of a grant with these scopes; with none, with all of the grant's.
pub(crate) fn wanted(grant: &str, scopes: &[&str]) -> GetTokenRequest {
    GetTokenRequest {
        grant: grant.to_owned(),
        scopes: scopes.iter().map(ToString::to_string).collect(),
        ..GetTokenRequest::default()
    }
}

/// Gets a token with these scopes.
pub(crate) async fn narrow(agent: &mut Agent, grant: &str, scopes: &[&str]) -> Result<GetTokenResponse, Status> {
    Ok(agent.get_token(wanted(grant, scopes)).await?.into_inner())
}

/// The same, with a token that lives for at least this long.
pub(crate) async fn lasting(agent: &mut Agent, grant: &str, seconds: i64) -> Result<GetTokenResponse, Status> {
    let min_ttl = prost_types::Duration { seconds, nanos: 0 };
    let request = GetTokenRequest { min_ttl: Some(min_ttl), ..wanted(grant, &[]) };
    Ok(agent.get_token(request).await?.into_inner())
}

/// A house whose client may read and write customers, and a grant of both.
pub(crate) async fn granted(plan: Plan) -> (House, Agent, RedeemCodeResponse) {
    let house = plan.open().await;
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &[READ, WRITE]).await.unwrap();
    (house, agent, redeemed)
}

/// Without a circuit breaker, so that POSTs can be counted one by one.
pub(crate) fn unbroken() -> Plan {
    Plan::new().config("deadline = \"5s\"", "deadline = \"5s\"\ncircuit_breaker = false")
}

/// The same, with tokens that are handed out for so long.
pub(crate) fn short(seconds: u32) -> Plan {
    unbroken().policy(&format!(
        "@id(\"test.short\") @max_lifetime(\"{seconds}s\")\n\
        permit (principal, action == Narrowgate::Action::\"grant_scope\", resource);"
    ))
}

pub(crate) fn token(response: &GetTokenResponse) -> &Token {
    response.token.as_ref().unwrap()
}

pub(crate) fn refused<T>(result: Result<T, Status>, code: Code, why: &str) -> Status {
    let status = result.err().expect("it was not refused");
    assert_eq!((status.code(), reason(&status).as_str()), (code, why), "{status:?}");
    status
}

/// Asks until the answer is this.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    for _ in 0..600 {
        if let Some(found) = ask().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("asked in vain for {what}")
}
