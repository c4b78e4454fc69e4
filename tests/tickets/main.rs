//! Tickets hold: what must not be possible does not compile, each for the reason that its `.stderr` names.
//!
//! The cases are compiled by rustc alone, against the very library that this test is linked with: in a second for all
//! of them. trybuild would build every dependency once more, in a target folder and profile of its own. The messages
//! are those of the pinned toolchain; after a change, `NARROWGATE_BLESS=1 cargo test --release --test tickets` writes
//! them anew, to be read before they are committed.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use serde_json::Value;
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// rustc and the arguments that make a case see the library.
struct Compiler {
    rustc: PathBuf,
    library: PathBuf,
    dependencies: PathBuf,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tickets")
}

fn compiler() -> &'static Compiler {
    static COMPILER: OnceLock<Compiler> = OnceLock::new();
    COMPILER.get_or_init(|| {
        let cargo = PathBuf::from(env::var_os("CARGO").expect("run this test by cargo"));
        // Several libraries may lie in the target folder. Cargo knows which one this test was built with.
        let dependencies = env::current_exe().unwrap().parent().unwrap().to_owned();
        let released = dependencies.parent().unwrap().ends_with("release");
        let mut asked = Command::new(&cargo);
        asked.args(["test", "--no-run", "--locked", "--offline", "--message-format=json", "--test", "tickets"]);
        asked.args(released.then_some("--release")).current_dir(env!("CARGO_MANIFEST_DIR"));
        let answer = asked.output().unwrap();
        assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
        let library =
            String::from_utf8(answer.stdout).unwrap().lines().find_map(library).expect("no library was built");
        Compiler { rustc: cargo.with_file_name("rustc"), library, dependencies }
    })
}

/// The library of narrowgate, if this message of cargo's is about it.
fn library(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let target = message.get("target")?;
    let ours = target.get("name")? == "narrowgate" && target.get("kind")?.as_array()?.iter().any(|kind| kind == "lib");
    let mut files = message.get("filenames")?.as_array()?.iter().filter_map(Value::as_str);
    files.find(|file| ours && file.ends_with(".rlib")).map(PathBuf::from)
}

impl Compiler {
    /// Whether a file compiles, and what rustc says: one line for each error.
    fn compile(&self, file: &Path) -> (bool, String) {
        let scratch = tempfile::tempdir().unwrap();
        let extern_of = |path: &Path| format!("narrowgate={}", path.display());
        let output = Command::new(&self.rustc)
            .args([
                "--edition=2024",
                "--crate-type=lib",
                "--emit=metadata",
                "--error-format=short",
                "--cap-lints=allow",
            ])
            .arg("--extern")
            .arg(extern_of(&self.library))
            .arg("-L")
            .arg(format!("dependency={}", self.dependencies.display()))
            .arg("--out-dir")
            .arg(scratch.path())
            .arg(file.file_name().unwrap())
            .current_dir(file.parent().unwrap())
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    }
}

fn codes(stderr: &str) -> Vec<&str> {
    stderr.split("error[").skip(1).filter_map(|rest| rest.split(']').next()).collect()
}

/// Each case fails to compile with the message beside it.
fn refused(wanted: &[(&str, &str)]) {
    let mut problems = Vec::new();
    for (name, code) in wanted {
        let file = folder().join("refused").join(name).with_extension("rs");
        let (compiled, said) = compiler().compile(&file);
        let expected = file.with_extension("stderr");
        if env::var_os("NARROWGATE_BLESS").is_some() {
            fs::write(&expected, &said).unwrap();
        }
        if compiled {
            problems.push(format!("{name} compiles"));
        } else if codes(&said).is_empty() || codes(&said).iter().any(|found| found != code) {
            problems.push(format!("{name} fails for another reason than {code}:\n{said}"));
        } else if fs::read_to_string(&expected).unwrap_or_default() != said {
            problems.push(format!("{name} fails with another message than {}:\n{said}", expected.display()));
        }
    }
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

/// If this did not compile, nothing else here would prove anything.
#[test]
fn the_honest_way_compiles() {
    let (compiled, said) = compiler().compile(&folder().join("honest.rs"));
    assert!(compiled, "{said}");
}

#[test]
fn no_ticket_can_be_forged() {
    refused(&[
        ("forge_a_caller", "E0451"),
        ("forge_a_claim", "E0451"),
        ("forge_a_permit", "E0451"),
        ("forge_a_record", "E0451"),
        ("forge_an_issued_token", "E0451"),
        ("forge_a_release", "E0451"),
        ("forge_a_refresh_permit", "E0451"),
        ("forge_a_refreshed_token", "E0451"),
        ("forge_a_verified_subject", "E0451"),
        ("forge_a_request_permit", "E0451"),
        ("forge_an_obtained_token", "E0451"),
    ]);
}

#[test]
fn no_step_of_the_corridor_can_be_left_out() {
    refused(&[
        ("redeem_without_a_record", "E0308"),
        ("redeem_without_a_permit", "E0308"),
        ("queue_a_permit", "E0277"),
        ("keep_unreleased", "E0308"),
        ("refresh_without_a_record", "E0308"),
        ("refresh_without_a_permit", "E0308"),
        ("queue_a_refresh", "E0277"),
        ("hold_unreleased", "E0308"),
        ("request_without_a_record", "E0308"),
        ("queue_a_request", "E0277"),
    ]);
}

#[test]
fn nothing_is_spent_twice() {
    refused(&[
        ("spend_twice", "E0382"),
        ("use_a_claim_after_its_end", "E0382"),
        ("permit_twice", "E0382"),
        ("record_twice", "E0382"),
        ("redeem_twice", "E0382"),
        ("refresh_twice", "E0382"),
    ]);
}

#[test]
fn secrets_do_not_print_compare_or_multiply() {
    refused(&[
        ("print_a_secret", "E0277"),
        ("turn_a_secret_into_text", "E0599"),
        ("compare_secrets", "E0369"),
        ("clone_a_secret", "E0599"),
    ]);
}

#[test]
fn tickets_do_not_multiply() {
    refused(&[("clone_a_ticket", "E0599")]);
}

#[test]
fn tickets_are_not_taken_apart_outside() {
    refused(&[("take_a_ticket_apart", "E0624")]);
}

/// Every case is run, and every message belongs to a case.
#[test]
fn no_case_is_forgotten() {
    let this = fs::read_to_string(folder().join("main.rs")).unwrap();
    let mut found = 0;
    for entry in fs::read_dir(folder().join("refused")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(this.contains(&format!("(\"{name}\", \"E")), "{} is not run", path.display());
        assert!(path.with_extension("rs").exists() && path.with_extension("stderr").exists(), "half a case: {name}");
        found += 1;
    }
    assert!(found > 30, "the cases were not found");
}
