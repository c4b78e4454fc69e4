//! Tests of the signatures: known answers, then attacks.

use super::{super::testing::*, *};
use aws_lc_rs::hmac;
use serde_json::json;

const RFC_7515_N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-y\
    RT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R\
    2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRW\
    yuXpoQ";
const RFC_7515_CLAIMS: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const RFC_7515_RS256: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujG\
    bds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_\
    dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlU\
    PQGe77Rw";
const RFC_7515_ES256: &str = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

fn answer(token: &str, keys: &KeySet, allowed: &[Algorithm]) -> Option<Rejected> {
    verify(token, keys, &algorithms(allowed), Kind::IdToken).err()
}

fn claims() -> Value {
    json!({"iss": "https://as.example", "sub": "u"})
}

// rows: JOSE-01
#[test]
fn rfc_7515_and_8037_examples_verify() {
    let rs256 = format!("eyJhbGciOiJSUzI1NiJ9.{RFC_7515_CLAIMS}.{RFC_7515_RS256}");
    let keys = key_set(&[json!({"kty": "RSA", "n": RFC_7515_N, "e": "AQAB"})]);
    let good = verify(&rs256, &keys, &algorithms(&[Algorithm::Rs256]), Kind::IdToken).ok().unwrap();
    assert_eq!(good.claim("iss"), Some(&json!("joe")));
    assert_eq!((good.algorithm(), good.kind()), (Algorithm::Rs256, Kind::IdToken));
    assert_eq!(verify(&rs256, &keys, &Algorithms::default(), Kind::IdToken).err(), Some(Rejected::Algorithm));

    let es256 = format!("eyJhbGciOiJFUzI1NiJ9.{RFC_7515_CLAIMS}.{RFC_7515_ES256}");
    let keys = key_set(&[json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})]);
    assert_eq!(answer(&es256, &keys, &[Algorithm::Es256]), None);
    assert_eq!(answer(&es256.replace("1Q", "1A"), &keys, &[Algorithm::Es256]), Some(Rejected::Signature));

    // RFC 8037 A.4 signs a text, so its signature is good and its claims are none.
    let keys = key_set(&[json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})]);
    let eddsa = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
        hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(answer(eddsa, &keys, &[Algorithm::EdDsa]), Some(Rejected::Claims));
    assert_eq!(answer(&eddsa.replace(".RX", ".RY"), &keys, &[Algorithm::EdDsa]), Some(Rejected::Signature));
}

