use narrowgate::{audit::Recorded, model::Boot, oauth::{AuthorizationServers, Turn}, policy::Refreshable};

pub async fn unasked(servers: &AuthorizationServers, recorded: Recorded<Turn>, until: Boot) {
    let line = servers.refresh_line(recorded.get().begun()).await;
    servers.refresh(recorded, line, until).await;
}
