use crate::{
    house::{House, Plan, reason, redeem, scripted_as::tls::ServerCertificate},
    kit::{READ, assert_tells_no_secret},
};
use std::{
    io::{Read, Write},
    net::TcpListener,
};
use tonic::Code;

const BAD: [ServerCertificate; 6] = [
    ServerCertificate::Expired,
    ServerCertificate::NotYetValid,
    ServerCertificate::WrongName,
    ServerCertificate::SelfSigned,
    ServerCertificate::CommonNameOnly,
    ServerCertificate::OtherAuthority,
];

async fn assert_untrusted(house: &House, what: &str) {
    let mut agent = house.agent().await;
    let (transaction, callback) = house.approved(&mut agent, &[READ]).await;
    // The code was not sent, so the same call may be made again.
    for _ in 0..2 {
        let status = redeem(&mut agent, &transaction, &callback).await.err().expect(what);
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "AS_TLS_UNTRUSTED"), "{what}");
        assert_tells_no_secret(house, &status);
    }
    assert_eq!(house.events("exchange.failed").len(), 2, "{what}");
    house.assert_no_secret_leaked();
}

// rows: TOK-03
#[tokio::test]
async fn a_bad_certificate_gets_no_code() {
    for kind in BAD {
        let house = Plan::new().server(move |setup| setup.token_certificate = kind).open().await;
        assert_untrusted(&house, &format!("{kind:?}")).await;
        assert_eq!(house.server.token_handshakes(), 0, "{kind:?}");
        assert_eq!(house.server.token_posts(), 0, "{kind:?}");
        assert!(!house.server.handshake_errors().is_empty(), "{kind:?}");
    }
}

// rows: TOK-03 DISC-02
#[tokio::test]
async fn metadata_behind_a_bad_certificate_is_not_used() {
    for kind in BAD {
        let house = Plan::new().server(move |setup| setup.front_certificate = kind).open().await;
        let mut agent = house.agent().await;
        let status = house.begin(&mut agent, &[READ]).await.err().unwrap();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "METADATA_UNAVAILABLE"), "{kind:?}");
        assert_eq!(house.server.metadata_requests(), 0, "{kind:?}");
    }
}

// rows: TOK-03
#[tokio::test]
async fn tls_1_2_will_do_and_tls_1_1_will_not() {
    let house = Plan::new().server(|setup| setup.tls12_only = true).open().await;
    house.login(&mut house.agent().await, &[READ]).await.unwrap();

    let old = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = old.local_addr().unwrap().port();
    let heard = std::thread::spawn(move || (0..2).map(|_| answer_in_tls_1_1(&old)).collect::<Vec<_>>());
    let endpoints = format!(
        "issuer = \"@ISSUER@\"\n[issuer.endpoints]\nauthorization = \"@ISSUER@/authorize\"\ntoken = \"https://127.0.0.1:{port}/token\""
    );
    let ca = "ca = \"server-ca.pem\"\ndeadline = \"5s\"\n";
    let plan = Plan::new().config(ca, "").config("issuer = \"@ISSUER@\"", &format!("{ca}{endpoints}"));
    let house = plan.open().await;
    assert_untrusted(&house, "TLS 1.1").await;
    for heard in heard.join().unwrap() {
        // A ClientHello and an alert; never a record of application data.
        assert_eq!(heard[0], 0x16);
        let hello = 5 + usize::from(u16::from_be_bytes([heard[3], heard[4]]));
        assert!(heard.get(hello).is_none_or(|kind| *kind == 0x15), "something but an alert was sent");
    }
}

/// Answers one connection with a ServerHello of TLS 1.1 and gives back everything that came.
fn answer_in_tls_1_1(listener: &TcpListener) -> Vec<u8> {
    let (mut stream, _) = listener.accept().unwrap();
    let mut heard = vec![0; 16 * 1024];
    let length = stream.read(&mut heard).unwrap();
    heard.truncate(length);
    let mut hello = vec![0x16, 0x03, 0x02, 0x00, 0x2a, 0x02, 0x00, 0x00, 0x26, 0x03, 0x02];
    hello.extend([7; 32]);
    // No session, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, no compression.
    hello.extend([0x00, 0xc0, 0x13, 0x00]);
    stream.write_all(&hello).unwrap();
    // It may end in a reset; what came before counts.
    let _ = stream.read_to_end(&mut heard);
    heard
}

// rows: TOK-03
#[tokio::test]
async fn no_switch_turns_verification_off() {
    for (place, key) in [
        ("[[issuer]]\n", "insecure = true"),
        ("[[issuer]]\n", "verify = false"),
        ("[[client]]\n", "insecure_skip_verify = true"),
    ] {
        let house = Plan::new().config(place, &format!("{place}{key}\n")).build();
        let output = house.command("check").output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{key}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("unknown key"), "{key}: {output:?}");
    }
    let house = Plan::new().config("ca = \"server-ca.pem\"\n", "").build();
    let output = house.command("check").output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("`ca` is missing"), "{output:?}");
}
