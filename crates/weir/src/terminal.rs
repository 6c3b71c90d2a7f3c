//! What the terminal can show.

use std::io::{IsTerminal as _, stderr};

use weir_control::config::Style;

/// Colours on a terminal, unless NO_COLOR says otherwise (<https://no-color.org>).
pub(crate) fn style() -> Style {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if stderr().is_terminal() && !plain { Style::Colour } else { Style::Plain }
}
