//! How these tests make bundles, good and bad: with code of their own beside the commands', so that the format is held
//! from outside.

use crate::{
    house::{COURIER, House, Plan, binary, write},
    kit::{self, MAIL},
};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{Compress, Compression, FlushCompress, read::GzDecoder, write::GzEncoder};
use narrowgate::{
    dev::ca::San,
    platform::digest::{hex, sha256},
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{Read, Write},
    process::Output,
};

/// A key made of this byte.
pub(crate) struct Key(pub(crate) u8);

/// The key that is pinned.
pub(crate) const PINNED: Key = Key(7);

impl Key {
    fn pair(&self) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[self.0; 32]).unwrap()
    }

    fn spki(&self) -> Vec<u8> {
        let head = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        [head.as_slice(), self.pair().public_key().as_ref()].concat()
    }

    pub(crate) fn id(&self) -> String {
        hex(&sha256(&self.spki()))[..32].to_owned()
    }

    /// RFC 8410 §7, as OpenSSL writes it.
    pub(crate) fn private_pem(&self) -> String {
        let head = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
        pem("PRIVATE KEY", &[head.as_slice(), &[self.0; 32]].concat())
    }

    pub(crate) fn public_pem(&self) -> String {
        pem("PUBLIC KEY", &self.spki())
    }

    /// The signature file of an archive.
    pub(crate) fn sign(&self, archive: &[u8], serial: u64) -> String {
        let digest = hex(&sha256(archive));
        let message =
            [b"narrowgate policy bundle signature v1\0".as_slice(), &serial.to_be_bytes(), digest.as_bytes()].concat();
        self.signature(&message, &digest, serial)
    }

    pub(crate) fn signature(&self, message: &[u8], digest: &str, serial: u64) -> String {
        let signature = STANDARD.encode(self.pair().sign(message));
        json!({
            "format": 1, "algorithm": "Ed25519", "key_id": self.id(), "serial": serial, "archive_sha256": digest,
            "signature": signature,
        })
        .to_string()
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// A file of an archive, or what is in the place of one.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    /// The type flag of its header; `0` is a file.
    pub(crate) kind: u8,
    pub(crate) mode: u32,
    pub(crate) body: Vec<u8>,
}

impl Entry {
    pub(crate) fn file(name: &str, body: &str) -> Self {
        Self { name: name.as_bytes().to_vec(), kind: b'0', mode: 0o644, body: body.as_bytes().to_vec() }
    }
}

/// What is in an archive, the manifest first.
pub(crate) fn unpacked(archive: &[u8]) -> Vec<Entry> {
    let mut all = tar::Archive::new(GzDecoder::new(archive));
    let entry = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.unwrap();
        let name = entry.path_bytes().into_owned();
        let mut body = Vec::new();
        entry.read_to_end(&mut body).unwrap();
        Entry { name, kind: entry.header().entry_type().as_byte(), mode: entry.header().mode().unwrap(), body }
    };
    all.entries().unwrap().map(entry).collect()
}

