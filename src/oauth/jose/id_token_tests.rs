//! Tests of the claims.
use super::{
    super::{Algorithms, jws::verify, testing::*},
    *,
};
use serde_json::json;

const NOW: i64 = 1_800_000_000;

/// One login: what was asked for.
struct Login {
    nonce: Nonce,
    token: AccessToken,
    skew: Duration,
    max_age: Option<Duration>,
    acr_values: Vec<String>,
    trusted: Vec<String>,
    groups: Vec<String>,
}

impl Login {
    fn new() -> Self {
        Self {
            nonce: Nonce::new("n-1".to_owned()),
            token: AccessToken::new("at-1".to_owned()),
            skew: crate::config::IdTokens::default().clock_skew,
            max_age: None,
            acr_values: Vec::new(),
            trusted: Vec::new(),
            groups: Vec::new(),
        }
    }

    fn judge(&self, signer: &Signer, payload: &str) -> Result<Subject, IdTokenFault> {
        let token = signer.sign_raw(&json!({"alg": signer.algorithm.name(), "kid": "k"}).to_string(), payload);
        let keys = key_set(&[signer.jwk("k")]);
        let verified = verify(&token, &keys, &algorithms(&[signer.algorithm]), Kind::IdToken)?;
        validate(&verified, &self.expect("https://as.example", "us"), Wall(NOW * 1000))
    }

    fn expect<'a>(&'a self, issuer: &'a str, client_id: &'a str) -> Expect<'a> {
        Expect {
            issuer,
            client_id,
            nonce: Some(&self.nonce),
            origin: None,
            skew: self.skew,
            access_token: &self.token,
            max_age: self.max_age,
            acr_values: &self.acr_values,
            trusted_audiences: &self.trusted,
            groups: &self.groups,
        }
    }

    /// The answer to good claims with these changes; null removes.
    fn with(&self, more: Value) -> Result<Subject, IdTokenFault> {
        self.judge(&Signer::new(Algorithm::Es256), &with(good(), more).to_string())
    }

    fn fault(&self, more: Value) -> Option<IdTokenFault> {
        self.with(more).err()
    }
}

fn good() -> Value {
    json!({"iss": "https://as.example", "sub": "u", "aud": "us", "nonce": "n-1", "iat": NOW, "exp": NOW + 300})
}

fn fault(more: Value) -> Option<IdTokenFault> {
    Login::new().fault(more)
}

fn invalid(rule: &'static str) -> Option<IdTokenFault> {
    Some(IdTokenFault::Invalid(rule))
}

