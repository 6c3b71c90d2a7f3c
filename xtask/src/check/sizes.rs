//! Sizes of files and their module docs. The length of functions is clippy's business (`too_many_lines`).

use anyhow::{Result, bail};

use super::source;

/// Lines of code at which a file deserves a second look.
const LOOK: usize = 400;
/// Lines of code beyond which a file fails.
const MOST: usize = 800;

/// Fails for each file that is too long or does not say what it is for.
pub(crate) fn run() -> Result<()> {
    let files = source::rust_files()?;
    let mut wrong = Vec::new();
    for (path, text) in &files {
        let lines = source::without_tests(text).lines().count();
        if lines > MOST {
            wrong.push(format!("{path} has {lines} lines without its tests; {MOST} is the most"));
        } else if lines > LOOK {
            println!("{path} has {lines} lines without its tests; 300 is the aim");
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
