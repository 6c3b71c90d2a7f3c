//! What commands say: results on standard output, warnings and errors on standard error.
//!
//! A reader that has gone, as in `weir status | head`, has read enough: that changes nothing about the result.

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;
use weir_control::trouble::Trouble;

/// Writes a text to standard output, as it is.
pub(super) fn text(text: &str) -> Result<()> {
    Ok(write(&mut io::stdout().lock(), text)?)
}

/// Writes a line to standard output.
pub(super) fn line(line: &str) -> Result<()> {
    text(&format!("{line}\n"))
}

/// Writes JSON to standard output.
pub(super) fn json(value: &impl Serialize) -> Result<()> {
    line(&serde_json::to_string_pretty(value)?)
}

/// Writes what was asked for with `--help` or `--version`, with colours where there may be some.
pub(super) fn help(asked: &clap::Error) -> Result<()> {
    Ok(checked(asked.print().and_then(|()| io::stdout().flush()))?)
}

/// Writes a text to standard error, as it is. Where that fails, nobody is left to be told.
pub(super) fn aside(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

fn write(out: &mut impl Write, text: &str) -> Result<(), Trouble> {
    checked(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

fn checked(written: io::Result<()>) -> Result<(), Trouble> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unwritten(&error)),
        _ => Ok(()),
    }
}

/// What to say when standard output takes nothing.
pub(super) fn unwritten(error: &io::Error) -> Trouble {
    let remedy = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room there, or write to another place"
        }
        _ => "see where the output goes to",
    };
    Trouble::new(format!("standard output cannot be written: {error}"), remedy)
}

/// `1 route`, `2 routes`.
pub(super) fn counted(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}
