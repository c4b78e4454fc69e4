use crate::{
    house::{
        Plan, fact, reason,
        scripted_as::{
            behaviour::{Behaviour, Script},
            tls::ServerCertificate,
        },
    },
    kit::{READ, Trap, members, raw_with},
};
use serde_json::{Value, json};
use tonic::Code;

const FIELDS: [&str; 3] = ["authorization_endpoint", "token_endpoint", "revocation_endpoint"];
const REJECTED: (Code, &str) = (Code::FailedPrecondition, "METADATA_REJECTED");

// rows: SSRF-03 DISC-04
#[tokio::test]
async fn addresses_in_metadata_are_never_connected_to() {
    let trap = Trap::new();
    let house = Plan::new().config("[[issuer]]\n", "[[issuer]]\nallowed_hosts = [\"*.idp.example\"]\n").open().await;
    let mut agent = house.agent().await;
    let hosts = [
        "169.254.169.254",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "[::]",
        "0x7f.1",
        "2130706433",
        "0177.0.0.1",
        "127.1",
        "0.0.0.0",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "10.0.0.1",
        "192.168.0.1",
        "[fd00::1]",
        "[fe80::1]",
        "localhost",
        "localhost.",
        "127.0.0.1.idp.example.evil.test",
        "a.b.idp.example",
    ];
    for host in hosts {
        for field in FIELDS {
            let url = json!(format!("https://{host}:{}/x", trap.port()));
            for aliases in [Value::Null, json!({ field: url.clone() })] {
                house.server.metadata_override(members([("mtls_endpoint_aliases", aliases), (field, url.clone())]));
                let status = house.begin(&mut agent, &[READ]).await.err().expect(host);
                assert_eq!((status.code(), reason(&status).as_str()), REJECTED, "{field} {host}");
                assert_eq!(fact(&status, "field").as_deref(), Some(field), "{host}");
            }
        }
    }
    trap.assert_untouched();
    assert_eq!(house.server.token_connections(), 0);
}

// rows: SSRF-04
#[tokio::test]
async fn only_https_on_ports_that_were_named_is_followed() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let own = house.server.issuer();
    let (token_port, front_port) = (house.server.token_port(), house.server.front_port());
    let wrong = [
        "file:///etc/passwd".to_owned(),
        "gopher://127.0.0.1:70/x".to_owned(),
        "ftp://127.0.0.1/x".to_owned(),
        "unix:/run/x.sock".to_owned(),
        "data:application/json,{}".to_owned(),
        own.replace("https", "http"),
        own.replace("https://", "https://u:p@"),
        own.replace("https://", "https://u@"),
        own.replace("https://", "//"),
        "https://127.0.0.1:22/x".to_owned(),
        "https://127.0.0.1:80/x".to_owned(),
        "https://127.0.0.1:6379/x".to_owned(),
        format!("https://127.0.0.1:{}/x", (1024..).find(|p| *p != token_port && *p != front_port).unwrap()),
    ];
    for url in wrong {
        for field in FIELDS {
            house.server.metadata_override(members([("mtls_endpoint_aliases", Value::Null), (field, json!(url))]));
            let status = house.begin(&mut agent, &[READ]).await.err().expect(&url);
            assert_eq!((status.code(), reason(&status).as_str()), REJECTED, "{field} {url}");
        }
    }
    assert!(house.log().contains("allowed_ports = [6379]"), "the log has no line to add");
    assert_eq!((house.server.token_connections(), house.server.front_token_posts()), (0, 0));
    for issuer in ["file:///x", "gopher://h.example/", "https://u:p@h.example", "http://h.example", "ftp://h.example"] {
        let house = Plan::new().config("issuer = \"@ISSUER@\"", &format!("issuer = \"{issuer}\"")).build();
        let output = house.command("check").output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{issuer}");
    }
}

// rows: SSRF-04
#[tokio::test]
async fn discovery_follows_no_redirect() {
    let trap = Trap::new();
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let own = house.server.issuer();
    let places = [
        format!("http://127.0.0.1:{}/", trap.port()),
        format!("https://127.0.0.1:{}/", trap.port()),
        format!("{own}/elsewhere"),
        "file:///etc/passwd".to_owned(),
        "gopher://127.0.0.1/".to_owned(),
    ];
    for location in places {
        for status in [301, 302, 303, 307, 308] {
            house.server.always(Script::Metadata(Behaviour::Redirect { status, location: location.clone() }));
            let refused = house.begin(&mut agent, &[READ]).await.err().unwrap();
            assert_eq!(reason(&refused), "METADATA_UNAVAILABLE", "{status} {location}");
        }
    }
    trap.assert_untouched();
    assert!(house.server.requests().iter().all(|line| line.contains("/.well-known/")));
}

