//! Golden files: `tests/golden/good/*.yaml` with the compiled snapshot beside it (`*.snapshot`), and
//! `tests/golden/bad/*.yaml` with exactly what users are told (`*.errors`).
//!
//! Lines that begin with `# env NAME=value`, `# files N`, `# folders`, `# here` or `# now N` say what a file is read in:
//! environment variables, how many files the process may open, whether folders to write in have to be there, whether
//! 192.0.2.1 is an address of the machine, and the time in seconds since 1970, which otherwise is the beginning of 2030.
//!
//! `UPDATE_GOLDEN=1 cargo test -p weir-control --test golden` writes what is the case now; read the diff.
#![allow(clippy::unwrap_used, reason = "clippy sees helpers of tests as code")]

#[path = "golden/mutate.rs"]
mod mutate;
#[path = "golden/text.rs"]
mod text;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use weir_control::config::{self, Style, Surroundings};
use weir_model::status::Registry;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

/// The files of one kind, and the folders that are one configuration as a whole. What they name is in `files`.
fn golden(kind: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(kind)).unwrap().map(|entry| entry.unwrap().path());
    let is_case = |path: &PathBuf| {
        path.extension().is_some_and(|end| end == "yaml") || path.is_dir() && !path.ends_with("files")
    };
    let mut paths: Vec<_> = entries.filter(is_case).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no golden files in {kind}");
    paths
}

/// What the file says that it is read in.
fn surroundings(path: &Path) -> Surroundings {
    // Bytes and not text: one of the files is not UTF-8 on purpose.
    let text = String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    let mut surroundings = Surroundings { now: 1_893_456_000, ..Surroundings::default() };
    for line in text.lines() {
        if let Some((name, value)) = line.strip_prefix("# env ").and_then(|rest| rest.split_once('=')) {
            surroundings.variables.insert(name.into(), value.into());
        }
        if let Some(files) = line.strip_prefix("# files ") {
            surroundings.files = Some(files.parse().unwrap());
        }
        surroundings.folders |= line == "# folders";
        if line == "# here" {
            surroundings.here = Some(|address| address.to_string() == "192.0.2.1");
        }
        if let Some(now) = line.strip_prefix("# now ") {
            surroundings.now = now.parse().unwrap();
        }
    }
    surroundings
}

/// What weir makes of a file: a snapshot with its warnings, or its errors.
fn outcome(path: &Path) -> Result<String, String> {
    let folder = format!("{}/", path.parent().unwrap().display());
    let mut loaded = config::load_in(path, &surroundings(path))
        .unwrap_or_else(|refusal| panic!("{}", refusal.render(Style::Plain)));
    loaded.files.rename(|name| name.replace(&folder, ""));
    for problem in &mut loaded.problems {
        problem.cause = problem.cause.replace(&folder, "");
        problem.remedy = problem.remedy.replace(&folder, "");
    }
    match config::compile(loaded, 1, &mut Registry::new(1)) {
        Ok(compiled) => {
            Ok(text::of(&compiled.snapshot) + &compiled.report.render(Style::Plain).replace(&folder, ""))
        }
        Err(refusal) => Err(refusal.render(Style::Plain)),
    }
}

fn compare(path: &Path, end: &str, actual: &str, failures: &mut Vec<String>) {
    let golden = path.with_extension(end);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, actual).unwrap();
    } else if fs::read_to_string(&golden).unwrap_or_default() != actual {
        failures.push(format!("{} differs; now:\n{actual}", golden.display()));
    }
}

#[test]
fn good_files_compile_to_their_snapshots() {
    let mut failures = Vec::new();
    for path in golden("good") {
        match outcome(&path) {
            Ok(actual) => compare(&path, "snapshot", &actual, &mut failures),
            Err(errors) => failures.push(format!("{} is refused:\n{errors}", path.display())),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn bad_files_are_refused_in_these_words() {
    let mut failures = Vec::new();
    for path in golden("bad") {
        match outcome(&path) {
            Ok(_) => failures.push(format!("{} is accepted", path.display())),
            Err(actual) => compare(&path, "errors", &actual, &mut failures),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
