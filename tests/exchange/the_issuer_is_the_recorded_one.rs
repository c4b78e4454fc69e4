use crate::{
    asking::{READ, ask, by_fields, refused, with_iss},
    house::{
        House, Plan, redeem, redeem_request,
        scripted_as::{ScriptedAs, Setup},
        write,
    },
};
use serde_json::json;
use tonic::Code;

const ISS_SUPPORTED: &str = "authorization_response_iss_parameter_supported";

/// A house whose server says this of `iss` in its metadata.
async fn advertising(value: serde_json::Value) -> House {
    let change =
        move |setup: &mut Setup<'_>| drop(setup.metadata_override.insert(ISS_SUPPORTED.to_owned(), value.clone()));
    Plan::new().server(change).open().await
}

// rows: ISS-02
#[tokio::test]
async fn iss_is_compared_whenever_it_is_there_and_demanded_where_it_was_promised() {
    for (advertised, absent_is_fine) in
        [(json!(true), false), (json!(false), true), (json!(null), true), (json!("true"), true)]
    {
        let house = advertising(advertised.clone()).await;
        let mut agent = house.agent().await;
        let (issuer, posts) = (house.server.issuer(), || house.server.token_posts());
        // Present and right.
        house.login(&mut agent, &[READ]).await.unwrap();
        // Present and wrong.
        let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
        for wrong in ["https://evil.test", &format!("{issuer}x"), "null", " "] {
            let result = with_iss(&mut agent, &transaction, &callback, wrong).await;
            refused(result, Code::FailedPrecondition, "ISS_MISMATCH");
        }
        assert_eq!(posts(), 1, "{advertised}");
        // Absent.
        let result = with_iss(&mut agent, &transaction, &callback, "").await;
        if absent_is_fine {
            result.unwrap();
        } else {
            refused(result, Code::FailedPrecondition, "ISS_MISMATCH");
        }
        assert_eq!(posts(), 1 + usize::from(absent_is_fine), "{advertised}");
        assert_eq!(house.events("detect.iss_mismatch").len(), if absent_is_fine { 4 } else { 5 });
    }
}

// rows: ISS-02
#[tokio::test]
async fn absent_from_a_callback_url_is_absent() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let url = callback.url.split("&iss=").next().unwrap();
    assert_ne!(url, callback.url);
    let result = ask(&mut agent, redeem_request(&transaction, url)).await;
    refused(result, Code::FailedPrecondition, "ISS_MISMATCH");
    assert_eq!(house.server.token_connections(), 0);
    redeem(&mut agent, &transaction, &callback).await.unwrap();
}

// rows: ISS-01 ISS-02
#[tokio::test]
async fn the_response_of_another_configured_issuer_is_a_mix_up() {
    let mut house = Plan::new().build();
    let other = ScriptedAs::start(Setup::new(&house.server_ca, house.clients_ca.certificate_pem()));
    let file = house.path("narrowgate.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    let second = config[config.find("[[issuer]]").unwrap()..]
        .replace("\"corp\"", "\"other\"")
        .replace("sales-crm", "other-crm")
        .replace(&house.server.issuer(), &other.issuer());
    write(&file, &format!("{config}\n{second}"));
    house.start();
    house.wait_until_serving().await;
    let mut agent = house.agent().await;
    let begun = house.begin(&mut agent, &[READ]).await.unwrap();
    assert!(begun.authorization_url.starts_with(&house.server.issuer()));
    // The person was led to the other server, and its response comes back, with its code and its iss.
    let mixed = other.approve(&begun.authorization_url.replace(&house.server.issuer(), &other.issuer()));
    let result = redeem(&mut agent, &begun.transaction, &mixed).await;
    refused(result, Code::FailedPrecondition, "ISS_MISMATCH");
    let alert = house.event("detect.iss_mismatch").await;
    assert_eq!(alert["severity_id"], 4);
    assert_eq!((house.server.token_connections(), other.token_connections()), (0, 0));
    // The recorded issuer's own response still counts, and goes to it alone.
    let callback = house.server.approve(&begun.authorization_url);
    redeem(&mut agent, &begun.transaction, &callback).await.unwrap();
    assert_eq!((house.server.token_posts(), other.token_connections()), (1, 0));
}

/// A house whose issuer has a name of its own, with endpoints from the configuration.
async fn named(issuer: &str) -> House {
    let endpoints = "endpoints = { authorization = \"@ISSUER@/authorize\", token = \"@TOKEN@\" }";
    let mut house = Plan::new().config("issuer = \"@ISSUER@\"", &format!("issuer = \"{issuer}\"\n{endpoints}")).build();
    let file = house.path("narrowgate.toml");
    let config = std::fs::read_to_string(&file).unwrap().replace("@TOKEN@", &house.server.token_url());
    write(&file, &config);
    house.start();
    house.wait_until_serving().await;
    house
}

// rows: ISS-03
#[tokio::test]
async fn issuers_are_compared_as_strings() {
    let house = named("https://as.example").await;
    let mut agent = house.agent().await;
    for other in [
        "HTTPS://as.example",
        "https://AS.example",
        "https://as.example/",
        "https://as.example:443",
        "https://%61s.example",
        "https://as.example?",
        "https://as.example#",
        "https://as.example/.",
        "https://as.exampl",
        "https://as.example.",
        " https://as.example",
        "as.example",
    ] {
        let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
        let connections = house.server.token_connections();
        let result = with_iss(&mut agent, &transaction, &callback, other).await;
        refused(result, Code::FailedPrecondition, "ISS_MISMATCH");
        assert_eq!(house.server.token_connections(), connections);
        let right = by_fields(&transaction, &callback.code, &callback.state, "https://as.example");
        ask(&mut agent, right).await.unwrap();
    }
}

// rows: ISS-03
#[tokio::test]
async fn only_the_form_encoding_is_taken_off() {
    let house = named("https://as.example/tenant").await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let url = |iss: &str| format!("/callback?code={}&state={}&iss={iss}", callback.code, callback.state);
    for other in [
        "https%3A%2F%2Fas.example%2Ftenant%2F",
        "https%3A%2F%2Fas.example%2F%74enan%2574",
        "https%253A%252F%252Fas.example%252Ftenant",
        "https://as.example/ten+ant",
    ] {
        let result = ask(&mut agent, redeem_request(&transaction, &url(other))).await;
        refused(result, Code::FailedPrecondition, "ISS_MISMATCH");
    }
    assert_eq!(house.server.token_connections(), 0);
    ask(&mut agent, redeem_request(&transaction, &url("https%3a%2F%2Fas.ex%61mple/tenant"))).await.unwrap();
}

// rows: ISS-01
#[tokio::test]
async fn a_redeem_request_cannot_name_an_issuer() {
    // The issuer of a transaction is a field that has no empty state: it is the one its client was begun with.
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    for named in ["other", "CORP", &house.server.issuer()] {
        let request = narrowgate::api::proto::BeginAuthorizationRequest {
            issuer: named.to_owned(),
            ..crate::house::begin_request(&[READ])
        };
        refused(crate::asking::begin(&mut agent, request).await, Code::NotFound, "ISSUER_UNKNOWN");
    }
    assert_eq!(house.server.front_connections(), 0);
}