// rows: SSRF-05
#[tokio::test]
async fn what_was_fetched_reaches_neither_agent_nor_log() {
    const CANARY: &str = "canary-banner-of-an-internal-service";
    let house = Plan::new().config("deadline = \"5s\"", "deadline = \"1s\"").open().await;
    let mut agent = house.agent().await;
    let banner = format!("SSH-2.0-OpenSSH_9.9 {CANARY}");
    let json_of = |body: &str| raw_with(200, &[("Content-Type", "application/json")], body);
    let quoted = json!(banner).to_string();
    let all = [
        raw_with(200, &[("Content-Type", "text/plain")], &banner),
        raw_with(500, &[("Content-Type", "text/html"), ("X-Banner", &banner)], &banner),
        raw_with(302, &[("Location", &format!("https://{CANARY}.example/"))], &banner),
        raw_with(401, &[("WWW-Authenticate", &format!("Basic realm=\"{CANARY}\""))], &banner),
        raw_with(200, &[("Content-Type", CANARY)], "{}"),
        json_of(&banner),
        json_of(&quoted),
        json_of(&format!("{{\"issuer\":{quoted}}}")),
        json_of(&format!("{{{quoted}:1,{quoted}:2}}")),
        Behaviour::Bytes(format!("{banner}\r\n").into_bytes()),
        Behaviour::Bytes(format!("HTTP/1.1 {banner}\r\n\r\n").into_bytes()),
    ];
    let mut told = String::new();
    for behaviour in &all {
        house.server.always(Script::Metadata(behaviour.clone()));
        told += &format!("{:?}", house.begin(&mut agent, &[READ]).await.err().unwrap());
    }
    house.server.always(Script::Metadata(Behaviour::Honest));
    for field in ["issuer", "token_endpoint", "authorization_endpoint", "code_challenge_methods_supported"] {
        house.server.metadata_override(members([("mtls_endpoint_aliases", Value::Null), (field, json!(banner))]));
        told += &format!("{:?}", house.begin(&mut agent, &[READ]).await.err().unwrap());
    }
    house.server.metadata_override(serde_json::Map::new());
    for behaviour in all {
        let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
        house.server.behave(Script::Token(behaviour));
        told += &format!("{:?}", crate::house::redeem(&mut agent, &transaction, &callback).await.err().unwrap());
    }
    assert!(!told.contains("canary") && !told.contains("SSH"), "{told}");
    for place in [house.log(), house.audit_text()] {
        assert!(!place.contains(CANARY) && !place.contains("OpenSSH"), "what was fetched is in the log");
    }
}

// rows: SSRF-05
#[tokio::test]
async fn the_names_in_a_wrong_certificate_are_not_repeated() {
    let house = Plan::new().server(|setup| setup.front_certificate = ServerCertificate::WrongName).open().await;
    let status = house.begin(&mut house.agent().await, &[READ]).await.err().unwrap();
    assert_eq!(reason(&status), "METADATA_UNAVAILABLE");
    assert!(house.log().contains("its certificate is for another name"));
    assert!(!house.log().contains("elsewhere.example") && !format!("{status:?}").contains("elsewhere"));
}

// rows: DISC-04
#[tokio::test]
async fn an_authorization_endpoint_may_not_bring_our_parameters() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let own = house.server.issuer();
    for query in [
        "client_id=evil",
        "redirect_uri=https://evil.example",
        "x=1&state=fixed",
        "scope=admin",
        "response_type=token",
        "resource=https://evil.example",
        "code_challenge_method=plain",
        "request_uri=urn:ietf:params:oauth:request_uri:x",
        "%63lient_id=evil",
    ] {
        let url = json!(format!("{own}/authorize?{query}"));
        house.server.metadata_override(members([("authorization_endpoint", url)]));
        let status = house.begin(&mut agent, &[READ]).await.err().expect(query);
        assert_eq!((status.code(), reason(&status).as_str()), REJECTED, "{query}");
        assert_eq!(fact(&status, "field").as_deref(), Some("authorization_endpoint"));

        let line = format!("authorization = \"https://as.example/a?{query}\"\ntoken = \"https://as.example/t\"\n");
        let head = "deadline = \"5s\"\n";
        let house = Plan::new().config(head, &format!("{head}[issuer.endpoints]\n{line}")).build();
        let output = house.command("check").output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{query}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("in its query: narrowgate sets it"), "{output:?}");
    }
    house.server.metadata_override(members([("authorization_endpoint", json!(format!("{own}/authorize?p=signin")))]));
    let begun = house.begin(&mut agent, &[READ]).await.unwrap();
    assert!(
        begun.authorization_url.contains("/authorize?p=signin&client_id=narrowgate-sales&"),
        "{}",
        begun.authorization_url
    );
}
