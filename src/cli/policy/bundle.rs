//! `narrowgate policy bundle`, `sign` and `verify`: a set as one signed file.

use super::{ConfigArg, Exit, Output, check, load};
use crate::{
    platform::{
        Clock, SystemClock,
        bundle::{self, BUNDLE_BYTES_MAX, Contents, SERIAL_MAX, SIGNATURE_BYTES_MAX, Signature, Signed, signature_of},
        digest::{hex, sha256},
        ed25519::{KEY_FILE_BYTES_MAX, PrivateKey, VerifyingKey},
        files::{read_bytes, read_text},
    },
    policy::workbench,
};
use clap::Args;
use serde_json::{Value, json};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

#[derive(Args)]
pub(in crate::cli) struct BundleArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// The file to write, such as policies.tar.gz.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What orders bundles: a daemon takes none with a lower serial than it had. Seconds since 1970 if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=SERIAL_MAX))]
    serial: Option<u64>,
    /// The time to write into it, such as 2026-11-26T12:00:00Z; none if not given.
    #[arg(long, value_name = "TIME", value_parser = time)]
    created: Option<String>,
    /// The oldest narrowgate that may take it.
    #[arg(long, value_name = "X.Y.Z", default_value = env!("CARGO_PKG_VERSION"), value_parser = version)]
    minimum_version: String,
}

