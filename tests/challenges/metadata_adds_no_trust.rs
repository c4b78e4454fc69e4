use crate::{
    house::{Plan, reason},
    kit::{Resource, Trap, WELL_KNOWN, asker, document, naming, open, open_with, resolve},
};
use serde_json::json;
use tonic::Code;

// rows: SSRF-02
#[tokio::test]
async fn an_evil_server_that_comes_first_is_ignored_with_an_event() {
    let (resource, trap) = (Resource::start(), Trap::new());
    let house = open(&resource).await;
    let evil = format!("https://127.0.0.1:{}", trap.port());
    let issuer = house.server.issuer();
    resource.publish(WELL_KNOWN, &document(&resource.url("/api"), &[&evil, "https://evil.example", &issuer, &issuer]));
    for number in 0..3 {
        let resolved = resolve(&mut asker(&house, number).await, &resource.url("/api"), &[]).await.unwrap();
        assert_eq!(resolved.options.len(), 1);
        assert_eq!(resolved.options[0].issuer, "corp");
        assert_eq!(resolved.options[0].clients, ["sales-crm"]);
    }
    let event = house.event("detect.untrusted_issuer").await;
    let facts = &event["unmapped"]["narrowgate"];
    assert_eq!((&facts["api"], &facts["ignored"]), (&"crm".into(), &2.into()));
    assert_eq!(event["actor"]["user"]["uid"], "asker-0");
    trap.assert_untouched();
    assert_eq!(house.events("detect.untrusted_issuer").len(), 1, "it is told once for a document");
    for place in [house.log(), house.audit_text()] {
        assert!(!place.contains("evil.example"), "what was fetched is in the log");
    }
}

// rows: SSRF-02
#[tokio::test]
async fn none_but_evil_ones_is_none() {
    let (resource, trap) = (Resource::start(), Trap::new());
    let house = open(&resource).await;
    let evil = format!("https://127.0.0.1:{}", trap.port());
    let issuer = house.server.issuer();
    let close = [
        format!("{issuer}/"),
        format!(" {issuer}"),
        issuer.to_uppercase(),
        issuer.replace("https://", "http://"),
        issuer.replace("127.0.0.1", "localhost"),
        format!("{issuer}/tenant"),
        format!("{issuer}?x"),
        // An alias is no identifier.
        "corp".to_owned(),
    ];
    for (number, servers) in [vec![evil.clone()], vec![evil.clone(), "https://evil.example".to_owned()], close.to_vec()]
        .into_iter()
        .chain(close.iter().map(|one| vec![one.clone()]))
        .enumerate()
    {
        let place = format!("/.well-known/oauth-protected-resource/{number}");
        let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
        resource.publish(&place, &document(&resource.url("/api"), &servers));
        let header = naming(&resource.url(&place));
        let mut agent = asker(&house, number).await;
        let status =
            resolve(&mut agent, &resource.url("/api"), &[&header]).await.err().unwrap_or_else(|| panic!("{servers:?}"));
        let told = (status.code(), reason(&status));
        assert_eq!(told, (Code::FailedPrecondition, "NO_TRUSTED_ISSUER".to_owned()), "{servers:?}");
        assert!(!format!("{status:?}").contains("evil"), "{status:?}");
    }
    trap.assert_untouched();
    assert_eq!(house.server.requests().len(), 0, "nothing is asked of any authorization server");
    assert_eq!(house.event("exchange.refused").await["status_code"], "NO_TRUSTED_ISSUER");
    house.event("detect.untrusted_issuer").await;
}

const PARTNER: &str = r#"
[[issuer]]
alias = "partner"
issuer = "https://partner.example.test"
ca = "server-ca.pem"

[[client]]
alias = "sales-partner"
issuer = "partner"
client_id = "narrowgate-partner"
auth = "tls_client_auth"
subject = { san_uri = "spiffe://acme.test/narrowgate" }
certificate = "client.pem"
key = "client.key"
redirect_uris = ["http://127.0.0.1/partner"]
owner = "sales"
"#;

// rows: SSRF-02 MCP-04 (another server's client is another one; one that is not declared is none)
#[tokio::test]
async fn it_chooses_among_the_issuers_that_are_declared_for_the_api() {
    let resource = Resource::start();
    let mut plan = Plan::new();
    plan.config.push_str(PARTNER);
    plan.apis.push_str(&format!(
        r#"
[[api]]
alias = "crm-at-partner"
identifier = "{}"
issuer = "partner"
owner = "sales"
data_class = "confidential"

[[scope]]
name = "partner:read"
api = "crm-at-partner"
risk = 1
"#,
        resource.url("/api")
    ));
    let house = open_with(plan, &resource, "metadata_ca = \"resource-ca.pem\"").await;
    let (corp, partner) = (house.server.issuer(), "https://partner.example.test");
    let cases = [
        (vec![partner, corp.as_str()], vec!["partner", "corp"]),
        (vec![corp.as_str(), partner], vec!["corp", "partner"]),
        (vec!["https://evil.example", partner], vec!["partner"]),
        (vec![corp.as_str()], vec!["corp"]),
    ];
    for (number, (named, chosen)) in cases.into_iter().enumerate() {
        let place = format!("/.well-known/oauth-protected-resource/{number}");
        resource.publish(&place, &document(&resource.url("/api"), &named));
        let header = format!("{}, scope=\"partner:read customers.read\"", naming(&resource.url(&place)));
        let resolved = resolve(&mut house.agent().await, &resource.url("/api"), &[&header]).await.unwrap();
        let issuers: Vec<&str> = resolved.options.iter().map(|option| option.issuer.as_str()).collect();
        assert_eq!(issuers, chosen, "{named:?}");
        for option in resolved.options {
            let (client, scope, api) = match option.issuer.as_str() {
                "corp" => ("sales-crm", "customers.read", "crm"),
                _ => ("sales-partner", "partner:read", "crm-at-partner"),
            };
            assert_eq!((option.api.as_str(), option.resource), (api, resource.url("/api")));
            assert_eq!((option.clients, option.scopes), (vec![client.to_owned()], vec![scope.to_owned()]));
            assert_eq!(option.unknown_scopes.len(), 1);
        }
    }
    // A configured issuer that the catalogue does not declare for this API is no better than a stranger.
    let place = "/.well-known/oauth-protected-resource/silent";
    resource.publish(place, &json!({ "resource": resource.url("/api") }));
    let header = naming(&resource.url(place));
    let resolved = resolve(&mut house.agent().await, &resource.url("/api"), &[&header]).await.unwrap();
    assert_eq!(resolved.options.len(), 2, "a document that names none leaves it to the catalogue");
    let alone = open(&resource).await;
    resource.publish(WELL_KNOWN, &document(&resource.url("/api"), &[partner]));
    let status = resolve(&mut alone.agent().await, &resource.url("/api"), &[]).await.err().unwrap();
    assert_eq!(reason(&status), "NO_TRUSTED_ISSUER");
}
