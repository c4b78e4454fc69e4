use crate::{
    house::{
        House, binary,
        scripted_as::behaviour::{RevocationBehaviour, Script},
    },
    kit::{command, granted, plain, plan},
};
use serde_json::Value;

fn json(house: &House, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = command(house, &[&["--output", "json"], arguments].concat());
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

fn text(house: &House, arguments: &[&str]) -> String {
    let output = command(house, arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_command_in_json() {
    let mut house = plan().open().await;
    granted(&house).await;
    let (code, status) = json(&house, &["status"]);
    assert_eq!(
        (code, &status["grants"], &status["frozen"], &status["audit_writable"]),
        (Some(0), &1.into(), &0.into(), &true.into())
    );
    let (_, listed) = json(&house, &["grants", "--agent", "courier"]);
    let fingerprint = listed["grants"][0]["fingerprint"].as_str().unwrap().to_owned();
    assert_eq!(json(&house, &["grants", "--agent", "quoter"]).1["grants"].as_array().unwrap().len(), 0);
    let (_, revoked) = json(&house, &["revoke", "--grant", &fingerprint]);
    assert_eq!((&revoked["toll"]["grants"], &revoked["toll"]["tokens_revoked"]), (&1.into(), &2.into()));
    let (code, frozen) = json(&house, &["freeze", "--agent", "courier", "--ticket", "incident-4711"]);
    assert_eq!(
        (code, &frozen["freeze"]["ticket"], &frozen["already_frozen"]),
        (Some(0), &"incident-4711".into(), &false.into())
    );
    let (_, freezes) = json(&house, &["freezes"]);
    assert_eq!((&freezes["freezes"][0]["kind"], &freezes["freezes"][0]["name"]), (&"agent".into(), &"courier".into()));
    assert_eq!(json(&house, &["unfreeze", "--agent", "courier"]).1["was_frozen"], true);
    assert_eq!(json(&house, &["drain"]).1["draining"], true);
    assert_eq!(house.ended().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_in_words() {
    let house = plan().open().await;
    granted(&house).await;
    assert!(text(&house, &["status"]).contains("grants: 1\n"));
    assert!(text(&house, &["grants"]).contains("courier  sales-crm at corp  mail.read mail.send"));
    house.server.always(Script::Revocation(RevocationBehaviour::Unsupported400));
    let said = text(&house, &["freeze", "--issuer", "corp"]);
    assert!(said.contains("frozen: issuer corp by root since"), "{said}");
    assert!(said.contains("0 revoked, 0 queued, 2 unsupported, 0 failed"), "{said}");
    assert!(said.contains("2 tokens could not be revoked"), "{said}");
    assert!(text(&house, &["freezes"]).contains("issuer corp by root"));
    assert!(text(&house, &["unfreeze", "--issuer", "corp"]).contains("nothing comes back"));
    assert!(text(&house, &["freezes"]).contains("nothing is frozen"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_say_what_to_do() {
    let house = plain().open().await;
    let (code, refused) = json(&house, &["status"]);
    assert_eq!((code, &refused["error"]["reason"]), (Some(1), &"OPERATOR_UNKNOWN".into()));
    for wrong in [&["freeze"][..], &["freeze", "--agent", "a", "--issuer", "b"], &["revoke"], &["thaw"]] {
        assert_eq!(command(&house, wrong).status.code(), Some(64), "{wrong:?}");
    }
    let output = binary().args(["admin", "--socket", "/nowhere/admin.sock", "status"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(69) && said.contains("[listen.admin]"), "{said}");
}
