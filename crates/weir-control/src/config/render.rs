//! Problems as text for people: place, source line, marker, cause, remedy.
//!
//! ```text
//! error: unknown key `timeuots` in a listener
//!   --> weir.yaml:4:5
//!    |
//!  4 |     timeuots: { header: 5s }
//!    |     ^^^^^^^^
//!    = help: did you mean `timeouts`?
//! ```

use std::fmt::Write as _;

use weir_model::problem::{Problem, Severity, Span};

use super::{File, Files};

/// Longer source lines are shown as a window around the marker.
const WIDEST: usize = 120;

/// Whether escape sequences may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Characters only.
    Plain,
    /// Colours, for a terminal.
    Colour,
}

const BOLD: &str = "1";
const RED: &str = "1;31";
const YELLOW: &str = "1;33";
const BLUE: &str = "1;34";
const GREEN: &str = "1;32";

/// All problems in the order given, and a line that counts them; empty if there is none.
pub(super) fn render(problems: &[Problem], files: &Files, style: Style) -> String {
    let mut out = Output { text: String::new(), style };
    for problem in problems {
        out.problem(problem, files);
    }
    if !problems.is_empty() {
        out.summary(problems);
    }
    out.text
}

struct Output {
    text: String,
    style: Style,
}

impl Output {
    fn problem(&mut self, problem: &Problem, files: &Files) {
        let (word, colour) = match problem.severity {
            Severity::Error => ("error", RED),
            Severity::Warning => ("warning", YELLOW),
        };
        self.paint(colour, word);
        self.paint(BOLD, &format!(": {}", visible(&problem.cause)));
        self.text.push('\n');
        self.place(problem.span, files, '^', colour);
        if !problem.remedy.is_empty() {
            self.line_of(problem.span, "= ", GREEN, "help");
            let _ = writeln!(self.text, ": {}", visible(&problem.remedy));
        }
        if let Some((span, caption)) = &problem.related {
            self.line_of(problem.span, "= ", BLUE, "note");
            let _ = writeln!(self.text, ": {}", visible(caption));
            self.place(*span, files, '-', BLUE);
        }
        self.text.push('\n');
    }

    /// File, line and column; the source line; a marker under the text that is meant.
    fn place(&mut self, span: Span, files: &Files, marker: char, colour: &str) {
        let Some(file) = files.file(span.file) else { return };
        let margin = margin(span);
        self.text.push_str(&" ".repeat(margin));
        self.paint(BLUE, "--> ");
        self.text.push_str(&visible(&file.name));
        if span.line == 0 {
            self.text.push('\n');
            return;
        }
        let _ = writeln!(self.text, ":{}:{}", span.line, span.column);
        let Some(shown) = Window::of(file, span) else { return };
        let bar = |out: &mut Self, number: &str| {
            out.paint(BLUE, &format!("{number:>margin$} |"));
        };
        bar(self, "");
        self.text.push('\n');
        bar(self, &span.line.to_string());
        let _ = writeln!(self.text, " {}", shown.text);
        bar(self, "");
        self.text.push_str(&" ".repeat(shown.before + 1));
        self.paint(colour, &marker.to_string().repeat(shown.length));
        self.text.push('\n');
    }

    fn line_of(&mut self, span: Span, sign: &str, colour: &str, word: &str) {
        self.text.push_str(&" ".repeat(margin(span) + 1));
        self.paint(BLUE, sign);
        self.paint(colour, word);
    }

    fn summary(&mut self, problems: &[Problem]) {
        let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
        let warnings = problems.len() - errors;
        let count = |count: usize, word: &str| match count {
            0 => None,
            1 => Some(format!("1 {word}")),
            _ => Some(format!("{count} {word}s")),
        };
        let counts: Vec<_> =
            [count(errors, "error"), count(warnings, "warning")].into_iter().flatten().collect();
        let _ = writeln!(self.text, "{}", counts.join(", "));
    }

    fn paint(&mut self, colour: &str, text: &str) {
        match self.style {
            Style::Plain => self.text.push_str(text),
            Style::Colour => _ = write!(self.text, "\x1b[{colour}m{text}\x1b[0m"),
        }
    }
}

/// Width of the column of line numbers.
fn margin(span: Span) -> usize {
    span.line.to_string().len() + 1
}

/// The part of a source line that is shown.
struct Window {
    text: String,
    /// Characters in front of the marker.
    before: usize,
    /// Characters marked.
    length: usize,
}

impl Window {
    fn of(file: &File, span: Span) -> Option<Self> {
        let line: Vec<char> = file.line(span.line)?.chars().map(plain).collect();
        let start = (span.column.max(1) as usize - 1).min(line.len());
        // A place behind the last character is marked by one sign.
        let length = (span.length as usize).min(line.len() - start).max(1);
        if line.len() <= WIDEST {
            return Some(Self { text: line.into_iter().collect(), before: start, length });
        }
        let from = start.saturating_sub(WIDEST / 3);
        let to = (from + WIDEST).min(line.len());
        let mut text: String = line[from..to].iter().collect();
        let mut before = start - from;
        if from > 0 {
            text.insert_str(0, "… ");
            before += 2;
        }
        if to < line.len() {
            text.push_str(" …");
        }
        Some(Self { text, before, length: length.min(to.saturating_sub(start)).max(1) })
    }
}

/// A text with nothing in it that a terminal would obey.
pub fn visible(text: &str) -> String {
    text.chars().map(plain).collect()
}

/// Control characters by their pictures (U+2400 and on), tabs by a space so that markers stay below their text, and
/// the characters that turn the direction of writing, which can make a line read as something else, by a
/// replacement character.
fn plain(character: char) -> char {
    match character {
        '\t' => ' ',
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(character)).unwrap_or('\u{fffd}'),
        '\x7f' => '\u{2421}',
        '\u{80}'..='\u{9f}'
        | '\u{61c}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}' => '\u{fffd}',
        other => other,
    }
}

#[cfg(test)]
mod tests;
