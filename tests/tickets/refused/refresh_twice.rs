use narrowgate::{audit::Recorded, model::Boot, oauth::{AuthorizationServers, Line, Turn}, policy::RefreshPermitted};

pub async fn again(servers: &AuthorizationServers, recorded: Recorded<RefreshPermitted<Turn>>, lines: [Line; 2], until: Boot) {
    let [one, two] = lines;
    let _first = servers.refresh(recorded, Ok(one), (until, &|| true)).await;
    let _second = servers.refresh(recorded, Ok(two), (until, &|| true)).await;
}
