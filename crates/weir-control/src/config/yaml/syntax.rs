//! What the YAML parser complains about, in words for people who do not know its grammar.

use granit_parser::{ErrorKind, Parser, ScanError};
use weir_model::problem::{Problem, Span};

use super::{line_places, lines};

/// The problem behind a parser's error.
pub(super) fn problem(error: &ScanError, text: &str, file: u16) -> Problem {
    let marker = error.marker();
    let at =
        Span { file, line: super::number(marker.line()), column: super::number(marker.col() + 1), length: 1 };
    let (cause, remedy): (String, &str) = match error.kind() {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => {
            let cause = "a tab stands where YAML allows only spaces";
            return Problem::error(tab(text, at), cause, "replace it by spaces");
        }
        ErrorKind::UnknownAnchor => {
            let cause = "the alias names no anchor that stands before it";
            (cause.into(), "a text that begins with `*`, such as `*.example.com`, needs quotes")
        }
        ErrorKind::UnexpectedCharacter { character } if character.is_control() => {
            (format!("there is a control character (U+{:04X}) here", u32::from(*character)), "remove it")
        }
        ErrorKind::UnexpectedCharacter { character } => {
            (format!("a text cannot begin with `{character}`"), "put it in quotes")
        }
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => (
            "there is a second `:` on this line, or the line is indented differently from the one before"
                .into(),
            "put a text that holds `: ` in quotes; let keys of one map begin in the same column",
        ),
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::InvalidIndentation
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::MappingKeyNotAllowed
        | ErrorKind::BlockSequenceEntryNotAllowed
        | ErrorKind::SimpleKeyExpected => {
            let cause = "this line is indented differently from its neighbours";
            let remedy = "let all keys of one map, and all `-` of one list, begin in the same column";
            return bracket(text, at, cause, remedy);
        }
        kind if is_unclosed(kind) => {
            let remedy = "add the closing quote on the line where the text begins";
            return Problem::error(quote(text, at), "a quoted text is not closed", remedy);
        }
        ErrorKind::InvalidTrailingSingleQuotedScalar | ErrorKind::InvalidTrailingDoubleQuotedScalar => {
            ("something follows a quoted text".into(), "put the whole text in quotes")
        }
        ErrorKind::UnknownQuotedScalarEscape
        | ErrorKind::InvalidQuotedScalarHexEscape
        | ErrorKind::InvalidUnicodeEscape => {
            ("this is not an escape of a text in double quotes".into(), "use single quotes, or write `\\\\`")
        }
        ErrorKind::UnclosedFlowCollection { open } => (format!("this `{open}` is not closed"), "close it"),
        ErrorKind::ExpectedFlowMappingSeparator
        | ErrorKind::ExpectedFlowSequenceSeparator
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::MisplacedFlowCollectionEnd
        | ErrorKind::MismatchedFlowCollectionEnd { .. }
        | ErrorKind::InvalidFlowScalarIndent => {
            let remedy = "each `[` and `{` needs its own closing one, and a comma between values";
            return bracket(text, at, "the brackets do not fit together", remedy);
        }
        ErrorKind::RecursionLimitExceeded => return *super::too_deep(at),
        _ => (format!("this is not YAML: {}", error.info()), "see the line and the one above it"),
    };
    Problem::error(at, cause, remedy)
}

const fn is_unclosed(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnclosedQuotedScalar
            | ErrorKind::InvalidQuotedScalarIndent
            | ErrorKind::DocumentIndicatorInQuotedScalar
    )
}

/// The parser marks where it gave up; what has to be looked at is the quote that begins the text: the last one that makes of
/// what stands before it a text that is not closed.
fn quote(text: &str, at: Span) -> Span {
    // Each of them is tried by reading the file once more.
    const TRIED: usize = 16;
    let unclosed = |part: &str| {
        let error = Parser::new_from_str(part).find_map(Result::err);
        error.is_some_and(|error| is_unclosed(error.kind()))
    };
    let last = line_places(text).nth(at.line.saturating_sub(1) as usize);
    let end = last.map_or(text.len(), |(_, end)| end);
    let quotes = text[..end].rmatch_indices(['"', '\'']).take(TRIED);
    let begins = |place: &usize| !unclosed(&text[..*place]) && unclosed(&text[..=*place]);
    let Some(place) = quotes.map(|(place, _)| place).find(begins) else { return at };
    let before = (1u32..).zip(lines(&text[..place])).last();
    let (line, before) = before.unwrap_or((1, ""));
    Span { line, column: super::number(before.chars().count() + 1), ..at }
}

/// The parser marks the text before a tab; the tab itself is what has to go.
fn tab(text: &str, at: Span) -> Span {
    let near = (1u32..).zip(lines(text)).skip_while(|(line, _)| *line < at.line).take(2);
    for (line, content) in near {
        let skipped = if line == at.line { at.column.saturating_sub(1) as usize } else { 0 };
        if let Some(offset) = content.chars().skip(skipped).position(|character| character == '\t') {
            return Span { line, column: super::number(skipped + offset + 1), ..at };
        }
    }
    at
}

/// Something behind `]` is most often an IPv6 address without quotes; anything else is the problem given.
fn bracket(text: &str, at: Span, cause: &str, remedy: &str) -> Problem {
    let line = lines(text).nth(at.line.saturating_sub(1) as usize).unwrap_or_default();
    let before: String = line.chars().take(at.column.saturating_sub(1) as usize).collect();
    if before.trim_end().ends_with("::]") {
        let cause = "something follows a closing bracket";
        return Problem::error(at, cause, "an address that begins with `[` needs quotes: `\"[::]:443\"`");
    }
    Problem::error(at, cause, remedy)
}
