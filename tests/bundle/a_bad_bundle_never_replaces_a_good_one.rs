use crate::{
    house::{COURIER, House},
    kit::{MAIL, admin, facts},
    packing::{
        Entry, Key, PINNED, archive_of, gzip, of_file, packed, publish, relisted, repeated, ship, tar_of, unpacked,
        with,
    },
    swapping::{generation, harmless, put},
};
use narrowgate::{
    api::proto::ReloadRequest,
    platform::digest::{hex, sha256},
};
use serde_json::json;
use std::fs;

/// The serial of what is bad; the one before it runs.
const NEXT: u64 = 11;

/// An archive with a signature, and words of the one mistake in it.
struct Harm {
    name: &'static str,
    words: &'static str,
    archive: Vec<u8>,
    signature: String,
}

/// An archive that is signed as it should be.
fn signed(name: &'static str, words: &'static str, archive: Vec<u8>) -> Harm {
    let signature = PINNED.sign(&archive, NEXT);
    Harm { name, words, archive, signature }
}

fn of_signatures(good: &[u8]) -> Vec<Harm> {
    let whole = good.to_vec();
    let harm = |name, words, archive, signature| Harm { name, words, archive, signature };
    let right = PINNED.sign(good, NEXT);
    let forged = right.replace(&format!("\"serial\":{NEXT}"), "\"serial\":12");
    assert_ne!(forged, right);
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let digest = hex(&sha256(good));
    let undomained = PINNED.signature(&whole, &digest, NEXT);
    // Somebody else's key, called by the pinned one's id.
    let disguised = Key(8).sign(good, NEXT).replace(&Key(8).id(), &PINNED.id());
    vec![
        harm(
            "cut short",
            "is not the archive that was signed, or is cut short",
            good[..good.len() / 2].to_vec(),
            right.clone(),
        ),
        harm("one bit of it", "is not the archive that was signed", flipped, right.clone()),
        harm("nothing", "is not the archive that was signed", Vec::new(), right.clone()),
        harm("another serial in the signature", "has a wrong signature", whole.clone(), forged),
        harm("another key", "which is not trusted", whole.clone(), Key(8).sign(good, NEXT)),
        harm("another key by the name of ours", "has a wrong signature", whole.clone(), disguised),
        harm("the archive itself signed, for another purpose", "has a wrong signature", whole.clone(), undomained),
        harm(
            "half a signature",
            "policy.tar.gz.sig: is no signature of a bundle",
            whole.clone(),
            right[..99].to_owned(),
        ),
        harm("an empty signature", "policy.tar.gz.sig: is no signature", whole.clone(), String::new()),
        harm(
            "a signature of a later format",
            "this narrowgate reads 1",
            whole.clone(),
            right.replace("\"format\":1", "\"format\":2"),
        ),
        harm("a key of another kind", "and algorithm \"none\"", whole.clone(), right.replace("Ed25519", "none")),
        harm("a signature too long", "5000 bytes long, and 4096", whole, " ".repeat(5000)),
    ]
}

fn of_serials(house: &House) -> Vec<Harm> {
    let of = |name, words, serial| {
        let archive = packed(house, serial);
        Harm { name, words, signature: PINNED.sign(&archive, serial), archive }
    };
    let mut disguised = of(
        "an older bundle signed as a newer one",
        "has serial 9 in its manifest.json, and was signed as serial 11",
        9,
    );
    disguised.signature = PINNED.sign(&disguised.archive, NEXT);
    vec![
        of("an older bundle", "has serial 9, and serial 10 was taken before", 9),
        of("another bundle of the same serial", "has serial 10, under which another bundle was taken", 10),
        disguised,
    ]
}

