//! What the process gives up at start: being read by others of the same user, dumping core, gaining privileges.
//!
//! Secrets are kept out of dumps as a whole, not page by page: they live in small pieces all over the heap, and TLS and
//! HTTP libraries hold copies in buffers of their own, which are freed and not wiped (decisions 27). So the process is
//! not dumpable, which also closes `/proc/PID/mem` and ptrace to its own user and stops cores that are piped to a
//! program, and its core limit is zero, which stops those that are written to a file. Swap is for the unit file (`MemorySwapMax=0`) or an encrypted swap. Root sees everything.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit, umask};

/// Whether the processes of others can be seen. `hidepid`, and `ProtectProc` of a unit, hide them.
#[must_use]
pub fn sees_others() -> bool {
    std::fs::read("/proc/1/stat").is_ok()
}

/// Gives it up. What the system refuses is logged, not fatal: an older kernel is no reason to leave agents without
/// narrowgate, and a unit file can do the same from outside.
pub fn harden() {
    umask(rustix::fs::Mode::from_raw_mode(0o027));
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    for (what, done) in [
        ("core dumps off", setrlimit(Resource::Core, none)),
        ("memory closed to others of this user", set_dumpable_behavior(DumpableBehavior::NotDumpable)),
        ("no new privileges", rustix::thread::set_no_new_privs(true)),
    ] {
        if let Err(error) = done {
            tracing::warn!(what, %error, "the system refused to harden this process");
        }
    }
}

/// File descriptors that are asked for, where the system allows so many.
const DESCRIPTORS_WANTED: u64 = 16 * 1024;

/// Takes as many file descriptors as are wanted and allowed.
pub fn take_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(DESCRIPTORS_WANTED, |maximum| maximum.min(DESCRIPTORS_WANTED));
    if limit.current.is_some_and(|current| current < wanted)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })
    {
        tracing::warn!(%error, "the system gives no more file descriptors: fewer connections are served");
    }
}

/// How many file descriptors this process may have.
#[must_use]
pub fn descriptors() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Whether this is root, to whom permissions mean nothing.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
