//! Templates: what is understood, what is refused and how, and that no value breaks out of where it is put.

use proptest::prelude::*;

use super::*;
use crate::problem::{Located, Span};

/// Every variable has this value.
struct Everywhere<'a>(&'a [u8]);

impl Values for Everywhere<'_> {
    fn put(&self, _: &Variable, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0);
    }
}

fn parse(text: &str, place: Place) -> Result<Template, String> {
    let text = Located::new(text.to_owned(), Span::default());
    Template::parse(&text, place).map_err(|problem| format!("{problem}; {}", problem.remedy))
}

fn rendered(text: &str, value: &[u8], escape: Escape) -> String {
    let mut out = Vec::new();
    parse(text, Place::Log).unwrap().render(&Everywhere(value), escape, "-", &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn names_braces_and_dollars() {
    assert_eq!(rendered("$host:$status", b"x", Escape::Line), "x:x");
    assert_eq!(rendered("${host}name $$host $$$host$$", b"x", Escape::Line), "xname $host $x$");
    assert_eq!(rendered("[$cause]", b"", Escape::Line), "[-]");
    let template = parse("$header_user_agent ${cookie_a-b} $query_v", Place::Request).unwrap();
    let expected = [
        Variable::Header("user-agent".into()),
        Variable::Cookie("a-b".into()),
        Variable::Parameter("v".into()),
    ];
    assert!(template.variables().eq(&expected), "{template:?}");
    assert_eq!(parse("10 $$", Place::Log).unwrap().as_literal(), Some("10 $"));
    assert_eq!(Template::literal("a$b").as_literal(), Some("a$b"));
    assert_eq!(parse(Template::literal("a$b").source(), Place::Log), Ok(Template::literal("a$b")));
}

#[test]
fn what_is_wrong_is_said_with_a_remedy() {
    for (text, place, said) in [
        ("$hots", Place::Log, "there is no variable `$hots`; did you mean `$host`? `$$` is a dollar"),
        ("$zzzzzz", Place::Log, "there is no variable `$zzzzzz`; docs/logging.md lists"),
        ("a $ b", Place::Log, "`$` begins a variable here; write `$$` for a dollar"),
        ("5$", Place::Log, "`$` begins a variable here; write `$$` for a dollar"),
        ("${host", Place::Log, "`${` is not closed; write"),
        ("${}", Place::Log, "`${` is not closed; write"),
        ("$header_", Place::Log, "there is no variable `$header_`"),
        (
            "$status",
            Place::Request,
            "`$status` is not known yet in a request that is about to be forwarded; it",
        ),
        ("$backend", Place::Answer, "`$backend` is not known yet in an answer that weir gives itself"),
        ("$duration", Place::Response, "`$duration` is not known yet in a response"),
    ] {
        let error = parse(text, place).unwrap_err();
        assert!(error.starts_with(said), "{text}: {error}");
    }
}

#[test]
fn every_row_of_the_table_is_a_variable_and_stands_in_the_reference() {
    let reference = include_str!("../../../../docs/logging.md");
    for row in VARIABLES {
        let name = row.name.replace("<name>", "x");
        assert!(is_variable(&name), "{name}");
        assert!(parse(&format!("${name}"), row.from).is_ok(), "{name}");
        let from = match row.from {
            Place::Request => "request",
            Place::Answer => "answer",
            Place::Response => "response",
            Place::Log => "log",
        };
        let protocols = if row.protocols == Protocols::Any { "http, tcp" } else { "http" };
        let line = format!("| `${}` | {from} | {protocols} | {} |", row.name, row.meaning);
        assert!(reference.contains(&line), "docs/logging.md lacks the row\n{line}");
    }
    let rows = reference.lines().filter(|line| line.starts_with("| `$")).count();
    assert_eq!(rows, VARIABLES.len(), "docs/logging.md has rows of variables that do not exist");
}

#[test]
fn escapes_show_what_they_hide() {
    let value = b"a\"\\\r\n\0\x7f<b>&'\xff\xc3\xa9 \xc2\x9b";
    assert_eq!(
        rendered("$host", value, Escape::Line),
        r#"a\x22\x5C\x0D\x0A\x00\x7F\x3Cb\x3E&'\xFF\xC3\xA9 \xC2\x9B"#
    );
    assert_eq!(
        rendered("$host", value, Escape::Json),
        "a\\\"\\\\\\r\\n\\u0000\\u007f\\u003cb\\u003e\\u0026'\u{fffd}é \\u009b"
    );
    let mut header = Vec::new();
    Escape::Header.put(b"a\r\nSet-Cookie: x\0\tb\xff", &mut header);
    assert_eq!(header, b"a%0D%0ASet-Cookie: x%00\tb\xff");
    assert_eq!(
        rendered("$host", b"<i a='1' b=\"2\">&", Escape::Html),
        "&lt;i a=&#39;1&#39; b=&quot;2&quot;&gt;&amp;"
    );
}

proptest! {
    #[test]
    fn no_value_breaks_out(value in proptest::collection::vec(any::<u8>(), 1..200)) {
        let mut out = Vec::new();
        Escape::Line.put(&value, &mut out);
        prop_assert!(out.iter().all(|byte| (0x20..0x7f).contains(byte) && !b"\"<>".contains(byte)));
        let mut out = Vec::new();
        Escape::Header.put(&value, &mut out);
        prop_assert!(!out.iter().any(|byte| *byte < 0x20 && *byte != b'\t' || *byte == 0x7f));
        let mut out = Vec::new();
        Escape::Html.put(&value, &mut out);
        prop_assert!(!out.iter().any(|byte| b"<>\"'".contains(byte)));
    }

    #[test]
    fn any_text_parses_or_is_refused(text in "[$a-z{}_ \"]{0,24}") {
        if let Ok(template) = parse(&text, Place::Log) {
            // What has no variable stands for itself.
            if let Some(literal) = template.as_literal() {
                prop_assert_eq!(literal.replace('$', "$$"), text);
            }
        }
    }
}
