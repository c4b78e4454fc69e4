use crate::house::{House, Plan, binary, eventually, get, reason, redeem};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::fs;
use tokio::net::UnixStream;
use tonic::Code;

const READ: &[&str] = &["customers.read"];

/// Descriptors 0 to 2 are in use, so there is no other.
const NO_MORE: Option<u64> = Some(3);

fn limit_descriptors(house: &House, soft: Option<u64>) -> Rlimit {
    let pid = Pid::from_raw(i32::try_from(house.pid()).unwrap());
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    prlimit(pid, Resource::Nofile, Rlimit { current: soft, maximum }).unwrap()
}

fn open_descriptors(house: &House) -> u64 {
    fs::read_dir(format!("/proc/{}/fd", house.pid())).unwrap().count() as u64
}

// rows: AUD-03 CODE-07
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn out_of_descriptors_it_refuses_and_recovers() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let grant = house.login(&mut agent, READ).await.unwrap().grant;
    let (transaction, callback) = house.approved(&mut agent, READ).await;
    let before = limit_descriptors(&house, NO_MORE);
    let (posts, connections) = (house.server.token_posts(), house.server.token_connections());
    // No socket for a connection to the server: the code does not leave, and is not lost.
    let status = redeem(&mut agent, &transaction, &callback).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "AS_UNREACHABLE"));
    assert_eq!((house.server.token_posts(), house.server.token_connections()), (posts, connections));
    // What needs no descriptor goes on, recorded as ever.
    get(&mut agent, &grant).await.unwrap();
    // Nobody new gets in; they wait.
    let waiting = UnixStream::connect(house.path("run/agent.sock")).await.unwrap();
    eventually("the door says so", || house.log().contains("cannot accept a connection").then_some(())).await;
    limit_descriptors(&house, before.current);
    drop(waiting);
    redeem(&mut agent, &transaction, &callback).await.unwrap();
    let mut newcomer = house.agent().await;
    get(&mut newcomer, &grant).await.unwrap();
    let health = binary().args(["health", "--endpoint", &house.endpoint()]).output().unwrap();
    assert_eq!(health.status.code(), Some(0));
    let numbers: Vec<u64> = house.audit().iter().map(|e| e["metadata"]["sequence"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
}

// rows: AUD-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_needs_a_descriptor_and_gets_none_is_a_log_that_cannot_be_written() {
    let mut house = Plan::new().open().await;
    let mut agent = house.agent().await;
    house.login(&mut agent, READ).await.unwrap();
    let before = limit_descriptors(&house, NO_MORE);
    // Its file is taken away, so that another must be opened.
    fs::rename(house.path("audit/audit-000000000000-000.jsonl"), house.path("audit/audit-000000000000-900.jsonl"))
        .unwrap();
    eventually("it is down", || house.log().contains("the audit log cannot be written").then_some(())).await;
    let status = house.begin(&mut agent, READ).await.err().unwrap();
    assert_eq!(reason(&status), "AUDIT_UNAVAILABLE");
    limit_descriptors(&house, before.current);
    house.wait_until_serving().await;
    house.begin(&mut agent, READ).await.unwrap();
    house.event("audit.file_lost").await;
    let numbers: Vec<u64> = house.audit().iter().map(|e| e["metadata"]["sequence"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
}

// rows: AUD-03
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn descriptors_are_given_back() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    house.login(&mut agent, READ).await.unwrap();
    let before = open_descriptors(&house);
    for _ in 0..20 {
        let mut agent = house.agent().await;
        house.login(&mut agent, READ).await.unwrap();
        let (transaction, callback) = house.approved(&mut agent, READ).await;
        let wrong = crate::house::redeem_request(&transaction, &callback.url.replace("state=", "state=x"));
        agent.redeem_code(wrong).await.err().unwrap();
    }
    eventually("as few as before", || (open_descriptors(&house) <= before).then_some(())).await;
}
