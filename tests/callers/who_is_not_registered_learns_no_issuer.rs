use crate::house::{COURIER, House, Plan, eventually};
use narrowgate::dev::ca::San;
use std::time::Duration;
use tonic::{Code, Status, metadata::MetadataMap, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_client::HealthClient,
};

type Health = HealthClient<Channel>;

/// A client of health with a verified certificate in this name.
async fn named(house: &House, spiffe_id: &str) -> Health {
    let identity = house.agents_ca.client("peer", &[San::Uri(spiffe_id)]).unwrap();
    let config = crate::wire::tls_config(house, &identity, &[b"h2"]);
    let port = house.tcp_port().await;
    let connector = tower::service_fn(move |_| {
        let config = config.clone();
        async move { crate::wire::connect(config, port).await.map(hyper_util::rt::TokioIo::new) }
    });
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://localhost:{port}")).unwrap();
    HealthClient::new(endpoint.connect_with_connector(connector).await.unwrap())
}

fn about(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

async fn check(client: &mut Health, service: &str) -> Result<(MetadataMap, ServingStatus), Status> {
    let (metadata, answer, _) = client.check(about(service)).await?.into_parts();
    Ok((metadata, answer.status()))
}

async fn first(client: &mut Health, service: &str) -> HealthCheckResponse {
    let mut watch = client.watch(about(service)).await.unwrap().into_inner();
    tokio::time::timeout(Duration::from_secs(10), watch.message()).await.expect("in time").unwrap().unwrap()
}

/// Whether an answer's headers name the house's one issuer anywhere.
fn names_the_issuer(metadata: &MetadataMap) -> bool {
    format!("{metadata:?}").contains("corp")
}

// rows: CALL-07 GRPC-11
#[tokio::test]
async fn it_is_told_how_the_whole_is_and_of_no_issuer() {
    let house = Plan::new().open().await;
    let mut courier = named(&house, COURIER).await;
    let mut stranger = named(&house, "spiffe://acme.test/agent/nobody").await;
    for service in ["", "narrowgate.v1.TokenService"] {
        for client in [&mut courier, &mut stranger] {
            assert_eq!(check(client, service).await.unwrap().1, ServingStatus::Serving);
            assert_eq!(first(client, service).await.status(), ServingStatus::Serving);
        }
    }
    // A registered agent sees them.
    assert!(names_the_issuer(&check(&mut courier, "").await.unwrap().0));
    assert_eq!(check(&mut courier, "issuer/corp").await.unwrap().1, ServingStatus::Serving);
    assert_eq!(first(&mut courier, "issuer/corp").await.status(), ServingStatus::Serving);
    // To anyone else one that exists is like one that does not.
    assert!(!names_the_issuer(&check(&mut stranger, "").await.unwrap().0));
    let mut told = Vec::new();
    for service in ["issuer/corp", "issuer/none"] {
        let status = check(&mut stranger, service).await.err().unwrap();
        assert_eq!(status.code(), Code::NotFound);
        told.push((status.message().to_owned(), status.details().to_vec()));
        assert_eq!(first(&mut stranger, service).await.status(), ServingStatus::ServiceUnknown);
    }
    assert_eq!(told[0], told[1]);
    // Probes are no attack: nothing is reported of them.
    house.begin(&mut house.agent().await, &[crate::asking::READ]).await.unwrap();
    eventually("a later event", || (!house.events("authorization.decided").is_empty()).then_some(())).await;
    assert!(house.events("agent.rejected").is_empty());
}
