//! What CI runs, step by step: formatting, lints, tests, documentation, and the rules of the house.

pub(crate) mod docs;
pub(crate) mod edges;
pub(crate) mod sizes;
mod source;

use std::{process::Command, time::Instant};

use anyhow::{Context as _, Result, bail};

use crate::repository;

/// One cargo command: what it is called, its arguments, and how to get it if it is a tool of its own.
struct Step {
    name: &'static str,
    arguments: &'static [&'static str],
    install: Option<&'static str>,
}

const STEPS: [Step; 6] = [
    Step { name: "fmt", arguments: &["fmt", "--all", "--check"], install: None },
    Step {
        name: "clippy",
        arguments: &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
        install: None,
    },
    Step { name: "test", arguments: &["test", "--workspace", "--locked"], install: None },
    Step { name: "doc", arguments: &["doc", "--workspace", "--no-deps", "--locked"], install: None },
    Step {
        name: "deny",
        arguments: &["deny", "--log-level", "error", "check", "bans", "licenses", "sources"],
        install: Some("cargo install cargo-deny --locked"),
    },
    Step { name: "machete", arguments: &["machete"], install: Some("cargo install cargo-machete --locked") },
];

/// Runs every step, also after one has failed, and says at the end which did.
pub(crate) fn run() -> Result<()> {
    let mut failed = Vec::new();
    let mut step = |name: &'static str, work: &dyn Fn() -> Result<()>| {
        println!("=== {name}");
        let start = Instant::now();
        let outcome = work();
        if let Err(error) = &outcome {
            println!("{error:#}");
            failed.push(name);
        }
        let word = if outcome.is_ok() { "passed" } else { "FAILED" };
        println!("=== {name} {word} after {:.0} s", start.elapsed().as_secs_f64());
    };
    step("edges", &edges::run);
    step("sizes", &sizes::run);
    step("docs", &docs::run);
    for Step { name, arguments, install } in &STEPS {
        step(name, &|| cargo(arguments, *install));
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    println!("everything passed");
    Ok(())
}

fn cargo(arguments: &[&str], install: Option<&str>) -> Result<()> {
    if let Some(install) = install {
        let known = Command::new("cargo").args([arguments[0], "--version"]).output()?.status.success();
        if !known {
            bail!("cargo {} is not installed; {install}", arguments[0]);
        }
    }
    let status = Command::new("cargo")
        .args(arguments)
        .current_dir(repository())
        .env("RUSTDOCFLAGS", "-D warnings")
        .status()
        .context("cargo cannot be started")?;
    if !status.success() {
        bail!("cargo {} failed", arguments.join(" "));
    }
    Ok(())
}
