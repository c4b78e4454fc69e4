//! The code of one server is led to another: by a swapped `iss`, by metadata that changes half way, by a server that the
//! agent brings along.

use crate::kit::*;
use serde_json::json;

#[tokio::test]
async fn the_code_goes_where_the_transaction_began() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    // A server of the agent's own, by URL.
    let mut own = begin_request(&[READ]);
    own.issuer = "https://evil.example".to_owned();
    refused(agent.begin_authorization(own).await, Code::NotFound, "ISSUER_UNKNOWN");
    // Another server's answer, and an error that is not this server's.
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    for iss in ["https://evil.example", "", &format!("{}/", callback.iss)] {
        let mixed = by_fields(&transaction, &callback.code, &callback.state, iss);
        refused(ask(&mut agent, mixed).await, Code::FailedPrecondition, "ISS_MISMATCH");
    }
    let error = format!(
        "http://127.0.0.1:50123/callback?error=access_denied&state={}&iss=https%3A%2F%2Fevil.example",
        callback.state
    );
    refused(ask(&mut agent, redeem_request(&transaction, &error)).await, Code::FailedPrecondition, "ISS_MISMATCH");
    assert_eq!(house.event("detect.iss_mismatch").await["severity"], "High");
    assert_eq!(house.server.token_connections(), 0);
    // Metadata that leads elsewhere now does not move what has begun.
    let trap = Trap::new();
    let elsewhere = json!(format!("https://127.0.0.1:{}/token", trap.port()));
    let aliases = json!({ "token_endpoint": elsewhere });
    let moved = [("token_endpoint".to_owned(), elsewhere), ("mtls_endpoint_aliases".to_owned(), aliases)];
    house.server.metadata_override(moved.into_iter().collect());
    redeem(&mut agent, &transaction, &callback).await.unwrap();
    assert_eq!(house.server.token_posts(), 1);
    trap.assert_untouched();
}

#[tokio::test]
async fn a_counterfeit_with_the_right_name_has_the_wrong_certificate() {
    let mut house = Plan::new().build();
    // It listens where the configuration says, and its certificate is of a CA that anyone could have.
    let counterfeit = ScriptedAs::start(Setup::new(&house.agents_ca, house.clients_ca.certificate_pem()));
    let file = house.path("narrowgate.toml");
    let config = fs::read_to_string(&file).unwrap().replace(&house.server.issuer(), &counterfeit.issuer());
    write(&file, &config);
    house.start();
    house.wait_until_serving().await;
    let mut agent = house.agent().await;
    assert_eq!(house.begin(&mut agent, &[READ]).await.err().unwrap().code(), Code::Unavailable);
    assert!(counterfeit.requests().is_empty());
}
