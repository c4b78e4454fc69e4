//! METADATA_REJECTED stands for several causes: each is told apart, and a line of the configuration is named only where
//! it would cure it.

use crate::{
    house::{Agent, House, Plan, fact, reason},
    kit::{READ, members},
};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use tonic::Status;

async fn rejected(house: &House, agent: &mut Agent, change: Map<String, Value>) -> Status {
    house.server.metadata_override(change);
    let status = house.begin(agent, &[READ]).await.err().unwrap();
    assert_eq!(reason(&status), "METADATA_REJECTED");
    status
}

// rows: DISC-04 INTR-02
#[tokio::test]
async fn to_the_caller_and_in_the_log() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let plain = ("mtls_endpoint_aliases", Value::Null);
    let front = house.server.issuer();
    let ours = json!(format!("{front}/authorize?client_id=evil"));
    let cases = [
        (("token_endpoint", Value::Null), "lacks a member", Some("[issuer.endpoints]"), "lacks this member"),
        (("token_endpoint", json!("http://127.0.0.1/x")), "no https URL", None, "for the server to correct"),
        (("token_endpoint", json!(7)), "no https URL", None, "no https URL"),
        (
            ("token_endpoint", json!("https://evil.example/x")),
            "names a host",
            Some("allowed_hosts"),
            "allowed_hosts = [",
        ),
        (
            ("token_endpoint", json!("https://127.0.0.1:1/x")),
            "names a port",
            Some("allowed_ports"),
            "allowed_ports = [1]",
        ),
        (("authorization_endpoint", ours), "brings a parameter", None, "brings a parameter along"),
    ];
    let mut told = BTreeSet::new();
    for ((field, value), says, cure, logged) in cases {
        let before = house.log().len();
        let status = rejected(&house, &mut agent, members([plain.clone(), (field, value.clone())])).await;
        let message = status.message();
        assert!(message.contains(says), "{field} {value}: {message}");
        assert!(!message.contains("evil"), "{message}");
        assert!(cure.is_some() || !message.contains("line to add"), "{message}");
        assert_eq!((fact(&status, "field").as_deref(), fact(&status, "cure").as_deref()), (Some(field), cure));
        let log = house.log().split_off(before);
        let lines = log.lines().filter(|line| line.contains("\"ERROR\"")).collect::<Vec<_>>();
        assert!(lines.len() == 1 && lines[0].contains(logged), "{field} {value}: {lines:?}");
        told.insert(message.to_owned());
    }
    assert_eq!(told.len(), 5, "{told:?}");
}

// rows: DISC-08
#[tokio::test]
async fn what_strictness_refuses_names_the_switch() {
    const METHODS: &str = "token_endpoint_auth_methods_supported";
    let strict = Plan::new().config("[[issuer]]\n", "[[issuer]]\nstrict_metadata = true\n");
    let house = strict.open().await;
    let status = rejected(&house, &mut house.agent().await, members([(METHODS, json!(["none"]))])).await;
    assert!(status.message().contains("`strict_metadata` is set"), "{status:?}");
    assert_eq!(fact(&status, "cure").as_deref(), Some("strict_metadata"));
}