// rows: JOSE-01 IDT-03
#[test]
fn every_algorithm_verifies_its_own_signatures_only() {
    for algorithm in Algorithm::ALL {
        let (signer, keys) = (Signer::new(algorithm), key_set(&[Signer::new(algorithm).jwk("other")]));
        let ours = key_set(&[signer.jwk("k")]);
        let token = signer.sign("k", json!({}), &claims());
        assert_eq!(answer(&token, &ours, &Algorithm::ALL), None, "{algorithm:?}");
        assert_eq!(answer(&token, &keys, &Algorithm::ALL), Some(Rejected::UnknownKey), "{algorithm:?}");
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        bytes[7] ^= 1;
        for bad in [bytes.clone(), bytes[1..].to_vec(), [&bytes[..], &[0]].concat(), vec![0], vec![0; bytes.len()]] {
            let forged = format!("{signed}.{}", b64(bad));
            assert_eq!(answer(&forged, &ours, &Algorithm::ALL), Some(Rejected::Signature), "{algorithm:?}");
        }
        let swapped = signer.sign_raw(&json!({"alg": algorithm.name(), "kid": "k"}).to_string(), r#"{"sub":"admin"}"#);
        let mixed = format!("{}.{signature}", swapped.rsplit_once('.').unwrap().0);
        assert_eq!(answer(&mixed, &ours, &Algorithm::ALL), Some(Rejected::Signature), "{algorithm:?}");
    }
}

// rows: JOSE-01 IDT-04
#[test]
fn algorithms_cannot_be_confused() {
    let rsa = Signer::new(Algorithm::Rs256);
    let ours = key_set(&[rsa.jwk("k"), Signer::new(Algorithm::Es256).jwk("e")]);
    for alg in ["none", "nOnE", "NONE", "", "HS256", "HS512", "RS512", "rs256", "RS256 ", "ES256K", "ES512"] {
        let signed = format!("{}.{}", b64(json!({"alg": alg, "kid": "k"}).to_string()), b64(claims().to_string()));
        let secret = URL_SAFE_NO_PAD.decode(rsa.bare_jwk("k")["n"].as_str().unwrap()).unwrap();
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed.as_bytes());
        for signature in [b64(mac.as_ref()), b64(rsa.signature(signed.as_bytes())), b64([0])] {
            assert_eq!(answer(&format!("{signed}.{signature}"), &ours, &Algorithm::ALL), Some(Rejected::Algorithm));
        }
        assert_eq!(answer(&format!("{signed}."), &ours, &Algorithm::ALL), Some(Rejected::Form));
    }
    for alg in [json!(null), json!(1), json!(["RS256"]), json!({})] {
        let header = format!(r#"{{"alg":{alg},"kid":"k"}}"#);
        let token = rsa.sign_raw(&header, &claims().to_string());
        assert_eq!(answer(&token, &ours, &Algorithm::ALL), Some(Rejected::Algorithm), "{header}");
    }
    assert_eq!(answer(&rsa.sign_raw("{}", "{}"), &ours, &Algorithm::ALL), Some(Rejected::Algorithm));

    // A key for PS256 verifies no RS256, though its numbers could; a key that does not say, whatever of its type is
    // configured, and nothing else.
    let (token, ps) = (rsa.sign("k", json!({}), &claims()), Signer::new(Algorithm::Ps256));
    assert_eq!(answer(&token, &key_set(&[ps.jwk("k")]), &Algorithm::ALL), Some(Rejected::WrongKey));
    assert_eq!(answer(&token, &key_set(&[ps.jwk("k")]), &[Algorithm::Ps256]), Some(Rejected::Algorithm));
    let bare = key_set(&[rsa.bare_jwk("k")]);
    assert_eq!(answer(&token, &bare, &[Algorithm::Rs256]), None);
    for both in [[Algorithm::Rs256, Algorithm::Ps256], [Algorithm::Ps256, Algorithm::Rs256]] {
        assert_eq!(answer(&token, &bare, &both), None);
        let by_pss = ps.sign("k", json!({}), &claims());
        assert_eq!(answer(&by_pss, &key_set(&[ps.bare_jwk("k")]), &both), None);
        // One signature under the other's name is neither's.
        let renamed = rsa.sign("k", json!({"alg": "PS256"}), &claims());
        assert_eq!(answer(&renamed, &bare, &both), Some(Rejected::Signature));
    }
    let elliptic = [Algorithm::Es256, Algorithm::Rs256];
    assert_eq!(answer(&rsa.sign("k", json!({"alg": "ES256"}), &claims()), &bare, &elliptic), Some(Rejected::WrongKey));
    assert_eq!(answer(&token, &bare, &[Algorithm::Ps256]), Some(Rejected::Algorithm));

    let p384 = Signer::new(Algorithm::Es384);
    let token = p384.sign("k", json!({"alg": "ES256"}), &claims());
    assert_eq!(answer(&token, &key_set(&[p384.jwk("k")]), &Algorithm::ALL), Some(Rejected::WrongKey));
    assert_eq!(answer(&token, &key_set(&[p384.bare_jwk("k")]), &Algorithm::ALL), Some(Rejected::WrongKey));
}

// rows: JOSE-05
#[test]
fn keys_in_the_header_are_never_used() {
    let (ours, theirs) = (Signer::new(Algorithm::Es256), Signer::new(Algorithm::Es256));
    let keys = key_set(&[ours.jwk("k")]);
    for header in [
        json!({"jwk": theirs.jwk("k")}),
        json!({"jku": "https://evil.example/jwks"}),
        json!({"x5u": "https://evil.example/cert.pem"}),
        json!({"x5c": ["MIIB"]}),
        json!({"x5t": "x", "x5t#S256": "x"}),
    ] {
        assert_eq!(
            answer(&theirs.sign("k", header.clone(), &claims()), &keys, &Algorithm::ALL),
            Some(Rejected::Signature)
        );
        let unnamed = theirs.sign("k", with(header.clone(), json!({"kid": null})), &claims());
        assert_eq!(answer(&unnamed, &keys, &Algorithm::ALL), Some(Rejected::Signature), "{header}");
        assert_eq!(answer(&ours.sign("k", header.clone(), &claims()), &keys, &Algorithm::ALL), None, "{header}");
    }
}

// rows: JOSE-02
#[test]
fn kid_is_an_exact_name() {
    let signer = Signer::new(Algorithm::Es256);
    let keys = key_set(&[signer.jwk("k"), signer.jwk("https://as.example/k")]);
    let with_kid = |kid: Value| answer(&signer.sign("k", json!({"kid": kid}), &claims()), &keys, &Algorithm::ALL);
    assert_eq!(with_kid(json!("k")), None);
    assert_eq!(with_kid(json!("https://as.example/k")), None);
    for unknown in ["K", "k%20", "kk", "../../etc/passwd", "'OR'1'='1", "%s%n", "x".repeat(256).as_str()] {
        assert_eq!(with_kid(json!(unknown)), Some(Rejected::UnknownKey), "{unknown}");
    }
    for bad in ["", "' OR 1", "k ", "k\n", "k\0", "\u{43a}", "x".repeat(257).as_str()] {
        assert_eq!(with_kid(json!(bad)), Some(Rejected::KeyId), "{bad:?}");
    }
    for bad in [json!(1), json!(["k"]), json!({"k": "k"}), json!(true)] {
        assert_eq!(with_kid(bad), Some(Rejected::KeyId));
    }
    assert_eq!(with_kid(json!("x".repeat(1 << 20))), Some(Rejected::Size));
    let null = signer.sign_raw(r#"{"alg":"ES256","kid":null}"#, "{}");
    assert_eq!(answer(&null, &keys, &Algorithm::ALL), Some(Rejected::KeyId));
}

// rows: JOSE-03
#[test]
fn one_key_fits_or_none_is_tried() {
    let all: Vec<Signer> = Algorithm::ALL.into_iter().filter(|a| *a != Algorithm::Ps256).map(Signer::new).collect();
    let shared = key_set(&all.iter().map(|signer| signer.jwk("k")).collect::<Vec<_>>());
    let none = key_set(&all.iter().map(|signer| with(signer.jwk("k"), json!({"kid": null}))).collect::<Vec<_>>());
    for signer in &all {
        assert_eq!(answer(&signer.sign("k", json!({}), &claims()), &shared, &Algorithm::ALL), None);
        let unnamed = signer.sign("k", json!({"kid": null}), &claims());
        assert_eq!(answer(&unnamed, &shared, &Algorithm::ALL), None);
        assert_eq!(answer(&unnamed, &none, &Algorithm::ALL), None);
        assert_eq!(answer(&signer.sign("k", json!({}), &claims()), &none, &Algorithm::ALL), Some(Rejected::UnknownKey));
        assert_eq!(answer(&unnamed, &key_set(&[]), &Algorithm::ALL), Some(Rejected::UnknownKey));
    }
    let [one, two] = [Signer::new(Algorithm::Es256), Signer::new(Algorithm::Es256)];
    let token = one.sign("k", json!({}), &claims());
    assert_eq!(answer(&token, &key_set(&[one.jwk("k"), two.jwk("k")]), &Algorithm::ALL), Some(Rejected::AmbiguousKey));
    let two_names = key_set(&[one.jwk("k"), two.jwk("l")]);
    let unnamed = one.sign("k", json!({"kid": null}), &claims());
    assert_eq!(answer(&token, &two_names, &Algorithm::ALL), None);
    assert_eq!(answer(&unnamed, &two_names, &Algorithm::ALL), Some(Rejected::AmbiguousKey));
    let encrypting = with(two.jwk("k"), json!({"use": "enc"}));
    assert_eq!(answer(&token, &key_set(&[encrypting, one.jwk("k")]), &Algorithm::ALL), None);
}

// rows: JOSE-06
#[test]
fn extensions_are_refused() {
    let signer = Signer::new(Algorithm::Es256);
    let keys = key_set(&[signer.jwk("k")]);
    for header in [
        r#""crit":["x"],"x":1"#,
        r#""crit":[]"#,
        r#""crit":null"#,
        r#""crit":["exp"]"#,
        r#""crit":["b64"],"b64":false"#,
        r#""b64":false"#,
        r#""b64":true"#,
        r#""zip":"DEF""#,
        r#""zip":null"#,
    ] {
        let token = signer.sign_raw(&format!(r#"{{"alg":"ES256","kid":"k",{header}}}"#), &claims().to_string());
        assert_eq!(answer(&token, &keys, &Algorithm::ALL), Some(Rejected::Extension), "{header}");
    }
}

// rows: JOSE-07
#[test]
fn only_the_compact_form_is_read() {
    let signer = Signer::new(Algorithm::Es256);
    let keys = key_set(&[signer.jwk("k")]);
    let token = signer.sign("k", json!({}), &claims());
    let [h, p, s] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let forms = [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        h.to_owned(),
        format!("{h}.{p}"),
        format!("{h}.{p}."),
        format!(".{p}.{s}"),
        format!("{h}..{s}"),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{s}"),
        format!("{h}.{p}.{s}.{s}.{s}"),
        format!("{h}=.{p}.{s}"),
        format!("{h}.{p}==.{s}"),
        format!("{token}="),
        format!("{token}=="),
        format!(" {token}"),
        format!("{token} "),
        format!("{token}\n"),
        format!("{h}. {p}.{s}"),
        format!("{h}.{p}.{s}\0"),
        format!("{{{token}}}"),
        format!("\u{feff}{token}"),
        format!("Bearer {token}"),
        format!("{h}.{p}.+/{s}"),
        format!("{h}.{p}.{s}AAA"),
        format!("{h}.{p}.{s}~{s}"),
        json!({"payload": p, "protected": h, "signature": s}).to_string(),
        json!({"payload": p, "signatures": [{"protected": h, "signature": s}]}).to_string(),
    ];
    for bad in forms {
        assert_eq!(answer(&bad, &keys, &Algorithm::ALL), Some(Rejected::Form), "{bad:?}");
    }
    // The last character of 64 octets carries four unused bits: set, they would make a second name for one token.
    let mut twin = token.clone();
    let last = twin.pop().unwrap();
    twin.push(char::from(u8::try_from(last).unwrap() + 1));
    assert_eq!(answer(&twin, &keys, &Algorithm::ALL), Some(Rejected::Form));
    let long = signer.sign("k", json!({}), &json!({"x": "x".repeat(65 * 1024)}));
    assert_eq!(answer(&long, &keys, &Algorithm::ALL), Some(Rejected::Size));
    assert_eq!(answer(&".".repeat(TOKEN_BYTES_MAX + 1), &keys, &Algorithm::ALL), Some(Rejected::Size));
    assert_eq!(answer(&signer.sign("k", json!({}), &json!({"x": "x".repeat(48_000)})), &keys, &Algorithm::ALL), None);
}

// rows: JOSE-12
#[test]
fn header_and_claims_are_strict_json() {
    let signer = Signer::new(Algorithm::Es256);
    let keys = key_set(&[signer.jwk("k")]);
    for header in [
        r#"{"alg":"none","alg":"ES256"}"#,
        r#"{"alg":"ES256","alg":"ES256"}"#,
        r#"{"alg":"ES256","kid":"k","kid":"k"}"#,
        r#"{"alg":"ES256","x":{"a":1,"a":1}}"#,
        r#"{"alg":"ES256"}{}"#,
        "[]",
        r#""ES256""#,
        "null",
        "x",
        "\u{feff}{}",
        r#"{"alg":"ES256","\u0061lg":"none"}"#,
        r#"{"alg":"ES256",}"#,
    ] {
        assert_eq!(answer(&signer.sign_raw(header, "{}"), &keys, &Algorithm::ALL), Some(Rejected::Header), "{header}");
    }
    let deep = "[".repeat(30_000);
    for payload in
        [r#"{"aud":"evil","aud":"me"}"#, r#"{"sub":"u","x":[{"a":1,"a":2}]}"#, "[]", r#""x""#, "1", "{} {}", "x", &deep]
    {
        let token = signer.sign_raw(r#"{"alg":"ES256","kid":"k"}"#, payload);
        assert_eq!(answer(&token, &keys, &Algorithm::ALL), Some(Rejected::Claims), "{payload:.40}");
    }
}

// rows: JOSE-09 IDT-10
#[test]
fn no_kind_passes_for_another() {
    let signer = Signer::new(Algorithm::EdDsa);
    let (keys, allowed) = (key_set(&[signer.jwk("k")]), Algorithms::default());
    for made in Kind::ALL {
        let token = signer.sign("k", json!({"typ": made.typ()}), &claims());
        for asked in Kind::ALL {
            let expected = (made != asked).then_some(Rejected::Type);
            assert_eq!(verify(&token, &keys, &allowed, asked).err(), expected, "{made:?} as {asked:?}");
            let untyped = verify(&signer.sign("k", json!({}), &claims()), &keys, &allowed, asked).err();
            assert_eq!(untyped, (asked != Kind::IdToken).then_some(Rejected::Type), "{asked:?}");
        }
    }
}

// rows: JOSE-11
#[test]
fn keys_of_one_issuer_verify_nothing_of_another() {
    let (a, b) = (Signer::new(Algorithm::Es256), Signer::new(Algorithm::Es256));
    let (keys_a, keys_b) = (key_set(&[a.jwk("k")]), key_set(&[b.jwk("k")]));
    let token = b.sign("k", json!({}), &json!({"iss": "https://a.example"}));
    assert_eq!(answer(&token, &keys_a, &Algorithm::ALL), Some(Rejected::Signature), "the same kid");
    assert_eq!(answer(&token, &keys_b, &Algorithm::ALL), None, "who then is held against iss");
    let other = b.sign("b", json!({}), &json!({"iss": "https://a.example"}));
    assert_eq!(answer(&other, &keys_a, &Algorithm::ALL), Some(Rejected::UnknownKey));
}
