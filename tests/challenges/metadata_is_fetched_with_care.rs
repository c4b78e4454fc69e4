use crate::{
    house::{Plan, fact, reason},
    kit::{Resource, Trap, WELL_KNOWN, asker, build, document, naming, open, open_with, resolve},
};
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt;

// rows: SSRF-01 SSRF-03 SSRF-04 (of an API's metadata)
#[tokio::test]
async fn from_the_server_that_was_requested_and_from_no_other() {
    let (resource, trap) = (Resource::start(), Trap::new());
    let house = open(&resource).await;
    let mut agent = house.agent().await;
    let path = "/.well-known/oauth-protected-resource/api";
    let hosts = [
        "127.0.0.1",
        "169.254.169.254",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "0x7f.1",
        "2130706433",
        "0177.0.0.1",
        "127.1",
        "0.0.0.0",
        "[64:ff9b::7f00:1]",
        "10.0.0.1",
        "[fd00::1]",
        "[fe80::1]",
        "localhost",
        "evil.example",
    ];
    let mut places: Vec<String> = hosts.iter().map(|host| format!("https://{host}:{}{path}", trap.port())).collect();
    let own = resource.url(path);
    places.extend([
        own.replace("https://", "http://"),
        own.replace("https://", "https://u:p@"),
        own.replace("https://", "https://u@"),
        own.replace("https://", "//"),
        own.replace("127.0.0.1", "localhost"),
        own.replace("127.0.0.1", "127.0.0.1.evil.example"),
        own.replace("https://127.0.0.1", "https://evil.example\\@127.0.0.1"),
        format!("https://127.0.0.1{path}"),
        resource.url("/api/delete?everything=1"),
        resource.url("/.well-known/../admin"),
        path.to_owned(),
        "file:///etc/passwd".to_owned(),
        "gopher://127.0.0.1:70/x".to_owned(),
        "data:application/json,{}".to_owned(),
        String::new(),
    ]);
    for place in places {
        let status = resolve(&mut agent, &resource.url("/api"), &[&naming(&place)]).await.err().expect(&place);
        assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "PRM_REJECTED"), "{place}");
        let rule = fact(&status, "rule").unwrap();
        assert!(["url", "origin", "well_known"].contains(&rule.as_str()), "{place}: {rule}");
    }
    trap.assert_untouched();
    assert_eq!(resource.connections(), 0);
    let event = house.event("exchange.refused").await;
    assert_eq!(
        (&event["status_code"], event["unmapped"]["narrowgate"]["rule"].is_string()),
        (&"PRM_REJECTED".into(), true)
    );
}

// rows: SSRF-04 (of an API's metadata)
#[tokio::test]
async fn no_redirect_is_followed() {
    let (resource, trap) = (Resource::start(), Trap::new());
    let house = open(&resource).await;
    resource.publish("/elsewhere", &document(&resource.url("/api"), &[&house.server.issuer()]));
    let places = [
        format!("http://127.0.0.1:{}/", trap.port()),
        format!("https://127.0.0.1:{}/", trap.port()),
        resource.url("/elsewhere"),
        "/elsewhere".to_owned(),
        "file:///etc/passwd".to_owned(),
    ];
    for (number, location) in places.iter().enumerate() {
        for status in [301, 302, 303, 307, 308] {
            let place = format!("/.well-known/oauth-protected-resource/{number}/{status}");
            let body = document(&resource.url("/api"), &[&house.server.issuer()]).to_string();
            let headers = [("Location", location.as_str()), ("Content-Type", "application/json")];
            resource.answer(&place, status, &headers, &body);
            let header = naming(&resource.url(&place));
            let refused = resolve(&mut asker(&house, number).await, &resource.url("/api"), &[&header]).await;
            let refused = refused.err().unwrap_or_else(|| panic!("{status} {location}"));
            assert_eq!(
                (refused.code(), reason(&refused).as_str()),
                (Code::Unavailable, "PRM_UNAVAILABLE"),
                "{location}"
            );
        }
    }
    trap.assert_untouched();
    assert!(resource.paths().iter().all(|path| path.starts_with("/.well-known/")), "{:?}", resource.paths());
}

const CANARY: &str = "canary-banner-of-an-internal-service";

/// A status, headers and a body.
type Oddity<'a> = (u16, &'a [(&'a str, &'a str)], &'a str);

