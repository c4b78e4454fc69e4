//! Variables that make libraries talk, write keys or go by a proxy mean nothing to the daemon.

use crate::{
    house::{House, Plan, eventually, get},
    ward::Counter,
};
use narrowgate::api::proto::RevokeGrantRequest;
use serde_json::Value;

/// Every variable that curl, Rust's HTTP libraries or OpenSSL would take a proxy from.
const PROXIES: [&str; 8] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "CGI_HTTP_PROXY",
    "REQUEST_METHOD",
];

/// The whole flow by both doors, with a failure in it.
async fn whole_flow(house: &House) {
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &["customers.read"]).await.unwrap();
    get(&mut agent, &redeemed.grant).await.unwrap();
    let (transaction, callback) = house.approved(&mut agent, &["customers.read"]).await;
    let mut request = crate::house::redeem_request(&transaction, &callback.url.replace("state=", "state=x"));
    agent.redeem_code(request.clone()).await.err().unwrap();
    request.transaction = "txn_canary-transaction-0123456789".to_owned();
    agent.redeem_code(request).await.err().unwrap();
    agent.revoke_grant(RevokeGrantRequest { grant: redeemed.grant, ..RevokeGrantRequest::default() }).await.unwrap();
    let mut courier = house.svid_agent(crate::house::COURIER).await;
    let redeemed = house.login(&mut courier, &["customers.read"]).await.unwrap();
    get(&mut courier, &redeemed.grant).await.unwrap();
    eventually("the revocations", || (house.server.revocation_posts() >= 2).then_some(())).await;
}

// rows: LEAK-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_file_no_proxy_no_canary() {
    let proxy = Counter::listen();
    let keys = tempfile::tempdir().unwrap();
    let mut plan = Plan::new();
    let mut set = |name: &str, value: &str| plan.environment.push((name.to_owned(), value.to_owned()));
    set("RUST_LOG", "trace");
    set("RUST_BACKTRACE", "full");
    set("SSLKEYLOGFILE", keys.path().join("keys.log").to_str().unwrap());
    for name in PROXIES {
        set(name, &format!("http://127.0.0.1:{}", proxy.port));
    }
    set("NO_PROXY", "");
    // The folder of the key file is open to the daemon; it writes none all the same.
    let plan = plan.config("[limits]", "[process]\nsandbox = \"off\"\n[limits]");
    let mut house = plan.open().await;
    let environment = std::fs::read(format!("/proc/{}/environ", house.pid())).unwrap();
    assert!(String::from_utf8_lossy(&environment).contains("SSLKEYLOGFILE="), "the daemon has the variables");
    whole_flow(&house).await;
    assert_eq!(house.stop().await, Some(0));
    assert!(house.server.secrets().len() >= 10);
    house.assert_no_secret_leaked();
    assert_eq!(std::fs::read_dir(keys.path()).unwrap().count(), 0, "no key file");
    assert_eq!(proxy.count(), 0, "no connection to the proxy");
    // The eyes of this test.
    drop(std::net::TcpStream::connect(("127.0.0.1", proxy.port)).unwrap());
    eventually("the counter counts", || (proxy.count() == 1).then_some(())).await;
}

/// Filters that would lift the libraries' caps if a more special one won.
const FILTERS: [&str; 5] = [
    "trace",
    "trace,hyper=trace,h2=trace,rustls=trace,tonic=trace,tokio=trace,mio=trace",
    "info,h2::codec::framed_read=trace,h2::proto=trace,hyper::proto=trace,rustls::client=trace",
    "off,[{}]=trace,h2[Connection]=trace",
    "h2::hpack=trace,h2::frame=trace,narrowgate=trace,h2::codec=trace",
];

// rows: LEAK-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_filter_makes_a_library_talk() {
    for filter in FILTERS {
        let mut plan = Plan::new();
        plan.log = filter.to_owned();
        let mut house = plan.open().await;
        let mut agent = house.agent().await;
        house.login(&mut agent, &["customers.read"]).await.unwrap();
        house.stop().await;
        let log = house.log();
        for line in log.lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not a line of the log: {line}"));
            let (target, level) = (line["target"].as_str().unwrap(), line["level"].as_str().unwrap());
            let ours = target == "narrowgate" || target.starts_with("narrowgate::");
            assert!(ours || !matches!(level, "DEBUG" | "TRACE"), "{filter}: {line}");
        }
        assert!(!filter.contains("narrowgate=trace") || log.contains("\"DEBUG\""), "our own lines are there: {log}");
    }
}

// rows: LEAK-04 TIME-06
#[tokio::test]
async fn a_filter_that_cannot_be_read_is_told_of() {
    let mut plan = Plan::new();
    plan.log = "narrowgate=loud".to_owned();
    let house = plan.open().await;
    assert!(house.log().contains("the log filter cannot be read"), "{}", house.log());
    assert!(house.log().contains("narrowgate is up"), "it goes on at info");
}