fn of_entries(good: &[u8]) -> Vec<Harm> {
    let entries = unpacked(good);
    let text = harmless("x");
    let named = |name: &'static str, words, of: &str| {
        signed(name, words, archive_of(&with(entries.clone(), Entry::file(of, &text))))
    };
    let kind = |name, words, kind| {
        let entry = Entry { kind, body: Vec::new(), ..Entry::file("policies/x.cedar", "") };
        signed(name, words, archive_of(&with(entries.clone(), entry)))
    };
    let listed = |entry: Entry| archive_of(&relisted(with(entries.clone(), entry), |_| {}));
    let mut not_utf8 = Entry::file("policies/x.cedar", "");
    not_utf8.body = vec![b'/', b'/', 0xff];
    let mut strange = Entry::file("policies/x.cedar", &text);
    strange.name = b"policies/\xff.cedar".to_vec();
    let once = relisted(with(entries.clone(), Entry::file("policies/x.cedar", &text)), |_| {});
    let twice = with(once, Entry::file("policies/x.cedar", "other"));
    let many: Vec<Entry> = (0..10_010).map(|n| Entry::file(&format!("policies/x{n}.cedar"), "")).collect();
    vec![
        named(
            "a path that leads out",
            "holds a path that leads out of it: \"policies/../../x.cedar\"",
            "policies/../../x.cedar",
        ),
        named("an absolute path", "holds an absolute path: \"/etc/x.cedar\"", "/etc/x.cedar"),
        named("a path with a backslash", "holds a name with a control character or backslash", "policies\\x.cedar"),
        named("a hidden file", "holds a path with an empty or hidden part", "policies/.x.cedar"),
        named("a path with nothing in it", "holds a path with an empty or hidden part", "policies//x.cedar"),
        named("a file that belongs to no bundle", "holds \"policies/run.sh\": a bundle has", "policies/run.sh"),
        named(
            "a file that the manifest does not name",
            "holds \"policies/x.cedar\", which its manifest.json does not name",
            "policies/x.cedar",
        ),
        kind("a symbolic link", "holds a symbolic link: \"policies/x.cedar\"", b'2'),
        kind("a hard link", "holds a hard link", b'1'),
        kind("a device", "holds a device or pipe", b'3'),
        kind("a pipe", "holds a device or pipe", b'6'),
        kind("a folder", "holds a folder of its own", b'5'),
        kind("a long name of GNU's", "holds an entry of a kind that no bundle has", b'L'),
        kind("a header of PAX", "holds an entry of a kind that no bundle has", b'x'),
        signed("a file twice", "holds \"policies/x.cedar\" twice", archive_of(&twice)),
        signed("a file that is not UTF-8", "which is not UTF-8", listed(not_utf8)),
        signed("a name that is not UTF-8", "holds a name that is not UTF-8", listed(strange)),
        signed("no manifest", "begins with \"agents.toml\"", archive_of(&entries[1..])),
        signed("files without end", "holds more than 10004 files", archive_of(&[entries.clone(), many].concat())),
        signed("a program", "form that `narrowgate policy bundle` writes", {
            let mut entries = entries.clone();
            entries[1].mode = 0o755;
            archive_of(&entries)
        }),
        signed("no archive", "is no gzip", b"#!/bin/sh\n".to_vec()),
        signed("a gzip of something else", "is no tar", gzip(&[b'x'; 2048])),
        signed("a gzip of nothing", "is empty", gzip(b"")),
    ]
}

