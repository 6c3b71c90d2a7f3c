//! Every configuration that a paper shows, and every example, is one that weir takes.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail where a test would")]

use std::{fs, path::Path};

use weir_control::config::{self, Style, Surroundings};
use weir_model::status::Registry;

/// The blocks of a paper that are marked as YAML.
fn blocks(paper: &str) -> Vec<String> {
    let after = paper.split("```yaml\n").skip(1);
    after.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn configurations_in_papers_are_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut papers = vec![root.join("README.md")];
    papers.extend(fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    let mut count = 0;
    for paper in papers.iter().filter(|path| path.extension().is_some_and(|end| end == "md")) {
        for block in blocks(&fs::read_to_string(paper).unwrap()) {
            // The machines that papers speak of have folders that this one need not have.
            let surroundings = Surroundings { folders: false, ..Surroundings::of_process() };
            let loaded = config::from_text_in(&paper.to_string_lossy(), &block, &surroundings);
            let compiled = config::compile(loaded, 1, &mut Registry::new(1));
            let report = compiled.map_or_else(|refusal| refusal, |compiled| compiled.report);
            assert_eq!(report.counts(), (0, 0), "{}", report.render(Style::Plain));
            count += 1;
        }
    }
    assert!(count >= 3, "only {count} configurations were found");
}

#[test]
fn examples_are_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let is_example =
        |path: &std::path::PathBuf| path.is_dir() || path.extension().is_some_and(|end| end == "yaml");
    let entries = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path());
    let mut count = 0;
    for path in entries.filter(is_example) {
        // In no particular surroundings: an example asks for nothing that not every machine has. The time is the beginning
        // of 2030, which the certificates of examples live to see.
        let surroundings = Surroundings { now: 1_893_456_000, ..Surroundings::default() };
        let loaded = config::load_in(&path, &surroundings);
        let compiled = loaded.and_then(|loaded| config::compile(loaded, 1, &mut Registry::new(1)));
        let report = compiled.map_or_else(|refusal| refusal, |compiled| compiled.report);
        assert_eq!(report.counts(), (0, 0), "{}", report.render(Style::Plain));
        count += 1;
    }
    assert!(count >= 9, "only {count} examples were found");
}

#[test]
fn the_schema_is_printed() {
    let printed = std::process::Command::new(env!("CARGO_BIN_EXE_weir")).arg("schema").output().unwrap();
    assert!(printed.status.success());
    let schema: serde_json::Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(schema, config::schema());
}
