//! What these tests share: a daemon under another user, helpers that run inside this very program, what was skipped.

use crate::house::{House, binary};
use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// A user that owns nothing on any machine.
pub(crate) const NOBODY: u32 = 64_321;

/// Whether the tests run as root; said aloud where they do not.
pub(crate) fn is_root(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: {what} needs another user; run the tests as root");
    }
    root
}

/// A line of `/proc/PID/status`.
pub(crate) fn status_line(pid: u32, key: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|l| l.strip_prefix(&format!("{key}:"))).unwrap().trim().to_owned()
}

/// Gives a folder and all in it to [`NOBODY`].
pub(crate) fn give_away(folder: &Path) {
    chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            give_away(&entry.path());
        } else {
            chown(entry.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
}

/// Runs a command as [`NOBODY`].
pub(crate) fn as_nobody(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).uid(NOBODY).gid(NOBODY).stdin(Stdio::null()).output().unwrap()
}

/// A copy of the binary that [`NOBODY`] can reach, inside the house.
pub(crate) fn reachable_binary(house: &House) -> std::path::PathBuf {
    let copy = house.path("narrowgate");
    // By another process: one that this one wrote to cannot be run while a test beside us forks (ETXTBSY).
    assert!(Command::new("cp").arg(binary().get_program()).arg(&copy).status().unwrap().success());
    copy
}

/// Runs one test of this program again as a helper: it knows by a variable, and what it prints is its report.
pub(crate) fn helper(test: &str, variable: &str, value: &str) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(variable, value);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    said
}

/// Ends a child and its wait.
pub(crate) fn end(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// A port of our own that counts who connects.
pub(crate) struct Counter {
    pub(crate) port: u16,
    count: Arc<AtomicUsize>,
}

impl Counter {
    pub(crate) fn listen() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
        let counting = Arc::clone(&count);
        std::thread::spawn(move || {
            for _ in listener.incoming() {
                counting.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { port, count }
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}
