//! Sizes of files, their module docs, and where clocks are read. The length of functions is clippy's business
//! (`too_many_lines`).

use anyhow::{Result, bail};

use super::source;

/// Lines of code at which a file deserves a second look.
const LOOK: usize = 400;
/// Lines of code beyond which a file fails.
const MOST: usize = 800;

/// Crates of the data path and its rules, and the one file of them that may read a clock.
const TIMELESS: [&str; 2] = ["crates/weir-model/", "crates/weir-proxy/"];
const CLOCK: &str = "crates/weir-proxy/src/clock.rs";

/// True for a file that reads a clock and must not.
fn reads_clock(path: &str, code: &str) -> bool {
    let timeless = TIMELESS.iter().any(|room| path.starts_with(room)) && path != CLOCK;
    timeless && ["Instant::now", "SystemTime::now"].iter().any(|call| code.contains(call))
}

/// Fails for each file that is too long, does not say what it is for, or reads a clock that it must not.
pub(crate) fn run() -> Result<()> {
    let files = source::rust_files()?;
    let mut wrong = Vec::new();
    for (path, text) in &files {
        let code = source::without_tests(text);
        let lines = code.lines().count();
        if lines > MOST {
            wrong.push(format!("{path} has {lines} lines without its tests; {MOST} is the most"));
        } else if lines > LOOK {
            println!("{path} has {lines} lines without its tests; 300 is the aim");
        }
        if reads_clock(path, code) {
            wrong.push(format!("{path} reads a clock; only {CLOCK} may, once per wake-up"));
        }
        if !text.starts_with("//!") {
            wrong.push(format!(
                "{path} does not begin with a module doc: what it is for, what it does not do"
            ));
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    println!("{} files are within {MOST} lines", files.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::reads_clock;

    #[test]
    fn clocks_are_found_where_they_must_not_be() {
        assert!(reads_clock("crates/weir-proxy/src/timer.rs", "let now = Instant::now();"));
        assert!(reads_clock("crates/weir-model/src/health.rs", "std::time::SystemTime::now()"));
        assert!(!reads_clock("crates/weir-proxy/src/clock.rs", "Instant::now()"));
        assert!(!reads_clock("crates/weir/src/cli/demo.rs", "Instant::now()"));
    }
}
