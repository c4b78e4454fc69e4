//! The corridor as it is meant to be walked, as far as it can be seen from outside.
use narrowgate::{
    audit::{Recorded, Recorder},
    caller::Caller,
    grant::{Grants, Reply},
    model::{AccessToken, AuthorizationCode, Boot, Claimed, DecisionId},
    oauth::{AuthorizationServers, Issued, Obtained, Refreshed, TokenRequest, Turn},
    platform::Entropy,
    policy::{Permitted, Policies, RefreshPermitted, Refreshable, Released, RequestPermitted, Requestable},
    transaction::{Presented, Settled, Transactions},
};
use std::sync::Arc;

pub async fn walk(
    transactions: Arc<Transactions>,
    policies: &Policies,
    recorder: &Recorder,
    servers: &AuthorizationServers,
    caller: Caller,
    presented: Presented<'_>,
    claimed: &Claimed,
    ids: [DecisionId; 2],
) -> Option<Released<Issued>> {
    let Ok(Settled::Claimed(claim)) = transactions.settle(caller, presented) else { return None };
    let passage = servers.enter(&claim.begun().opening.issuer.alias, &claim.caller().agent().id).await.ok()?;
    let line = servers.connect(claim.begun(), passage).await.ok()?;
    let permitted: Permitted = policies.permit(*claim, claimed, ids[0]).ok()?;
    let recorded: Recorded<Permitted> = recorder.record(permitted).await.ok()?;
    let issued: Issued = servers.redeem(recorded, line).await.ok()?;
    policies.release(issued, claimed, ids[1]).ok()
}

pub async fn outcome(grants: &Grants, recorder: &Recorder, released: Released<Issued>) -> Option<Recorded<Reply>> {
    let (reply, _caller, _closing) = grants.keep(released).ok()?;
    recorder.record_outcome(reply).await.ok()
}

pub async fn refresh(
    policies: &Policies,
    recorder: &Recorder,
    servers: &AuthorizationServers,
    turn: Turn,
    claimed: &Claimed,
    (ids, until): ([DecisionId; 2], Boot),
) -> Option<Released<Refreshed>> {
    let opening = &turn.begun().opening;
    let passage = servers.enter(&opening.issuer.alias, &opening.agent.id).await.ok()?;
    let line = servers.refresh_line(turn.begun(), passage).await;
    let permitted: RefreshPermitted<Turn> = policies.refresh(turn, claimed, ids[0]).ok()?;
    let recorded: Recorded<RefreshPermitted<Turn>> = recorder.record(permitted).await.ok()?;
    let refreshed: Refreshed = servers.refresh(recorded, line, (until, &|| true)).await.ok()?;
    policies.release(refreshed, claimed, ids[1]).ok()
}

pub async fn request(
    policies: &Policies,
    recorder: &Recorder,
    servers: &AuthorizationServers,
    request: TokenRequest,
    claimed: &Claimed,
    (ids, entropy): ([DecisionId; 2], &dyn Entropy),
) -> Option<Released<Obtained>> {
    let opening = &request.begun().opening;
    let passage = servers.enter(&opening.issuer.alias, &opening.agent.id).await.ok()?;
    let line = servers.request_line(request.begun(), passage).await;
    let permitted: RequestPermitted<TokenRequest> = policies.request(request, claimed, ids[0]).ok()?;
    let recorded: Recorded<RequestPermitted<TokenRequest>> = recorder.record(permitted).await.ok()?;
    let obtained: Obtained = servers.request(recorded, line, entropy).await.ok()?;
    policies.release(obtained, claimed, ids[1]).ok()
}

pub fn secrets(code: &AuthorizationCode, other: &AuthorizationCode) -> bool {
    AccessToken::parse("canary".to_owned()).is_some() && code.matches(other)
}
