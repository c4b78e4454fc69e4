//! Pins the process behind a Unix connection, so that a number that was reused, or a descriptor that was passed on,
//! is noticed (unix(7), pidfd_open(2)).

use rustix::{
    event::{PollFd, PollFlags, poll},
    fd::{AsFd, OwnedFd},
    process::{Pid, PidfdFlags, pidfd_open},
};
use std::{fs, path::PathBuf};

/// How surely the process is known.
#[derive(Debug)]
pub enum Pin {
    /// By a descriptor that the kernel took from the connection itself (SO_PEERPIDFD, Linux 6.5).
    Peer(i32, OwnedFd),
    /// By a descriptor opened for the number, and the start time seen then: an older kernel.
    Opened(i32, OwnedFd, String),
    /// The kernel named a process that could not be pinned: it was gone already, or its number is another's by now.
    Gone,
    /// Not at all: the kernel shows no number across a process namespace. Its executable is not known then.
    Unknown,
}

/// The pinned process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended;

impl Pin {
    /// Pins the peer of a connection.
    pub fn of(stream: &impl AsFd, pid: Option<i32>) -> Self {
        let Some(pid) = pid.filter(|pid| *pid > 0) else { return Self::Unknown };
        match nix::sys::socket::getsockopt(stream, nix::sys::socket::sockopt::PeerPidfd) {
            Ok(fd) => return Self::Peer(pid, fd),
            // Only a kernel that does not know the option is asked another way.
            Err(nix::errno::Errno::ENOPROTOOPT) => {}
            Err(_) => return Self::Gone,
        }
        let opened = Pid::from_raw(pid).and_then(|p| pidfd_open(p, PidfdFlags::empty()).ok());
        match (opened, start_time(pid)) {
            (Some(fd), Some(started)) => Self::Opened(pid, fd, started),
            _ => Self::Gone,
        }
    }

    /// Whether the process that connected still runs. What is not pinned cannot be told apart from one that does.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        match self {
            Self::Peer(_, fd) => runs(fd),
            Self::Opened(pid, fd, started) => runs(fd) && start_time(*pid).as_ref() == Some(started),
            Self::Gone => false,
            Self::Unknown => true,
        }
    }

    /// The program it runs, read while it is certain to be the same process.
    #[must_use]
    pub fn executable(&self) -> Option<PathBuf> {
        let (Self::Peer(pid, _) | Self::Opened(pid, ..)) = self else { return None };
        let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        // Only now is it sure that the number still meant this process when the link was read.
        self.is_alive().then_some(path)
    }

    /// Whether it is of a person's login session. `None` if the process is not pinned, or cannot be seen.
    ///
    /// # Errors
    /// The process has ended, so that what was read may be another's. Nothing may be made of that: whoever ends at the
    /// right moment would pass for a service.
    pub fn is_of_a_person(&self) -> Result<Option<bool>, Ended> {
        let (Self::Peer(pid, _) | Self::Opened(pid, ..)) = self else { return Ok(None) };
        let person = super::person::is_of_a_person(*pid);
        if self.is_alive() { Ok(person) } else { Err(Ended) }
    }

    /// The word in the audit log.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Peer(..) => "peerpidfd",
            Self::Opened(..) => "pidfd",
            Self::Gone => "gone",
            Self::Unknown => "unknown",
        }
    }
}

/// A pidfd becomes readable when its process ends.
fn runs(fd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready == 0)
}

/// Field 22 of /proc/PID/stat: unique together with the number until the next boot.
fn start_time(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the fields after it do not.
    let after_name = stat.rsplit_once(')')?.1;
    after_name.split_whitespace().nth(19).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        os::unix::net::UnixStream,
        process::{Command, Stdio},
    };

    // rows: CALL-03
    #[test]
    fn a_process_that_ended_is_noticed() {
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let opened = Pin::Opened(
            pid,
            pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap(),
            start_time(pid).unwrap(),
        );
        assert!(opened.is_alive());
        assert!(opened.executable().is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!opened.is_alive());
        assert!(opened.executable().is_none());
    }

    // rows: CALL-03
    #[test]
    fn our_own_end_of_a_pair_is_pinned_and_alive() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        let pin = Pin::of(&ours, Some(pid));
        assert!(pin.is_alive());
        assert_eq!(pin.executable(), std::env::current_exe().ok());
        assert!(matches!(Pin::of(&ours, None), Pin::Unknown));
    }
}
