//! `policy fmt` writes files as Cedar's own formatter does, keeps their comments and modes, and touches no file that it
//! cannot read.

use crate::starter::{Starter, cedar, cedar_samples, folder, policy};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::Command,
};

const UNTIDY: &str = "// first\npermit(principal,action==Action::\"view\",resource)// second\nwhen{ // third\n principal.age>3&&context.a};\n// last\n";

#[test]
fn a_file_is_written_whole_with_its_mode_and_comments() {
    let folder = folder();
    let (file, link) = (folder.path().join("a.cedar"), folder.path().join("link.cedar"));
    fs::write(&file, UNTIDY).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("a.cedar", &link).unwrap();
    let path = file.to_str().unwrap();
    let checked = policy(&["fmt", "--check", path]);
    assert_eq!(checked.code, 1, "{}{}", checked.out, checked.err);
    assert!(checked.out.contains("would change ") && checked.out.contains("a.cedar"), "{}", checked.out);
    assert_eq!(fs::read_to_string(&file).unwrap(), UNTIDY);
    let before = fs::metadata(&file).unwrap();
    let written = policy(&["fmt", link.to_str().unwrap(), "--output", "json"]);
    assert_eq!(written.code, 0, "{}{}", written.out, written.err);
    let (after, text) = (fs::metadata(&file).unwrap(), fs::read_to_string(&file).unwrap());
    assert_eq!(after.permissions().mode() & 0o7777, 0o640);
    assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
    assert_ne!(after.ino(), before.ino(), "it was written into, not put in its place");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    for comment in ["// first", "// second", "// third", "// last"] {
        assert!(text.contains(comment), "{text}");
    }
    // What is laid out stays as it is.
    assert_eq!(policy(&["fmt", "--check", path]).code, 0);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn what_does_not_parse_stays_and_the_others_are_done() {
    let folder = folder();
    let (bad, good) = (folder.path().join("bad.cedar"), folder.path().join("good.cedar"));
    fs::write(&bad, "permit (principal").unwrap();
    fs::write(&good, UNTIDY).unwrap();
    let said = policy(&["fmt", folder.path().to_str().unwrap()]);
    assert_eq!(said.code, 65, "{}{}", said.out, said.err);
    assert!(said.err.contains("bad.cedar: does not parse"), "{}", said.err);
    assert_eq!(fs::read_to_string(&bad).unwrap(), "permit (principal");
    assert_ne!(fs::read_to_string(&good).unwrap(), UNTIDY);
}

#[test]
fn a_set_says_the_same_after() {
    let set = Starter::new();
    let before = set.run("check", &["--output", "json"]).json();
    assert_eq!(set.run("fmt", &[]).code, 0);
    assert_eq!(set.run("fmt", &["--check"]).code, 0);
    assert_eq!(set.run("check", &["--output", "json"]).json()["policies"], before["policies"]);
    assert_eq!(set.run("test", &[]).code, 0);
}

#[test]
fn it_lays_out_as_cedars_own_command_line() {
    let Some(samples) = cedar_samples() else { return };
    let sample = samples.join("tiny_sandboxes/format/unformatted.cedar");
    let folder = folder();
    let file = folder.path().join("a.cedar");
    fs::copy(&sample, &file).unwrap();
    assert_eq!(policy(&["fmt", file.to_str().unwrap()]).code, 0);
    let ours = fs::read_to_string(&file).unwrap();
    assert_eq!(ours, fs::read_to_string(samples.join("tiny_sandboxes/format/formatted.cedar")).unwrap());
    let Some(cedar) = cedar() else { return };
    let theirs = Command::new(cedar).args(["format", "--policies"]).arg(&sample).output().unwrap();
    assert_eq!(ours.trim_end(), String::from_utf8(theirs.stdout).unwrap().trim_end());
}

#[test]
fn the_samples_are_laid_out_so() {
    let policies = concat!(env!("CARGO_MANIFEST_DIR"), "/policies");
    let said = policy(&["fmt", "--check", policies]);
    assert_eq!(said.code, 0, "{}", said.out);
}
