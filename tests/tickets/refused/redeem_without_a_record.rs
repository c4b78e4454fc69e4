use narrowgate::{oauth::AuthorizationServers, policy::Permitted};

pub async fn hasty(servers: &AuthorizationServers, permitted: Permitted) {
    let line = servers.connect(permitted.claim().begun()).await.ok().unwrap();
    servers.redeem(permitted, line).await;
}
