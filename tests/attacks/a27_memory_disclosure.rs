//! A process of the daemon's own user: it reads the memory and the environment, attaches as a debugger, and crashes the
//! daemon for its core, while the daemon holds a person's tokens.

use crate::{
    kit::*,
    ward::{NOBODY, as_nobody, give_away, is_root, reachable_binary},
};
use std::{
    os::unix::{
        fs::{FileExt, MetadataExt},
        process::{CommandExt, ExitStatusExt},
    },
    path::Path,
    process::{Child, Command, Stdio},
};

/// A process that ends with its test.
struct Prey(Child);

impl Drop for Prey {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A shell's command as [`NOBODY`], who would like cores, in this folder.
fn prey(script: &str, folder: &Path) -> Prey {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(format!("ulimit -c unlimited; {script}")).current_dir(folder).uid(NOBODY).gid(NOBODY);
    Prey(shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

/// What the spy gets of a process: its memory, its environment, a hold on it.
fn spied(pid: u32) -> [bool; 3] {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let start = u64::from_str_radix(maps.split('-').next().unwrap(), 16).unwrap();
    [
        format!("exec 3</proc/{pid}/mem && dd bs=1 count=4 skip={start} iflag=skip_bytes <&3"),
        format!("cat /proc/{pid}/environ"),
        format!("timeout 2 strace -qq -o /dev/null -e trace=none -p {pid}; test $? = 124"),
    ]
    .map(|script| as_nobody("/bin/sh", &["-c", &script]).status.success())
}

/// Whether this is anywhere in what the process may write to.
fn holds(pid: u32, secret: &str) -> bool {
    let memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
    maps.lines().filter(|line| line.contains(" rw")).any(|line| {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let mut bytes = vec![0; usize::try_from(number(end) - number(start)).unwrap()];
        let read = memory.read_at(&mut bytes, number(start)).unwrap_or(0);
        String::from_utf8_lossy(&bytes[..read]).contains(secret)
    })
}

#[tokio::test]
async fn what_it_holds_is_seen_by_nobody() {
    if !is_root("a daemon and a spy of one user") {
        return;
    }
    let house = Plan::new().build();
    let program = reachable_binary(&house);
    give_away(house.folder.path());
    let serve = format!("exec {} serve --config {}", program.display(), house.path("narrowgate.toml").display());
    let mut daemon = prey(&serve, house.folder.path());
    eventually("the socket", || house.path("run/agent.sock").exists().then_some(())).await;
    let mut agent = house.agent().await;
    house.login(&mut agent, &[READ]).await.unwrap();
    let pid = daemon.0.id();
    // It is worth it: whoever is root finds the token there.
    assert!(holds(pid, &house.server.issues()[0].refresh), "the eyes of this test");
    assert_eq!(spied(pid), [false; 3], "memory, environment, a debugger");
    assert_eq!(fs::metadata(format!("/proc/{pid}/mem")).unwrap().uid(), 0);
    for place in ["environ", "cmdline"] {
        let told = String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{place}")).unwrap()).into_owned();
        assert!(!house.server.secrets().iter().any(|secret| told.contains(secret)), "{place}");
    }
    // The first signal is taken by Rust's own handler, which lets go of it.
    let crash = || {
        as_nobody("/bin/sh", &["-c", &format!("kill -SEGV {pid}")]);
        daemon.0.try_wait().unwrap()
    };
    let status = eventually("the crash", crash).await;
    assert_eq!((status.signal(), status.core_dumped()), (Some(11), false));
    let cores = fs::read_dir(house.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!cores.into_iter().any(|name| name.to_string_lossy().starts_with("core")));
    // The same spy has all of a process that does not close itself.
    let open = prey("exec sleep 60", house.folder.path());
    let runs = || fs::read_to_string(format!("/proc/{}/cmdline", open.0.id())).unwrap().starts_with("sleep");
    eventually("sleep runs", || runs().then_some(())).await;
    assert_eq!(spied(open.0.id())[..2], [true; 2]);
}
