use narrowgate::{audit::Recorded, model::Boot, oauth::{AuthorizationServers, Passage, Turn}, policy::Refreshable};

pub async fn unasked(servers: &AuthorizationServers, recorded: Recorded<Turn>, (passage, until): (Passage, Boot)) {
    let line = servers.refresh_line(recorded.get().begun(), passage).await;
    servers.refresh(recorded, line, (until, &|| true)).await;
}
