use crate::{
    house::{House, fact, reason},
    kit::{Resource, WELL_KNOWN, asker, document, naming, open, resolve},
};
use tonic::Code;

/// What is not the resource, however close: another host, port, path, slash, case, scheme or spelling.
fn others(resource: &Resource) -> Vec<String> {
    let own = resource.url("/api");
    vec![
        format!("{own}/"),
        resource.url(""),
        resource.url("/"),
        resource.url("/api2"),
        resource.url("/API"),
        resource.url("/%61pi"),
        format!("{own}?x=1"),
        format!("{own}#x"),
        own.replace("127.0.0.1", "localhost"),
        own.replace("127.0.0.1", "evil.example"),
        own.replace("https://", "http://"),
        own.replace("https://", "HTTPS://"),
        "https://127.0.0.1/api".to_owned(),
        "https://mail.example.test/api".to_owned(),
        format!(" {own}"),
        String::new(),
    ]
}

async fn is_refused(house: &House, number: usize, url: &str, headers: &[&str], what: &str) {
    let status = resolve(&mut asker(house, number).await, url, headers).await.err().unwrap_or_else(|| panic!("{what}"));
    let told = (status.code(), reason(&status));
    assert_eq!(told, (Code::FailedPrecondition, "PRM_RESOURCE_MISMATCH".to_owned()), "{what}");
    assert_eq!(fact(&status, "api").as_deref(), Some("crm"));
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

    for (number, other) in others(&resource).into_iter().chain([below.clone()]).enumerate() {
        let resource = Resource::start();
        let house = open(&resource).await;
        let other = other.replace(&own, &resource.url("/api"));
        resource.publish(WELL_KNOWN, &document(&other, &[&house.server.issuer()]));
        is_refused(&house, number, &resource.url("/api/x"), &[], &other).await;
        assert_eq!(resource.paths(), [WELL_KNOWN]);
        let event = house.event("exchange.refused").await;
        assert_eq!(
            (&event["status_code"], &event["resources"][0]["uid"]),
            (&"PRM_RESOURCE_MISMATCH".into(), &resource.url("/api").into())
        );
        if number == 2 {
            assert!(house.log().contains("is about another resource"));
        }
    }
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

    let mut wrong = others(&resource);
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