// rows: SSRF-05 DISC-05 (of an API's metadata)
#[tokio::test]
async fn what_is_no_document_is_refused_and_repeated_nowhere() {
    let resource = Resource::start();
    let house = open(&resource).await;
    let own = resource.url("/api");
    let good = document(&own, &[&house.server.issuer()]).to_string();
    let json = [("Content-Type", "application/json")];
    let banner = format!("SSH-2.0-OpenSSH_9.9 {CANARY}");
    let large = format!("{{\"x\":\"{}\",{}", "x".repeat(70_000), &good[1..]);
    let deep = format!("{{\"x\":{}{},{}", "[".repeat(40), "]".repeat(40), &good[1..]);
    let text = |value: serde_json::Value| value.to_string();
    let bodies = [
        (large, "size"),
        (deep, "json"),
        (String::new(), "json"),
        (banner.clone(), "json"),
        (format!("{good}{good}"), "json"),
        (format!("{{\"resource\":\"{CANARY}\",{}", &good[1..]), "json"),
        (text(json!([CANARY])), "json"),
        (text(json!({ "authorization_servers": [house.server.issuer()] })), "resource"),
        (text(json!({ "resource": [own], "x": CANARY })), "resource"),
        (text(json!({ "resource": own, "authorization_servers": [] })), "authorization_servers"),
        (text(json!({ "resource": own, "authorization_servers": house.server.issuer() })), "authorization_servers"),
        (text(json!({ "resource": own, "authorization_servers": [1, CANARY] })), "authorization_servers"),
        (text(json!({ "resource": own, "authorization_servers": vec![CANARY; 300] })), "authorization_servers"),
        (text(json!({ "resource": own, "scopes_supported": CANARY })), "scopes_supported"),
    ];
    let mut told = String::new();
    let place = |number: usize| format!("/.well-known/oauth-protected-resource/{number}");
    for (number, (body, rule)) in bodies.iter().enumerate() {
        resource.answer(&place(number), 200, &json, body);
        let header = naming(&resource.url(&place(number)));
        let status = resolve(&mut asker(&house, number).await, &own, &[&header]).await.err().expect(rule);
        assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "PRM_REJECTED"), "{rule}");
        assert_eq!(fact(&status, "rule").as_deref(), Some(*rule), "{body:.200}");
        told += &format!("{status:?}");
    }
    let oddities: [Oddity<'_>; 8] = [
        (200, &[("Content-Type", "text/html")], &good),
        (200, &[], &good),
        (200, &[("Content-Type", "application/json"), ("Content-Encoding", "gzip")], &good),
        (201, &json, &good),
        (204, &json, ""),
        (401, &[("WWW-Authenticate", "Basic realm=\"canary-banner\"")], &good),
        (404, &json, &good),
        (500, &[("X-Banner", CANARY)], &banner),
    ];
    for (number, (status, headers, body)) in oddities.iter().enumerate() {
        let number = number + bodies.len();
        resource.answer(&place(number), *status, headers, body);
        let header = naming(&resource.url(&place(number)));
        let refused = resolve(&mut asker(&house, number).await, &own, &[&header]).await.err().unwrap();
        let wanted = if *status == 200 { "PRM_REJECTED" } else { "PRM_UNAVAILABLE" };
        assert_eq!(reason(&refused), wanted, "{status} {headers:?}");
        told += &format!("{refused:?}");
    }
    for (number, bytes) in
        [&b"SSH-2.0-OpenSSH_9.9\r\n"[..], b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"].iter().enumerate()
    {
        let place = place(30 + number);
        resource.answer_bytes(&place, bytes);
        let header = naming(&resource.url(&place));
        let refused = resolve(&mut asker(&house, 30 + number).await, &own, &[&header]).await.err().unwrap();
        assert_eq!(reason(&refused), "PRM_UNAVAILABLE");
    }
    assert!(!told.contains("canary") && !told.contains("SSH"), "{told}");
    for place in [house.log(), house.audit_text()] {
        assert!(!place.contains(CANARY) && !place.contains("OpenSSH"), "what was fetched is in the log");
    }
}

// rows: SSRF-06 (of an API's metadata)
#[tokio::test]
async fn without_certificate_or_credential() {
    let resource = Resource::start();
    let house = open(&resource).await;
    resource.publish(WELL_KNOWN, &document(&resource.url("/api"), &[&house.server.issuer()]));
    resolve(&mut house.agent().await, &resource.url("/api/x"), &[]).await.unwrap();
    assert_eq!(resource.paths(), [WELL_KNOWN]);
    assert!(!resource.saw_a_certificate(), "a client certificate was shown");
    let head = resource.heads().remove(0).to_ascii_lowercase();
    let names: Vec<&str> = head.lines().skip(1).filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect();
    assert_eq!(names, ["host", "accept", "accept-encoding", "user-agent"], "{head}");
    assert!(!head.contains("quoter"), "whose call it is, is nobody's business: {head}");
}

// rows: SSRF-01 (trust roots of its own)
#[tokio::test]
async fn over_tls_that_the_catalogue_vouches_for() {
    let (resource, other) = (Resource::start(), Resource::start());
    let house = {
        let mut house = build(Plan::new(), &resource, "metadata_ca = \"resource-ca.pem\"");
        crate::house::write(&house.path("resource-ca.pem"), other.ca.certificate_pem());
        house.start();
        house.wait_until_serving().await;
        house
    };
    resource.publish(WELL_KNOWN, &document(&resource.url("/api"), &[&house.server.issuer()]));
    let status = resolve(&mut house.agent().await, &resource.url("/api"), &[]).await.err().unwrap();
    assert_eq!(reason(&status), "PRM_UNAVAILABLE");
    assert!(resource.heads().is_empty(), "a request was sent to whoever was there");
}

