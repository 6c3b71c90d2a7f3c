//! The page is what the tables say.

use std::{env, fs, path::Path};

use super::*;

/// What stands above the generated part of the page.
const MARK: &str = "<!-- From here on made from the reader's tables: UPDATE_GOLDEN=1 cargo test -p weir-control reference -->\n\n";

#[test]
fn the_reference_page_says_what_the_reader_reads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = fs::read_to_string(&path).unwrap();
    let (written, made) = page.split_once(MARK).expect("the page has a generated part");
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, format!("{written}{MARK}{}", reference())).unwrap();
    } else {
        assert_eq!(made, reference(), "docs/configuration.md is not what the tables say");
    }
}

#[test]
fn links_lead_to_sections() {
    let text = reference();
    let anchors: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|title| title.to_lowercase().replace(' ', "-").replace('`', ""))
        .collect();
    let mut links = 0;
    for link in text.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(anchors.iter().any(|anchor| anchor == link), "{link}");
        links += 1;
    }
    assert!(links > 20, "only {links} links");
}
