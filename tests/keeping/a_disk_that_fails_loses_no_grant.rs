use crate::{
    asking::{READ, WRITE, narrow, refused},
    house::{eventually, get, redeem},
    kit::{again, build, crash, plan, used},
    small_disk::SmallDisk,
};
use std::{fs, time::Duration};
use tonic::Code;

// rows: RT-02 (real parts: the redb file on a full disk)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk() {
    let plan = plan("").config("commit_timeout = \"5s\"", "commit_timeout = \"500ms\"");
    let mut house = build(plan.config("[limits]", "[limits]\ntransactions_per_agent = 1000"));
    let Some(disk) = SmallDisk::mount(&house.path("store"), "4m") else { return };
    again(&mut house).await;
    let mut agent = house.agent().await;
    let mut grants = Vec::new();
    for _ in 0..3 {
        grants.push(house.login(&mut agent, &[READ, WRITE]).await.unwrap().grant);
    }
    disk.fill();
    // What room is left in the file itself is used up by new grants; the one that finds none is told nothing bad.
    let mut logins = 0;
    while house.health() == "SERVING" {
        logins += 1;
        assert!(logins < 300, "it goes on without a disk");
        let (transaction, callback) = house.approved(&mut agent, &[READ, WRITE]).await;
        match redeem(&mut agent, &transaction, &callback).await {
            Ok(answer) => grants.push(answer.grant),
            Err(status) => {
                refused::<()>(Err(status), Code::Unavailable, "GRANT_STORE_UNAVAILABLE");
                // Health looks once a second, and each login that is refused stays open.
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        }
    }
    eventually("the alarm", || house.events("grants.store_failed").pop()).await;
    // Nothing is spent that could not be kept: no code, no refresh token. What is held is served.
    let posts = house.server.token_posts();
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let no = redeem(&mut agent, &transaction, &callback).await;
    refused(no, Code::Unavailable, "GRANT_STORE_UNAVAILABLE");
    for grant in &grants {
        refused(narrow(&mut agent, grant, &[READ]).await, Code::Unavailable, "GRANT_STORE_UNAVAILABLE");
        get(&mut agent, grant).await.unwrap();
    }
    assert_eq!(house.server.token_posts(), posts);
    disk.free();
    for _ in 0..400 {
        if house.health() == "SERVING" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    eventually("the end of the alarm", || house.events("grants.store_resumed").pop()).await;
    // The code that was held back is as good as it was, and what was given meanwhile is in the file now.
    grants.push(redeem(&mut agent, &transaction, &callback).await.unwrap().grant);
    let mut agent = crash(&mut house).await;
    for grant in &grants {
        narrow(&mut agent, grant, &[READ]).await.unwrap();
    }
    assert_eq!((used(&house).len(), house.server.reused_families()), (grants.len(), 0));
    // The file system must not go before the daemon that writes to it.
    house.stop().await;
    drop(disk);
}

// rows: RT-02
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_removed_is_written_anew() {
    let (mut house, mut agent, grant) = crate::kit::granted(plan("")).await;
    fs::remove_file(crate::kit::store(&house)).unwrap();
    narrow(&mut agent, &grant, &[READ]).await.unwrap();
    let mut agent = crash(&mut house).await;
    narrow(&mut agent, &grant, &[READ]).await.unwrap();
    assert_eq!(house.server.reused_families(), 0);
}
