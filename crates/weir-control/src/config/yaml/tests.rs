//! Nodes, places and refusals of the YAML layer.

use super::*;

fn parsed(text: &str) -> (Option<Node>, Vec<Problem>) {
    let mut problems = Vec::new();
    let root = parse(text, 0, &mut problems);
    (root, problems)
}

fn refused(text: &str) -> (u32, u32, String) {
    let (_, problems) = parsed(text);
    let problem = problems.first().unwrap_or_else(|| panic!("accepted: {text}"));
    (problem.span.line, problem.span.column, problem.cause.clone())
}

#[test]
fn scalars_keep_their_characters() {
    let (root, _) = parsed("a: 1.10\nb: 'yes'\nc: ~\nd:\n");
    let Some(Node { value: Value::Map(entries), .. }) = root else { panic!("a map") };
    let texts: Vec<_> = entries
        .iter()
        .map(|entry| match &entry.value.value {
            Value::Scalar { text, plain } => format!("{text} {plain}"),
            _ => "-".into(),
        })
        .collect();
    assert_eq!(texts, ["1.10 true", "yes false", "-", "-"]);
}

#[test]
fn places_count_characters_from_one() {
    let (root, _) = parsed("ä: [x, {y: 'z z'}]\n");
    let Some(Node { value: Value::Map(entries), .. }) = root else { panic!("a map") };
    let list = &entries[0].value;
    assert_eq!((list.span.line, list.span.column, list.span.length), (1, 4, 15));
    let Value::List(items) = &list.value else { panic!("a list") };
    assert_eq!((items[1].span.column, items[1].span.length), (8, 10));
}

#[test]
fn broken_syntax_names_its_place() {
    assert_eq!((3, 1), pair(refused("a:\n  b: c\n\td: e\n")));
    assert_eq!((2, 5), pair(refused("a:\n  b:\t\n    c: d\n  \te: f\n")).min((2, 5)));
    for text in
        ["a: [1, 2\nb: 3\n", "a: \"x\n", "a: }\n", "a: @x\n", "a: \u{7}\n", "- a\nb: c\n", "a: b: c\n"]
    {
        assert!(refused(text).0 >= 1, "{text}");
    }
}

fn pair((line, column, _): (u32, u32, String)) -> (u32, u32) {
    (line, column)
}

#[test]
fn what_the_language_does_not_use_is_refused() {
    assert!(refused("a: 1\n---\nb: 2\n").2.contains("more than one YAML document"));
    assert!(refused("a: !secret x\n").2.contains("the tag `!secret`"));
    assert!(refused("[a]: b\n").2.contains("not a key"));
    assert!(refused("a: 1\na: 2\n").2.contains("given twice"));
    assert!(refused("a: *b\n").2.contains("alias"));
}

#[test]
fn aliases_are_bounded() {
    let (root, problems) = parsed("a: &a [x, y]\nb: *a\n");
    assert!(root.is_some() && problems.is_empty());
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let previous = format!("*a{}", level - 1);
        bomb += &format!("a{level}: &a{level} [{}]\n", vec![previous; 10].join(", "));
    }
    assert!(refused(&bomb).2.contains("aliases"));
    assert!(refused("a: &a [*a]\n").2.contains("inside"));
    let deep = format!("a: {}x{}\n", "[".repeat(80), "]".repeat(80));
    assert!(refused(&deep).2.contains("deep"));
}
