use crate::house::{COURIER, Plan, get, reason};
use tonic::Code;
use tonic_types::StatusExt;

// rows: GRPC-09
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_agents_flood_is_refused_and_another_agent_is_served() {
    let limits = "[limits]\ncalls_per_second = 5\ncalls_burst = 20";
    let house = Plan::new().config("[limits]", limits).open().await;
    let (mut loud, mut quiet) = (house.agent().await, house.svid_agent(COURIER).await);
    let grant = house.login(&mut quiet, &["mail.read"]).await.unwrap().grant;
    let mut refused = None;
    for _ in 0..60 {
        let status = get(&mut loud, "grant_00000000000000000000000000000000").await.err().unwrap();
        if reason(&status) == "QUOTA_EXCEEDED" {
            refused = Some(status);
        }
    }
    let refused = refused.unwrap();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.get_details_retry_info().unwrap().retry_delay.is_some());
    assert!(get(&mut quiet, &grant).await.is_ok());
}
