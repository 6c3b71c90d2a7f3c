//! The direction of dependence between the rooms. Cargo.toml enforces the arrows; this says which arrows there may be.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::repository;

/// Each crate of ours, and what it may name: in its code, and in its tests besides.
const MAY_NAME: [(&str, &[&str], &[&str]); 6] = [
    ("weir", &["weir-proxy", "weir-control", "weir-model"], &["weir-testkit"]),
    ("weir-proxy", &["weir-model"], &["weir-testkit"]),
    ("weir-control", &["weir-model"], &["weir-testkit"]),
    ("weir-model", &[], &[]),
    ("weir-testkit", &["weir-model"], &[]),
    ("xtask", &[], &[]),
];

/// What would bring sockets, clocks or randomness into the model.
const NOT_IN_THE_MODEL: [&str; 8] =
    ["tokio", "mio", "socket2", "rustix", "libc", "rand", "getrandom", "async-io"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    /// Only dependencies inside the repository have one.
    path: Option<String>,
}

/// Fails with a sentence for each arrow that must not be.
pub(crate) fn run() -> Result<()> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .current_dir(repository())
        .output()
        .context("cargo cannot be started")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let wrong = wrong_edges(&metadata);
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    println!("the arrows between {} crates are as they should be", metadata.packages.len());
    Ok(())
}

fn wrong_edges(metadata: &Metadata) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let Some((name, code, tests)) = MAY_NAME.iter().find(|(name, ..)| *name == package.name) else {
            wrong.push(format!("{} is a new crate; say in xtask's edges what it may name", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            let other = dependency.name.as_str();
            let in_tests = dependency.kind.as_deref() == Some("dev");
            if dependency.path.is_none() {
                if *name == "weir-model" && !in_tests && NOT_IN_THE_MODEL.contains(&other) {
                    wrong.push(format!(
                        "weir-model decides without sockets, clock and chance; it must not name {other}"
                    ));
                }
            } else if in_tests && !code.contains(&other) && !tests.contains(&other) {
                wrong.push(format!("the tests of {name} must not name {other}"));
            } else if !in_tests && !code.contains(&other) {
                let may = if code.is_empty() { "no crate of ours".to_owned() } else { code.join(", ") };
                wrong.push(format!("{name} must not name {other}; it may name {may}"));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, other: &str, kind: Option<&str>, path: bool) -> Metadata {
        let path = path.then(|| format!("crates/{other}"));
        let dependency = Dependency { name: other.to_owned(), kind: kind.map(str::to_owned), path };
        Metadata { packages: vec![Package { name: name.to_owned(), dependencies: vec![dependency] }] }
    }

    #[test]
    fn arrows_against_the_direction_are_found() {
        for (name, other, kind) in [
            ("weir-model", "weir-proxy", None),
            ("weir-proxy", "weir-control", None),
            ("weir-control", "weir-proxy", None),
            ("weir", "weir-testkit", None),
            ("weir-model", "weir-testkit", Some("dev")),
            ("weir-proxy", "weir-control", Some("dev")),
        ] {
            assert_eq!(wrong_edges(&package(name, other, kind, true)).len(), 1, "{name} -> {other}");
        }
        assert_eq!(wrong_edges(&package("weir-common", "serde", None, false)).len(), 1);
        assert_eq!(wrong_edges(&package("weir-model", "tokio", None, false)).len(), 1);
    }

    #[test]
    fn arrows_in_the_direction_are_not() {
        for (name, other, kind) in [
            ("weir", "weir-proxy", None),
            ("weir-proxy", "weir-model", None),
            ("weir-control", "weir-testkit", Some("dev")),
        ] {
            assert_eq!(wrong_edges(&package(name, other, kind, true)), [""; 0], "{name} -> {other}");
        }
        assert_eq!(wrong_edges(&package("weir-proxy", "tokio", None, false)), [""; 0]);
    }
}
