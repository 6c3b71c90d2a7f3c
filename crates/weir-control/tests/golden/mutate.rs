//! Good files with random damage: whatever is written, nothing panics, and every problem points into the file.

use std::fs;

use proptest::prelude::*;
use weir_control::config::{self, File, Style, Surroundings};
use weir_model::{problem::Span, status::Registry};

/// Pieces that mean something to YAML or to the language.
const PIECES: [&str; 40] = [
    ":",
    " ",
    "\n",
    "\n  ",
    "\t",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "#",
    "&a ",
    "*a",
    "!x ",
    "|\n",
    "---\n",
    "~",
    "null",
    "0",
    "none",
    "$",
    "${",
    "$$",
    "*",
    "/*",
    "~^(",
    "unix:",
    ":8080",
    "[::]:1",
    "10.0.0.1:80",
    "0s",
    "5",
    "true",
    "\r",
    "\u{7}",
    "é",
    "not: {",
    "99999999999999999999",
];

fn texts() -> Vec<String> {
    super::golden("good")
        .iter()
        .filter(|path| path.is_file())
        .map(|path| fs::read_to_string(path).unwrap())
        .collect()
}

#[derive(Clone, Debug)]
enum Damage {
    Remove { at: usize, length: usize },
    Insert { at: usize, piece: usize },
    Copy { from: usize, length: usize, to: usize },
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = 0usize..10_000;
    prop_oneof![
        (place.clone(), 1usize..20).prop_map(|(at, length)| Damage::Remove { at, length }),
        (place.clone(), 0..PIECES.len()).prop_map(|(at, piece)| Damage::Insert { at, piece }),
        (place.clone(), 1usize..40, place).prop_map(|(from, length, to)| Damage::Copy { from, length, to }),
    ]
}

fn apply(text: &str, damages: &[Damage]) -> String {
    let mut text: Vec<char> = text.chars().collect();
    for damage in damages {
        let end = text.len();
        let place = |at: usize| at % (end + 1);
        match damage {
            Damage::Remove { at, length } => {
                let at = place(*at);
                text.drain(at..(at + length).min(end));
            }
            Damage::Insert { at, piece } => {
                let at = place(*at);
                text.splice(at..at, PIECES[*piece].chars());
            }
            Damage::Copy { from, length, to } => {
                let from = place(*from);
                let copy = text[from..(from + length).min(end)].to_vec();
                let to = place(*to);
                text.splice(to..to, copy);
            }
        }
    }
    text.into_iter().collect()
}

fn inside(file: &File, span: Span) -> bool {
    if span.line == 0 {
        return true;
    }
    let Some(line) = file.line(span.line) else { return false };
    let width = u32::try_from(line.chars().count()).unwrap();
    // One place behind the last character stands for the end of the line.
    span.column >= 1
        && span.column <= width + 1
        && span.length >= 1
        && (span.column + span.length <= width + 2 || span.column == width + 1)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_never_panic_and_problems_point_into_them(
        file in 0usize..1000,
        damages in prop::collection::vec(damage(), 1..6),
    ) {
        let texts = texts();
        let text = apply(&texts[file % texts.len()], &damages);
        let loaded = config::from_text_in("weir.yaml", &text, &Surroundings::default());
        let report = match config::compile(loaded, 1, &mut Registry::new(1)) {
            Ok(compiled) => compiled.report,
            Err(refusal) => {
                prop_assert!(refusal.counts().0 > 0, "refused without an error:\n{text}");
                refusal
            }
        };
        for problem in &report.problems {
            let spans = [Some(problem.span), problem.related.as_ref().map(|(span, _)| *span)];
            for span in spans.into_iter().flatten() {
                let file = report.files.file(span.file).unwrap();
                prop_assert!(inside(file, span), "{span:?} of {:?} is outside of\n{text}", problem.cause);
            }
        }
        let shown = report.render(Style::Plain);
        prop_assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
    }
}
