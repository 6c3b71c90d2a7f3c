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

/// One command: what it is called, the program and its arguments.
type Step = (&'static str, &'static str, &'static [&'static str]);

const STEPS: [Step; 5] = [
    ("fmt", "cargo", &["fmt", "--all", "--check"]),
    ("clippy", "cargo", &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]),
    ("doc", "cargo", &["doc", "--workspace", "--no-deps", "--locked"]),
    ("deny", "cargo-deny", &["--log-level", "error", "check", "bans", "licenses", "sources"]),
    // Not through cargo: it misreads its arguments where cargo's variables are set.
    ("machete", "cargo-machete", &[]),
];

/// Runs every step, also after one has failed.
pub(crate) fn run(tally: &mut Tally) {
    tally.step("edges", || edges::run().map(|()| 1));
    tally.step("sizes", || sizes::run().map(|()| 1));
    tally.step("docs", || docs::run().map(|()| 1));
    for (name, program, arguments) in STEPS {
        tally.step(name, || succeed(program, arguments).map(|()| 1));
    }
    tally.step("test", test);
}

fn succeed(program: &str, arguments: &[&str]) -> Result<()> {
    let status = command(program, arguments).status().with_context(|| {
        format!("{program} cannot be started; cargo install --locked cargo-deny cargo-machete")
    })?;
    if !status.success() {
        bail!("{program} {} failed", arguments.join(" "));
    }
    Ok(())
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(repository()).env("RUSTDOCFLAGS", "-D warnings");
    command
}

/// Runs all tests, shows what they print, and counts them.
fn test() -> Result<usize> {
    let mut child = command("cargo", &["test", "--workspace", "--locked", "--no-fail-fast"])
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
