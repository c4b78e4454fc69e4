use crate::kit::{Resource, WELL_KNOWN, asker, document, naming, open, resolve};

const CODES: [&str; 2] = ["exchange.refused", "detect.untrusted_issuer"];

// rows: AUD-01
#[tokio::test]
async fn the_schema_says_so() {
    let resource = Resource::start();
    let house = open(&resource).await;
    let own = resource.url("/api");
    resource.publish(WELL_KNOWN, &document(&own, &["https://evil.example", &house.server.issuer()]));
    resolve(&mut asker(&house, 0).await, &own, &[]).await.unwrap();
    for (number, servers) in [&["https://evil.example"][..], &[]].into_iter().enumerate() {
        let place = format!("/.well-known/oauth-protected-resource/{number}");
        resource.publish(&place, &document(&own, servers));
        let header = naming(&resource.url(&place));
        resolve(&mut asker(&house, 1).await, &own, &[&header]).await.err().unwrap();
    }
    resolve(&mut asker(&house, 1).await, "https://evil.example/api", &[]).await.err().unwrap();
    for code in CODES {
        house.event(code).await;
    }
    house.assert_valid_ocsf(&CODES, &["evil.example"]);
}
