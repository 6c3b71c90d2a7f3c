//! What people see.

use super::*;

fn files(text: &str) -> Files {
    let mut files = Files::default();
    files.add("weir.yaml", text);
    files
}

fn span(line: u32, column: u32, length: u32) -> Span {
    Span { file: 0, line, column, length }
}

#[test]
fn a_problem_shows_its_line_and_its_remedy() {
    let problem = Problem::error(span(2, 3, 4), "unknown key `bnid`", "did you mean `bind`?")
        .with_related(span(1, 1, 3), "in this listener");
    let text = render(&[problem], &files("web:\n  bnid: 1\n"), Style::Plain);
    let expected = "\
error: unknown key `bnid`
  --> weir.yaml:2:3
   |
 2 |   bnid: 1
   |   ^^^^
   = help: did you mean `bind`?
   = note: in this listener
  --> weir.yaml:1:1
   |
 1 | web:
   | ---

1 error
";
    assert_eq!(text, expected);
}

#[test]
fn nothing_in_the_file_reaches_the_terminal_as_an_order() {
    let problem = Problem::error(span(1, 1, 3), "bad \x1b[2J", "use \u{202e}");
    let text = render(&[problem], &files("a\x1b[31m\u{7f}\tb"), Style::Plain);
    assert!(!text.contains(|c: char| c.is_control() && c != '\n') && !text.contains('\u{202e}'), "{text:?}");
}

#[test]
fn long_lines_are_cut_around_the_marker() {
    let line = format!("{}HERE{}", "x".repeat(500), "y".repeat(500));
    let text = render(&[Problem::error(span(1, 501, 4), "c", "")], &files(&line), Style::Plain);
    let lines: Vec<_> = text.lines().collect();
    let marked = lines[4].find('^').unwrap();
    let column = |line: &str, needle: &str| line.find(needle).map(|at| line[..at].chars().count());
    assert_eq!(column(lines[3], "HERE"), column(lines[4], "^"), "{text}");
    assert!(marked < 200 && lines[3].chars().count() < 140);
}

#[test]
fn places_outside_of_the_file_do_no_harm() {
    for place in [span(0, 0, 0), span(9, 9, 9), span(1, 99, 0), span(1, 1, u32::MAX)] {
        render(&[Problem::warning(place, "c", "r")], &files("a"), Style::Colour);
    }
}
