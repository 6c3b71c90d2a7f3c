//! The files of the repository, as far as git knows them or would take them in.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::repository;

/// Paths from the root of the repository.
pub(crate) fn files() -> Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(repository())
        .output()
        .context("git cannot be started")?;
    if !output.status.success() {
        bail!("git ls-files failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8(output.stdout).context("a file name that is no text")?;
    // A file that was removed but not yet taken out of the index is still listed.
    Ok(text.lines().filter(|path| repository().join(path).exists()).map(str::to_owned).collect())
}

/// The Rust files of the product and of this program, with their text; without tests.
pub(crate) fn rust_files() -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for path in files()?.into_iter().filter(|path| path.ends_with(".rs") && !is_test(path)) {
        let text = std::fs::read_to_string(repository().join(&path)).with_context(|| path.clone())?;
        found.push((path, text));
    }
    Ok(found)
}

/// True for files that hold nothing but tests.
fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.split('/').any(|part| part == "tests")
}

/// The part of a file above its inline tests.
pub(crate) fn without_tests(text: &str) -> &str {
    text.split_once("\n#[cfg(test)]\nmod ").map_or(text, |(code, _)| code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_told_from_code() {
        assert!(is_test("crates/weir/tests/http.rs") && is_test("crates/weir-model/src/balance/tests.rs"));
        assert!(!is_test("crates/weir-testkit/src/backend.rs") && !is_test("src/contests.rs"));
        assert_eq!(without_tests("a\nb\n\n#[cfg(test)]\nmod tests {\n}\n"), "a\nb\n");
        assert_eq!(without_tests("a\n"), "a\n");
    }
}
