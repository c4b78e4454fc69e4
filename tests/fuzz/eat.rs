//! What is done with the bytes of each target: the ordinary tests beside this file and the targets of cargo-fuzz in
//! `targets/` share it. Nothing here may fail, whatever the bytes are; what is wrong about that is a finding.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use narrowgate::{
    api::fuzz_request,
    config::{self, Accept, AllowedHosts, IdTokens, Issuer, Profile, Share},
    dev::ca::{Ca, Identity, San},
    model::{Environment, IssuerAlias, PinnedRedirect, Reason, RedirectUri},
    oauth::{
        CHALLENGE_BYTES_MAX, challenges, fuzz_answer, fuzz_id_token, fuzz_keys, fuzz_metadata, fuzz_resource_metadata,
    },
    platform::bundle::{Contents, Signature, fuzz_bundle},
    policy::{fuzz_custom_schema, fuzz_policy_set},
    transaction::Callback,
};
use serde_json::{Map, Value};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::Duration,
};
use tempfile::TempDir;

/// What a door may say to a message before the corridor is walked.
const SAID_OF_A_MESSAGE: [Reason; 8] = [
    Reason::FieldRequired,
    Reason::FieldInvalid,
    Reason::CodeSyntax,
    Reason::ScopeSyntax,
    Reason::ParamDuplicate,
    Reason::ImplicitResponse,
    Reason::GrantUnknown,
    Reason::PkceRequired,
];

/// A gRPC request: one byte for the method, then the message. Whether it reaches the corridor.
pub(crate) fn request(bytes: &[u8]) -> bool {
    let Some((method, message)) = bytes.split_first() else { return false };
    match fuzz_request(method % 10, message) {
        Some(Err(reason)) => {
            assert!(SAID_OF_A_MESSAGE.contains(&reason), "{reason:?} is not said of a message");
            false
        }
        Some(Ok(())) => true,
        None => false,
    }
}

static REDIRECT: LazyLock<RedirectUri> = LazyLock::new(|| {
    PinnedRedirect::parse("http://127.0.0.1/callback").unwrap().admit("http://127.0.0.1:50123/callback").unwrap()
});

/// A callback URL. Whether it is one that arrived on the redirect URI.
pub(crate) fn callback(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let arrived = Callback::from_url(&text).is_ok_and(|callback| callback.arrived_on(&REDIRECT));
    if arrived {
        let place = text.split(['?', '#']).next().unwrap();
        assert!(["http://127.0.0.1:50123/callback", "/callback"].contains(&place), "arrived at {place:?}");
    }
    arrived
}

/// The body of a token answer, with the statuses that are read. Whether it is taken.
pub(crate) fn answer(bytes: &[u8]) -> bool {
    let taken = |status| fuzz_answer(status, bytes).is_none();
    assert!(!taken(400) && !taken(503), "an error is taken for a token");
    let taken = taken(200);
    if taken {
        let members: Map<String, Value> = serde_json::from_slice(bytes).expect("a taken answer is an object of JSON");
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        assert!(text("access_token").is_some_and(|token| !token.is_empty()), "no token in a taken answer");
        assert!(text("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")), "a taken answer's type");
        let scope = text("scope").unwrap_or("a b");
        assert!(scope.split(' ').all(|scope| ["", "a", "b"].contains(&scope)), "more scope than allowed is taken");
    }
    taken
}

/// A `WWW-Authenticate` header. Whether it is a list of challenges.
pub(crate) fn challenge(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Ok(found) = challenges(&text) else { return false };
    assert!(!found.is_empty() && text.len() <= CHALLENGE_BYTES_MAX);
    for challenge in &found {
        assert!(text.to_ascii_lowercase().contains(&challenge.scheme), "a scheme that is not there");
        let quoted = |value: &str| value.bytes().all(|byte| byte == b'\t' || (0x20..=0x7e).contains(&byte));
        assert!(challenge.error().is_none_or(|error| challenge.is_oauth() && quoted(error)));
    }
    true
}

