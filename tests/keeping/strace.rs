//! kill -9 at a chosen system call of the daemon.

use crate::house::{House, eventually};
use std::{
    fs, io,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// strace on the daemon, which kills it when it makes this system call for the n-th time; dropped, it lets go.
pub(crate) struct Killer(Child);

impl Killer {
    /// `None`, said aloud, where strace is missing or may not attach.
    pub(crate) async fn at(house: &House, call: &str, n: usize) -> Option<Self> {
        let (pid, trace) = (house.pid().to_string(), format!("trace={call}"));
        let inject = format!("inject={call}:signal=KILL:when={n}");
        let arguments = ["-f", "-qq", "-e", &trace, "-e", &inject, "-o", "/dev/null", "-p", &pid];
        let started = Command::new("strace").args(arguments).stderr(Stdio::null()).spawn();
        let Ok(child) = started.inspect_err(|e: &io::Error| eprintln!("SKIPPED: strace is needed: {e}")) else {
            return None;
        };
        let mut killer = Self(child);
        let traced = || {
            let ended = killer.0.try_wait().unwrap().is_some();
            (ended || all_threads_are_traced(&pid)).then_some(!ended)
        };
        if eventually("strace is attached", traced).await {
            return Some(killer);
        }
        eprintln!("SKIPPED: this machine does not let strace attach");
        None
    }
}

/// The thread that writes is one of them.
fn all_threads_are_traced(pid: &str) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    let threads = threads.map(|entry| entry.unwrap().path().join("status"));
    let mut statuses = threads.filter_map(|path| fs::read_to_string(path).ok());
    statuses.all(|status| !status.lines().any(|line| line == "TracerPid:\t0"))
}

impl Drop for Killer {
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
