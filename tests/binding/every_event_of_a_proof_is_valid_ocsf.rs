use crate::{
    house::write,
    kit::{CRM, granted, plan, proving, sign},
};
use narrowgate::api::proto::SignProofRequest;
use std::{fs, path::Path, process::Command};

const CODES: [&str; 3] = ["proof.signed", "token.withheld", "exchange.refused"];

// rows: AUD-01 AUD-08
#[tokio::test]
async fn the_schema_says_so() {
    let rule = "@id(\"out\") @code(\"read_only\")\n\
        forbid (principal, action == Narrowgate::Action::\"sign_proof\", resource)\n\
        unless { context.httpMethod == \"GET\" };";
    let (house, mut agent, redeemed) = granted(plan().policy(rule)).await;
    // What is in a path or a query may be a secret, or a person: it is in no record, whatever the answer.
    let telling = "canary-path-0123456789?q=canary-query-0123456789";
    let uri = format!("{CRM}/{telling}");
    sign(&mut agent, proving(&redeemed.grant, &uri)).await.unwrap();
    let post = SignProofRequest { http_method: "POST".to_owned(), ..proving(&redeemed.grant, &uri) };
    sign(&mut agent, post).await.err().unwrap();
    let elsewhere = format!("https://evil.test/{telling}");
    sign(&mut agent, proving(&redeemed.grant, &elsewhere)).await.err().unwrap();
    for code in CODES {
        house.event(code).await;
    }
    let python = std::env::var_os("NARROWGATE_TEST_PYTHON").expect(
        "NARROWGATE_TEST_PYTHON is not set: run tests/run, which prepares the Python that knows the OCSF schema",
    );
    let mut canaries: Vec<String> = house.server.secrets().into_iter().collect();
    canaries.extend(["canary-path-0123456789", "canary-query-0123456789"].map(str::to_owned));
    write(&house.path("canaries"), &canaries.join("\n"));
    let mut logs: Vec<_> = fs::read_dir(house.path("audit")).unwrap().map(|e| e.unwrap().path()).collect();
    logs.retain(|path| path.extension().is_some_and(|e| e == "jsonl"));
    let output = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audit/validate.py"))
        .args(logs)
        .arg("--canaries")
        .arg(house.path("canaries"))
        .args(["--require-codes", &CODES.join(",")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("valid"), "{said}");
}
