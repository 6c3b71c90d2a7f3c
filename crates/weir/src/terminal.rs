//! What the terminal can show.

use std::io::{IsTerminal as _, stderr, stdout};

use weir_control::config::Style;

/// How to write to standard error.
pub(crate) fn style() -> Style {
    // What a process says that is to take over is read by the one that it takes over from.
    style_of(stderr().is_terminal() && !crate::upgrade::Ancestor::is_named())
}

/// How to write to standard output.
pub(crate) fn stdout_style() -> Style {
    style_of(stdout().is_terminal())
}

/// Colours on a terminal, unless NO_COLOR says otherwise (<https://no-color.org>).
fn style_of(terminal: bool) -> Style {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if terminal && !plain { Style::Colour } else { Style::Plain }
}

/// Columns and rows of the terminal that standard output is, if it is one whose cursor can be moved.
pub(crate) fn stdout_size() -> Option<(usize, usize)> {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    if dumb || !stdout().is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(stdout()).ok()?;
    Some((usize::from(size.ws_col), usize::from(size.ws_row)))
}
