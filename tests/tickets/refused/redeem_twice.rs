use narrowgate::{audit::Recorded, oauth::{AuthorizationServers, Passage}, policy::Permitted, transaction::Begun};

pub async fn again(servers: &AuthorizationServers, begun: &Begun, recorded: Recorded<Permitted>, p: Passage, q: Passage) {
    let (one, two) = (servers.connect(begun, p).await.ok().unwrap(), servers.connect(begun, q).await.ok().unwrap());
    let _first = servers.redeem(recorded, one).await;
    let _second = servers.redeem(recorded, two).await;
}
