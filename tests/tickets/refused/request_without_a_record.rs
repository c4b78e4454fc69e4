use narrowgate::{oauth::{AuthorizationServers, Passage, TokenRequest}, platform::Entropy, policy::{RequestPermitted, Requestable}};

pub async fn hasty(servers: &AuthorizationServers, permitted: RequestPermitted<TokenRequest>, passage: Passage, entropy: &dyn Entropy) {
    let line = servers.request_line(permitted.request().begun(), passage).await;
    servers.request(permitted, line, entropy).await;
}
