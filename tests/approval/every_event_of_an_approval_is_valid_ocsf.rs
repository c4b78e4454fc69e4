use crate::{
    house::{binary, get, redeem},
    kit::{DELETE, Key, asking, begin, plan, wanted},
};
use serde_json::json;

const CODES: [&str; 6] = [
    "authorization.decided",
    "exchange.decided",
    "exchange.refused",
    "token.issued",
    "token.served",
    "detect.approval_misuse",
];

// rows: AUD-01 POL-09
#[tokio::test]
async fn the_schema_says_so_and_each_decision_can_be_asked_again() {
    let key = Key::new();
    let house = plan(&key).open().await;
    let mut agent = house.agent().await;
    let told = wanted(&mut agent, &[DELETE]).await;
    let record = key.record(&told, &json!({}));
    let begun = begin(&mut agent, asking(&[DELETE], &record)).await.unwrap();
    let callback = house.server.approve(&begun.authorization_url);
    let redeemed = redeem(&mut agent, &begun.transaction, &callback).await.unwrap();
    get(&mut agent, &redeemed.grant).await.unwrap();
    begin(&mut agent, asking(&[DELETE], &record)).await.err().unwrap();
    for code in CODES {
        house.event(code).await;
    }
    let mut replay = binary();
    replay.args(["policy", "replay", "--config"]).arg(house.path("narrowgate.toml"));
    let replayed = replay.output().unwrap();
    assert!(replayed.status.success(), "{replayed:?}");
    house.assert_valid_ocsf(&CODES, &[&record]);
}
