use crate::{
    house::{House, eventually, fact, get},
    kit::{self, Admin, admin, granted, refused},
    swapping::{edit, put, watching},
};
use narrowgate::api::proto::{ReloadRequest, ReloadResponse};
use tonic::Code;

const SCHEMA: &str =
    "namespace Custom {\n  type Agent = { cleared?: Bool };\n  type Api = {};\n  type Scope = { pii?: Bool };\n}\n";
const RULE: &str = "@id(\"own.cleared\") @code(\"not_cleared\")
forbid (principal, action == Narrowgate::Action::\"grant_scope\", resource)
when { resource.custom has pii && resource.custom.pii }
unless { principal.custom has cleared && principal.custom.cleared };";

async fn house() -> House {
    let registry = "apis = \"apis.toml\"";
    let plan =
        kit::plan().config(registry, &format!("{registry}\ncustom_schema = \"custom.cedarschema\"")).policy(RULE);
    let mut house = watching(plan, "1h").build();
    put(&house, "custom.cedarschema", SCHEMA);
    edit(&house, "apis.toml", "name = \"mail.send\"", "name = \"mail.send\"\ncustom = { pii = true }");
    let courier = "id = \"courier\"";
    edit(&house, "agents.toml", courier, &format!("{courier}\ncustom = {{ cleared = true }}"));
    house.start();
    house.wait_until_serving().await;
    house
}

async fn reload(admin: &mut Admin) -> ReloadResponse {
    admin.reload(ReloadRequest::default()).await.unwrap().into_inner()
}

fn told(answer: &ReloadResponse) -> Vec<String> {
    answer.mistakes.iter().map(|mistake| format!("{}: {}", mistake.file, mistake.message)).collect()
}

// rows: POL-04 CACH-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_call_sees_what_became_of_them() {
    let house = house().await;
    let mut admin = admin(&house).await;
    let (mut agent, grant) = granted(&house).await;
    get(&mut agent, &grant).await.unwrap();
    get(&mut agent, &grant).await.unwrap();

    // The same token, held in memory, and an agent that is no longer cleared.
    edit(&house, "agents.toml", "cleared = true", "cleared = false");
    let done = reload(&mut admin).await;
    assert_eq!(done.outcome().as_str_name(), "OUTCOME_ACTIVATED", "{:?}", told(&done));
    let status = refused(get(&mut agent, &grant).await, Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(fact(&status, "policy_code").as_deref(), Some("not_cleared"));

    // Another scheme of attributes is another set, though no policy changed; every event names its digest.
    let digest = |event: &serde_json::Value| event["unmapped"]["narrowgate"]["schema_digest"].clone();
    let before = done.policy.as_ref().unwrap().schema_digest.clone();
    edit(&house, "custom.cedarschema", "pii?: Bool", "pii?: Bool, site?: String");
    edit(&house, "agents.toml", "cleared = false", "cleared = true");
    let done = reload(&mut admin).await;
    assert_eq!(done.outcome().as_str_name(), "OUTCOME_ACTIVATED", "{:?}", told(&done));
    let after = done.policy.as_ref().unwrap().schema_digest.clone();
    assert_ne!(before, after);
    get(&mut agent, &grant).await.unwrap();
    let last = eventually("an event under it", || {
        let served = house.events("token.served");
        served.into_iter().find(|event| digest(event).as_str().is_some_and(|it| it.ends_with(&after)))
    });
    last.await;

    // Mistaken ones change nothing, and are told by their file.
    let sound = std::fs::read_to_string(house.path("custom.cedarschema")).unwrap();
    for (from, to, file) in [
        ("type Scope", "type Scopes", "custom.cedarschema"),
        ("cleared?: Bool", "cleared?: Long", "agents.toml"),
        ("cleared?: Bool", "", ""),
        (SCHEMA.lines().next().unwrap(), "namespace", "custom.cedarschema"),
    ] {
        put(&house, "custom.cedarschema", &sound.replace(from, to));
        let refused = reload(&mut admin).await;
        assert_eq!(refused.outcome().as_str_name(), "OUTCOME_REFUSED", "{to}");
        assert!(refused.mistakes.iter().any(|mistake| mistake.file.ends_with(file)), "{to}: {:?}", told(&refused));
        get(&mut agent, &grant).await.unwrap();
    }
    house.assert_no_secret_leaked();
}
