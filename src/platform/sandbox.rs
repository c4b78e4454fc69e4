//! What the daemon's process takes away from itself before it opens a socket: starting programs, looking into other
//! processes, changing the system (seccomp), and every folder that the configuration does not name (Landlock).
//!
//! The list of system calls is one of refusals, answered with EPERM, not one of permissions: what a libc or a kernel of
//! tomorrow needs must not stop agents from getting tokens. A unit file can be stricter from outside, as
//! `deploy/narrowgate.service` is.

use landlock::{
    ABI, Access, AccessFs, BitFlags, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope, make_bitflags,
    path_beneath_rules,
};
use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use std::{
    collections::BTreeMap,
    error::Error,
    path::{Path, PathBuf},
};

/// How much of it is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Sandbox {
    /// What this kernel can do; what it cannot is logged.
    #[default]
    On,
    /// All of it, or the daemon does not start.
    Required,
    /// None of it.
    Off,
}

/// Where files may be used.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Files and folders that are read, now and at a later reload.
    pub read: Vec<PathBuf>,
    /// What is written: the folders above are opened for it, so that a log moved away and made anew is found again.
    pub write: Vec<PathBuf>,
    /// Whether the programs of peers must be told apart. Landlock hides `/proc/PID/exe` of processes outside, so it is
    /// left out then.
    pub sees_peers: bool,
}

/// A part that could not be done, and why.
#[derive(Debug)]
pub struct Gap {
    /// Which part.
    pub what: &'static str,
    /// Why.
    pub why: String,
}

/// What name resolution, time zones and the C library read, and `/proc` for the pinning of peers.
const SYSTEM: [&str; 12] = [
    "/dev",
    "/etc",
    "/lib",
    "/lib64",
    "/nix/store",
    "/proc",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/systemd/resolve",
    "/sys/fs/cgroup",
    "/usr/lib",
    "/usr/share",
];

/// Newer rights than these are not known to every kernel in the field; older kernels take what they know.
const LANDLOCK: ABI = ABI::V6;

/// Takes it away from this thread and every thread it starts, for good. Returns what could not be taken.
#[must_use]
pub fn enter(places: &Places) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let mut part = |what, why: Result<(), String>| {
        if let Err(why) = why {
            gaps.push(Gap { what, why });
        }
    };
    part(
        "folders closed (Landlock)",
        if places.sees_peers {
            Err("an agent of the registry has an `executable`, and Landlock hides the programs of other processes"
                .to_owned())
        } else {
            close_folders(places).map_err(|e| e.to_string())
        },
    );
    part("system calls refused (seccomp)", refuse_calls().map_err(|e| e.to_string()));
    gaps
}

fn close_folders(places: &Places) -> Result<(), Box<dyn Error>> {
    let reading = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let writing: BitFlags<AccessFs> =
        reading | make_bitflags!(AccessFs::{WriteFile | Truncate | MakeReg | MakeDir | MakeSock | RemoveFile | Refer});
    // Some systems keep it elsewhere and link to it.
    let resolver = ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"].into_iter().map(Path::new);
    let read = places.read.iter().map(PathBuf::as_path);
    let read: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).chain(resolver.chain(read).flat_map(around)).collect();
    let write: Vec<PathBuf> = places.write.iter().flat_map(|p| writable(p)).collect();
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?
        .add_rules(path_beneath_rules(read, reading))?
        .add_rules(path_beneath_rules(write, writing))?
        .add_rules(path_beneath_rules(["/dev/null"], AccessFs::WriteFile))?
        .restrict_self()?;
    match status.ruleset {
        RulesetStatus::FullyEnforced => Ok(()),
        RulesetStatus::PartiallyEnforced => Err("this kernel knows a part of it only; that part is in force".into()),
        RulesetStatus::NotEnforced => Err("this kernel does not have it, or has it switched off".into()),
    }
}

/// What must be readable so that a file or folder can be read again after it was replaced, directly or through the
/// symbolic link that it is.
fn around(path: &Path) -> Vec<PathBuf> {
    let path = &absolute(path);
    let real = path.canonicalize().ok();
    let beside = [Some(path.as_path()), real.as_deref()].into_iter().flatten().filter_map(above).map(Path::to_owned);
    beside.chain([path.clone()]).chain(real.clone()).collect()
}

/// The folder a path is in, unless that is the root of everything.
fn above(path: &Path) -> Option<&Path> {
    path.parent().filter(|folder| folder.parent().is_some())
}

/// The folder above, or the nearest one to it that exists: at the first start those of the daemon are not made yet.
/// Where the path is a symbolic link, what it leads to as well. Never the root of everything.
fn writable(path: &Path) -> Vec<PathBuf> {
    let path = absolute(path);
    let folder = above(&path).unwrap_or(&path);
    let made = folder.ancestors().find(|a| a.is_dir()).filter(|a| a.parent().is_some());
    made.map(Path::to_owned).into_iter().chain(path.canonicalize().ok()).collect()
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Refused always. Names by what they would be good for to someone who has taken the daemon over.
const REFUSED: &[libc::c_long] = &[
    // Another program, and the way to one: a process of its own is refused by the arguments of clone below.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_unshare,
    libc::SYS_setns,
    // The kernel, and its parts with a long record of holes.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_personality,
    // Keys of the kernel.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // File systems.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_quotactl,
    libc::SYS_acct,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    // The clock and the name of the host, which the audit log tells.
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
];

#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[libc::c_long] =
    &[libc::SYS_fork, libc::SYS_vfork, libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[libc::c_long] = &[];

fn refuse_calls() -> Result<(), Box<dyn Error>> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().chain(REFUSED_HERE).map(|call| (*call, Vec::new())).collect();
    // Threads are made, processes are not.
    let thread = u64::try_from(libc::CLONE_THREAD)?;
    let no_thread = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(thread), 0)?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![no_thread])?]);
    install(rules, libc::EPERM)?;
    // Its arguments are in memory, where no filter can look; told that the kernel does not have it, libc uses clone.
    install([(libc::SYS_clone3, Vec::new())].into(), libc::ENOSYS)
}

fn install(rules: BTreeMap<i64, Vec<SeccompRule>>, answer: i32) -> Result<(), Box<dyn Error>> {
    let refuse = SeccompAction::Errno(u32::try_from(answer)?);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, std::env::consts::ARCH.try_into()?)?;
    let mut program: BpfProgram = filter.try_into()?;
    program.splice(0..0, foreign_numbers());
    Ok(seccompiler::apply_filter_all_threads(&program)?)
}

/// On x86-64 the numbers from 2^30 on are x32's, other names for the same calls: they do not exist here.
#[cfg(target_arch = "x86_64")]
fn foreign_numbers() -> Vec<seccompiler::sock_filter> {
    const X32: u32 = 0x4000_0000;
    const ENOSYS: u32 = 38;
    let instruction = |code, jt, jf, k| seccompiler::sock_filter { code, jt, jf, k };
    // Load the number; from X32 on go to the next instruction, else over it; answer ENOSYS (linux/filter.h).
    vec![instruction(0x20, 0, 0, 0), instruction(0x35, 0, 1, X32), instruction(0x06, 0, 0, 0x0005_0000 | ENOSYS)]
}

#[cfg(not(target_arch = "x86_64"))]
const fn foreign_numbers() -> Vec<seccompiler::sock_filter> {
    Vec::new()
}
