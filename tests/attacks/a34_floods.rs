//! One agent floods: huge messages, huge metadata, calls torn down as fast as they are made, more than its share. It is
//! refused; another agent is served.

use crate::kit::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_its_senders_own_trouble() {
    let limits = "[limits]\ncalls_per_second = 20\ncalls_burst = 100";
    let house = Plan::new().config("[limits]", limits).open().await;
    let (mut loud, mut quiet) = (house.agent().await, house.svid_agent(COURIER).await);
    let held = house.login(&mut quiet, &[READ]).await.unwrap();
    let huge = BeginAuthorizationRequest { client: "x".repeat(4 << 20), ..begin_request(&[READ]) };
    let status = loud.begin_authorization(huge).await.err().unwrap();
    assert!([Code::ResourceExhausted, Code::OutOfRange, Code::Unknown].contains(&status.code()), "{status:?}");
    let mut bomb = tonic::Request::new(begin_request(&[READ]));
    for n in 0..512 {
        let name: tonic::metadata::MetadataKey<_> = format!("x-{n}").parse().unwrap();
        bomb.metadata_mut().insert(name, "y".repeat(512).parse().unwrap());
    }
    assert!(loud.begin_authorization(bomb).await.is_err());
    // Torn down as fast as they are made (CVE-2023-44487), on a connection of their own.
    let mut torn = house.agent().await;
    for _ in 0..2_000 {
        let call = torn.get_token(GetTokenRequest { grant: format!("grant_{GUESS}"), ..GetTokenRequest::default() });
        let _ = tokio::time::timeout(Duration::ZERO, call).await;
    }
    let over = async {
        loop {
            let status = get(&mut loud, &format!("grant_{GUESS}")).await.err().unwrap();
            if status.code() == Code::ResourceExhausted {
                break status;
            }
        }
    };
    let status = tokio::time::timeout(Duration::from_secs(15), over).await.expect("its share ends");
    assert_eq!(reason(&status), "QUOTA_EXCEEDED");
    get(&mut quiet, &held.grant).await.unwrap();
}
