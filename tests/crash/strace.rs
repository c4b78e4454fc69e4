//! System calls of the daemon that are made slow from outside.

use crate::house::{House, eventually};
use std::{
    fs, io,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// strace on the daemon, meddling with fdatasync; dropped, it lets go.
pub(crate) struct Injected(Child);

impl Injected {
    /// Every fdatasync from here on is dealt with so. `None`, said aloud, where strace is missing or may not attach.
    pub(crate) async fn into(house: &House, what: &str) -> Option<Self> {
        let inject = format!("inject=fdatasync:{what}");
        let pid = house.pid().to_string();
        let arguments = ["-f", "-qq", "-e", "trace=fdatasync", "-e", &inject, "-o", "/dev/null", "-p", &pid];
        let started = Command::new("strace").args(arguments).stderr(Stdio::null()).spawn();
        let Ok(child) = started.inspect_err(|e: &io::Error| eprintln!("SKIPPED: strace is needed: {e}")) else {
            return None;
        };
        let mut injected = Self(child);
        let traced = || {
            let ended = injected.0.try_wait().unwrap().is_some();
            (ended || all_threads_are_traced(&pid)).then_some(!ended)
        };
        if eventually("strace is attached", traced).await {
            return Some(injected);
        }
        eprintln!("SKIPPED: this machine does not let strace attach");
        None
    }
}

/// The audit thread is one of them.
fn all_threads_are_traced(pid: &str) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|entry| entry.unwrap().path().join("status"));
    let mut statuses = threads.filter_map(|path| fs::read_to_string(path).ok());
    statuses.all(|status| !status.lines().any(|line| line == "TracerPid:\t0"))
}

impl Drop for Injected {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        for _ in 0..200 {
            if matches!(self.0.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // It may wait for a thread of the dead that waits for it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
