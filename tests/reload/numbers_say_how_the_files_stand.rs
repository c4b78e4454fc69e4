use crate::{
    house::{House, binary},
    kit::admin,
    swapping::{generation, harmless, plan, put, sound},
};
use std::collections::BTreeMap;

/// The samples by series.
fn numbers(house: &House) -> BTreeMap<String, f64> {
    let output = binary().arg("metrics").arg("--socket").arg(house.path("run/metrics.sock")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter(|line| line.starts_with("narrowgate_policy_"));
    let pairs = lines.map(|line| line.rsplit_once(' ').unwrap());
    pairs.map(|(series, value)| (series.to_owned(), value.parse().unwrap())).collect()
}

fn reloads(result: &str) -> String {
    format!("narrowgate_policy_reloads_total{{result=\"{result}\"}}")
}

// rows: POL-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_that_they_are_looked_at() {
    let house = plan("100ms").config("[audit]", "[metrics]\npath = \"@FOLDER@/run/metrics.sock\"\n\n[audit]");
    let house = house.open().await;
    let mut admin = admin(&house).await;
    let at_start = numbers(&house);
    assert_eq!((at_start["narrowgate_policy_generation"], at_start["narrowgate_policy_failed"]), (1.0, 0.0));
    assert_eq!((at_start[&reloads("activated")], at_start[&reloads("refused")]), (1.0, 0.0));
    put(&house, "policies/extra.cedar", "permit");
    house.event("policy.rejected").await;
    // However long nothing sound is there, the numbers tell; and as soon as it is.
    tokio::time::timeout(std::time::Duration::from_secs(15), async {
        while numbers(&house)["narrowgate_policy_unchecked_seconds"] < 2.0 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    })
    .await
    .unwrap();
    let meanwhile = numbers(&house);
    assert_eq!((meanwhile["narrowgate_policy_generation"], meanwhile["narrowgate_policy_failed"]), (1.0, 1.0));
    assert_eq!(meanwhile[&reloads("refused")], 1.0);
    put(&house, "policies/extra.cedar", &harmless("x"));
    generation(&house, 2).await;
    sound(&mut admin).await;
    let after = numbers(&house);
    assert_eq!((after["narrowgate_policy_generation"], after["narrowgate_policy_failed"]), (2.0, 0.0));
    assert_eq!((after[&reloads("activated")], after[&reloads("refused")]), (2.0, 1.0));
    assert!(after["narrowgate_policy_unchecked_seconds"] < 2.0);
}
