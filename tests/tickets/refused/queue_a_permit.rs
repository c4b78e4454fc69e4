use narrowgate::{audit::Recorder, oauth::AuthorizationServers, policy::Permitted};

pub async fn hasty(servers: &AuthorizationServers, recorder: &Recorder, permitted: Permitted) {
    let line = servers.connect(permitted.claim().begun()).await.ok().unwrap();
    let queued = recorder.record_queued(permitted).ok().unwrap();
    servers.redeem(queued, line).await;
}
