//! The configuration is strict: whatever is not understood is a mistake, each with its place, all at once.

use crate::{
    check, findings,
    house::{House, Plan, write},
    place,
};
use serde_json::Value;
use std::fs;

/// A change of one file, and the finding it must give.
struct Mistake {
    file: &'static str,
    from: &'static str,
    to: &'static str,
    /// The piece of the changed text whose place is named; `None` where a line is enough.
    at: Option<&'static str>,
    says: &'static str,
    hint: Option<&'static str>,
}

const fn main(from: &'static str, to: &'static str, at: Option<&'static str>, says: &'static str) -> Mistake {
    Mistake { file: "narrowgate.toml", from, to, at, says, hint: None }
}

const fn agents(from: &'static str, to: &'static str, at: Option<&'static str>, says: &'static str) -> Mistake {
    Mistake { file: "agents.toml", from, to, at, says, hint: None }
}

const fn apis(from: &'static str, to: &'static str, at: Option<&'static str>, says: &'static str) -> Mistake {
    Mistake { file: "apis.toml", from, to, at, says, hint: None }
}

const fn hint(mistake: Mistake, hint: &'static str) -> Mistake {
    Mistake { hint: Some(hint), ..mistake }
}

const PEM: &str = "key = \"\"\"-----BEGIN PRIVATE KEY-----\ncanary-inline-0123456789\n-----END PRIVATE KEY-----\"\"\"";
const ISSUER: &str = "[[issuer]]\nalias = \"corp\"";
const CLIENT: &str = "[[client]]\nalias = \"sales-crm\"";
const SUBJECT: &str = "subject = { san_uri = \"spiffe://acme.test/narrowgate\" }";
const SOCKET: &str = "path = \"@FOLDER@/run/agent.sock\"";

