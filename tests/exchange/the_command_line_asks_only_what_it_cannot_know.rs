//! `narrowgate token`: it finds out what the daemon can tell it, says where the rest stands, and prompts people alone.

use crate::{
    asking::{Kept, READ, run, words},
    house::{House, Plan, binary, eventually},
};
use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

fn begin(house: &House, arguments: &[&str]) -> Command {
    let mut command = binary();
    command.args(["token", "begin", "--endpoint", &house.endpoint(), "--client", "sales-crm", "--scope", READ]);
    command.args(arguments).args(["--timeout", "20s", "--output", "json"]).stdin(Stdio::null());
    command
}

/// Logs in with `--listen` and no redirect URI.
async fn logs_in(house: &House) {
    let mut command = begin(house, &["--listen"]);
    let mut process = Kept(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let (said, lines) = (Arc::<Mutex<String>>::default(), BufReader::new(process.0.stderr.take().unwrap()));
    let saying = Arc::clone(&said);
    std::thread::spawn(move || {
        for line in lines.lines().map_while(Result::ok) {
            saying.lock().unwrap().push_str(&format!("{line}\n"));
        }
    });
    let url = || said.lock().unwrap().lines().find(|line| line.starts_with("https://")).map(str::to_owned);
    let callback = house.server.approve(&eventually("the URL to open", url).await);
    let (place, query) = callback.url.trim_start_matches("http://").split_once('/').unwrap();
    let mut browser = std::net::TcpStream::connect(place).unwrap();
    browser.write_all(format!("GET /{query} HTTP/1.1\r\nHost: {place}\r\n\r\n").as_bytes()).unwrap();
    let status = eventually("the command to end", || process.0.try_wait().unwrap()).await;
    assert_eq!(status.code(), Some(0), "{}", said.lock().unwrap());
    let mut printed = String::new();
    process.0.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    let token: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert!(token["access_token"].as_str().unwrap().starts_with("canary-at-"));
}

// rows: RURI-02
#[tokio::test]
async fn the_only_redirect_uri_is_found_by_itself() {
    // Any free port, which becomes a part of the URI (RFC 8252 §7.3).
    logs_in(&Plan::new().open().await).await;
    // The port that is pinned.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let pinned = format!("\"http://127.0.0.1:{free}/callback\"");
    logs_in(&Plan::new().config("\"http://127.0.0.1/callback\"", &pinned).open().await).await;
}

// rows: RURI-02
#[tokio::test]
async fn what_it_cannot_know_is_said_with_its_place() {
    let several = "\"http://127.0.0.1/callback\", \"http://127.0.0.1/other\"";
    let house = Plan::new().config("\"http://127.0.0.1/callback\"", several).open().await;
    for arguments in [&["--listen"][..], &["--listen", "--redirect-uri", "http://127.0.0.1/third"]] {
        let output = run(begin(&house, arguments)).await;
        let words = words(&output);
        assert_eq!(output.status.code(), Some(1), "{words}");
        for named in ["--redirect-uri", "`redirect_uris` of the [[client]]"] {
            assert!(words.contains(named), "{named:?} is not in {words}");
        }
    }
    let elsewhere = "\"https://app.example.com/callback\"";
    let house = Plan::new().config("\"http://127.0.0.1/callback\"", elsewhere).open().await;
    let output = run(begin(&house, &["--listen"])).await;
    assert_eq!(output.status.code(), Some(64));
    assert!(words(&output).contains("127.0.0.1 or [::1]"), "{}", words(&output));
    let help = words(
        &run({
            let mut help = binary();
            help.args(["token", "begin", "--help"]);
            help
        })
        .await,
    );
    assert!(help.contains("`redirect_uris` of the [[client]]"), "{help}");
}

// rows: LEAK-02
#[tokio::test]
async fn a_pipe_is_read_without_a_prompt() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    let mut command = binary();
    command.args(["token", "redeem", "--endpoint", &house.endpoint(), "--transaction", &transaction]);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let output = tokio::task::spawn_blocking(move || {
        let mut piped = piped;
        writeln!(piped.stdin.take().unwrap(), "{}", callback.url).unwrap();
        piped.wait_with_output().unwrap()
    });
    let output = output.await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
