use narrowgate::{audit::Recorded, oauth::{AuthorizationServers, Passage}, transaction::Claim};

pub async fn unasked(servers: &AuthorizationServers, recorded: Recorded<Claim>, passage: Passage) {
    let line = servers.connect(recorded.get().begun(), passage).await.ok().unwrap();
    servers.redeem(recorded, line).await;
}
