//! Where what a command says goes to: a reader that has gone, a disk that is full.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail where a test would")]

use std::{
    fs::{File, OpenOptions},
    io,
    process::{Command, Output, Stdio},
};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/good/smallest.yaml");
const WRONG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/bad/empty.yaml");

const COMMANDS: [&[&str]; 9] = [
    &["--help"],
    &["--version"],
    &["run", "--help"],
    &["check", "-c", FILE],
    &["check", "-c", FILE, "--diff", FILE],
    &["schema"],
    &["explain", "-c", FILE, "http://a.test/"],
    &["explain", "-c", FILE, "http://a.test/", "--json"],
    &["simulate", "-c", FILE, "--requests", "100"],
];

fn weir(arguments: &[&str], out: impl Into<Stdio>, err: impl Into<Stdio>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir")).args(arguments).stdout(out).stderr(err).output().unwrap()
}

/// The end of a pipe whose reader has gone.
fn unread() -> io::PipeWriter {
    io::pipe().unwrap().1
}

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

#[test]
fn a_reader_that_has_gone_changes_no_result() {
    for arguments in COMMANDS {
        let output = weir(arguments, unread(), Stdio::piped());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(0) && said.is_empty(), "{arguments:?}: {said}");
    }
    // Errors go to standard error, of which the same is true.
    for arguments in
        [&["check", "-c", WRONG][..], &["status", "-c", WRONG], &["explain", "-c", WRONG, "http://a/"]]
    {
        assert_eq!(weir(arguments, unread(), unread()).status.code(), Some(1), "{arguments:?}");
    }
}

#[test]
fn a_disk_that_is_full_is_an_error() {
    for arguments in COMMANDS.into_iter().chain([&["demo", "--for", "1s"][..]]) {
        let output = weir(arguments, full(), Stdio::piped());
        let said = String::from_utf8(output.stderr).unwrap();
        let expected = "error: standard output cannot be written: No space left on device (os error 28)\n  \
                        help: make room there, or write to another place\n";
        assert_eq!((output.status.code(), &*said), (Some(1), expected), "{arguments:?}");
        assert_eq!(weir(arguments, full(), full()).status.code(), Some(1), "{arguments:?}");
    }
}
