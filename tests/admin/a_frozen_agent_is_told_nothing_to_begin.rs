use crate::{
    house::COURIER,
    kit::{admin, freeze, plan, refused, unfreeze},
};
use narrowgate::api::proto::ResolveChallengeRequest;
use tonic::Code;

// rows: INTR-03 (the call of a challenge too)
#[tokio::test]
async fn until_it_is_unfrozen() {
    let house = plan().open().await;
    let (mut admin, mut agent) = (admin(&house).await, house.svid_agent(COURIER).await);
    let url = "https://mail.example.test/api/inbox".to_owned();
    let request = ResolveChallengeRequest { url, ..ResolveChallengeRequest::default() };
    let resolved = agent.resolve_challenge(request.clone()).await.unwrap().into_inner();
    assert_eq!(resolved.options[0].clients, ["sales-crm"]);
    freeze(&mut admin, "agent").await.unwrap();
    refused(agent.resolve_challenge(request.clone()).await, Code::PermissionDenied, "FROZEN");
    assert!(unfreeze(&mut admin, "agent").await);
    agent.resolve_challenge(request).await.unwrap();
}
