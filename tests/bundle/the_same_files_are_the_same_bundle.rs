use crate::{
    house::{House, binary, write},
    packing::{Key, PINNED, of_file, packed, policy, said, ship, unpacked},
    swapping::{harmless, put},
};
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt, process::Command};

fn json(arguments: &[&str]) -> (Option<i32>, Value) {
    let output = binary().args(["--output", "json", "policy"]).args(arguments).output().unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

fn path(house: &House, name: &str) -> String {
    house.path(name).to_str().unwrap().to_owned()
}

// rows: POL-04 (what a bundle is made of)
#[test]
fn whatever_the_files_times_and_modes() {
    let house = of_file("");
    put(&house, "policies/extra.cedar", &harmless("x"));
    // A folder and a file that a plain order of names would swap: the digest of the set goes by the order of reading.
    fs::create_dir(house.path("policies/extra")).unwrap();
    put(&house, "policies/extra/more.cedar", &harmless("y"));
    let first = packed(&house, 42);
    for name in ["policies/extra.cedar", "agents.toml"] {
        put(&house, name, &fs::read_to_string(house.path(name)).unwrap());
        fs::set_permissions(house.path(name), fs::Permissions::from_mode(0o640)).unwrap();
        fs::File::options().append(true).open(house.path(name)).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    }
    let again = packed(&house, 42);
    assert!(first == again, "the same files are other bytes");
    assert!(first != packed(&house, 43), "the serial is in it");
    // Magic, deflate, no flags, no time, best compression, unknown system (RFC 1952 §2.3).
    assert_eq!(first[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255]);

    let entries = unpacked(&first);
    let names: Vec<&str> = entries.iter().map(|entry| str::from_utf8(&entry.name).unwrap()).collect();
    let mut sorted = names[1..].to_vec();
    sorted.sort_unstable();
    assert_eq!((names[0], &names[1..]), ("manifest.json", &*sorted));
    assert!(["agents.toml", "apis.toml", "policies/extra/more.cedar"].iter().all(|name| names.contains(name)));
    assert!(entries.iter().all(|entry| entry.kind == b'0' && entry.mode == 0o644));
    let agents = entries.iter().find(|entry| entry.name == b"agents.toml").unwrap();
    assert_eq!(agents.body, fs::read(house.path("agents.toml")).unwrap());
    let manifest: Value = serde_json::from_slice(&entries[0].body).unwrap();
    assert_eq!((&manifest["serial"], manifest.get("created")), (&42.into(), None));
}

// rows: POL-04 (signature)
#[test]
fn it_is_signed_and_verified() {
    let house = of_file("");
    put(&house, "policies/extra.cedar", &harmless("x"));
    fs::create_dir(house.path("policies/extra")).unwrap();
    put(&house, "policies/extra/more.cedar", &harmless("y"));
    let (config, out) = (path(&house, "packing.toml"), path(&house, "policy.tar.gz"));
    let created = "2026-11-26T12:00:00Z";
    let (code, made) = json(&["bundle", "--config", &config, "--out", &out, "--serial", "7", "--created", created]);
    assert_eq!((code, &made["manifest"]["created"]), (Some(0), &created.into()), "{made}");
    let (code, signed) = json(&["sign", &out, "--key", &path(&house, "signing.key")]);
    assert_eq!((code, &signed["serial"], &signed["key_id"]), (Some(0), &7.into(), &PINNED.id().into()));
    // Ed25519 is deterministic (RFC 8032 §5.1.6): another signer of the same makes the same.
    let archive = fs::read(&out).unwrap();
    let text = |name: &str| fs::read_to_string(house.path(name)).unwrap();
    let theirs: Value = serde_json::from_str(&text("policy.tar.gz.sig")).unwrap();
    assert_eq!(theirs, serde_json::from_str::<Value>(&PINNED.sign(&archive, 7)).unwrap());

    let public = path(&house, "signing.pem");
    let (code, verified) = json(&["verify", &out, "--public-key", &public]);
    assert_eq!((code, &verified["manifest"]), (Some(0), &made["manifest"]));
    assert_eq!(
        (&verified["policy_digest"], &verified["archive_digest"]),
        (&made["policy_digest"], &made["archive_digest"])
    );
    let (code, printed) = said(&policy(&["verify", &out, "--public-key", &public]));
    assert!(code == Some(0) && printed.lines().skip(1).all(|line| line.len() <= 100), "{printed}");

    // The daemon's configuration says the same of it as the folder's does.
    let check = |name: &str| {
        let output = binary().args(["--output", "json", "check", "--config", &path(&house, name)]).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let (of_folder, of_bundle) = (check("packing.toml"), check("narrowgate.toml"));
    assert_eq!((&of_folder["valid"], &of_bundle["valid"]), (&true.into(), &true.into()), "{of_bundle:#}");
    assert_eq!(of_bundle["bundle"]["serial"], 7);
    for same in ["policy_digest", "policies", "cases_passed"] {
        assert_eq!(of_folder[same], of_bundle[same], "{same}");
    }
    assert_eq!(of_bundle["policy_digest"], verified["policy_digest"]);
    let entities = |name: &str| said(&policy(&["entities", "--config", &path(&house, name)]));
    assert_eq!(entities("packing.toml"), entities("narrowgate.toml"));
    assert!(entities("narrowgate.toml").1.contains("courier"));
}

// rows: POL-04 (signature)
#[test]
fn what_is_not_sound_is_told_by_exit_code_and_word() {
    let house = of_file("");
    let archive = ship(&house, 7);
    let (out, public) = (path(&house, "policy.tar.gz"), path(&house, "signing.pem"));
    let verify = |expected: i32, words: &str| {
        let (code, text) = said(&policy(&["verify", &out, "--public-key", &public]));
        assert!(code == Some(expected) && text.contains(words), "{code:?} {text:?} is not {expected} {words:?}");
    };
    verify(0, "serial 7");
    fs::write(&out, &archive[..archive.len() - 9]).unwrap();
    verify(1, "is not the archive that was signed, or is cut short");
    fs::write(&out, &archive).unwrap();
    write(&house.path("policy.tar.gz.sig"), &Key(8).sign(&archive, 7));
    verify(1, "which is not trusted");
    write(&house.path("policy.tar.gz.sig"), "{\"format\": 1");
    verify(1, "is no signature of a bundle");
    let junk = b"no archive".as_slice();
    fs::write(&out, junk).unwrap();
    write(&house.path("policy.tar.gz.sig"), &PINNED.sign(junk, 7));
    verify(65, "is no gzip");
    fs::remove_file(house.path("policy.tar.gz.sig")).unwrap();
    verify(64, "cannot be read");

    let sign = |expected: i32, words: &str| {
        let (code, text) = said(&policy(&["sign", &out, "--key", &path(&house, "signing.key")]));
        assert!(code == Some(expected) && text.contains(words), "{code:?} {text:?} is not {expected} {words:?}");
    };
    sign(65, "is no gzip");
    fs::write(&out, &archive).unwrap();
    fs::set_permissions(house.path("signing.key"), fs::Permissions::from_mode(0o644)).unwrap();
    sign(64, "has mode 0644; run chmod 0600 on it");
    assert!(!house.path("policy.tar.gz.sig").exists(), "signed with a key that anyone may read");
    write(&house.path("signing.key"), &fs::read_to_string(house.path("client.key")).unwrap());
    sign(64, "not Ed25519's");
    write(&house.path("signing.key"), &PINNED.public_pem());
    sign(64, "holds no private key");

    // A set that no daemon would take is not packed.
    put(&house, "policies/extra.cedar", "permit");
    let made = policy(&["bundle", "--config", &path(&house, "packing.toml"), "--out", &path(&house, "x.tar.gz")]);
    assert_eq!(made.status.code(), Some(65));
    assert!(!house.path("x.tar.gz").exists());
}

// rows: POL-04 (signature)
#[test]
fn with_keys_of_openssl() {
    let house = of_file("");
    let openssl = |arguments: &[&str]| {
        Command::new("openssl").args(arguments).output().is_ok_and(|output| output.status.success())
    };
    let (key, public) = (path(&house, "made.key"), path(&house, "made.pem"));
    let made = openssl(&["genpkey", "-algorithm", "ed25519", "-out", &key])
        && openssl(&["pkey", "-in", &key, "-pubout", "-out", &public]);
    if !made {
        eprintln!("SKIPPED: there is no openssl");
        return;
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    packed(&house, 1);
    let out = path(&house, "made.tar.gz");
    assert!(policy(&["sign", &out, "--key", &key]).status.success());
    let (code, text) =
        said(&policy(&["verify", &out, "--public-key", &path(&house, "signing.pem"), "--public-key", &public]));
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn a_configuration_says_one_place() {
    let house = of_file("");
    ship(&house, 1);
    let sound = fs::read_to_string(house.path("narrowgate.toml")).unwrap();
    let check = |from: &str, to: &str, words: &str| {
        assert!(sound.contains(from));
        write(&house.path("narrowgate.toml"), &sound.replace(from, to));
        let (code, text) = said(&house.command("check").output().unwrap());
        assert!(code == Some(64) && text.contains(words), "{code:?} {text:?} has no {words:?}");
    };
    let file = "file = \"policy.tar.gz\"";
    let bare = "[policy]\n";
    check(bare, "[policy]\ndirectory = \"policies\"\n", "`policy.directory` and [policy.bundle] exclude each other");
    check(
        "[limits]",
        "[registry]\nagents = \"agents.toml\"\napis = \"apis.toml\"\n[limits]",
        "`registry` is in the bundle",
    );
    check(file, "", "needs either `file` or `url`");
    check(file, "url = \"https://bundles.example/p.tar.gz\"", "`policy.bundle.url` needs `ca`");
    check(file, "url = \"http://bundles.example/p.tar.gz\"\nca = \"server-ca.pem\"", "must be an https URL");
    check(file, &format!("{file}\nca = \"server-ca.pem\""), "`policy.bundle.ca` is of no use for a file");
    check("[\"signing.pem\"]", "[]", "must name 1 to 16 files");
    check("[\"signing.pem\"]", "[\"signing.pem\", \"signing.pem\"]", "twice");
    check("[\"signing.pem\"]", "[\"client.key\"]", "holds no public key in PEM");
    fs::set_permissions(house.path("signing.pem"), fs::Permissions::from_mode(0o666)).unwrap();
    check(file, file, "anyone may change it");
}
