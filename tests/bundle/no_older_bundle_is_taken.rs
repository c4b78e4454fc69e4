use crate::{
    house::{eventually, write},
    kit::facts,
    packing::{Key, PINNED, begins, of_file, packed, publish, ship},
    swapping::{generation, harmless, put},
};
use narrowgate::platform::bundle::kept_in;
use rustix::process::Signal;
use std::fs;

// rows: POL-04 (rollback)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_either() {
    let mut house = of_file("check_every = \"100ms\"");
    let old = ship(&house, 4);
    house.start();
    house.wait_until_serving().await;
    // By watching, this time; and a set that says the same raises the serial too.
    put(&house, "policies/extra.cedar", &harmless("extra"));
    ship(&house, 5);
    generation(&house, 2).await;
    ship(&house, 6);
    let kept = || {
        fs::read_to_string(kept_in(&house.path("audit"))).unwrap_or_else(|e| {
            String::from_utf8_lossy(&fs::read(kept_in(&house.path("audit"))).unwrap_or_default()).into_owned()
                + &e.to_string()
        })
    };
    eventually("serial 6 is kept", || kept().contains("\"serial\":6").then_some(())).await;
    assert_eq!(house.events("policy.activated").len(), 2);
    house.stop().await;

    publish(&house, &old, &PINNED.sign(&old, 4));
    house.start();
    house.wait_until_serving().await;
    let said = house.event("policy.rejected").await;
    let first = facts(&said)["first_mistake"].as_str().unwrap();
    assert!(first.contains("has serial 4, and serial 6 was taken before"), "{first}");
    let started = house.events("policy.activated").pop().unwrap();
    assert_eq!(facts(&started)["bundle_serial"], 6, "what was taken last is in force");
    begins(&house).await;
    // Nobody but the operator forgets it.
    house.stop().await;
    fs::remove_file(kept_in(&house.path("audit"))).unwrap();
    house.start();
    house.wait_until_serving().await;
    assert_eq!(facts(&house.events("policy.activated").pop().unwrap())["bundle_serial"], 4);
}

// rows: POL-03 POL-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_gone_or_bad_leaves_the_one_that_was_taken_last() {
    let mut house = of_file("check_every = \"100ms\"");
    ship(&house, 4);
    house.start();
    house.wait_until_serving().await;
    house.stop().await;
    fs::remove_file(house.path("policy.tar.gz")).unwrap();
    house.start();
    house.wait_until_serving().await;
    begins(&house).await;
    house.stop().await;
    // It is verified again: by keys that are pinned now, and whole.
    write(&house.path("signing.pem"), &Key(8).public_pem());
    house.start();
    eventually("no set", || house.log().contains("no valid policy set").then_some(())).await;
    house.stop().await;
    write(&house.path("signing.pem"), &PINNED.public_pem());
    let path = kept_in(&house.path("audit"));
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    house.start();
    // The file heals it while it runs.
    ship(&house, 5);
    house.wait_until_serving().await;
    begins(&house).await;
    assert!(!house.log().contains("panicked"));
}

// rows: POL-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_says_which_was_taken_is_not_guessed() {
    let mut house = of_file("check_every = \"1h\"");
    ship(&house, 4);
    house.start();
    house.wait_until_serving().await;
    let path = kept_in(&house.path("audit"));
    fs::write(&path, "junk\n").unwrap();
    put(&house, "policies/extra.cedar", &harmless("extra"));
    ship(&house, 5);
    house.tell(Signal::HUP);
    let said = house.event("policy.rejected").await;
    let first = facts(&said)["first_mistake"].as_str().unwrap();
    assert!(first.contains("policy-bundle.kept: does not say which bundle was taken last; remove it if"), "{first}");
    begins(&house).await;
    // A place where it cannot be kept: a folder is in it.
    fs::remove_file(&path).unwrap();
    fs::create_dir(house.path("audit/policy-bundle.kept.new")).unwrap();
    house.tell(Signal::HUP);
    let cannot =
        |event: &serde_json::Value| facts(event)["first_mistake"].as_str().unwrap().contains("cannot be written");
    eventually("it is not kept", || house.events("policy.rejected").into_iter().find(cannot)).await;
    assert_eq!(house.events("policy.activated").len(), 1, "taken, and not kept");
    fs::remove_dir(house.path("audit/policy-bundle.kept.new")).unwrap();
    house.tell(Signal::HUP);
    generation(&house, 2).await;
}

// rows: POL-04 (rotation of keys)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_of_two_keys_will_do() {
    let mut house = of_file("check_every = \"1h\"");
    let text = fs::read_to_string(house.path("narrowgate.toml")).unwrap();
    write(&house.path("narrowgate.toml"), &text.replace("[\"signing.pem\"]", "[\"signing.pem\", \"next.pem\"]"));
    write(&house.path("next.pem"), &Key(9).public_pem());
    ship(&house, 1);
    house.start();
    house.wait_until_serving().await;
    put(&house, "policies/extra.cedar", &harmless("extra"));
    let archive = packed(&house, 2);
    publish(&house, &archive, &Key(9).sign(&archive, 2));
    house.tell(Signal::HUP);
    let event = generation(&house, 2).await;
    assert_eq!(facts(&event)["bundle_key"], Key(9).id());
}

// rows: POL-04 (a file that is half in place)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_waits_a_moment_for_its_signature() {
    let mut house = of_file("check_every = \"100ms\"");
    ship(&house, 1);
    house.start();
    house.wait_until_serving().await;
    put(&house, "policies/extra.cedar", &harmless("extra"));
    let archive = packed(&house, 2);
    // Both at once in the end, and one after the other for the daemon that looks meanwhile.
    fs::write(house.path(".draft"), &archive).unwrap();
    fs::rename(house.path(".draft"), house.path("policy.tar.gz")).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    write(&house.path(".draft"), &PINNED.sign(&archive, 2));
    fs::rename(house.path(".draft"), house.path("policy.tar.gz.sig")).unwrap();
    generation(&house, 2).await;
    assert_eq!(house.events("policy.rejected").len(), 0);
}