static ISSUER: LazyLock<Issuer> = LazyLock::new(|| Issuer {
    alias: IssuerAlias::parse("corp").unwrap(),
    url: "https://as.example.test".to_owned(),
    environment: Environment::Dev,
    roots: Vec::new(),
    endpoints: None,
    allowed_hosts: AllowedHosts::of("https://as.example.test", None).and("mtls.example.test"),
    deadline: Duration::from_secs(1),
    metadata_ttl: Duration::from_secs(1),
    metadata_stale: Duration::from_secs(1),
    strict_metadata: false,
    profile: Profile::OAuth,
    accept: Accept::default(),
    assumed_lifetime: Duration::from_secs(1),
    narrowing: config::Narrowing::Confirmed,
    id_tokens: IdTokens::default(),
    access_tokens: config::AccessTokens::default(),
    revoke_on_stop: false,
    share: Share::default(),
    assertions: config::ClientAssertions::default(),
    par: config::ParUse::WhenOffered,
    allow_client_secret: false,
});

/// A metadata document. Whether it is believed.
pub(crate) fn metadata(bytes: &[u8]) -> bool {
    let believed = fuzz_metadata(&ISSUER, bytes);
    if believed {
        let document: Value = serde_json::from_slice(bytes).expect("believed metadata is JSON");
        assert_eq!(document.get("issuer").and_then(Value::as_str), Some(ISSUER.url.as_str()));
    }
    believed
}

/// An API's own metadata. Whether it can be used.
pub(crate) fn resource_metadata(bytes: &[u8]) -> bool {
    let resource = fuzz_resource_metadata(bytes);
    if let Some(resource) = &resource {
        let document: Map<String, Value> =
            serde_json::from_slice(bytes).expect("a usable document is an object of JSON");
        assert_eq!(document.get("resource").and_then(Value::as_str), Some(resource.as_str()));
        let servers = document.get("authorization_servers");
        assert!(servers.is_none_or(|servers| servers.as_array().is_some_and(|names| !names.is_empty())));
    }
    resource.is_some()
}

/// A JWK Set. Whether there is a key in it that can be used.
pub(crate) fn keys(bytes: &[u8]) -> bool {
    let usable = fuzz_keys(bytes);
    assert_ne!(usable, Some(usize::MAX), "a key set is not itself");
    usable.is_some_and(|usable| usable > 0)
}

/// The key of the issuer that signs what is to be judged.
static SIGNER: LazyLock<(Ed25519KeyPair, Vec<u8>)> = LazyLock::new(|| {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    let keys = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","kid":"k","x":"{x}"}}]}}"#);
    (pair, keys.into_bytes())
});

/// When the ID tokens of the corpus are fresh.
const NOW: i64 = 1_800_000_000;

/// An ID token: a compact JWS as it is, which nobody signed; or, from a line of its header and the rest as its claims,
/// one that the issuer did sign. Whether it is believed.
pub(crate) fn id_token(bytes: &[u8]) -> bool {
    let (pair, keys) = &*SIGNER;
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        let believed = fuzz_id_token(&String::from_utf8_lossy(bytes), keys, NOW).is_ok();
        assert!(!believed, "an ID token that nobody signed is believed");
        return false;
    };
    let (header, claims) = (bytes.get(..end).unwrap(), bytes.get(end + 1..).unwrap());
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(pair.sign(signed.as_bytes())));
    let Ok(sub) = fuzz_id_token(&token, keys, NOW) else { return false };
    let claims: Map<String, Value> = serde_json::from_slice(claims).expect("believed claims are an object of JSON");
    assert_eq!(claims.get("sub").and_then(Value::as_str), Some(sub.as_str()));
    for (name, value) in [("iss", "https://as.example.test"), ("nonce", "fake-nonce")] {
        assert_eq!(claims.get(name).and_then(Value::as_str), Some(value), "{name}");
    }
    assert!(claims.get("exp").and_then(Value::as_i64).is_some_and(|exp| exp + 10 > NOW), "an old token is believed");
    true
}

