//! The demonstration, as a new user would run it: the zombie leaves, is repaired and comes back, and it ends by itself.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

pub(super) fn zombie(program: &Path) -> Result<String> {
    // Nothing in it needs this long; it ends a demonstration that does not end.
    let mut command = Command::new("timeout");
    let output =
        command.arg("120").arg(program).args(["demo", "--for", "20s"]).output().context("weir demo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "it ended with {}: {text}", output.status);
    let summary: Vec<_> = text.lines().skip_while(|line| !line.starts_with("zombie ")).take(4).collect();
    for part in ["was taken out", "was back", "had to be cut: 0"] {
        ensure!(summary.iter().any(|line| line.contains(part)), "no `{part}` in: {text}");
    }
    Ok(summary.iter().map(|line| line.trim()).collect::<Vec<_>>().join("; "))
}
