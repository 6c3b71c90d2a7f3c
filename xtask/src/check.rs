//! What CI runs before the peers: formatting, lints, tests, documentation, and the rules of the house.

pub(crate) mod docs;
pub(crate) mod edges;
pub(crate) mod sizes;
mod source;

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{repository, tally::Tally};

/// One cargo command: what it is called, its arguments, and how to get it if it is a tool of its own.
struct Step {
    name: &'static str,
    arguments: &'static [&'static str],
    install: Option<&'static str>,
}

const STEPS: [Step; 5] = [
    Step { name: "fmt", arguments: &["fmt", "--all", "--check"], install: None },
    Step {
        name: "clippy",
        arguments: &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
        install: None,
    },
    Step { name: "doc", arguments: &["doc", "--workspace", "--no-deps", "--locked"], install: None },
    Step {
        name: "deny",
        arguments: &["deny", "--log-level", "error", "check", "bans", "licenses", "sources"],
        install: Some("cargo install cargo-deny --locked"),
    },
    Step { name: "machete", arguments: &["machete"], install: Some("cargo install cargo-machete --locked") },
];

/// Runs every step, also after one has failed.
pub(crate) fn run(tally: &mut Tally) {
    tally.step("edges", || edges::run().map(|()| 1));
    tally.step("sizes", || sizes::run().map(|()| 1));
    tally.step("docs", || docs::run().map(|()| 1));
    for Step { name, arguments, install } in &STEPS {
        tally.step(name, || cargo(arguments, *install).map(|()| 1));
    }
    tally.step("test", test);
}

fn cargo(arguments: &[&str], install: Option<&str>) -> Result<()> {
    if let Some(install) = install {
        let known = Command::new("cargo").args([arguments[0], "--version"]).output()?.status.success();
        if !known {
            bail!("cargo {} is not installed; {install}", arguments[0]);
        }
    }
    let status = command(arguments).status().context("cargo cannot be started")?;
    if !status.success() {
        bail!("cargo {} failed", arguments.join(" "));
    }
    Ok(())
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(repository()).env("RUSTDOCFLAGS", "-D warnings");
    command
}

/// Runs all tests, shows what they print, and counts them.
fn test() -> Result<usize> {
    let mut child = command(&["test", "--workspace", "--locked", "--no-fail-fast"])
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo cannot be started")?;
    let output = child.stdout.take().context("cargo has no output")?;
    let mut passed = 0;
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        passed += passed_in(&line);
    }
    if !child.wait()?.success() {
        bail!("cargo test failed; {passed} tests passed");
    }
    Ok(passed)
}

/// How many tests a line of a test runner's output reports as passed.
fn passed_in(line: &str) -> usize {
    let count = || line.strip_prefix("test result: ")?.split("; ").next()?.split(' ').nth(1)?.parse().ok();
    count().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::passed_in;

    #[test]
    fn passed_tests_are_counted() {
        assert_eq!(passed_in("test result: ok. 75 passed; 1 failed; 0 ignored; 0 measured"), 75);
        assert_eq!(passed_in("test tests::x ... ok"), 0);
    }
}