const MAIN: &[Mistake] = &[
    main("\"tls_client_auth\"", "\"tls_client_ath\"", Some("\"tls_client_ath\""), "`client.auth` must be"),
    hint(main("auth = \"tls", "auht = \"tls", Some("auht"), "unknown key `client.auht`"), "did you mean `auth`?"),
    hint(main("[audit]", "[audits]", Some("audits"), "unknown key `audits`"), "did you mean `audit`?"),
    main("[audit]", "[unheard]", None, "[audit] is missing"),
    hint(main("[limits]", "[limits]\nunheard_of = 1", Some("unheard_of"), "unknown key"), "known keys: "),
    main("\"prod\"", "\"production\"", Some("\"production\""), "`environment` must be"),
    main("environment = \"prod\"\n", "", None, "`environment` is missing"),
    main("client_id = \"narrowgate-sales\"\n", "", None, "`client_id` is missing in [client]"),
    main("\"5s\"\n\n[policy]", "5\n\n[policy]", Some("5\n\n[policy]"), "must be a text, not integer"),
    main("\"20s\"", "\"20 seconds\"", Some("\"20 seconds\""), "must be a span of time"),
    main("\"20s\"", "\"2h\"", Some("\"2h\""), "must be between"),
    main("[limits]", "[limits]\ntransactions_per_agent = 0", Some("0\ncall"), "must be a whole number from 1"),
    main("[limits]", "[limits]\ncall_deadline = \"1s\"", None, "duplicate key"),
    main("[limits]", "[limits", None, ""),
    main("owner = \"sales\"", "owner = \"sales\"\nbound_tokens = \"no\"", Some("\"no\""), "true or false"),
    main("redirect_uris = [\"http://127.0.0.1/callback\"]", "redirect_uris = \"x\"", Some("\"x\""), "a list of texts"),
    main("\"http://127.0.0.1/callback\"", "\"http://localhost/cb\"", Some("\"http://localhost/cb\""), "127.0.0.1"),
    main("\"http://127.0.0.1/callback\"", "1", Some("1]\nowner"), "must hold texts only"),
    hint(main("key = \"client.key\"", PEM, Some("\"\"\"-----"), "inline"), "put it into a file"),
    hint(
        main(
            "owner = \"sales\"",
            "owner = \"sales\"\nclient_secret = \"canary-inline-0123\"",
            Some("client_secret"),
            "is a shared secret",
        ),
        "take the line out",
    ),
    main("key = \"client.key\"", "key = \"gone.key\"", None, "gone.key"),
    main("ca = \"server-ca.pem\"", "ca = \"client.key\"", Some("\"client.key\"\ndead"), "holds no certificate"),
    main("issuer = \"@ISSUER@\"", "issuer = \"http://as.example\"", Some("\"http://as.example\""), "https"),
    main("issuer = \"@ISSUER@\"", "issuer = \"https://as.example?x=1\"", None, "query"),
    main("issuer = \"@ISSUER@\"", "issuer = \"https://u:p@as.example\"", None, "userinfo"),
    hint(
        main(ISSUER, "[[issuer]]\nenvironment = \"dev\"\nalias = \"corp\"", Some("\"dev\""), "this daemon is prod"),
        "never",
    ),
    hint(
        main(
            CLIENT,
            "[[client]]\nenvironment = \"dev\"\nalias = \"sales-crm\"",
            Some("\"dev\""),
            "this daemon is prod",
        ),
        "never",
    ),
    main(
        "issuer = \"corp\"\nclient_id",
        "issuer = \"other\"\nclient_id",
        Some("\"other\""),
        "names no valid [[issuer]]",
    ),
    main(SUBJECT, "subject = { san_uri = \"spiffe://acme.test/other\" }", None, "is not in the certificate"),
    main(SUBJECT, "subject = { san_uri = \"a\", dn = \"CN=b\" }", None, "exactly one subject value"),
    hint(main(SUBJECT, "", None, "needs `subject`"), "subject = {"),
    main(SOCKET, "path = \"agent.sock\"", Some("\"agent.sock\""), "must be absolute"),
    main(SOCKET, "path = \"@narrowgate\"", Some("\"@narrowgate\""), "abstract namespace"),
    main("mode = \"0600\"", "mode = \"0666\"", Some("\"0666\""), "\"0600\" or \"0660\""),
    hint(main("trust_bundle = \"agents-ca.pem\"", "", None, "`trust_bundle` is missing"), ""),
    main("trust_domain = \"acme.test\"", "trust_domain = \"ACME\"", Some("\"ACME\""), "trust domain"),
    main("address = \"127.0.0.1:0\"", "address = \"localhost:0\"", Some("\"localhost:0\""), "IP address"),
    main("agents = \"agents.toml\"", "agents = \"nobody.toml\"", None, "cannot be read"),
];

const DATA: &[Mistake] = &[
    agents("trust = 3\n\n# Trust", "trust = 5\n\n# Trust", Some("5\n\n# Trust"), "from 0 to 4"),
    agents("owner = \"finance\"", "owner = \"a team\"", Some("\"a team\""), "is not a name"),
    agents("spiffe_id = \"spiffe://acme.test/agent/ledger\"", "uid = 65534", Some("65534"), "stand-in"),
    agents("spiffe_id = \"spiffe://acme.test/agent/ledger\"", "", None, "exactly one of `uid` and `spiffe_id`"),
    hint(agents("agent/ledger\"", "agent/courier\"", None, "prove themselves the same way"), "its own uid"),
    agents("id = \"ledger\"", "id = \"courier\"", None, "is registered twice"),
    hint(
        agents("id = \"ledger\"", "id = \"ledger\"\ntrsut = 4", Some("trsut"), "unknown key `agent.trsut`"),
        "`trust`",
    ),
    apis(
        "issuer = \"corp\"\nowner = \"sales\"\ndata_class = \"confidential\"\n\n[[scope]]\nname = \"mail.read\"",
        "issuer = \"other\"\nowner = \"sales\"\ndata_class = \"confidential\"\n\n[[scope]]\nname = \"mail.read\"",
        None,
        "names no configured issuer",
    ),
    apis("name = \"mail.send\"", "name = \"mail send\"", Some("\"mail send\""), "scope-token"),
    apis("name = \"mail.send\"", "name = \"mail.read\"", None, "is declared twice"),
    apis("risk = 4", "", None, "needs `risk`"),
    apis("risk = 4", "risk = 5", Some("5"), "from 0 to 4"),
    apis("https://mail.example.test/api", "https://mail.example.test/api#x", None, "RFC 8707"),
    apis("https://mail.example.test/api", "https://crm.example.test/api", None, "is declared twice for this issuer"),
    apis("alias = \"mail\"", "alias = \"m@il\"", Some("\"m@il\""), "is not an alias"),
];

