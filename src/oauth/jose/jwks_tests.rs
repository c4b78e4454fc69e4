//! Tests of the key sets.

use super::{super::testing::*, *};
use serde_json::json;

const RFC_7638_N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXj\
    BZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZ\
    Hzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJz\
    KnqDKgw";

fn refused(bytes: &[u8]) -> Option<KeysRejected> {
    KeySet::parse(bytes).err()
}

/// What becomes of one key: none, if it is used.
fn fate(jwk: Value) -> Option<Ignored> {
    let set = key_set(&[jwk]);
    assert_eq!(set.keys().len() + set.ignored().len(), 1);
    set.ignored().first().copied()
}

fn rsa_of(bits: usize) -> Value {
    let mut n = vec![0xff; bits.div_ceil(8)];
    n[0] >>= n.len() * 8 - bits;
    json!({"kty": "RSA", "n": b64(n), "e": "AQAB"})
}

// rows: JOSE-14
#[test]
fn thumbprints_are_those_of_rfc_7638_and_8037() {
    let plain = json!({"kty": "RSA", "n": RFC_7638_N, "e": "AQAB"});
    let dressed = with(
        plain.clone(),
        json!({"alg": "RS256", "kid": "2011-04-29", "use": "sig", "x5t": "x", "key_ops": ["verify"]}),
    );
    for jwk in [plain, dressed] {
        assert_eq!(key_set(&[jwk]).keys()[0].thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }
    let okp = json!({"x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "crv": "Ed25519", "kty": "OKP"});
    assert_eq!(key_set(&[okp]).keys()[0].thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    let ec = json!({"kty": "EC", "crv": "P-256", "x": "jJ6Flys3zK9jUhnOHf6G49Dyp5hah6CNP84-gY-n9eo",
        "y": "nhI6iD5eFXgBTLt_1p3aip-5VbZeMhxeFSpjfEAf7Ww"});
    assert_eq!(key_set(&[ec]).keys()[0].thumbprint(), "w9eYdC6_s_tLQ8lH6PUpc0mddazaqtPgeC2IgWDiqY8");
}

// rows: JOSE-04
#[test]
fn private_and_symmetric_keys_refuse_the_document() {
    let good = Signer::new(Algorithm::Es256).jwk("a");
    for name in PRIVATE {
        let leaked = with(Signer::new(Algorithm::Es256).jwk("b"), json!({ name: "AQAB" }));
        assert_eq!(refused(&document(&[good.clone(), leaked.clone()])), Some(KeysRejected::Private), "{name}");
        assert_eq!(refused(&document(&[with(leaked, json!({"use": "enc"}))])), Some(KeysRejected::Private), "{name}");
        assert_eq!(refused(&document(&[with(good.clone(), json!({"x": {name: 1}}))])), Some(KeysRejected::Private));
        let beside = json!({"keys": [good], name: "AQAB"}).to_string();
        assert_eq!(refused(beside.as_bytes()), Some(KeysRejected::Private), "{name}");
    }
    for kty in ["oct", "OCT"] {
        assert_eq!(refused(&document(&[good.clone(), json!({"kty": kty})])), Some(KeysRejected::Private));
    }
}

// rows: JOSE-04
#[test]
fn use_and_key_ops_are_honoured() {
    let jwk = |more| with(Signer::new(Algorithm::Es256).bare_jwk("a"), more);
    for good in [json!({}), json!({"use": "sig"}), json!({"key_ops": ["verify"]}), json!({"key_ops": ["x", "verify"]})]
    {
        assert_eq!(fate(jwk(good.clone())), None, "{good}");
    }
    for other in [
        json!({"use": "enc"}),
        json!({"use": "SIG"}),
        json!({"use": ["sig"]}),
        json!({"use": 1}),
        json!({"key_ops": []}),
        json!({"key_ops": ["sign"]}),
        json!({"key_ops": "verify"}),
        json!({"use": "sig", "key_ops": ["encrypt"]}),
        json!({"use": "enc", "key_ops": ["verify"]}),
    ] {
        assert_eq!(fate(jwk(other.clone())), Some(Ignored::Purpose), "{other}");
    }
    let null = jwk(json!({})).to_string().replacen('{', r#"{"use":null,"#, 1);
    let set = KeySet::parse(format!(r#"{{"keys":[{null}]}}"#).as_bytes()).ok().unwrap();
    assert_eq!(set.ignored(), [Ignored::Purpose]);
}

// rows: JOSE-08
#[test]
fn weak_keys_are_ignored_and_counted() {
    for good in [2048, 2049, 3072, 8192] {
        assert_eq!(fate(rsa_of(good)), None, "{good}");
    }
    for bad in [8, 512, 1024, 2047, 8193, 16384, 32768] {
        assert_eq!(fate(rsa_of(bad)), Some(Ignored::Weak), "{bad}");
    }
    for e in [&[1][..], &[3], &[2], &[0xff, 0xff], &[1, 0, 0], &[2, 0, 0, 0, 1], &[1; 8], &[1; 9], &[1; 256]] {
        assert_eq!(fate(with(rsa_of(2048), json!({"e": b64(e)}))), Some(Ignored::Weak), "{e:?}");
    }
    assert_eq!(fate(with(rsa_of(2048), json!({"e": b64([1, 0xff, 0xff, 0xff, 0xff])}))), None);
    let even = [&[0xff; 255][..], &[0xfe]].concat();
    assert_eq!(fate(json!({"kty": "RSA", "n": b64(even), "e": "AQAB"})), Some(Ignored::Weak));
    for (n, e) in [(b64([&[0][..], &[0xff; 256]].concat()), "AQAB"), (b64([0xff; 256]), "AAEAAQ"), (b64([]), "AQAB")] {
        assert_eq!(fate(json!({"kty": "RSA", "n": n, "e": e})), Some(Ignored::Malformed));
    }
    for algorithm in [Algorithm::Es256, Algorithm::Es384] {
        let jwk = Signer::new(algorithm).jwk("a");
        let mut y = URL_SAFE_NO_PAD.decode(jwk["y"].as_str().unwrap()).unwrap();
        y[10] ^= 1;
        assert_eq!(fate(with(jwk.clone(), json!({"y": b64(&y)}))), Some(Ignored::Weak), "off the curve");
        assert_eq!(
            fate(with(jwk.clone(), json!({"x": b64(vec![0; y.len()]), "y": b64(vec![0; y.len()])}))),
            Some(Ignored::Weak)
        );
        assert_eq!(fate(with(jwk.clone(), json!({"y": b64([&[0], &y[..]].concat())}))), Some(Ignored::Malformed));
        assert_eq!(fate(with(jwk, json!({"y": b64(&y[1..])}))), Some(Ignored::Malformed));
    }
}

// rows: JOSE-08
#[test]
fn ed25519_points_are_strict() {
    let point = |x: [u8; 32]| json!({"kty": "OKP", "crv": "Ed25519", "x": b64(x)});
    let ends = |first: u8, middle: u8, last: u8| {
        let mut x = [middle; 32];
        (x[0], x[31]) = (first, last);
        x
    };
    let mut weak = ED25519_ORDER_EIGHT.to_vec();
    weak.extend([ends(0, 0, 0), ends(1, 0, 0)]); // Order four, the neutral element.
    weak.extend((0xec..=0xff).map(|first| ends(first, 0xff, 0x7f))); // Minus one; then the uncanonical ones.
    for mut x in weak {
        assert_eq!(fate(point(x)), Some(Ignored::Weak), "{x:x?}");
        x[31] |= 0x80;
        assert_eq!(fate(point(x)), Some(Ignored::Weak), "{x:x?}");
    }
    for _ in 0..8 {
        assert_eq!(fate(Signer::new(Algorithm::EdDsa).jwk("a")), None);
    }
    assert_eq!(fate(json!({"kty": "OKP", "crv": "Ed25519", "x": b64([9; 31])})), Some(Ignored::Malformed));
    assert_eq!(fate(json!({"kty": "OKP", "crv": "Ed448", "x": b64([9; 57])})), Some(Ignored::Curve));
    assert_eq!(fate(json!({"kty": "OKP", "crv": "X25519", "x": b64([9; 32])})), Some(Ignored::Curve));
}

// rows: JOSE-01
#[test]
fn each_key_has_its_own_algorithm_or_those_pinned_for_its_type() {
    for algorithm in Algorithm::ALL {
        let signer = Signer::new(algorithm);
        for jwk in [signer.jwk("a"), signer.bare_jwk("a")] {
            let said = jwk.get("alg").is_some();
            for named in Algorithm::ALL {
                let set = key_set(std::slice::from_ref(&jwk));
                let fits = set.keys()[0].fits(named, &algorithms(&[named]));
                // An RSA key that does not say is for what the issuer is configured for.
                let expected = named == algorithm || (!said && algorithm.is_rsa() && named.is_rsa());
                assert_eq!(fits, expected, "{algorithm:?} {named:?} {said}");
                let claimed = fate(with(jwk.clone(), json!({"alg": named.name()})));
                let possible = named == algorithm || (algorithm.is_rsa() && named.is_rsa());
                assert_eq!(claimed, (!possible).then_some(Ignored::Algorithm), "{algorithm:?} {named:?}");
            }
            let set = key_set(&[jwk]);
            for named in Algorithm::ALL {
                let fits = |pinned: &[Algorithm]| set.keys()[0].fits(named, &algorithms(pinned));
                let possible = named == algorithm || (!said && algorithm.is_rsa() && named.is_rsa());
                assert_eq!(fits(&Algorithm::ALL), possible, "{algorithm:?} {named:?} {said}");
                let others: Vec<_> = Algorithm::ALL.into_iter().filter(|other| *other != named).collect();
                assert!(!fits(&others), "{named:?} is not pinned");
            }
        }
        for alg in [json!("none"), json!("HS256"), json!("RS512"), json!("RSA-OAEP"), json!("")] {
            assert_eq!(fate(with(signer.jwk("a"), json!({"alg": alg}))), Some(Ignored::Algorithm), "{alg}");
        }
        assert_eq!(fate(with(signer.jwk("a"), json!({"alg": ["ES256"]}))), Some(Ignored::Malformed));
    }
}

// rows: JOSE-02 JOSE-04
#[test]
fn odd_keys_are_ignored_and_odd_documents_refused() {
    let good = Signer::new(Algorithm::Es256).jwk("a");
    for kid in [json!(""), json!("a b"), json!("a\n"), json!("\u{e9}"), json!("x".repeat(257)), json!(1), json!([])] {
        assert_eq!(fate(with(good.clone(), json!({"kid": kid}))), Some(Ignored::KeyId), "{kid}");
    }
    assert_eq!(fate(with(good.clone(), json!({"kid": "x".repeat(256)}))), None);
    assert_eq!(fate(with(good.clone(), json!({"kid": null}))), None);
    assert_eq!(fate(json!({"kty": "AKP", "alg": "ML-DSA-44"})), Some(Ignored::Algorithm));
    assert_eq!(fate(json!({"kty": "rsa"})), Some(Ignored::KeyType));
    for crv in ["P-521", "secp256k1", "p-256"] {
        assert_eq!(fate(with(good.clone(), json!({"crv": crv}))), Some(Ignored::Curve));
    }
    for missing in ["kty", "crv", "x", "y"] {
        assert_eq!(fate(with(good.clone(), json!({ missing: null }))), Some(Ignored::Malformed), "{missing}");
        assert_eq!(fate(with(good.clone(), json!({ missing: 1 }))), Some(Ignored::Malformed), "{missing}");
    }
    for x in ["AA==", "A A", "+/+/", "A", ""] {
        assert_eq!(fate(with(good.clone(), json!({"x": x}))), Some(Ignored::Malformed), "{x}");
    }
    let mixed = key_set(&[json!({"kty": "x"}), good.clone(), rsa_of(1024)]);
    assert_eq!((mixed.keys().len(), mixed.ignored()), (1, &[Ignored::KeyType, Ignored::Weak][..]));

    assert!(key_set(&vec![rsa_of(1024); KEYS_MAX]).keys().is_empty());
    assert_eq!(refused(&document(&vec![json!({}); KEYS_MAX + 1])), Some(KeysRejected::TooMany));
    let mut long = document(&[good]);
    long.resize(KEY_SET_BYTES_MAX, b' ');
    assert_eq!(refused(&long), None);
    long.push(b' ');
    assert_eq!(refused(&long), Some(KeysRejected::Size));
    for bad in [
        "",
        "[]",
        "{}",
        "null",
        r#"{"keys":{}}"#,
        r#"{"keys":[1]}"#,
        r#"{"keys":[],"keys":[]}"#,
        "{\"keys\":[]} x",
        r#"{"keys":[{"kty":"EC","kty":"RSA"}]}"#,
    ] {
        assert_eq!(refused(bad.as_bytes()), Some(KeysRejected::Malformed), "{bad}");
    }
}

// rows: JOSE-13
#[test]
fn changes_of_the_keys_are_told() {
    let [a, b, c] = [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Es384].map(Signer::new);
    let first = key_set(&[a.jwk("a"), b.jwk("b")]);
    let to = |keys: &[Value]| key_set(keys).changed_from(&first);
    assert_eq!(to(&[b.jwk("b"), a.jwk("a"), rsa_of(1024)]), Change::Same);
    assert_eq!(to(&[a.jwk("a"), b.jwk("b"), c.jwk("c")]), Change::Rotated);
    assert_eq!(to(&[b.jwk("b")]), Change::Rotated);
    assert_eq!(to(&[b.jwk("b"), c.jwk("c")]), Change::Rotated);
    assert_eq!(to(&[c.jwk("c")]), Change::Replaced);
    assert_eq!(to(&[]), Change::Replaced);
    assert_eq!(to(&[c.jwk("a"), b.jwk("b")]), Change::Rebound);
    assert_eq!(to(&[c.jwk("a")]), Change::Rebound);
    assert_eq!(first.changed_from(&key_set(&[])), Change::Rotated);
    assert_eq!(key_set(&[]).changed_from(&key_set(&[])), Change::Same);
    let [rs, ps] = [Algorithm::Rs256, Algorithm::Ps256].map(|algorithm| key_set(&[Signer::new(algorithm).jwk("r")]));
    assert_eq!(rs.changed_from(&ps), Change::Rebound, "the same key for a weaker algorithm");
    assert!(!rs.same_keys(&ps) && rs.same_keys(&rs));
}