/// The claim, with a value as raw JSON.
fn raw(name: &str, value: &str) -> Option<IdTokenFault> {
    let rest = with(good(), json!({ name: null })).to_string();
    let payload = rest.replacen('{', &format!(r#"{{"{name}":{value},"#), 1);
    Login::new().judge(&Signer::new(Algorithm::Es256), &payload).err()
}

// rows: IDT-01 IDT-06 IDT-08
#[test]
fn the_example_of_oidc_core_a3_is_good() {
    let n = "w7Zdfmece8iaB0kiTY8pCtiBtzbptJmP28nSWwtdjRu0f2GFpajvWE4VhfJAjEsOcwYzay7XGN0b-X84BfC8hmCTOj2b2eHT7NsZegFPKRUQz\
        J9wW8ipn_aDJWMGDuB1XyqT1E7DYqjUCEOD1b4FLpy_xPn6oV_TYOfQ9fZdbE5HGxJUzekuGcOKqOQ8M7wfYHhHHLxGpQVgL0apWuP2gDDOdTtpuld4\
        D2LK1MZK99s9gaSjRHE8JDb1Z4IGhEcEyzkxswVdPndUWzfvWBBWXWxtSUvQGBRkuy1BHOa4sP6FKjWEeeF7gm7UMs2Nm2QUgNZw6xvEDGaLk4KASdIx\
        RQ";
    let token = "eyJraWQiOiIxZTlnZGs3IiwiYWxnIjoiUlMyNTYifQ.ewogImlzcyI6ICJodHRwOi8vc2VydmVyLmV4YW1wbGUuY29tIiwKICJzdWIiOi\
        AiMjQ4Mjg5NzYxMDAxIiwKICJhdWQiOiAiczZCaGRSa3F0MyIsCiAibm9uY2UiOiAibi0wUzZfV3pBMk1qIiwKICJleHAiOiAxMzExMjgxOTcwLAog\
        ImlhdCI6IDEzMTEyODA5NzAsCiAiYXRfaGFzaCI6ICI3N1FtVVB0alBmeld0RjJBbnBLOVJRIgp9.F9gRev0Dt2tKcrBkHy72cmRqnLdzw9FLCCSeb\
        V7mWs7o_sv2O5s6zMky2kmhHTVx9HmdvNnx9GaZ8XMYRFeYk8L5NZ7aYlA5W56nsG1iWOou_-gji0ibWIuuf4Owaho3YSoi7EvsTuLFz6tq-dLyz0dK\
        ABMDsiCmJ5wqkPUDTE3QTXjzbUmOzUDli-gCh5QPuZAq0cNW3pf_2n4zpvTYtbmj12cVcxGIMZby7TMWESRjQ9_o3jvhVNcCGcE0KAQXejhA1ocJhNE\
        vQNqMFGlBb6_0RxxKjDZ-Oa329eGDidOvvp0h5hoES4a8IuGKS7NOcpp-aFwp0qVMDLI-Xnm-Pg";
    let keys = key_set(&[json!({"kty": "RSA", "kid": "1e9gdk7", "n": n, "e": "AQAB"})]);
    let rs256 = algorithms(&[Algorithm::Rs256]);
    let judge = |nonce: &str, access: &str| {
        let (nonce, access) = (Nonce::new(nonce.to_owned()), AccessToken::new(access.to_owned()));
        let login = Login { nonce, token: access, ..Login::new() };
        let verified = verify(token, &keys, &rs256, Kind::IdToken).ok().unwrap();
        let expect = login.expect("http://server.example.com", "s6BhdRkqt3");
        validate(&verified, &expect, Wall(1_311_281_000_000)).map(|subject| subject.sub)
    };
    let access = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
    assert_eq!(judge("n-0S6_WzA2Mj", access), Ok("248289761001".to_owned()));
    assert_eq!(judge("n-0S6_WzA2Mk", access), Err(IdTokenFault::Nonce));
    assert_eq!(judge("n-0S6_WzA2Mj", "swapped"), Err(IdTokenFault::AtHash));
    assert_eq!(verify(token, &keys, &Algorithms::default(), Kind::IdToken).err(), Some(Rejected::Algorithm));
}

// rows: JOSE-10 IDT-01 IDT-02
#[test]
fn issuer_and_audience_are_ours() {
    assert_eq!(fault(json!({})), None);
    for iss in
        ["null", "1", r#"["https://as.example"]"#, r#""https://as.example/""#, r#""https://AS.example""#, r#""""#, "{}"]
    {
        assert_eq!(raw("iss", iss), invalid("iss"), "{iss}");
    }
    for aud in [
        "null",
        "1",
        "[]",
        "{}",
        r#""""#,
        r#""evil""#,
        r#""us ""#,
        r#"["evil"]"#,
        r#"["us","evil"]"#,
        r#"["evil","us"]"#,
        r#"["us",1]"#,
        r#"["us",null]"#,
        r#"[["us"]]"#,
        r#""us evil""#,
    ] {
        assert_eq!(raw("aud", aud), invalid("aud"), "{aud}");
    }
    assert_eq!(raw("aud", &json!(vec!["us"; ENTRIES_MAX + 1]).to_string()), invalid("aud"));
    for name in ["iss", "aud", "exp", "sub", "iat"] {
        assert_eq!(fault(json!({ name: null })), invalid(name), "{name} is missing");
    }
    assert_eq!(fault(json!({"aud": ["us"]})), None);
    assert_eq!(fault(json!({"aud": ["us"], "azp": "us"})), None);
    assert_eq!(fault(json!({"azp": "us"})), None);
    for azp in [json!("other"), json!(""), json!(1), json!(["us"]), json!("US")] {
        assert_eq!(fault(json!({"azp": azp})), invalid("azp"), "{azp}");
    }
    assert_eq!(raw("azp", "null"), invalid("azp"));
    assert_eq!(fault(json!({"aud": ["us", "us"]})), invalid("azp"));

    let login = Login { trusted: vec!["api".to_owned()], ..Login::new() };
    assert_eq!(login.fault(json!({"aud": ["us", "api"]})), invalid("azp"));
    assert_eq!(login.fault(json!({"aud": ["api", "us"], "azp": "us"})), None);
    assert_eq!(login.fault(json!({"aud": ["api", "us"], "azp": "api"})), invalid("azp"));
    assert_eq!(login.fault(json!({"aud": "api"})), invalid("aud"));
    assert_eq!(login.fault(json!({"aud": ["api"], "azp": "us"})), invalid("aud"));
    assert_eq!(login.fault(json!({"aud": ["us", "api", "evil"], "azp": "us"})), invalid("aud"));
}

// rows: JOSE-10 IDT-11
#[test]
fn sub_is_a_short_plain_string() {
    for sub in
        ["null", "1", r#""""#, r#"["u"]"#, "{}", "true", "\"\u{e9}\"", r#""a\u0000""#, r#""a\n""#, r#""a\u007f""#]
    {
        assert_eq!(raw("sub", sub), invalid("sub"), "{sub}");
    }
    assert_eq!(fault(json!({"sub": "x".repeat(255)})), None);
    assert_eq!(fault(json!({"sub": "x".repeat(256)})), invalid("sub"));
}

// rows: IDT-05
#[test]
fn times_are_near_now() {
    let rows = [
        ("exp", -9, true),
        ("exp", -10, false),
        ("exp", -60, false),
        ("iat", 0, true),
        ("iat", 10, true),
        ("iat", 11, false),
        ("iat", 61, false),
        ("iat", -610, true),
        ("iat", -611, false),
        ("iat", -3600, false),
        ("nbf", 10, true),
        ("nbf", 11, false),
        ("nbf", 61, false),
        ("nbf", 100_000_000, false),
        ("iat", 100_000_000, false),
        ("nbf", -3600, true),
    ];
    for (name, offset, accepted) in rows {
        // The rest is such that only this claim can be wrong.
        let claims = with(json!({"iat": NOW - 100, "exp": NOW + 300_000_000}), json!({ name: NOW + offset }));
        assert_eq!(fault(claims), if accepted { None } else { invalid(name) }, "{name} {offset}");
    }
    let exact = Login { skew: Duration::ZERO, ..Login::new() };
    assert_eq!(exact.fault(json!({"iat": NOW - 5, "exp": NOW})), invalid("exp"));
    assert_eq!(exact.fault(json!({"iat": NOW - 5, "exp": NOW + 1})), None);
    assert_eq!(exact.fault(json!({"iat": NOW + 1})), invalid("iat"));
    let wide = Login { skew: Duration::MAX, ..Login::new() };
    assert_eq!(wide.fault(json!({"iat": NOW + 60})), None);
    assert_eq!(wide.fault(json!({"iat": NOW + 61})), invalid("iat"), "sixty seconds are the most");
    assert_eq!(wide.fault(json!({"iat": NOW - 100, "exp": NOW - 60})), invalid("exp"));
    assert_eq!(fault(json!({"iat": NOW, "exp": NOW})), invalid("iat"), "ends before it begins");
}

// rows: JOSE-10 IDT-05
#[test]
fn times_are_bounded_integers() {
    for name in ["exp", "iat", "nbf", "auth_time"] {
        let text = format!("\"{NOW}\"");
        let fraction = format!("{NOW}.0");
        for value in [
            text.as_str(),
            &fraction,
            "-1",
            "1e300",
            "1.8e9",
            "253402300800",
            "18446744073709551615",
            "18446744073709551616",
            "9223372036854775808",
            "null",
            "true",
            "[]",
            "{}",
        ] {
            assert_eq!(raw(name, value), invalid(name), "{name} {value}");
        }
    }
    assert_eq!(raw("exp", "253402300799"), None);
    let twice = good().to_string().replacen('{', r#"{"exp":1,"#, 1);
    assert_eq!(Login::new().judge(&Signer::new(Algorithm::Es256), &twice).err(), invalid("claims"));
}

// rows: IDT-06
#[test]
fn nonce_is_the_transactions() {
    for nonce in [json!(null), json!(""), json!("n-2"), json!("n-1 "), json!("N-1"), json!(1), json!(["n-1"])] {
        assert_eq!(fault(json!({"nonce": nonce})), Some(IdTokenFault::Nonce), "{nonce}");
    }
    assert_eq!(raw("nonce", "null"), Some(IdTokenFault::Nonce));
    let later = Login { nonce: Nonce::new("n-2".to_owned()), ..Login::new() };
    assert_eq!(later.fault(json!({})), Some(IdTokenFault::Nonce), "a token of an earlier transaction");
}

// rows: IDT-08
#[test]
fn at_hash_is_the_left_half_of_the_algorithms_hash() {
    let hashes = [
        (Algorithm::Rs256, &digest::SHA256, 16),
        (Algorithm::Ps256, &digest::SHA256, 16),
        (Algorithm::Es256, &digest::SHA256, 16),
        (Algorithm::Es384, &digest::SHA384, 24),
        (Algorithm::EdDsa, &digest::SHA512, 32),
    ];
    for (algorithm, hash, half) in hashes {
        let signer = Signer::new(algorithm);
        let full = digest::digest(hash, b"at-1");
        let judge =
            |at_hash: Value| Login::new().judge(&signer, &with(good(), json!({"at_hash": at_hash})).to_string()).err();
        assert_eq!(judge(json!(b64(&full.as_ref()[..half]))), None, "{algorithm:?}");
        assert_eq!(judge(json!(null)), None, "absent");
        let wrong = [
            b64(full.as_ref()),
            b64(&full.as_ref()[half..]),
            b64(&full.as_ref()[..half - 1]),
            b64(&digest::digest(hash, b"at-2").as_ref()[..half]),
            format!("{}=", b64(&full.as_ref()[..half])),
            b64(&digest::digest(&digest::SHA512_256, b"at-1").as_ref()[..half]),
            String::new(),
        ];
        for at_hash in wrong {
            assert_eq!(judge(json!(at_hash)), Some(IdTokenFault::AtHash), "{algorithm:?} {at_hash}");
        }
        assert_eq!(judge(json!(1)), Some(IdTokenFault::AtHash));
    }
    assert_eq!(raw("at_hash", "null"), Some(IdTokenFault::AtHash));
}

// rows: IDT-07
#[test]
fn a_login_is_as_fresh_and_strong_as_asked() {
    let aged = Login { max_age: Some(Duration::from_secs(60)), ..Login::new() };
    assert_eq!(aged.fault(json!({})), Some(IdTokenFault::StepUp), "no auth_time");
    assert_eq!(aged.fault(json!({"auth_time": NOW - 70})), None);
    assert_eq!(aged.fault(json!({"auth_time": NOW - 71})), Some(IdTokenFault::StepUp));
    assert_eq!(aged.fault(json!({"auth_time": NOW + 11})), invalid("auth_time"));
    assert_eq!(aged.with(json!({"auth_time": NOW + 10})).ok().and_then(|s| s.auth_time), Some(Wall((NOW + 10) * 1000)));
    assert_eq!(
        aged.fault(json!({"auth_time": NOW - 71, "nonce": "x"})),
        Some(IdTokenFault::Nonce),
        "not ours comes first"
    );
    let forever = Login { max_age: Some(Duration::MAX), ..Login::new() };
    assert_eq!(forever.fault(json!({"auth_time": 0})), None);
    assert_eq!(fault(json!({"auth_time": NOW - 1_000_000})), None);

    let strong = Login { acr_values: vec!["gold".to_owned(), "silver".to_owned()], ..Login::new() };
    for acr in [json!("gold"), json!("silver")] {
        assert_eq!(strong.fault(json!({"acr": acr})), None, "{acr}");
    }
    for acr in [json!(null), json!("bronze"), json!(""), json!("GOLD"), json!("gold silver"), json!(["gold"]), json!(1)]
    {
        assert_eq!(strong.fault(json!({"acr": acr})), Some(IdTokenFault::StepUp), "{acr}");
    }
}

// rows: IDT-11
#[test]
fn only_declared_claims_enter() {
    let declared = Login { groups: vec!["a".to_owned(), "b".to_owned()], ..Login::new() };
    let held = |groups: Value| declared.with(json!({ "groups": groups })).map(|subject| subject.groups);
    let names = |names: &[&str]| Ok(names.iter().map(ToString::to_string).collect::<Vec<_>>());
    let mut many: Vec<String> = (0..2000).map(|i| format!("g{i}")).collect();
    many.push("b".to_owned());
    assert_eq!(held(json!(many)), names(&["b"]), "the last of many counts as the first");
    assert_eq!(held(json!(["b", "a", "b", "A", " a", "", "x\n", "x".repeat(1000)])), names(&["b", "a"]));
    assert_eq!(declared.with(json!({})).map(|subject| subject.groups), names(&[]));
    for odd in [json!("a"), json!({"a": true}), json!(1), json!(["a", 1]), json!(["a", null]), json!([["a"]])] {
        assert_eq!(held(odd.clone()), Err(IdTokenFault::Invalid("groups")), "{odd}");
        assert_eq!(Login::new().with(json!({ "groups": odd })).map(|subject| subject.groups), names(&[]), "{odd}");
    }
    let ten_thousand: Vec<String> = (0..10_000).map(|i| format!("group-{i}")).collect();
    assert_eq!(fault(json!({ "groups": ten_thousand })), invalid("size"), "ten thousand do not fit a token");

    let extra = json!({"principal": "Agent::\"root\"", "action": {"a": [1]}, "roles": ["admin"], "acr": {"x": 1},
        "amr": "mfa", "groups": {"x": "y"}, "email": "a@b", "sub_jwk": {}});
    let subject = Login::new().with(extra).ok().unwrap();
    let bare = Subject {
        issuer: "https://as.example".to_owned(),
        sub: "u".to_owned(),
        acr: None,
        auth_time: None,
        mfa: false,
        groups: Vec::new(),
    };
    assert!(subject == bare);
    assert!(
        Subject { issuer: "https://other.example".to_owned(), ..bare } != subject,
        "the same sub is another user there"
    );
    assert_eq!(Login::new().with(json!({"acr": "x".repeat(129)})).ok().and_then(|s| s.acr), None);
    assert_eq!(Login::new().with(json!({"acr": "gold"})).ok().and_then(|s| s.acr).as_deref(), Some("gold"));
}

// rows: IDT-11
#[test]
fn mfa_needs_two_factors() {
    for amr in [
        json!(["mfa"]),
        json!(["pwd", "mfa"]),
        json!(["pwd", "otp"]),
        json!(["pin", "hwk"]),
        json!(["face", "sc"]),
        json!(["user", "pwd", "fpt"]),
    ] {
        assert!(is_multi_factor(Some(&amr)), "{amr}");
    }
    for amr in [
        json!(null),
        json!([]),
        json!("mfa"),
        json!(["pwd"]),
        json!(["otp", "sms"]),
        json!(["pwd", "pin", "kba"]),
        json!(["hwk", "user"]),
        json!(["pwd", "rba", "geo", "wia", "mca"]),
        json!(["MFA"]),
        json!(["mfa", 1]),
        json!({"mfa": true}),
        json!(vec!["mfa"; ENTRIES_MAX + 1]),
        json!([["mfa"]]),
    ] {
        assert!(!is_multi_factor(Some(&amr)), "{amr}");
    }
    assert!(!is_multi_factor(None));
    assert!(Login::new().with(json!({"amr": ["pwd", "otp"]})).is_ok_and(|subject| subject.mfa));
}

// rows: JOSE-09 IDT-10 IDT-03
#[test]
fn another_kind_of_token_is_no_id_token() {
    let signer = Signer::new(Algorithm::Es256);
    let (keys, login) = (key_set(&[signer.jwk("k")]), Login::new());
    for kind in Kind::ALL {
        let token = signer.sign("k", json!({"typ": kind.typ()}), &good());
        let verified = verify(&token, &keys, &Algorithms::default(), kind).ok().unwrap();
        let answer = validate(&verified, &login.expect("https://as.example", "us"), Wall(NOW * 1000)).err();
        assert_eq!(answer, if kind == Kind::IdToken { None } else { invalid("kind") }, "{kind:?}");
    }
    let unsigned = format!("{}.{}.", b64(r#"{"alg":"none"}"#), b64(good().to_string()));
    let answer = verify(&unsigned, &keys, &Algorithms::default(), Kind::IdToken).err().map(IdTokenFault::from);
    assert_eq!(answer, invalid("form"));
}
