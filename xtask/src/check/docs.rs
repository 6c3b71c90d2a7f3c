//! Every path and every symbol that the papers cite exists.
//!
//! A code span counts as a path if it begins with a folder of the repository, or ends as the name of a source file or a
//! paper does (then the end of a path is enough: `http/serve.rs`); as a symbol if it is written as `CamelCase`, `a::b` or `name()`. Everything else is not looked at: keys,
//! commands, header fields. Links to files are followed too.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};

use super::source;
use crate::repository;

/// The papers that are checked.
fn is_paper(path: &str) -> bool {
    matches!(path, "ARCHITECTURE.md" | "README.md") || (path.starts_with("docs/") && path.ends_with(".md"))
}

/// CamelCase words that are none of ours: header fields, products, formats.
const FOREIGN: [&str; 14] = [
    "Host",
    "Connection",
    "Upgrade",
    "Expect",
    "Date",
    "Trailer",
    "Via",
    "Allow",
    "Location",
    "Forwarded",
    "HAProxy",
    "PostgreSQL",
    "Redis",
    "Content",
];

/// Fails with a line for each citation that leads nowhere.
pub(crate) fn run() -> Result<()> {
    let files = source::files()?;
    let symbols = Symbols::read()?;
    let mut wrong = Vec::new();
    let mut citations = 0;
    for paper in files.iter().filter(|path| is_paper(path)) {
        let text = std::fs::read_to_string(repository().join(paper)).with_context(|| paper.clone())?;
        for citation in citations_of(&text) {
            let known = match &citation {
                Citation::Path(path) => {
                    files.iter().any(|file| is_below(file, path) || ends_with(file, path))
                }
                Citation::Symbol(path) => symbols.know(path),
                Citation::Link(target) => link_exists(paper, target),
            };
            citations += 1;
            if !known {
                wrong.push(format!("{paper} cites {citation:?}, which does not exist"));
            }
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    println!("{citations} cited paths and symbols exist");
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Citation {
    Path(String),
    Symbol(Vec<String>),
    Link(String),
}

fn is_below(file: &str, path: &str) -> bool {
    let rest = file.strip_prefix(path.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn ends_with(file: &str, path: &str) -> bool {
    file.strip_suffix(path).is_some_and(|rest| rest.ends_with('/'))
}

fn link_exists(paper: &str, target: &str) -> bool {
    let target = target.split('#').next().unwrap_or_default();
    let folder = repository().join(paper);
    target.is_empty() || folder.parent().is_some_and(|folder| folder.join(target).exists())
}

/// Citations of a paper, outside fenced blocks.
fn citations_of(text: &str) -> Vec<Citation> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            found.extend(line.split('`').skip(1).step_by(2).filter_map(span));
            found.extend(line.split("](").skip(1).filter_map(link));
        }
    }
    found
}

fn link(rest: &str) -> Option<Citation> {
    let (target, _) = rest.split_once(')')?;
    (!target.contains("://")).then(|| Citation::Link(target.to_owned()))
}

fn span(span: &str) -> Option<Citation> {
    const ROOTS: [&str; 9] =
        ["crates/", "xtask/", "bench/", "docs/", "tests/", "examples/", "fuzz/", "deploy/", ".ci/"];
    const ENDS: [&str; 3] = [".md", ".toml", ".rs"];
    let plain = !span.contains([' ', '*', '{', '<', '$']);
    if plain
        && (ROOTS.iter().any(|root| span.starts_with(root)) || (ENDS.iter().any(|end| span.ends_with(end))))
    {
        return Some(Citation::Path(span.to_owned()));
    }
    let called = span.strip_suffix("()");
    let segments: Vec<String> = called.unwrap_or(span).split("::").map(str::to_owned).collect();
    let words = segments.iter().all(|segment| is_word(segment));
    let camel = segments.len() == 1 && is_camel(&segments[0]) && !FOREIGN.contains(&segments[0].as_str());
    (words && (called.is_some() || segments.len() > 1 || camel)).then_some(Citation::Symbol(segments))
}

fn is_word(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|character| character.is_ascii_alphanumeric() || character == '_')
}

fn is_camel(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.contains(|rest: char| rest.is_ascii_lowercase())
}

/// Every name that the code defines.
struct Symbols(BTreeSet<String>);

impl Symbols {
    fn read() -> Result<Self> {
        let mut names = BTreeSet::new();
        for (path, text) in source::rust_files()? {
            // Modules and crates are named by their files and folders.
            names.extend(path.trim_end_matches(".rs").split('/').map(|part| part.replace('-', "_")));
            text.lines().for_each(|line| names.extend(defined_in(line)));
        }
        Ok(Self(names))
    }

    fn know(&self, path: &[String]) -> bool {
        path.iter().all(|segment| self.0.contains(segment) || segment == "crate")
    }
}

/// The name that a line of code defines: an item, a field, a variant.
fn defined_in(line: &str) -> Option<String> {
    const WORDS: [&str; 12] = [
        "pub",
        "const",
        "static",
        "async",
        "unsafe",
        "fn",
        "struct",
        "enum",
        "trait",
        "type",
        "mod",
        "macro_rules!",
    ];
    let line = line.trim_start();
    if line.starts_with("//") {
        return None;
    }
    let words = line.split_whitespace().skip_while(|word| WORDS.contains(word) || word.starts_with("pub("));
    let name: String = words
        .take(1)
        .flat_map(str::chars)
        .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
        .collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_symbols_and_links_are_told_from_other_code() {
        let text = "`crates/weir/src/main.rs`, `ProxyError`, `http::serve`, `choose()`; not `body_idle`, `Host`, `GET`,\n\
                    `cargo xtask bench`, `X-Forwarded-For`. [life](docs/life.md) [web](https://example.com)\n\
                    ```\n`NotThis`\n```\n";
        let symbol = |segments: &[&str]| Citation::Symbol(segments.iter().map(|s| (*s).to_owned()).collect());
        let expected = [
            Citation::Path("crates/weir/src/main.rs".into()),
            symbol(&["ProxyError"]),
            symbol(&["http", "serve"]),
            symbol(&["choose"]),
            Citation::Link("docs/life.md".into()),
        ];
        assert_eq!(citations_of(text), expected);
    }

    #[test]
    fn definitions_are_found() {
        assert_eq!(defined_in("pub(crate) async fn serve<T>(x: T) {").as_deref(), Some("serve"));
        assert_eq!(defined_in("    RoundRobin,").as_deref(), Some("RoundRobin"));
        assert_eq!(defined_in("/// Names `Nothing`").as_deref(), None);
    }

    #[test]
    fn a_folder_stands_for_what_is_below_it() {
        assert!(is_below("crates/weir/src/main.rs", "crates/weir/"));
        assert!(!is_below("crates/weir-model/src/lib.rs", "crates/weir"));
        assert!(ends_with("crates/weir-proxy/src/http/serve.rs", "http/serve.rs"));
        assert!(
            !ends_with("crates/weir-proxy/src/http/serve.rs", "serve.r")
                && !ends_with("observe.rs", "serve.rs")
        );
    }
}
