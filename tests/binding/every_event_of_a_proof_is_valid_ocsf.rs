use crate::kit::{CRM, granted, plan, proving, sign};
use narrowgate::api::proto::SignProofRequest;

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
    house.assert_valid_ocsf(&CODES, &["canary-path-0123456789", "canary-query-0123456789"]);
}
