//! System calls of the daemon that fail or hang.

use super::house::{House, eventually};
use std::{
    fs, io,
    process::{Child, Command, Stdio},
};

/// strace, which makes the system calls of the daemon fail or hang.
pub(crate) struct Injected(Child);

impl Injected {
    pub(crate) async fn into(house: &House, what: &str) -> Option<Self> {
        let mut strace = Command::new("strace");
        strace.args([
            "-f",
            "-qq",
            "-e",
            "trace=fdatasync",
            "-e",
            &format!("inject=fdatasync:{what}"),
            "-o",
            "/dev/null",
        ]);
        let started = strace.args(["-p", &house.pid().to_string()]).stderr(Stdio::null()).spawn();
        let Ok(mut child) = started.inspect_err(|e: &io::Error| eprintln!("SKIPPED: strace is needed: {e}")) else {
            return None;
        };
        let traced = || {
            let status = fs::read_to_string(format!("/proc/{}/status", house.pid())).unwrap();
            let tracer = status.lines().find_map(|l| l.strip_prefix("TracerPid:")).unwrap().trim() != "0";
            (tracer || child.try_wait().unwrap().is_some()).then_some(tracer)
        };
        if eventually("strace is attached", traced).await {
            // Threads are attached one by one; the audit thread is known to be when its call fails.
            return Some(Self(child));
        }
        eprintln!("SKIPPED: this machine does not let strace attach");
        None
    }
}

impl Drop for Injected {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        let _ = self.0.wait();
    }
}
