//! Standard output: what stays, and on a terminal below it a part that is drawn anew in its place.

use std::io::{self, Stdout, Write as _, stdout};

use weir_control::config::Style;

use crate::terminal;

/// A smaller terminal gets what a file would get.
const LEAST: (usize, usize) = (80, 18);

/// Standard output.
#[derive(Debug)]
pub(super) struct Screen {
    out: Stdout,
    pub(super) style: Style,
    pub(super) is_terminal: bool,
    /// What stands below everything else; empty if it is no terminal.
    frame: Vec<String>,
}

impl Screen {
    pub(super) fn new() -> Self {
        let is_terminal =
            terminal::stdout_size().is_some_and(|(columns, rows)| columns >= LEAST.0 && rows >= LEAST.1);
        Self { out: stdout(), style: terminal::stdout_style(), is_terminal, frame: Vec::new() }
    }

    /// Columns that a line of the frame may have; none without a terminal.
    pub(super) fn width(&self) -> Option<usize> {
        // One that became too narrow gets lines that wrap.
        let columns = || terminal::stdout_size().map_or(LEAST.0, |(columns, _)| columns.max(LEAST.0));
        self.is_terminal.then(columns)
    }

    /// Writes lines that stay.
    pub(super) fn print(&mut self, text: &str) -> io::Result<()> {
        let frame = std::mem::take(&mut self.frame);
        self.write(text, frame.len(), &frame)?;
        self.frame = frame;
        Ok(())
    }

    /// Writes the frame over the last one; without a terminal it stays, as it is.
    pub(super) fn draw(&mut self, frame: Vec<String>) -> io::Result<()> {
        if !self.is_terminal {
            return self.print(&(frame.join("\n") + "\n"));
        }
        let before = std::mem::take(&mut self.frame);
        self.write("", before.len(), &frame)?;
        self.frame = frame;
        Ok(())
    }

    /// Takes the frame away.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        let before = std::mem::take(&mut self.frame);
        self.write("", before.len(), &[])
    }

    /// Text and frame in one piece, in place of a frame with so many lines.
    fn write(&mut self, text: &str, before: usize, frame: &[String]) -> io::Result<()> {
        let mut all = String::new();
        if !self.is_terminal {
            all.push_str(text);
        } else {
            if before > 0 {
                all.push_str(&format!("\x1b[{before}A\r"));
            }
            for line in text.lines().chain(frame.iter().map(String::as_str)) {
                all.push_str(line);
                // What an earlier frame left behind on this row.
                all.push_str("\x1b[K\n");
            }
            all.push_str("\x1b[J");
        }
        self.out.write_all(all.as_bytes())?;
        self.out.flush()
    }
}

/// Colours that the demo uses, as parameters of an ANSI sequence.
#[derive(Debug, Clone, Copy)]
pub(super) enum Paint {
    Bold = 1,
    Dim = 2,
    Red = 31,
    Green = 32,
    Yellow = 33,
}

/// The text in a colour, if there are colours.
pub(super) fn paint(style: Style, paint: Paint, text: &str) -> String {
    match style {
        Style::Colour => format!("\x1b[{}m{text}\x1b[0m", paint as u8),
        Style::Plain => text.to_owned(),
    }
}