/// The tar of entries, whatever they are called.
pub(crate) fn tar_of(entries: &[Entry]) -> Vec<u8> {
    let mut tar = Vec::new();
    for entry in entries {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..entry.name.len()].copy_from_slice(&entry.name);
        header.set_entry_type(tar::EntryType::new(entry.kind));
        if [b'1', b'2'].contains(&entry.kind) {
            header.set_link_name("agents.toml").unwrap();
        }
        header.set_size(entry.body.len() as u64);
        header.set_mode(entry.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        tar.extend_from_slice(header.as_bytes());
        tar.extend_from_slice(&entry.body);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A gzip that unpacks to these bytes so many times, and does not end.
pub(crate) fn repeated(bytes: &[u8], times: usize) -> Vec<u8> {
    let mut once = Vec::with_capacity(bytes.len() + 1024);
    let mut compress = Compress::new(Compression::default(), false);
    compress.compress_vec(bytes, &mut once, FlushCompress::Full).unwrap();
    assert_eq!(compress.total_in(), bytes.len() as u64);
    [[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255].as_slice(), &once.repeat(times)].concat()
}

/// The archive of entries as they are.
pub(crate) fn archive_of(entries: &[Entry]) -> Vec<u8> {
    gzip(&tar_of(entries))
}

/// Writes the manifest anew for the files that are there, changed like this.
pub(crate) fn relisted(mut entries: Vec<Entry>, change: impl FnOnce(&mut Value)) -> Vec<Entry> {
    let files: Vec<Value> = entries[1..]
        .iter()
        .map(|entry| {
            let name = String::from_utf8_lossy(&entry.name).into_owned();
            json!({ "name": name, "size": entry.body.len(), "sha256": hex(&sha256(&entry.body)) })
        })
        .collect();
    let mut manifest: Value = serde_json::from_slice(&entries[0].body).unwrap();
    manifest["files"] = files.into();
    change(&mut manifest);
    entries[0].body = manifest.to_string().into_bytes();
    entries
}

/// Entries with another one, in its place by name.
pub(crate) fn with(mut entries: Vec<Entry>, entry: Entry) -> Vec<Entry> {
    let at = entries[1..].iter().position(|it| it.name > entry.name).map_or(entries.len(), |at| at + 1);
    entries.insert(at, entry);
    entries
}

const FOLDER: &str =
    "[policy]\ndirectory = \"policies\"\n\n[registry]\nagents = \"agents.toml\"\napis = \"apis.toml\"\n";

/// A house with an operator, that is not started; its policies come from `origin` (`file = ..` or `url = ..`). Beside its
/// configuration is one of the folder that bundles are made from, `packing.toml`.
pub(crate) fn build(plan: Plan, origin: impl FnOnce(&House) -> String, policy: &str) -> House {
    let house = plan.build();
    let text = fs::read_to_string(house.path("narrowgate.toml")).unwrap();
    assert!(text.contains(FOLDER), "{text}");
    write(&house.path("packing.toml"), &text);
    let origin = origin(&house);
    let bundle = format!("[policy]\n{policy}\n\n[policy.bundle]\n{origin}\npublic_keys = [\"signing.pem\"]\n");
    write(&house.path("narrowgate.toml"), &text.replace(FOLDER, &bundle));
    write(&house.path("signing.pem"), &PINNED.public_pem());
    write(&house.path("signing.key"), &PINNED.private_pem());
    house
}

/// The same with the bundle in a file, `policy.tar.gz`.
pub(crate) fn of_file(policy: &str) -> House {
    build(kit::plan(), |_| "file = \"policy.tar.gz\"".to_owned(), policy)
}

/// Runs a command of `narrowgate policy`.
pub(crate) fn policy(arguments: &[&str]) -> Output {
    binary().arg("policy").args(arguments).output().unwrap()
}

/// What a command printed, and its exit code.
pub(crate) fn said(output: &Output) -> (Option<i32>, String) {
    let both = [output.stdout.as_slice(), &output.stderr].concat();
    (output.status.code(), String::from_utf8(both).unwrap())
}

/// The bundle of the folder of now, made by the command.
pub(crate) fn packed(house: &House, serial: u64) -> Vec<u8> {
    let (config, out) = (house.path("packing.toml"), house.path("made.tar.gz"));
    let serial = serial.to_string();
    let paths = [config.to_str().unwrap(), out.to_str().unwrap()];
    let output = policy(&["bundle", "--config", paths[0], "--out", paths[1], "--serial", &serial]);
    assert!(output.status.success(), "{}", said(&output).1);
    fs::read(out).unwrap()
}

/// Puts a bundle where the daemon looks.
pub(crate) fn publish(house: &House, archive: &[u8], signature: &str) {
    for (name, bytes) in [("policy.tar.gz", archive), ("policy.tar.gz.sig", signature.as_bytes())] {
        let draft = house.path(".draft");
        fs::write(&draft, bytes).unwrap();
        fs::rename(draft, house.path(name)).unwrap();
    }
}

/// The bundle of the folder of now, signed and published.
pub(crate) fn ship(house: &House, serial: u64) -> Vec<u8> {
    let archive = packed(house, serial);
    publish(house, &archive, &PINNED.sign(&archive, serial));
    archive
}

/// Begins as the agent `courier`. After a restart the new port may not be in the log yet.
pub(crate) async fn begins(house: &House) {
    for _ in 0..400 {
        let identity = house.agents_ca.client("agent", &[San::Uri(COURIER)]).unwrap();
        if let Ok(mut agent) = house.tls_agent(identity).await {
            house.begin(&mut agent, &MAIL).await.unwrap();
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("nobody is at the door");
}
