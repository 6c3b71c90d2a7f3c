//! Counts what passed and what failed, for the last line of a run.

use std::time::Instant;

use anyhow::{Result, bail};

/// What has passed and failed so far.
#[derive(Default)]
pub(crate) struct Tally {
    passed: usize,
    failed: Vec<String>,
}

impl Tally {
    /// Runs a step; it counts as one unless it says how many tests it was.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce() -> Result<usize>) {
        println!("=== {name}");
        let start = Instant::now();
        let outcome = work();
        let seconds = start.elapsed().as_secs();
        match outcome {
            Ok(count) => {
                self.passed += count;
                println!("=== {name} passed after {seconds} s");
            }
            Err(error) => {
                self.failed.push(name.to_owned());
                println!("{error:#}\n=== {name} FAILED after {seconds} s");
            }
        }
    }

    /// Prints the last line; an error if anything failed.
    pub(crate) fn finish(self) -> Result<()> {
        if !self.failed.is_empty() {
            println!("failed: {}", self.failed.join(", "));
        }
        println!("{} passed, {} failed", self.passed, self.failed.len());
        if self.failed.is_empty() { Ok(()) } else { bail!("not everything passed") }
    }
}
