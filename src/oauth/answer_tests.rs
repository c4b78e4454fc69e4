use super::*;

fn reason(body: &str) -> Option<Reason> {
    fuzz_answer(200, body.as_bytes())
}

// rows: TOK-04 TOK-06 TOK-12 TOK-14 SCOP-04
#[test]
fn only_well_formed_answers_count() {
    let good = r#""access_token":"at","token_type":"bEaReR","expires_in":60"#;
    assert_eq!(reason(&format!("{{{good}}}")), None);
    assert_eq!(reason(&format!("{{{good},\"x_secret\":{{\"a\":[1]}}}}")), None);
    let malformed = [
        format!("{{{good}}}{{}}"),
        format!("{{{good}}} x"),
        format!("\u{feff}{{{good}}}"),
        format!("[{{{good}}}]"),
        format!("{{{good},\"scope\":\"a\",\"scope\":\"b\"}}"),
        format!("{{{good},\"x\":{{\"a\":1,\"a\":1}}}}"),
        format!("{{{good},\"scope\":\"\"}}"),
        format!("{{{good},\"scope\":\"a  b\"}}"),
        format!("{{{good},\"scope\":null}}"),
        format!("{{{good},\"error\":\"x\"}}"),
        format!("{{{good},\"refresh_token\":\"\"}}"),
        r#"{"token_type":"Bearer"}"#.to_owned(),
        String::new(),
    ];
    for body in malformed {
        assert_eq!(reason(&body), Some(Reason::AsResponseMalformed), "{body}");
    }
    for value in ["-1", "0", "1e309", "\"3600\"", "9223372036854775808", "1.5", "null", "true", "[]"] {
        let body = format!(r#"{{"access_token":"at","token_type":"Bearer","expires_in":{value}}}"#);
        assert_eq!(reason(&body), Some(Reason::AsResponseMalformed), "{value}");
    }
    for token in ["a b", "a\\r\\nb", "a\\u0000", "", "\u{e9}", &"x".repeat(33 * 1024)] {
        let body = format!(r#"{{"access_token":"{token}","token_type":"Bearer"}}"#);
        assert_eq!(reason(&body), Some(Reason::AsResponseMalformed));
    }
}

// rows: TOK-05
#[test]
fn token_types_other_than_bearer_are_refused() {
    for kind in [r#""mac""#, r#""N_A""#, r#""DPoP""#] {
        let body = format!(r#"{{"access_token":"at","token_type":{kind}}}"#);
        assert_eq!(reason(&body), Some(Reason::TokenTypeUnsupported), "{kind}");
    }
    assert_eq!(reason(r#"{"access_token":"at"}"#), Some(Reason::TokenTypeUnsupported));
}

// rows: SCOP-05
#[test]
fn more_scope_than_allowed_is_an_upgrade() {
    for scope in ["a c", "c", "A"] {
        let body = format!(r#"{{"access_token":"at","token_type":"Bearer","scope":"{scope}"}}"#);
        assert_eq!(reason(&body), Some(Reason::ScopeUpgraded), "{scope}");
    }
    assert_eq!(reason(r#"{"access_token":"at","token_type":"Bearer","scope":"b"}"#), None);
}

// rows: INTR-01 TOK-11
#[test]
fn a_token_in_a_refused_answer_is_left_over_to_be_revoked() {
    let leftover = |status, kind: &str, body: &str| {
        let answer = Answer {
            status: http::StatusCode::from_u16(status).unwrap(),
            headers: [(http::header::CONTENT_TYPE, kind.parse().unwrap())].into_iter().collect(),
            body: Zeroizing::new(body.as_bytes().to_vec()),
        };
        let allowed = ScopeSet::parse("a").unwrap();
        let accept = Accept::default();
        let expected = Expected {
            allowed: &allowed,
            assumed_lifetime: Duration::from_secs(60),
            accept: &accept,
            not_applicable: false,
        };
        let Bad { fault, leftover } = *judge(&answer, &expected).err().unwrap();
        (fault.reason, leftover.access.map(|t| t.to_string()), leftover.refresh.map(|t| t.to_string()))
    };
    let (at, rt) = (Some("at".to_owned()), Some("rt".to_owned()));
    let both = r#"{"access_token":"at","refresh_token":"rt","token_type":"Bearer"}"#;
    for status in [201, 400, 429, 500, 503] {
        let expected = (Reason::AsResponseMalformed, at.clone(), rt.clone());
        assert_eq!(leftover(status, "application/json", both), expected, "{status}");
    }
    assert_eq!(leftover(200, "text/html", both), (Reason::AsResponseMalformed, at.clone(), rt.clone()));
    assert_eq!(leftover(307, "application/json", both), (Reason::AsRedirectRefused, at, rt));
    let odd = r#"{"access_token":"1|a b","token_type":"Bearer"}"#;
    let expected = (Reason::AsResponseMalformed, Some("1|a b".to_owned()), None);
    assert_eq!(leftover(200, "application/json", odd), expected);
    assert_eq!(leftover(503, "application/json", "{}"), (Reason::AsUnavailable, None, None));
}

// rows: INTR-01
#[test]
fn a_token_that_came_whole_is_found_in_a_fragment() {
    let of = |body: &str| Leftover::of_fragment(body.as_bytes());
    let cut = r#"{"access_token":"at","refresh_token":"r"#;
    assert_eq!(of(cut).access.map(|t| t.to_string()), Some("at".to_owned()));
    assert!(of(cut).refresh.is_none() && of(r#"{"access_token":"a"#).access.is_none() && of("").access.is_none());
    assert!(of("\u{feff}{\"access_token\":\"at\"}").access.is_some());
}

// rows: TOK-09 TOK-11
#[test]
fn error_answers_map_to_closed_reasons() {
    let of = |status, body: &str| fuzz_answer(status, body.as_bytes());
    assert_eq!(of(400, r#"{"error":"invalid_grant","error_description":"\u001b[2J"}"#), Some(Reason::GrantRejected));
    assert_eq!(of(401, r#"{"error":"invalid_client"}"#), Some(Reason::AsClientAuthFailed));
    assert_eq!(of(400, r#"{"error":"invalid_scope"}"#), Some(Reason::ScopeRejected));
    assert_eq!(of(400, r#"{"error":"odd"}"#), Some(Reason::AsRejected));
    assert_eq!(of(400, r#"{"access_token":"at","error":"invalid_grant"}"#), Some(Reason::AsResponseMalformed));
    assert_eq!(of(403, ""), Some(Reason::AsRejected));
    assert_eq!(of(503, ""), Some(Reason::AsUnavailable));
    assert_eq!(of(307, ""), Some(Reason::AsRedirectRefused));
    assert_eq!(of(201, r#"{"access_token":"at","token_type":"Bearer"}"#), Some(Reason::AsResponseMalformed));
}
