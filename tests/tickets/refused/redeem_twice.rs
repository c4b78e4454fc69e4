use narrowgate::{audit::Recorded, oauth::AuthorizationServers, policy::Permitted, transaction::Begun};

pub async fn again(servers: &AuthorizationServers, begun: &Begun, recorded: Recorded<Permitted>) {
    let (one, two) = (servers.connect(begun).await.ok().unwrap(), servers.connect(begun).await.ok().unwrap());
    let _first = servers.redeem(recorded, one).await;
    let _second = servers.redeem(recorded, two).await;
}
