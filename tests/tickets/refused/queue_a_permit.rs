use narrowgate::{audit::Recorder, oauth::{AuthorizationServers, Passage}, policy::Permitted};

pub async fn hasty(servers: &AuthorizationServers, recorder: &Recorder, permitted: Permitted, passage: Passage) {
    let line = servers.connect(permitted.claim().begun(), passage).await.ok().unwrap();
    let queued = recorder.record_queued(permitted).ok().unwrap();
    servers.redeem(queued, line).await;
}