fn build(mistakes: &[&Mistake]) -> House {
    let mut plan = Plan::new();
    for mistake in mistakes {
        let text = match mistake.file {
            "narrowgate.toml" => &mut plan.config,
            "agents.toml" => &mut plan.agents,
            _ => &mut plan.apis,
        };
        assert!(text.contains(mistake.from), "no {:?} in {}", mistake.from, mistake.file);
        *text = text.replacen(mistake.from, mistake.to, 1);
    }
    plan.build()
}

/// The finding that this mistake must have given.
fn finding<'a>(house: &House, mistake: &Mistake, found: &'a [Value]) -> &'a Value {
    let says = |f: &&Value| f["message"].as_str().unwrap().contains(mistake.says);
    let finding = found.iter().find(says).unwrap_or_else(|| panic!("{:?} not in {found:?}", mistake.says));
    if let Some(piece) = mistake.at {
        let text = fs::read_to_string(house.path(mistake.file)).unwrap();
        let (line, column) = place(&text, piece);
        assert!(finding["file"].as_str().unwrap().ends_with(mistake.file), "{finding}");
        assert_eq!((&finding["line"], &finding["column"]), (&line.into(), &column.into()), "{finding}");
    }
    if let Some(hint) = mistake.hint {
        assert!(finding["hint"].as_str().unwrap_or_default().contains(hint), "{hint:?} not in {finding}");
    }
    finding
}

// rows: TIME-06 TIME-07 LEAK-02
#[tokio::test]
async fn every_kind_of_mistake_has_its_place_and_hint() {
    for mistake in MAIN.iter().chain(DATA) {
        let house = build(&[mistake]);
        let (exit, found) = findings(&house);
        assert_eq!(exit, 64, "{}\n{found:?}", mistake.to);
        finding(&house, mistake, &found);
        let text = check(&house, &[]).text;
        assert!(!text.contains("canary-inline"), "a mistake must not be shown with the secret in it");
    }
}

// rows: TIME-06
#[tokio::test]
async fn all_at_once() {
    let one = |says: &str| MAIN.iter().chain(DATA).find(|m| m.says.contains(says)).unwrap();
    let several = [
        one("unknown key `client.auht`"),
        one("must be between"),
        one("abstract namespace"),
        one("true or false"),
        one("unknown key `agent.trsut`"),
        one("needs `risk`"),
        one("is not an alias"),
    ];
    let house = build(&several);
    let (exit, found) = findings(&house);
    assert_eq!(exit, 64);
    for mistake in several {
        finding(&house, mistake, &found);
    }
    let checked = check(&house, &[]);
    assert_eq!(checked.exit, 64);
    for mistake in &found {
        let (file, line) = (mistake["file"].as_str().unwrap(), &mistake["line"]);
        assert!(checked.text.contains(&format!("{file}:{line}:{}: ", mistake["column"])), "{}", checked.text);
    }
    assert!(checked.text.contains("\n  hint: did you mean `auth`?"), "{}", checked.text);
    assert!(checked.text.contains(&format!("{} mistakes", found.len())), "{}", checked.text);
}

