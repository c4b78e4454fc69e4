//! gRPC health v1, as clients and orchestrators expect it.

use crate::house::{House, Plan, binary, unix_channel};
use rustix::process::Signal;
use std::{fs, time::Duration};
use tonic::{Code, Streaming, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_client::HealthClient,
};

const SERVICE: &str = "narrowgate.v1.TokenService";

async fn client(house: &House) -> HealthClient<Channel> {
    HealthClient::new(unix_channel(&house.path("run/agent.sock")).await)
}

fn about(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

async fn check(client: &mut HealthClient<Channel>, service: &str) -> Result<ServingStatus, Code> {
    client.check(about(service)).await.map(|r| r.into_inner().status()).map_err(|s| s.code())
}

async fn next(watch: &mut Streaming<HealthCheckResponse>) -> ServingStatus {
    let message = tokio::time::timeout(Duration::from_secs(10), watch.message()).await;
    message.expect("in time").unwrap().expect("the watch goes on").status()
}

// rows: GRPC-11
#[tokio::test]
async fn check_knows_the_whole_and_each_service() {
    let house = Plan::new().open().await;
    let mut client = client(&house).await;
    for service in ["", SERVICE] {
        assert_eq!(check(&mut client, service).await, Ok(ServingStatus::Serving));
    }
    for service in ["narrowgate.v1.NoService", "grpc.health.v1.Health ", "NARROWGATE.V1.TOKENSERVICE"] {
        assert_eq!(check(&mut client, service).await, Err(Code::NotFound), "{service}");
    }
}

// rows: GRPC-11
#[tokio::test]
async fn a_watch_on_an_unknown_service_says_so_and_stays() {
    let house = Plan::new().open().await;
    let mut client = client(&house).await;
    let mut watch = client.watch(about("narrowgate.v1.NoService")).await.unwrap().into_inner();
    assert_eq!(next(&mut watch).await, ServingStatus::ServiceUnknown);
    let more = tokio::time::timeout(Duration::from_millis(500), watch.message()).await;
    assert!(more.is_err(), "the watch stays open, and says nothing more");
    assert_eq!(check(&mut client, "").await, Ok(ServingStatus::Serving));
}

// rows: GRPC-11 AUD-03
#[tokio::test]
async fn a_watch_follows_the_audit_log() {
    let house = Plan::new().open().await;
    let mut client = client(&house).await;
    let mut watches = Vec::new();
    for service in ["", SERVICE] {
        let mut watch = client.watch(about(service)).await.unwrap().into_inner();
        assert_eq!(next(&mut watch).await, ServingStatus::Serving);
        watches.push((service, watch));
    }
    fs::rename(house.path("audit"), house.path("audit-away")).unwrap();
    let mut agent = house.agent().await;
    house.begin(&mut agent, &["customers.read"]).await.err().unwrap();
    for (service, watch) in &mut watches {
        assert_eq!(next(watch).await, ServingStatus::NotServing, "{service}");
        assert_eq!(check(&mut client, service).await, Ok(ServingStatus::NotServing));
    }
    fs::rename(house.path("audit-away"), house.path("audit")).unwrap();
    for (_, watch) in &mut watches {
        assert_eq!(next(watch).await, ServingStatus::Serving);
    }
    house.begin(&mut agent, &["customers.read"]).await.unwrap();
}

// rows: GRPC-11
#[tokio::test]
async fn before_policies_are_loaded_it_does_not_serve() {
    let mut house = Plan::new().policy("no policy").build();
    house.start();
    crate::house::eventually("the socket", || house.path("run/agent.sock").exists().then_some(())).await;
    let mut client = client(&house).await;
    let mut watch = client.watch(about(SERVICE)).await.unwrap().into_inner();
    assert_eq!(next(&mut watch).await, ServingStatus::NotServing);
    assert_eq!(check(&mut client, "").await, Ok(ServingStatus::NotServing));
}

// rows: GRPC-11 GRPC-13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_drains_it_does_not_serve() {
    let house = Plan::new().open().await;
    let mut client = client(&house).await;
    let mut watch = client.watch(about(SERVICE)).await.unwrap().into_inner();
    assert_eq!(next(&mut watch).await, ServingStatus::Serving);
    // An exchange under way holds the stop up.
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &["customers.read"]).await;
    house.server.set_pause(true);
    let request = crate::house::redeem_request(&transaction, &callback.url);
    let call = tokio::spawn(async move { agent.redeem_code(request).await.map(|_| ()) });
    let sent = tokio::task::block_in_place(|| house.server.wait_for(Duration::from_secs(10), |s| s.token_posts() == 1));
    assert!(sent);
    let pid = rustix::process::Pid::from_raw(i32::try_from(house.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(next(&mut watch).await, ServingStatus::NotServing);
    house.server.set_pause(false);
    call.await.unwrap().expect("what was under way is finished");
    house.event("token.issued").await;
    house.event("daemon.stopped").await;
}

// rows: GRPC-11
#[tokio::test]
async fn the_command_line_probes_as_a_container_would() {
    let mut house = Plan::new().open().await;
    let probe = |house: &House, service: &str| {
        let output = binary().args(["health", "--service", service, "--endpoint", &house.endpoint()]).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap().trim().to_owned())
    };
    for service in ["", SERVICE] {
        assert_eq!(probe(&house, service), (0, "SERVING".to_owned()));
    }
    assert_eq!(probe(&house, "no.such.Service").0, 1);
    house.stop().await;
    assert_eq!(probe(&house, "").0, 69);
}
