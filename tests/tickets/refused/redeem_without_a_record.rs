use narrowgate::{oauth::{AuthorizationServers, Passage}, policy::Permitted};

pub async fn hasty(servers: &AuthorizationServers, permitted: Permitted, passage: Passage) {
    let line = servers.connect(permitted.claim().begun(), passage).await.ok().unwrap();
    servers.redeem(permitted, line).await;
}