/// A folder like a deployment's, in which everything is as the sample configuration says.
pub(crate) struct Deployment(TempDir);

/// Between the three files of an input.
const NEXT_FILE: &str = "\n%%%%\n";

impl Deployment {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("narrowgate-fuzz-").tempdir().unwrap();
        for name in ["deploy", "deploy/tls", "policies", "policies/base"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let this = Self(folder);
        let ca = Ca::new("fuzz").unwrap();
        this.write("deploy/tls/as-ca.pem", ca.certificate_pem());
        this.write("deploy/tls/agents-ca.pem", ca.certificate_pem());
        this.pair("daemon", &ca.server(&[San::Dns("narrowgate.internal")]).unwrap());
        this.pair("client", &ca.client("narrowgate", &[San::Uri("spiffe://acme.test/narrowgate")]).unwrap());
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn pair(&self, name: &str, identity: &Identity) {
        self.write(&format!("deploy/tls/{name}.pem"), &identity.certificate_pem);
        self.write(&format!("deploy/tls/{name}.key"), &identity.key_pem);
    }

    /// The configuration, the agents and the APIs, in this order; the samples for those that are not there. Whether
    /// they load.
    pub(crate) fn configuration(&self, bytes: &[u8]) -> bool {
        let separator = NEXT_FILE.as_bytes();
        let mut rest = Some(bytes);
        for name in ["deploy/narrowgate.toml", "policies/agents.toml", "policies/apis.toml"] {
            match rest {
                Some(text) => {
                    let end = text.windows(separator.len()).position(|window| window == separator);
                    self.write(name, text.get(..end.unwrap_or(text.len())).unwrap());
                    rest = end.and_then(|end| text.get(end + separator.len()..));
                }
                None => self.write(name, fs::read(repository().join(name)).unwrap()),
            }
        }
        match config::load(&self.path("deploy/narrowgate.toml")) {
            Ok(config) => {
                assert!(!config.clients.is_empty(), "a configuration without a client loads");
                true
            }
            Err(findings) => {
                assert!(!findings.is_empty(), "refused without a reason");
                assert!(findings.iter().all(|finding| !finding.to_string().is_empty()));
                false
            }
        }
    }
}

/// The repository, from the package of the tests or from that of the targets inside it.
fn repository() -> &'static Path {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    folders.find(|folder| folder.join("deploy/narrowgate.toml").exists()).unwrap()
}

/// A policy file. Whether it is a whole policy set.
pub(crate) fn policy(bytes: &[u8]) -> bool {
    let policies = fuzz_policy_set(&String::from_utf8_lossy(bytes));
    assert_ne!(policies, Some(0), "a policy set without policies loads");
    policies.is_some()
}

/// The archive of a bundle, packed or not; or its signature. Whether it is one.
pub(crate) fn bundle(bytes: &[u8]) -> bool {
    if let Ok(signature) = Signature::parse(bytes) {
        assert_eq!(Signature::parse(signature.to_line().as_bytes()), Ok(signature.clone()));
        assert_eq!(Signature::parse(signature.to_text().as_bytes()), Ok(signature));
        return true;
    }
    let Some(contents) = fuzz_bundle(bytes) else { return false };
    let parts = |name: &String| name.split('/').all(|part| !part.is_empty() && !part.starts_with('.'));
    assert!(contents.files.keys().all(parts), "a name that leads elsewhere is taken");
    let listed: Vec<&String> = contents.manifest.files.iter().map(|file| &file.name).collect();
    assert_eq!(listed, contents.files.keys().collect::<Vec<_>>(), "files that the manifest does not name are taken");
    let packed = contents.pack().expect("what was unpacked can be packed");
    assert_eq!(Contents::unpack(&packed), Ok(contents), "what was packed is something else");
    true
}

/// A schema of custom attributes. Whether it may be linked to ours.
pub(crate) fn custom_schema(bytes: &[u8]) -> bool {
    fuzz_custom_schema(&String::from_utf8_lossy(bytes))
}
