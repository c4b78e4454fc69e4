use crate::{
    house::Plan,
    ward::{helper, status_line},
};
use narrowgate::platform::sandbox::{self, Places};
use std::{
    fs, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const EPERM: i32 = 1;
const EACCES: i32 = 13;
const INSIDE: &str = "NARROWGATE_TEST_INSIDE";

/// Whether this kernel has Landlock; said aloud where it has not.
fn has_landlock(gaps: &str) -> bool {
    let has = !gaps.contains("Landlock");
    if !has {
        eprintln!("SKIPPED: this kernel has no Landlock: {gaps}");
    }
    has
}

fn told(what: &str, result: io::Result<()>) {
    let error = result.err().and_then(|e| e.raw_os_error()).unwrap_or(0);
    say(&format!("{what}={error};"));
}

#[expect(clippy::print_stdout, reason = "a helper reports on standard output")]
fn say(text: &str) {
    println!("{text}");
}

/// Runs inside the sandbox of the daemon, in a process of its own, and tries everything.
#[test]
fn inside() {
    let Ok(folder) = std::env::var(INSIDE) else { return };
    let folder = PathBuf::from(folder);
    let places = Places {
        read: vec![folder.join("config/narrowgate.toml")],
        write: vec![folder.join("state/audit")],
        sees_peers: false,
    };
    let gaps = sandbox::enter(&places);
    say(&format!("gaps={};", gaps.iter().map(|g| format!("{} {}", g.what, g.why)).collect::<String>()));
    let nothing = || {
        let mut command = Command::new("/bin/true");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    };
    told("spawn", nothing().status().map(drop));
    // It would redirect our own output.
    told("exec", Err(Command::new("/bin/true").exec()));
    told("thread", std::thread::Builder::new().spawn(|| {}).map(|t| t.join().unwrap()));
    let thread = std::thread::spawn(move || nothing().status().map(drop));
    told("spawn_of_a_thread", thread.join().unwrap());
    told("descriptor", linux::take_a_descriptor());
    told("clock", linux::set_the_clock());
    told("root", linux::change_root());
    told("read_config", fs::read(folder.join("config/narrowgate.toml")).map(drop));
    told("read_new_config", fs::read(folder.join("config/new.toml")).map(drop));
    told("write_config", fs::write(folder.join("config/narrowgate.toml"), "").map(drop));
    told("read_elsewhere", fs::read(folder.join("elsewhere/secret")).map(drop));
    told("write_elsewhere", fs::write(folder.join("elsewhere/new"), ""));
    // Why an agent that is known by its program leaves Landlock out.
    let parent = std::os::unix::process::parent_id();
    told("program_of_a_peer", fs::read_link(format!("/proc/{parent}/exe")).map(drop));
    told("start_of_a_peer", fs::read(format!("/proc/{parent}/stat")).map(drop));
    told("resolver", fs::read("/etc/hosts").map(drop));
    told("make_log", fs::create_dir_all(folder.join("state/audit")));
    told("write_log", fs::write(folder.join("state/audit/a.jsonl"), "x"));
    told("move_log", fs::rename(folder.join("state/audit/a.jsonl"), folder.join("state/audit/b.jsonl")));
}

/// Calls that the standard library does not make. None would do anything here if it were let through.
mod linux {
    use rustix::{
        process::{Pid, PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open},
        time::{ClockId, Timespec, clock_settime},
    };
    use std::io;

    pub(super) fn take_a_descriptor() -> io::Result<()> {
        let pid: Pid = getpid();
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(pidfd_getfd(pidfd, 0, PidfdGetfdFlags::empty()).map(drop)?)
    }

    pub(super) fn set_the_clock() -> io::Result<()> {
        // No such time: let through, it would be EINVAL.
        Ok(clock_settime(ClockId::Realtime, Timespec { tv_sec: 0, tv_nsec: 2_000_000_000 })?)
    }

    pub(super) fn change_root() -> io::Result<()> {
        Ok(rustix::process::chroot("/nowhere-at-all")?)
    }
}

fn made(folder: &Path) {
    for name in ["config", "state", "elsewhere"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    for name in ["config/narrowgate.toml", "config/new.toml", "elsewhere/secret"] {
        fs::write(folder.join(name), "x").unwrap();
    }
}

// rows: TIME-09
#[test]
fn neither_by_a_thread_nor_in_place_of_the_daemon() {
    let folder = tempfile::tempdir().unwrap();
    made(folder.path());
    let said = helper("no_program_is_started::inside", INSIDE, folder.path().to_str().unwrap());
    let number = |what: &str| -> i32 {
        let (_, rest) = said.split_once(&format!("{what}=")).unwrap_or_else(|| panic!("{what} was not tried: {said}"));
        rest.split_once(';').unwrap().0.parse().unwrap()
    };
    for what in ["spawn", "exec", "spawn_of_a_thread", "descriptor", "clock", "root"] {
        assert_eq!(number(what), EPERM, "{what}: {said}");
    }
    for what in
        ["thread", "read_config", "read_new_config", "start_of_a_peer", "resolver", "make_log", "write_log", "move_log"]
    {
        assert_eq!(number(what), 0, "{what}: {said}");
    }
    assert!(!said.contains("seccomp"), "{said}");
    if has_landlock(&said) {
        for what in ["write_config", "read_elsewhere", "write_elsewhere", "program_of_a_peer"] {
            assert_eq!(number(what), EACCES, "{what}: {said}");
        }
    }
}

// rows: TIME-09
#[tokio::test]
async fn the_daemon_itself_is_filtered_and_gains_nothing() {
    let house = Plan::new().open().await;
    assert_eq!(status_line(house.pid(), "Seccomp"), "2");
    assert_eq!(status_line(house.pid(), "NoNewPrivs"), "1");
    // Every thread of it.
    for task in fs::read_dir(format!("/proc/{}/task", house.pid())).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        assert!(status.contains("Seccomp:\t2") && status.contains("NoNewPrivs:\t1"), "{status}");
        assert!(status.contains("Seccomp_filters:\t2"), "{status}");
    }
    let mut agent = house.agent().await;
    house.login(&mut agent, &["customers.read"]).await.unwrap();
    // Its log says what this kernel could not do, and that nobody should run it as root.
    assert_eq!(house.log().contains("running as root"), rustix::process::geteuid().is_root());
    has_landlock(&house.log());
}

// rows: TIME-09
#[tokio::test]
async fn switched_off_it_says_so() {
    let house = Plan::new().config("[limits]", "[process]\nsandbox = \"off\"\n[limits]").open().await;
    assert_eq!(status_line(house.pid(), "Seccomp"), "0");
    assert!(house.log().contains("the sandbox is off"));
}

// rows: TIME-09 TIME-06
#[tokio::test]
async fn required_and_not_to_be_had_it_does_not_start() {
    // An agent that is known by its program must be seen, and Landlock hides it.
    let mut plan = Plan::new().config("[limits]", "[process]\nsandbox = \"required\"\n[limits]");
    plan.agents = plan.agents.replacen("owner =", "executable = \"/usr/bin/quoter\"\nowner =", 1);
    let house = plan.build();
    let child = house.command("serve").stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("Landlock") && said.contains("sandbox = \"on\""), "{said}");
    assert!(!house.path("run/agent.sock").exists());
    let wrong = Plan::new().config("[limits]", "[process]\nsandbox = \"of\"\n[limits]").build();
    let output = wrong.command("check").output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("`process.sandbox` must be"), "{output:?}");
}

// rows: GRPC-13 (a signal that means something to other daemons)
#[tokio::test]
async fn signals_that_mean_nothing_here_end_nothing() {
    use rustix::process::{Pid, Signal, kill_process};
    let mut house = Plan::new().open().await;
    let pid = Pid::from_raw(i32::try_from(house.pid()).unwrap()).unwrap();
    for signal in [Signal::HUP, Signal::USR1, Signal::USR2, Signal::HUP] {
        kill_process(pid, signal).unwrap();
    }
    crate::house::eventually("the log to say so", || house.log().contains("SIGHUP").then_some(())).await;
    let mut agent = house.agent().await;
    house.begin(&mut agent, &["customers.read"]).await.unwrap();
    assert_eq!(house.stop().await, Some(0));
}