fn of_manifests(good: &[u8]) -> Vec<Harm> {
    let entries = unpacked(good);
    let changed = |name, words, change: fn(&mut serde_json::Value)| {
        signed(name, words, archive_of(&relisted(entries.clone(), change)))
    };
    let mut other = entries.clone();
    other[1].body.push(b'\n');
    let mut huge = entries.clone();
    huge[0].body.resize((4 << 20) + 1, b' ');
    let mut half = entries.clone();
    half[0].body.truncate(40);
    vec![
        changed("a later narrowgate's", "needs narrowgate 9.0.0 or later", |it| it["minimum_version"] = "9.0.0".into()),
        changed("no version", "minimum_version that is no version: \"new\"", |it| it["minimum_version"] = "new".into()),
        changed("a later format", "is of format 2, and this narrowgate reads format 1", |it| it["format"] = 2.into()),
        changed("a member that is unknown", "unknown field `evil`", |it| it["evil"] = true.into()),
        changed("another serial", "has serial 12 in its manifest.json", |it| it["serial"] = 12.into()),
        changed("a serial too high", "the highest there is", |it| it["serial"] = u64::MAX.into()),
        changed("a file that is missing", "does not hold \"policies/zzz.cedar\"", |it| {
            let file = json!({ "name": "policies/zzz.cedar", "size": 0, "sha256": hex(&sha256(b"")) });
            it["files"].as_array_mut().unwrap().push(file);
        }),
        changed("a file that is named twice", "names \"apis.toml\" twice", |it| {
            let files = it["files"].as_array_mut().unwrap();
            files.insert(1, files[1].clone());
        }),
        changed("files out of order", "is not in order of name", |it| it["files"].as_array_mut().unwrap().reverse()),
        changed("another digest", "holds another \"agents.toml\" than its manifest.json says", |it| {
            it["files"][0]["sha256"] = hex(&sha256(b"")).into();
        }),
        signed("another file than was listed", "holds another \"agents.toml\"", archive_of(&other)),
        signed("a huge manifest", "has a manifest.json of 4194305 bytes", archive_of(&huge)),
        signed("half a manifest", "holds a manifest.json that cannot be read", archive_of(&half)),
    ]
}

fn of_lengths(good: &[u8]) -> Vec<Harm> {
    let entries = unpacked(good);
    let tar = tar_of(&entries);
    let padded = |tar: &[u8], more: usize| gzip(&[tar, &vec![0; more]].concat());
    // It packs well, but not so well that this alone would tell.
    let line =
        |n: u32| format!("// one of the many rules of a large house: {}\n", n.wrapping_mul(2_654_435_761) % 10_000);
    let lines: String = (0..20_000).map(line).collect();
    vec![
        signed("a bomb", "unpacks to more than 250 times its length", repeated(&[b' '; 1 << 20], 60)),
        signed(
            "more than may be unpacked",
            "has more than 67108864 bytes when it is unpacked",
            repeated(lines.as_bytes(), 80),
        ),
        signed("bytes after the archive", "is followed by 7 bytes", [good, b"trailer"].concat()),
        signed("an archive after the archive", "bytes that do not belong to it", [good, good].concat()),
        signed("bytes after the last file", "goes on for 512 bytes after its last file", padded(&tar, 512)),
        signed("an archive cut short and signed", "is cut short", good[..good.len() - 20].to_vec()),
        signed("a file cut short", "is cut short", gzip(&tar[..tar.len() - 2048])),
        signed("too long an archive", "16777217 bytes long, and 16777216 may be read", vec![0; (16 << 20) + 1]),
    ]
}

/// A sound bundle of a set that is not.
fn of_sets(good: &[u8]) -> Vec<Harm> {
    let entries = unpacked(good);
    let holding = |name, words, file: &str, text: &str| {
        signed(name, words, archive_of(&relisted(with(entries.clone(), Entry::file(file, text)), |_| {})))
    };
    let missing: Vec<Entry> = entries.iter().filter(|entry| entry.name != b"agents.toml").cloned().collect();
    let cases = include_str!("../../policies/base/operators.cases.toml");
    let first = cases.split("[[case]]").nth(1).unwrap().split("# ----").next().unwrap();
    let failing = format!("[[case]]{}", first.replace("\"allow\"", "\"deny\""));
    vec![
        holding("half a policy", "policy.tar.gz/policies/x.cedar:1:", "policies/x.cedar", "permit"),
        holding("an empty policy file", "policy.tar.gz/policies/x.cedar:1:1: holds no policy", "policies/x.cedar", ""),
        holding("a case that fails", "expected deny, got allow", "policies/x.cases.toml", &failing),
        signed("no agents", "policy.tar.gz/agents.toml: is not in the bundle", archive_of(&relisted(missing, |_| {}))),
    ]
}