// rows: TIME-06
#[tokio::test]
async fn one_mistake_is_told_once() {
    // Neither the clients of a mistaken issuer, nor its APIs, nor the lack of valid ones are mistakes of their own.
    let issuer = main("issuer = \"@ISSUER@\"", "issuer = \"http://as.example\"", None, "must be an https URL");
    let client = main("client_id = \"narrowgate-sales\"\n", "", None, "`client_id` is missing in [client]");
    for mistake in [issuer, client] {
        let house = build(&[&mistake]);
        let (exit, found) = findings(&house);
        assert_eq!((exit, found.len()), (64, 1), "{found:?}");
        finding(&house, &mistake, &found);
    }
    // What names no issuer at all is one.
    let house = Plan::new().config("alias = \"corp\"", "alias = \"corq\"").build();
    let (_, found) = findings(&house);
    assert!(found.iter().any(|f| f["message"].as_str().unwrap().contains("names no valid [[issuer]]: \"corp\"")));
}

// rows: TIME-06
#[tokio::test]
async fn an_issuer_is_configured_once() {
    let issuer = "alias = \"again\"\nissuer = \"@ISSUER@\"\nca = \"server-ca.pem\"\n\n[[client]]";
    let house = Plan::new().config("[[client]]", &format!("[[issuer]]\n{issuer}")).build();
    let (exit, found) = findings(&house);
    assert_eq!((exit, found.len()), (64, 1), "{found:?}");
    assert_eq!(found[0]["message"], "`issuer.issuer` is configured twice");
    let text = fs::read_to_string(house.path("narrowgate.toml")).unwrap();
    let url = format!("\"{}\"", house.server.issuer());
    let at = text.rfind(&url).unwrap();
    assert_eq!(found[0]["line"], text[..at].matches('\n').count() + 1);

    let other = issuer.replace("@ISSUER@", "https://other.example").replace("again", "corp");
    let house = Plan::new().config("[[client]]", &format!("[[issuer]]\n{other}")).build();
    let (exit, found) = findings(&house);
    assert_eq!((exit, found.len()), (64, 1), "{found:?}");
    assert_eq!(found[0]["message"], "`issuer.alias` `corp` is used twice");
}

// rows: TIME-06
#[tokio::test]
async fn keys_that_others_may_read_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    for name in ["client.key", "daemon.key"] {
        let house = Plan::new().build();
        fs::set_permissions(house.path(name), fs::Permissions::from_mode(0o644)).unwrap();
        let (exit, found) = findings(&house);
        assert_eq!(exit, 64);
        let message = found[0]["message"].as_str().unwrap();
        assert!(message.contains("has mode 0644; run chmod 0600 on it"), "{message}");
    }
}

// rows: TIME-06
#[tokio::test]
async fn the_exit_code_says_whose_mistake_it_is() {
    let house = Plan::new().build();
    let (exit, found) = findings(&house);
    assert_eq!((exit, found.len()), (0, 0));
    let checked = check(&house, &[]);
    assert!(checked.exit == 0 && checked.text.contains(": valid\n"), "{}", checked.text);
    // Policies are looked at once the configuration stands.
    write(&house.path("policies/extra.cedar"), "permit");
    assert_eq!(findings(&house).0, 65);
    let config = fs::read_to_string(house.path("narrowgate.toml")).unwrap();
    write(&house.path("narrowgate.toml"), &config.replace("[audit]", "[audits]"));
    assert_eq!(findings(&house).0, 64);
    // The daemon refuses what `check` refuses, in the same words, and binds nothing.
    let serve = house.command("serve").output().unwrap();
    assert_eq!(serve.status.code(), Some(64));
    assert!(String::from_utf8(serve.stderr).unwrap().contains("did you mean `audit`?"));
    assert!(!house.path("run/agent.sock").exists() && !house.path("audit").exists());
    fs::remove_file(house.path("narrowgate.toml")).unwrap();
    let (exit, found) = findings(&house);
    assert_eq!((exit, found.len()), (64, 1));
    assert!(found[0]["hint"].as_str().unwrap().contains("check the path"), "{found:?}");
}
