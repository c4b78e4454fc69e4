//! Whether a process belongs to a person's login session.

use std::fs;

/// The login uid of a process that no login began: a service's.
const NO_LOGIN: u32 = u32::MAX;

/// Whether the process with this number has a controlling terminal, or descends from a login (ssh, console, su; what
/// cron or a user's own service manager starts counts too, for PAM sets its login uid). `None` where `/proc` does not
/// show the process: no process can hide itself so, but `hidepid` and a unit's `ProtectProc` hide them all. The number
/// must be pinned.
///
/// What it cannot see: a login by a daemon that sets no login uid and gives no terminal, and whoever may write
/// `/proc/PID/loginuid` (CAP_AUDIT_CONTROL).
pub(super) fn is_of_a_person(pid: i32) -> Option<bool> {
    let has_terminal = terminal(pid)?;
    // A kernel without audit has no such file, and every process of it comes from no login.
    let login = match fs::read_to_string(format!("/proc/{pid}/loginuid")) {
        Ok(text) => text.trim().parse::<u32>() != Ok(NO_LOGIN),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    };
    Some(has_terminal || login)
}

/// Field 7 of /proc/PID/stat, the controlling terminal, is 0 where there is none.
fn terminal(pid: i32) -> Option<bool> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the fields after it do not.
    let field = stat.rsplit_once(')')?.1.split_whitespace().nth(4)?;
    field.parse::<i32>().ok().map(|terminal| terminal != 0)
}
