use narrowgate::{model::Boot, oauth::{AuthorizationServers, Passage, Turn}, policy::{RefreshPermitted, Refreshable}};

pub async fn hasty(servers: &AuthorizationServers, permitted: RefreshPermitted<Turn>, (passage, until): (Passage, Boot)) {
    let line = servers.refresh_line(permitted.subject().begun(), passage).await;
    servers.refresh(permitted, line, (until, &|| true)).await;
}
