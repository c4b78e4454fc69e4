use crate::{
    asking::{Kept, READ},
    house::{House, Plan, binary, eventually},
};
use std::{
    io::{BufRead, BufReader, Read},
    process::Stdio,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// `narrowgate token begin --listen`, and what it says.
struct Begun {
    process: Kept,
    said: Arc<Mutex<String>>,
}

fn begin(house: &House, redirect_uri: &str) -> Begun {
    let mut command = binary();
    command.args(["token", "begin", "--endpoint", &house.endpoint(), "--client", "sales-crm", "--scope", READ]);
    command.args(["--redirect-uri", redirect_uri, "--listen", "--timeout", "20s", "--output", "json"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Kept(command.spawn().unwrap());
    let (said, lines) = (Arc::<Mutex<String>>::default(), BufReader::new(process.0.stderr.take().unwrap()));
    let saying = Arc::clone(&said);
    std::thread::spawn(move || {
        for line in lines.lines().map_while(Result::ok) {
            saying.lock().unwrap().push_str(&format!("{line}\n"));
        }
    });
    Begun { process, said }
}

impl Begun {
    /// The URL it asks the person to open.
    async fn url(&self) -> String {
        let url = || self.said.lock().unwrap().lines().find(|line| line.starts_with("https://")).map(str::to_owned);
        eventually("the URL to open", url).await
    }
}

/// One request, and the whole answer as it came.
async fn http(place: &str, head: &str) -> String {
    let mut stream = TcpStream::connect(place).await.unwrap();
    stream.write_all(format!("{head} HTTP/1.1\r\nHost: {place}\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

// rows: RURI-06 RURI-02
#[tokio::test]
async fn the_page_shows_nothing_of_the_request_and_leads_nowhere() {
    let house = Plan::new().open().await;
    let mut begun = begin(&house, "http://127.0.0.1/callback");
    let callback = house.server.approve(&begun.url().await);
    let (place, query) = callback.url.trim_start_matches("http://").split_once("/callback?").unwrap();
    let stray = http(place, "GET /callback?next=https://evil.test").await;
    assert!(stray.starts_with("HTTP/1.1 404") && !stray.contains("evil"), "{stray}");
    for head in ["GET /favicon.ico", "POST /callback?code=x", "GET /callback/?code=x", "GET //evil.test/%2e%2e?code=x"]
    {
        let stray = http(place, head).await;
        assert!(stray.starts_with("HTTP/1.1 4") && !stray.contains("evil"), "{head}: {stray}");
    }
    // Anyone on the machine can send one: it is refused, and the person's own is still waited for.
    let forged = http(place, "GET /callback?code=forged-code&state=forged-state").await;
    assert!(forged.starts_with("HTTP/1.1 200"), "{forged}");
    eventually("the forged callback to be refused", || {
        begun.said.lock().unwrap().contains("still waiting").then_some(())
    })
    .await;
    let target = format!("/callback?{query}&next=https://evil.test&x=%3Cscript%3Ealert(1)%3C/script%3E");
    let page = http(place, &format!("GET {target}")).await;
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    let lower = page.to_ascii_lowercase();
    for absent in ["evil", "script>", "alert", "location:", "set-cookie", "src=", "href=", "http-equiv", "://"] {
        assert!(!lower.contains(absent), "{absent:?} is in {page}");
    }
    assert!(!page.contains(&callback.code) && !page.contains(&callback.state));
    for present in
        ["cache-control: no-store", "referrer-policy: no-referrer", "content-security-policy: default-src 'none'"]
    {
        assert!(lower.contains(present), "{present:?} is not in {page}");
    }
    // The callback was good, the token came, and the listener is gone.
    let status = eventually("the command to end", || begun.process.0.try_wait().unwrap()).await;
    assert_eq!(status.code(), Some(0), "{}", begun.said.lock().unwrap());
    let mut printed = String::new();
    begun.process.0.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    let token: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert!(token["access_token"].as_str().unwrap().starts_with("canary-at-"));
    let said = begun.said.lock().unwrap().clone();
    assert!(!said.contains(&callback.code) && !said.contains("canary-at-"), "{said}");
    assert!(TcpStream::connect(place).await.is_err(), "it still listens");
    house.assert_no_secret_leaked();
}

// rows: (--output json holds for the command line's own mistakes)
#[test]
fn mistakes_in_the_command_line_are_json_when_json_is_asked_for() {
    for arguments in [["health", "--wiat", "--output", "json"], ["--output=json", "helth", "x", "y"]] {
        let output = binary().args(arguments).output().unwrap();
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.code(), &told["error"]["exit_code"]), (Some(64), &64.into()));
        assert!(output.stderr.is_empty());
    }
    let output = binary().args(["helth"]).output().unwrap();
    assert!(output.stdout.is_empty() && !output.stderr.is_empty());
}

// rows: RURI-06 RURI-02
#[tokio::test]
async fn it_listens_on_pinned_loopback_literals_alone() {
    let house = Plan::new().open().await;
    for (uri, code) in [
        ("http://localhost/callback", 64),
        ("http://0.0.0.0/callback", 64),
        ("http://192.0.2.1/callback", 64),
        ("https://127.0.0.1/callback", 64),
        ("http://127.0.0.1/not-pinned", 1),
    ] {
        let mut begun = begin(&house, uri);
        let status = eventually("the command to end", || begun.process.0.try_wait().unwrap()).await;
        assert_eq!(status.code(), Some(code), "{uri}: {}", begun.said.lock().unwrap());
    }
    assert!(house.events("authorization.decided").is_empty());
}
