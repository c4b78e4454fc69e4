use narrowgate::{audit::Recorded, model::Boot, oauth::{AuthorizationServers, Turn}, policy::{RefreshPermitted, Refreshable}};

pub async fn again(servers: &AuthorizationServers, recorded: Recorded<RefreshPermitted<Turn>>, until: Boot) {
    let begun = recorded.get().subject().begun().clone();
    let (one, two) = (servers.refresh_line(&begun).await, servers.refresh_line(&begun).await);
    let _first = servers.refresh(recorded, one, until).await;
    let _second = servers.refresh(recorded, two, until).await;
}
