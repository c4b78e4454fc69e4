use narrowgate::{model::Boot, oauth::{AuthorizationServers, Turn}, policy::{RefreshPermitted, Refreshable}};

pub async fn hasty(servers: &AuthorizationServers, permitted: RefreshPermitted<Turn>, until: Boot) {
    let line = servers.refresh_line(permitted.subject().begun()).await;
    servers.refresh(permitted, line, until).await;
}
