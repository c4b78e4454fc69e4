//! System calls of the daemon that fail, hang, or end it.

use super::house::{House, eventually};
use std::{
    fs, io,
    process::{Child, Command, Stdio},
};

/// strace on the daemon, meddling with a system call; dropped, it lets go.
pub(crate) struct Injected(Child);

impl Injected {
    /// Every fdatasync from here on is dealt with so. `None`, said aloud, where strace is missing or may not attach.
    pub(crate) async fn into(house: &House, what: &str) -> Option<Self> {
        Self::at(house, "fdatasync", what).await
    }

    /// The same of another system call.
    pub(crate) async fn at(house: &House, call: &str, what: &str) -> Option<Self> {
        let (pid, trace) = (house.pid().to_string(), format!("trace={call}"));
        let inject = format!("inject={call}:{what}");
        let arguments = ["-f", "-qq", "-e", &trace, "-e", &inject, "-o", "/dev/null", "-p", &pid];
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

/// The threads that write are among them. One that has ended by itself counts, and so does a daemon that was ended.
fn all_threads_are_traced(pid: &str) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    let threads = threads.filter_map(|entry| Some(entry.ok()?.path().join("status")));
    let mut statuses = threads.filter_map(|path| fs::read_to_string(path).ok());
    statuses.all(|status| !status.lines().any(|line| line == "TracerPid:\t0"))
}

impl Drop for Injected {
    fn drop(&mut self) {
        // The kernel lets the traced go on. Asked to end by itself it may wait for a thread of the dead that waits for it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
