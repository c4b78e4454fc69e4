//! A disk that can be filled.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A small file system of its own; unmounted when dropped.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `size` as mount takes it. `None`, said aloud, where mounting is not allowed.
    pub(crate) fn mount(place: &Path, size: &str) -> Option<Self> {
        fs::create_dir(place).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "tmpfs"]).arg(place);
        if mount.stderr(Stdio::null()).status().is_ok_and(|s| s.success()) {
            return Some(Self(place.to_owned()));
        }
        eprintln!("SKIPPED: a small disk needs the right to mount a tmpfs; run the tests as root");
        None
    }

    /// Leaves no room.
    pub(crate) fn fill(&self) {
        let mut ballast = fs::File::create(self.0.join("ballast")).unwrap();
        while ballast.write_all(&[0; 512]).is_ok() {}
    }

    pub(crate) fn free(&self) {
        fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whatever a test that failed left on top of it goes too.
        let umount = || Command::new("umount").arg("-l").arg(&self.0).stderr(Stdio::null()).status();
        while umount().is_ok_and(|s| s.success()) {}
    }
}