// rows: TOK-08 (a tarpit in the place of an API)
#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    // It is connected to, and says nothing.
    let (resource, trap) = (Resource::start(), Trap::new());
    let mut plan = Plan::new();
    let identifier = "identifier = \"https://mail.example.test/api\"";
    let (url, lines) = (format!("https://127.0.0.1:{}/api", trap.port()), "metadata_ca = \"resource-ca.pem\"");
    plan.apis = plan.apis.replace(identifier, &format!("identifier = \"{url}\"\n{lines}"));
    let house = open_with(plan, &resource, lines).await;
    resource.publish(WELL_KNOWN, &document(&resource.url("/api"), &[&house.server.issuer()]));
    let place = |number: usize| format!("https://127.0.0.1:{}/.well-known/{number}", trap.port());
    let mut slow = Vec::new();
    for number in 0..5 {
        let (mut agent, url, header) = (asker(&house, 0).await, url.clone(), naming(&place(number)));
        slow.push(tokio::spawn(async move { resolve(&mut agent, &url, &[&header]).await }));
    }
    // Another API's metadata is had in the meantime.
    resolve(&mut asker(&house, 1).await, &resource.url("/api"), &[]).await.unwrap();
    let (mut waited, mut turned_away) = (0, 0);
    for call in slow {
        let status = call.await.unwrap().err().unwrap();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "PRM_UNAVAILABLE"));
        let wait = status.get_details_retry_info().and_then(|info| info.retry_delay).unwrap();
        *(if wait.as_secs() > 1 { &mut waited } else { &mut turned_away }) += 1;
    }
    assert_eq!((waited, turned_away), (2, 3), "one agent has two fetches of one API under way");
}

#[tokio::test]
async fn once_for_many_calls_and_after_a_failure_not_at_once_again() {
    let resource = Resource::start();
    let house = open(&resource).await;
    resource.publish(WELL_KNOWN, &document(&resource.url("/api"), &[&house.server.issuer()]));
    let mut calls = Vec::new();
    for number in 0..8 {
        let (mut agent, url) = (asker(&house, number).await, resource.url("/api"));
        calls.push(tokio::spawn(async move { resolve(&mut agent, &url, &[]).await }));
    }
    for call in calls {
        assert!(call.await.unwrap().unwrap().from_metadata);
    }
    assert_eq!(resource.paths(), [WELL_KNOWN], "concurrent calls share one fetch, and later ones its document");
    let missing = "/.well-known/oauth-protected-resource/missing";
    let header = naming(&resource.url(missing));
    let mut waits = Vec::new();
    for number in 0..8 {
        let status = resolve(&mut asker(&house, number).await, &resource.url("/api"), &[&header]).await.err().unwrap();
        assert_eq!(reason(&status), "PRM_UNAVAILABLE");
        waits.push(status.get_details_retry_info().and_then(|info| info.retry_delay).unwrap());
    }
    assert!(waits[0].as_secs() <= 30, "{waits:?}");
    // What is told is the rest of the pause. On a machine so slow that it ends in between, a new one begins.
    let one_pause = waits.is_sorted_by(|earlier, later| earlier >= later);
    let fetches = resource.paths().iter().filter(|path| *path == missing).count();
    assert!(fetches == 1 || !one_pause, "{fetches} fetches of what is not there");
}

// rows: GRPC-09 (fetches for an agent are metered)
#[tokio::test]
async fn for_each_agent_only_so_often() {
    let resource = Resource::start();
    let house = open(&resource).await;
    let mut agent = house.agent().await;
    let mut limited = None;
    for number in 0..60 {
        let header = naming(&resource.url(&format!("/.well-known/oauth-protected-resource/{number}")));
        let status = resolve(&mut agent, &resource.url("/api"), &[&header]).await.err().unwrap();
        if reason(&status) == "QUOTA_EXCEEDED" {
            limited = Some((number, status));
            break;
        }
    }
    let (number, status) = limited.expect("fetches are metered");
    assert!(number >= 10, "a few are free: {number}");
    assert_eq!(fact(&status, "quota").as_deref(), Some("metadata_fetches"));
    assert!(status.get_details_retry_info().is_some());
    let fetched = resource.connections();
    assert_eq!(fetched, number);
    // Another agent has a budget of its own, and what is known costs nothing.
    let known = naming(&resource.url("/.well-known/oauth-protected-resource/0"));
    assert_eq!(reason(&resolve(&mut agent, &resource.url("/api"), &[&known]).await.err().unwrap()), "PRM_UNAVAILABLE");
    resource.publish(WELL_KNOWN, &document(&resource.url("/api"), &[&house.server.issuer()]));
    resolve(&mut asker(&house, 0).await, &resource.url("/api"), &[]).await.unwrap();
}
