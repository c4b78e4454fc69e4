//! Names that look like other names.

use crate::kit::*;

#[tokio::test]
async fn a_look_alike_is_not_the_same_name() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    for (scope, why) in [
        ("\u{441}ustomers.read", "SCOPE_SYNTAX"),
        ("customers.re\u{430}d", "SCOPE_SYNTAX"),
        ("customers\u{2024}read", "SCOPE_SYNTAX"),
        ("\u{202e}daer.sremotsuc", "SCOPE_SYNTAX"),
        ("customers.read\u{200b}", "SCOPE_SYNTAX"),
        ("Customers.Read", "SCOPE_UNDECLARED"),
        ("customers.READ", "SCOPE_UNDECLARED"),
    ] {
        assert_eq!(reason(&agent.begin_authorization(begin_request(&[scope])).await.err().unwrap()), why, "{scope:?}");
    }
    for client in ["s\u{430}les-crm", "Sales-crm", "sales-crm\u{200b}", "sales-crm "] {
        let request = BeginAuthorizationRequest { client: client.to_owned(), ..begin_request(&[READ]) };
        assert_eq!(reason(&agent.begin_authorization(request).await.err().unwrap()), "CLIENT_UNKNOWN");
    }
    assert!(house.audit_text().is_ascii());
}

#[tokio::test]
async fn a_registry_with_look_alikes_does_not_load() {
    for id in ["qu\u{43e}ter", "quoter\u{202e}", "quoter\\u200b", " quoter"] {
        let mut plan = Plan::new();
        plan.agents = plan.agents.replace("id = \"quoter\"", &format!("id = \"{id}\""));
        let house = plan.build();
        assert_eq!(run(house.command("check")).await.status.code(), Some(64), "{id:?}");
    }
}
