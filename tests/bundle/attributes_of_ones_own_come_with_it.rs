use crate::{
    house::{eventually, fact},
    kit::{MAIL, facts, refused},
    packing::{begins, of_file, ship},
    swapping::{edit, generation, put},
};
use narrowgate::dev::ca::San;
use std::fs;
use tonic::Code;

const SCHEMA: &str =
    "namespace Custom { type Agent = { cleared: Bool }; type Api = {}; type Scope = { pii?: Bool }; }\n";
const RULE: &str = "@id(\"own.cleared\") @code(\"not_cleared\")
forbid (principal, action == Narrowgate::Action::\"begin_authorization\", resource)
unless { principal.custom.cleared };
";

// rows: POL-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_go_with_it() {
    let mut house = of_file("check_every = \"100ms\"");
    let before = ship(&house, 4);
    house.start();
    house.wait_until_serving().await;
    begins(&house).await;
    let digest = |number| {
        let event = house.events("policy.activated").into_iter().find(|it| facts(it)["generation"] == number).unwrap();
        facts(&event)["schema_digest"].clone()
    };

    put(&house, "custom.cedarschema", SCHEMA);
    put(&house, "policies/own.cedar", RULE);
    edit(
        &house,
        "packing.toml",
        "apis = \"apis.toml\"",
        "apis = \"apis.toml\"\ncustom_schema = \"custom.cedarschema\"",
    );
    edit(&house, "agents.toml", "\nowner = ", "\ncustom = { cleared = false }\nowner = ");
    let with = ship(&house, 5);
    assert!(with != before);
    generation(&house, 2).await;
    let plain = digest(1);
    assert_ne!(plain, digest(2));
    let identity = house.agents_ca.client("agent", &[San::Uri(crate::house::COURIER)]).unwrap();
    let mut agent = house.tls_agent(identity).await.unwrap();
    let status = refused(house.begin(&mut agent, &MAIL).await, Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(fact(&status, "policy_code").as_deref(), Some("not_cleared"));

    // A bundle without them, of data files that have none, is one again; and a start takes what a reload took.
    edit(&house, "agents.toml", "cleared = false", "cleared = true");
    ship(&house, 6);
    generation(&house, 3).await;
    begins(&house).await;
    house.stop().await;
    house.start();
    house.wait_until_serving().await;
    begins(&house).await;
    edit(&house, "packing.toml", "\ncustom_schema = \"custom.cedarschema\"", "");
    edit(&house, "agents.toml", "\ncustom = { cleared = true }", "");
    fs::remove_file(house.path("policies/own.cedar")).unwrap();
    ship(&house, 7);
    let seventh = eventually("serial 7", || {
        house.events("policy.activated").into_iter().find(|event| facts(event)["bundle_serial"] == 7)
    });
    assert_eq!(facts(&seventh.await)["schema_digest"], plain, "as if there had never been any");
    begins(&house).await;
    house.assert_no_secret_leaked();
}
