use crate::{
    house::{House, Plan, eventually, fact, reason},
    kit::{Resource, WELL_KNOWN, asker, document, naming, open, open_with, resolve},
};
use tonic::Code;

/// What is not a resource with the path `/api…`, however close: another host, port, path, slash, case, scheme or spelling.
fn others(own: &str) -> Vec<String> {
    let (origin, _) = own.split_once("/api").unwrap();
    vec![
        format!("{own}/"),
        origin.to_owned(),
        format!("{origin}/"),
        format!("{own}2"),
        own.replace("/api", "/API"),
        own.replace("/api", "/%61pi"),
        own.replace("/api", "//api"),
        format!("{own}?x=1"),
        format!("{own}#x"),
        own.replace("127.0.0.1", "localhost"),
        own.replace("127.0.0.1", "evil.example"),
        own.replace("https://", "http://"),
        own.replace("https://", "HTTPS://"),
        own.replace(origin, "https://127.0.0.1"),
        "https://mail.example.test/api".to_owned(),
        format!(" {own}"),
        String::new(),
    ]
}

async fn is_refused(house: &House, number: usize, url: &str, headers: &[&str], what: &str) {
    let status = resolve(&mut asker(house, number).await, url, headers).await.err().unwrap_or_else(|| panic!("{what}"));
    let told = (status.code(), reason(&status));
    assert_eq!(told, (Code::FailedPrecondition, "PRM_RESOURCE_MISMATCH".to_owned()), "{what}");
    assert!(fact(&status, "api").is_some_and(|api| api.starts_with("crm")), "{status:?}");
}

// rows: SSRF-01
#[tokio::test]
async fn at_the_well_known_place_of_its_identifier() {
    let resource = Resource::start();
    let house = open(&resource).await;
    let issuer = house.server.issuer();
    let (own, below) = (resource.url("/api"), resource.url("/api/customers"));
    resource.publish(WELL_KNOWN, &document(&own, &[&issuer]));
    for url in [&own, &below] {
        let resolved = resolve(&mut house.agent().await, url, &[]).await.unwrap();
        assert!(resolved.from_metadata && resolved.options[0].issuer == "corp", "{url}");
        assert_eq!(resolved.options[0].supported_scopes, ["customers.read"], "{url}");
    }
    // By a challenge that names the same place, it is the same document.
    let header = naming(&resource.url(WELL_KNOWN));
    resolve(&mut house.agent().await, &below, &[&header]).await.unwrap();
    assert_eq!(resource.paths(), [WELL_KNOWN]);
}

// rows: SSRF-01
#[tokio::test]
async fn and_of_no_other() {
    let resource = Resource::start();
    let mut plan = Plan::new();
    // An API for each document, for each is read once.
    let wrong = |own: &str| others(own).into_iter().chain([format!("{own}/x")]).collect::<Vec<_>>();
    let count = wrong(&resource.url("/api")).len();
    for number in 0..count {
        plan.apis.push_str(&format!(
            "[[api]]\nalias = \"crm-{number}\"\nidentifier = \"{}\"\nissuer = \"corp\"\nowner = \"sales\"\n\
             data_class = \"internal\"\nmetadata_ca = \"resource-ca.pem\"\n",
            resource.url(&format!("/api-{number}"))
        ));
    }
    let house = open_with(plan, &resource, "metadata_ca = \"resource-ca.pem\"").await;
    for number in 0..count {
        let own = resource.url(&format!("/api-{number}"));
        let other = wrong(&own).remove(number);
        let place = format!("/.well-known/oauth-protected-resource/api-{number}");
        resource.publish(&place, &document(&other, &[&house.server.issuer()]));
        is_refused(&house, number, &format!("{own}/x"), &[], &other).await;
        assert_eq!(resource.paths()[number..], [place], "{other}");
        // What is wrong stays wrong, without another look at it; and nothing of it was used.
        is_refused(&house, number, &own, &[], &other).await;
    }
    let events = house.events("exchange.refused");
    assert!(events.iter().all(|event| event["status_code"] == "PRM_RESOURCE_MISMATCH") && events.len() == 2 * count);
    assert_eq!(events[0]["resources"][0]["uid"], resource.url("/api-0"));
    eventually("the log says so", || house.log().contains("is about another resource").then_some(())).await;
    assert_eq!(house.server.requests().len(), 0, "no authorization server is asked for anything");
}

// rows: SSRF-01
#[tokio::test]
async fn by_a_challenge_for_the_very_url_that_was_requested() {
    let resource = Resource::start();
    let house = open(&resource).await;
    let issuer = house.server.issuer();
    let place = |number: usize| format!("/.well-known/oauth-protected-resource/{number}");
    let requested = resource.url("/api/customers?x=1");
    resource.publish(&place(0), &document(&requested, &[&issuer]));
    let header = naming(&resource.url(&place(0)));
    let resolved = resolve(&mut house.agent().await, &requested, &[&header]).await.unwrap();
    assert!(resolved.from_metadata);
    // What is asked for is the identifier all the same, which the catalogue declares.
    assert_eq!(resolved.options[0].resource, resource.url("/api"));

    let mut wrong = others(&resource.url("/api"));
    // The identifier itself is at its own place alone.
    wrong.extend([resource.url("/api"), resource.url("/api/customers"), format!("{requested}&y=2")]);
    for (number, other) in wrong.iter().enumerate() {
        resource.publish(&place(number + 1), &document(other, &[&issuer]));
        let header = naming(&resource.url(&place(number + 1)));
        is_refused(&house, number, &requested, &[&header], other).await;
    }
    // The same document, for another request.
    let again = resource.url("/api/customers?x=2");
    is_refused(&house, 39, &again, &[&header], "another query").await;
}
