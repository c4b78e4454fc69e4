//! `narrowgate dev` says that it is not for production, what to export and what to type; that works, and a signal ends it.

use crate::house::binary;
use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

/// It ends with the test, however that ends.
struct Dev(Child);

impl Drop for Dev {
    fn drop(&mut self) {
        // It has mostly ended by then.
        let _ = self.0.kill();
    }
}

fn dev(arguments: &[&str]) -> (Dev, BufReader<ChildStdout>) {
    let mut command = binary();
    let mut child = command.arg("dev").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(child.stdout.take().unwrap());
    (Dev(child), said)
}

/// What it prints up to this line.
fn until(said: &mut impl BufRead, last: &str) -> String {
    let mut text = String::new();
    while !text.lines().next_back().is_some_and(|line| line.starts_with(last)) {
        assert_ne!(said.read_line(&mut text).unwrap(), 0, "it ended early: {text}");
    }
    text
}

fn stop(mut dev: Dev, mut said: impl Read) {
    let pid = rustix::process::Pid::from_child(&dev.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(dev.0.wait().unwrap().code(), Some(0));
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
}

#[test]
fn what_it_prints_can_be_typed() {
    let (child, mut said) = dev(&[]);
    let text = until(&mut said, "It runs until");
    assert!(text.starts_with("NOT FOR PRODUCTION."), "{text}");
    let lines = |with: &str| text.lines().filter(|line| line.trim_start().starts_with(with)).collect::<Vec<_>>();
    let exports = lines("export ");
    let folder =
        exports.iter().find_map(|line| line.split_once("NARROWGATE_CONFIG=")?.1.strip_suffix("/narrowgate.toml"));
    let folder = folder.unwrap().to_owned();
    let commands = lines("narrowgate ");
    // Those that need a person, or what the login gave, are for a person to type.
    let typed: Vec<&str> = commands.iter().filter(|line| !line.contains("token ")).copied().collect();
    assert!(typed.len() >= 4 && typed.len() < commands.len(), "{text}");
    let script = format!("set -e\n{}\n{}\n", exports.join("\n"), typed.join("\n"));
    let ran = Command::new("sh").arg("-c").arg(&script).env_clear().env("PATH", "/usr/bin:/bin").output().unwrap();
    assert!(ran.status.success(), "{script}\n{ran:?}");
    let answers = String::from_utf8_lossy(&ran.stdout);
    assert!(answers.contains("frozen: agent quoter by root (incident-4711)"), "{answers}");
    assert!(Path::new(&folder).exists());
    stop(child, said);
    assert!(!Path::new(&folder).exists());
}

#[test]
fn a_program_is_told_the_same() {
    let above = tempfile::tempdir().unwrap();
    let kept = above.path().join("a folder");
    let (child, mut said) = dev(&["--output", "json", "--keep", kept.to_str().unwrap()]);
    let value: serde_json::Value = serde_json::from_str(&until(&mut said, "}")).unwrap();
    assert!(value["warning"].as_str().unwrap().starts_with("NOT FOR PRODUCTION."), "{value}");
    let variable = |name: &str| value["export"][name].as_str().unwrap().to_owned();
    let admin = variable("NARROWGATE_ADMIN");
    assert_eq!(Path::new(&admin), kept.canonicalize().unwrap().join("run/admin.sock"));
    let begin = ["token", "begin", "--client", "sales-bound", "--scope", "customers.read"];
    let begun = binary().args(begin).args(["--endpoint", &variable("NARROWGATE_ENDPOINT")]).output().unwrap();
    assert!(begun.status.success(), "{begun:?}");
    let issuer = value["issuer"].as_str().unwrap();
    assert!(String::from_utf8_lossy(&begun.stdout).contains(issuer), "{begun:?}");
    stop(child, said);
    assert!(kept.join("audit").exists(), "what is to be kept is kept");
}