async fn each(house: &House, harms: Vec<Harm>) {
    let mut operator = admin(house).await;
    let mut agent = house.svid_agent(COURIER).await;
    for Harm { name, words, archive, signature } in harms {
        publish(house, &archive, &signature);
        let done = operator.reload(ReloadRequest::default()).await.unwrap().into_inner();
        assert_eq!(done.outcome().as_str_name(), "OUTCOME_REFUSED", "{name}");
        assert_eq!(done.policy.unwrap().generation, 1, "{name}");
        let first = &done.mistakes[0];
        let told = match (first.line, first.column) {
            (0, _) => format!("{}: {}", first.file, first.message),
            (line, column) => format!("{}:{line}:{column}: {}", first.file, first.message),
        };
        assert!(told.contains(words), "{name}: {told:?} has no {words:?}");
        let said = house.events("policy.rejected").pop().unwrap();
        assert!(
            facts(&said)["first_mistake"].as_str().unwrap().contains(&first.message[..first.message.len().min(80)])
        );
        house.begin(&mut agent, &MAIL).await.unwrap_or_else(|status| panic!("after {name}: {status:?}"));
    }
}

/// A house whose bundle of serial 10 runs, and another one that would do.
async fn running() -> (House, Vec<u8>) {
    let mut house = of_file("check_every = \"1h\"");
    ship(&house, 10);
    house.start();
    house.wait_until_serving().await;
    let started = house.event("policy.activated").await;
    assert_eq!((&facts(&started)["bundle_serial"], &facts(&started)["bundle_key"]), (&10.into(), &PINNED.id().into()));
    put(&house, "policies/extra.cedar", &harmless("extra"));
    let good = packed(&house, NEXT);
    (house, good)
}

/// What would do is taken after all.
async fn heals(house: &House, good: &[u8]) {
    assert_eq!(house.events("policy.activated").len(), 1);
    publish(house, good, &PINNED.sign(good, NEXT));
    let mut operator = admin(house).await;
    let done = operator.reload(ReloadRequest::default()).await.unwrap().into_inner();
    assert_eq!((done.outcome().as_str_name(), done.mistakes.len()), ("OUTCOME_ACTIVATED", 0));
    let event = generation(house, 2).await;
    let facts = facts(&event);
    assert_eq!(
        (&facts["bundle_serial"], &facts["bundle_digest"]),
        (&NEXT.into(), &format!("sha256:{}", hex(&sha256(good))).into())
    );
}

// rows: POL-04 (bad signature: the old generation stays)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signatures_and_serials() {
    let (house, good) = running().await;
    each(&house, of_signatures(&good)).await;
    each(&house, of_serials(&house)).await;
    fs::remove_file(house.path("policy.tar.gz.sig")).unwrap();
    let done = admin(&house).await.reload(ReloadRequest::default()).await.unwrap().into_inner();
    assert!(
        done.mistakes[0].file.ends_with("policy.tar.gz.sig") && done.mistakes[0].message.contains("cannot be read")
    );
    heals(&house, &good).await;
}

// rows: POL-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_in_it() {
    let (house, good) = running().await;
    each(&house, of_entries(&good)).await;
    each(&house, of_sets(&good)).await;
    heals(&house, &good).await;
}

// rows: POL-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifests_and_lengths() {
    let (house, good) = running().await;
    each(&house, of_manifests(&good)).await;
    each(&house, of_lengths(&good)).await;
    heals(&house, &good).await;
}

// rows: POL-04 (owner and mode)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_anyone_may_change() {
    use std::os::unix::fs::PermissionsExt;
    let (house, good) = running().await;
    publish(&house, &good, &PINNED.sign(&good, NEXT));
    for name in ["policy.tar.gz", "policy.tar.gz.sig"] {
        fs::set_permissions(house.path(name), fs::Permissions::from_mode(0o666)).unwrap();
        let done = admin(&house).await.reload(ReloadRequest::default()).await.unwrap().into_inner();
        assert!(done.mistakes[0].file.ends_with(name) && done.mistakes[0].message.contains("anyone may change it"));
        fs::set_permissions(house.path(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    heals(&house, &good).await;
}
