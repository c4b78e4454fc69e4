//! Keys that clients sign with, and houses whose client does.

use crate::house::{
    House, Plan,
    scripted_as::assertions::{ClientKey, Registered},
    write,
};
use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::KeySize,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD};

/// How the client of every house authenticates.
const CERTIFICATE: &str = "auth = \"tls_client_auth\"\nsubject = { san_uri = \"spiffe://acme.test/narrowgate\" }\ncertificate = \"client.pem\"\nkey = \"client.key\"\n";

/// An RSA key of 1024 bits, which nobody should use: for the refusal of it.
pub(crate) const RSA_1024: &str = "MIICdgIBADANBgkqhkiG9w0BAQEFAASCAmAwggJcAgEAAoGBAL6s6XMdizHXZAVlxCGJ2b9vNRP73/TxcGlNPWGRAWu6WIPLF4+UuiVnhmTuOZqpmlauTsd/5V2TULFuh0KpOptW9iYUi1ZvixOaEtpx2QHRAcjMde0Q/i3/ffrNaTW34nRDphE/KJOCwe82iMPmvMktrgyjnheRzEcNpb8CDFt9AgMBAAECgYAk0aDWoLrTKgNfY3JHA6ZvZ9r4++cYFlMdklOq9mQu2DHlaR8ok5CKTn5OGQ44hk2ONWRy84hn1F19lZk6zxDIvtw5g5oervc6Vs1MX1/fANvMIJq3FomaXUgShrNETbXDs+nV/3aHO+QUvzCaoyo/c6AqbQ0HYu8XhbvpWhFehQJBAOLL806G6DsIX6Y79MAmpVxmNjJwsUq2sakNaft2ZZW8LxlIfXW8UfC7nSjqkaaCJ/xCqc3cXjSMiV/G2ZUWVLMCQQDXOkXfkvrGm3o89Hf/fj5CQuiWcWzdluhIZE+Lk0+jZGfinz4w8e/BVZXv0DTN78TwxlsFq5//ZXBYvNQcIYcPAkA2hKRmOhPVLPwhL8Rz9FZH0eIxWdmkhipK4wiZBCsDRYtk3oIaLTzdS5xJ26lLh3opL7U14UVcCHR1a42eQxH1AkEAqVzGrScoxW6FYz/wyZEbBuNFyVTaGQjuIkElQy0Zhva0tOUgeD15sAZcJUkOtFsP+3PrHmwuTDgTjxCQTM6pSwJACT/gYd1k6yxh01tVNiJglUcCQkTJ7nuEIs+XOvHWnsVl+Y6QntSBt8XFT0LW+NkidQbYhlutO7NzPHJMpqgZJg==";

/// A private key, PKCS#8 PEM, and its public half.
pub(crate) struct Pair {
    pub(crate) pem: String,
    pub(crate) public: ClientKey,
}

/// A PKCS#8 key in PEM.
pub(crate) fn pem(der: &[u8]) -> String {
    pem_of(&STANDARD.encode(der))
}

/// The same of its base64.
pub(crate) fn pem_of(base64: &str) -> String {
    // In two pieces, so that no scanner takes this for a key.
    format!("-----BEGIN {0}-----\n{base64}\n-----END {0}-----\n", concat!("PRIVATE", " KEY"))
}

/// A fresh key for this algorithm.
pub(crate) fn pair(alg: &'static str) -> Pair {
    let (der, public) = match alg {
        "ES256" => {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
            (pair.to_pkcs8v1().unwrap().as_ref().to_vec(), pair.public_key().as_ref().to_vec())
        }
        "EdDSA" => {
            let pair = Ed25519KeyPair::generate().unwrap();
            (pair.to_pkcs8v1().unwrap().as_ref().to_vec(), pair.public_key().as_ref().to_vec())
        }
        _ => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
            let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
            (der.as_ref().to_vec(), pair.public_key().as_ref().to_vec())
        }
    };
    Pair { pem: pem(&der), public: ClientKey { alg, public, certificate: None } }
}

/// A plan whose client authenticates by this instead of its certificate.
pub(crate) fn plan_with(auth: &str) -> Plan {
    Plan::new().config(CERTIFICATE, &format!("{auth}\n"))
}

/// The plan of a client that signs with the key in `assertion.key`.
pub(crate) fn signing_plan() -> Plan {
    plan_with("auth = \"private_key_jwt\"\nassertion_key = \"assertion.key\"")
}

/// Opens a house with these files in it, whose client is registered so.
pub(crate) async fn open(plan: Plan, files: &[(&str, &str)], registered: Registered) -> House {
    let mut house = plan.build();
    for (name, text) in files {
        write(&house.path(name), text);
    }
    house.server.register("narrowgate-sales", registered);
    house.start();
    house.wait_until_serving().await;
    house
}
