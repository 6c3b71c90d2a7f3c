//! Files, directories and what they include.

use std::env;

use weir_model::status::Registry;

use super::*;
use crate::config::{self, Style};

/// A directory that is there for one test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let path = env::temp_dir().join(format!("weir-load-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        for (name, text) in files {
            fs::write(path.join(name), text).unwrap();
        }
        Self(path)
    }

    /// What is said about it, with the names of files only.
    fn outcome(&self) -> String {
        let compile = |mut loaded: Loaded| {
            loaded.files.rename(|name| name.rsplit('/').next().unwrap_or(name).to_owned());
            config::compile(loaded, 1, &mut Registry::new(1))
        };
        match load(&self.0).and_then(compile) {
            Ok(compiled) => format!("{} pools", compiled.snapshot.pools.len()),
            Err(refusal) => refusal.render(Style::Plain),
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const WEB: &str = "listeners: { web: { bind: ':80', protocol: http, pool: app } }\n";
const APP: &str = "pools: { app: { backends: ['10.0.0.1:80'] } }\n";

#[test]
fn the_files_of_a_directory_are_one_configuration() {
    let files = [("a.yaml", WEB), ("b.yml", APP), ("c.txt", "not: read"), ("README", "[")];
    assert_eq!(Directory::new("merged", &files).outcome(), "1 pools");
}

#[test]
fn what_two_files_say_is_refused_with_both_places() {
    let b = format!("{APP}workers: 2\n");
    let c = format!("{APP}workers: 3\n");
    let outcome = Directory::new("twice", &[("a.yaml", WEB), ("b.yaml", &b), ("c.yaml", &c)]).outcome();
    for expected in [
        "error: there are two pools named `app`\n  --> c.yaml:1:10\n",
        "error: `workers` is given in two files\n  --> c.yaml:2:1\n",
        "  --> b.yaml:2:1\n",
        "2 errors\n",
    ] {
        assert!(outcome.contains(expected), "{outcome}");
    }
}

#[test]
fn a_broken_file_does_not_make_the_others_wrong() {
    let outcome = Directory::new("broken", &[("a.yaml", WEB), ("b.yaml", "pools: [")]).outcome();
    assert!(outcome.ends_with("\n1 error\n"), "{outcome}");
}

#[test]
fn what_cannot_be_read_says_so() {
    assert!(
        Directory::new("empty", &[]).outcome().contains("there is no *.yaml or *.yml file in this directory")
    );
    let refusal = load(Path::new("/nowhere/weir.yaml")).unwrap_err().render(Style::Plain);
    assert!(
        refusal.contains("the file cannot be read") && refusal.contains("/nowhere/weir.yaml"),
        "{refusal}"
    );
}

#[test]
fn links_in_a_circle_say_so() {
    let directory = Directory::new("circle", &[]);
    let link = directory.0.join("weir.yaml");
    std::os::unix::fs::symlink(&link, &link).unwrap();
    let refusal = load(&link).unwrap_err().render(Style::Plain);
    assert!(refusal.contains("help: its symbolic links lead in a circle"), "{refusal}");
}

#[test]
fn everything_that_was_read_is_watched() {
    let files = [
        ("weir.yaml", "include: [more.yaml, 'conf.d/*.yaml', gone.yaml]\nadmin: { token_file: token }\n"),
        ("more.yaml", "listeners: { web: { errors: { '503': sorry.html } } }\n"),
        ("sorry.html", "sorry"),
    ];
    let directory = Directory::new("watched", &files);
    let loaded = load(&directory.0.join("weir.yaml")).unwrap();
    let names: Vec<_> = loaded
        .files
        .watched()
        .map(|path| path.strip_prefix(&directory.0).unwrap().to_str().unwrap())
        .collect();
    assert_eq!(names, ["conf.d", "gone.yaml", "more.yaml", "sorry.html", "token", "weir.yaml"]);
}

#[test]
fn a_file_is_read_once_however_it_is_named() {
    let a = format!("include: [b.yml, ./b.yml, '*.yml']\n{WEB}");
    assert_eq!(Directory::new("once", &[("a.yaml", &a), ("b.yml", APP)]).outcome(), "1 pools");
}

#[test]
fn a_long_chain_of_includes_ends() {
    let files: Vec<_> = (0..20).map(|n| (format!("{n}.txt"), format!("include: {}.txt\n", n + 1))).collect();
    let mut files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    files.push(("a.yaml", "include: 0.txt\n"));
    let outcome = Directory::new("chain", &files).outcome();
    assert!(
        outcome.contains("16 files include each other in a row") && outcome.ends_with("1 error\n"),
        "{outcome}"
    );
}