#[derive(Args)]
pub(in crate::cli) struct SignArgs {
    /// The bundle.
    bundle: PathBuf,
    /// The private key: Ed25519 in PEM (PKCS#8), a file that nobody else may read.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

#[derive(Args)]
pub(in crate::cli) struct VerifyArgs {
    /// The bundle; its signature is beside it, BUNDLE.sig.
    bundle: PathBuf,
    /// Whose signature counts: a public key in PEM; may be given more than once.
    #[arg(long, value_name = "FILE", required = true)]
    public_key: Vec<PathBuf>,
}

fn time(text: &str) -> Result<String, String> {
    let parsed =
        text.parse::<jiff::Timestamp>().map_err(|_| "must be a time such as 2026-11-26T12:00:00Z".to_owned())?;
    Ok(parsed.to_string())
}

fn version(text: &str) -> Result<String, String> {
    bundle::version(text).map(|_| text.to_owned()).ok_or_else(|| "must be three numbers, such as 0.1.0".to_owned())
}

pub(super) fn run(args: &BundleArgs, output: &Output) -> Exit {
    let config = match load(&args.config, output) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let now = SystemClock.wall();
    let serial = args.serial.unwrap_or_else(|| u64::try_from(now.0 / 1000).unwrap_or_default());
    let bundled = workbench::bundle(&config, (serial, args.created.clone()), &args.minimum_version, now);
    let bundled = match bundled {
        Ok(bundled) => bundled,
        Err(findings) => return check::report(&findings, Exit::Policy, output),
    };
    if let Err(e) = put(&args.out, &bundled.archive) {
        return output.fail(Exit::Usage, &format!("{} cannot be written: {e}", args.out.display()));
    }
    let (digest, files) = (hex(&sha256(&bundled.archive)), bundled.contents.files.len());
    let text = format!(
        "{}: serial {serial}, {files} files, {} policies, {} cases passed, {} bytes\nsha256:{digest}\nnext: narrowgate \
         policy sign {} --key signing.key",
        args.out.display(),
        bundled.snapshot.len(),
        bundled.cases_passed,
        bundled.archive.len(),
        args.out.display(),
    );
    let value = json!({
        "bundle": args.out, "archive_digest": format!("sha256:{digest}"), "manifest": bundled.contents.manifest,
        "policy_digest": format!("sha256:{}", bundled.snapshot.policy_digest), "policies": bundled.snapshot.len(),
        "cases_passed": bundled.cases_passed,
    });
    output.result(&text, &value);
    Exit::Ok
}

pub(super) fn sign(args: &SignArgs, output: &Output) -> Exit {
    let named = |path: &Path, wrong: &str| format!("{} {wrong}", path.display());
    let key = match PrivateKey::load(&args.key) {
        Ok(key) => key,
        Err(wrong) => return output.fail(Exit::Usage, &named(&args.key, &wrong)),
    };
    let archive = match read_bytes(&args.bundle, BUNDLE_BYTES_MAX) {
        Ok(archive) => archive,
        Err(e) => return output.fail(Exit::Usage, &named(&args.bundle, &format!("cannot be read: {e}"))),
    };
    // Nobody signs what no daemon would take.
    let contents = match Contents::unpack(&archive) {
        Ok(contents) => contents,
        Err(wrong) => return output.fail(Exit::Policy, &named(&args.bundle, &wrong)),
    };
    let signature = match Signature::make(&archive, contents.manifest.serial, &key) {
        Ok(signature) => signature,
        Err(wrong) => return output.fail(Exit::Usage, &named(&args.key, &wrong)),
    };
    let file = signature_of(&args.bundle);
    if let Err(e) = put(&file, signature.to_text().as_bytes()) {
        return output.fail(Exit::Usage, &named(&file, &format!("cannot be written: {e}")));
    }
    let (serial, key_id) = (signature.serial, &signature.key_id);
    output.result(
        &format!("{}: serial {serial}, signed by key {key_id}", file.display()),
        &json!({ "signature": file, "serial": serial, "key_id": key_id, "archive_digest": digest_of(&signature) }),
    );
    Exit::Ok
}

pub(super) fn verify(args: &VerifyArgs, output: &Output) -> Exit {
    match verified(args) {
        Ok((signature, contents, bytes)) => {
            print(args, (&signature, &contents, bytes), output);
            Exit::Ok
        }
        Err((exit, path, wrong)) => output.fail(exit, &format!("{} {wrong}", path.display())),
    }
}

type Wrong = (Exit, PathBuf, String);

fn verified(args: &VerifyArgs) -> Result<(Signature, Contents, usize), Wrong> {
    let mut keys = Vec::new();
    for path in &args.public_key {
        let text = read_text(path, KEY_FILE_BYTES_MAX).map_err(|e| format!("cannot be read: {e}"));
        let key = text.and_then(|text| VerifyingKey::parse(&text));
        keys.push(key.map_err(|wrong| (Exit::Usage, path.clone(), wrong))?);
    }
    let read = |path: &Path, bytes_max| {
        read_bytes(path, bytes_max).map_err(|e| (Exit::Usage, path.to_owned(), format!("cannot be read: {e}")))
    };
    let file = signature_of(&args.bundle);
    let (archive, text) = (read(&args.bundle, BUNDLE_BYTES_MAX)?, read(&file, SIGNATURE_BYTES_MAX)?);
    let refused = |path: &Path| {
        let path = path.to_owned();
        move |wrong| (Exit::Refused, path, wrong)
    };
    let signature = Signature::parse(&text).map_err(refused(&file))?;
    signature.require_of(&keys).map_err(refused(&args.bundle))?;
    signature.require_for(&archive).map_err(refused(&args.bundle))?;
    let signed = Signed { archive: archive.to_vec(), signature };
    let contents = signed.open(&keys, None).map_err(|wrong| (Exit::Policy, args.bundle.clone(), wrong))?;
    Ok((signed.signature, contents, archive.len()))
}

fn digest_of(signature: &Signature) -> String {
    format!("sha256:{}", signature.archive_sha256)
}

fn print(args: &VerifyArgs, (signature, contents, bytes): (&Signature, &Contents, usize), output: &Output) {
    let (manifest, policies) = (&contents.manifest, workbench::policy_digest(contents));
    let is_ours = manifest.schema_sha256 == workbench::schema_digest(contents);
    let schema = if is_ours { "this narrowgate's" } else { "another than this narrowgate's" };
    let mut text = format!(
        "{}: serial {}, signed by key {}\n\
         archive   {} ({bytes} bytes)\n\
         policies  sha256:{policies}\n\
         schema    sha256:{}\n          {schema}\n\
         created   {}\n\
         needs     narrowgate {} or later\n\
         files     {}, with the beginning of their SHA-256",
        args.bundle.display(),
        signature.serial,
        signature.key_id,
        digest_of(signature),
        manifest.schema_sha256,
        manifest.created.as_deref().unwrap_or("not said"),
        manifest.minimum_version,
        manifest.files.len(),
    );
    for file in &manifest.files {
        let beginning: String = file.sha256.chars().take(16).collect();
        text.push_str(&format!("\n  {beginning}  {:>8}  {}", file.size, file.name));
    }
    let value: Value = json!({
        "bundle": args.bundle, "key_id": signature.key_id, "archive_digest": digest_of(signature), "manifest": manifest,
        "policy_digest": format!("sha256:{policies}"), "schema_is_ours": is_ours,
    });
    output.result(&text, &value);
}

/// Puts a file in its place whole, for anyone to read.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let draft = PathBuf::from(name);
    fs::write(&draft, bytes)?;
    fs::rename(&draft, path)
}
