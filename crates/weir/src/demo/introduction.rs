//! What is said before the first table: what there is to see, what weir was told, and where to look closer.

use std::fmt::Write as _;

use weir_control::config::Style;

use super::{
    backends::ZOMBIE,
    screen::{Paint, paint},
};
use crate::app::App;

/// The text, with the configuration as it runs.
pub(super) fn introduction(config: &str, app: &App, style: Style) -> String {
    let (web, lines) = (app.address("web"), app.address("lines"));
    let title = "weir demo: clients, weir and backends in one process";
    let mut text = paint(style, Paint::Bold, title);
    let (wide_web, wide_lines) = (web.to_string(), lines.to_string());
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "

  clients - HTTP -> web   {wide_web:<15} -+-- /api/* -> api  api-1, api-slow
                                           +-- others -> app  app-1, {ZOMBIE}
  clients - TCP --> lines {wide_lines:<15} --------------> echo echo-1, echo-2

After 3 s {ZOMBIE} breaks: its port stays open, but every answer is 500. The
health check notices, and weir takes it out. After 12 s it is repaired, and weir
takes it back.

This is what weir was told:

"
    );
    for line in config.lines() {
        let dim = line.starts_with('#');
        text += &if dim { paint(style, Paint::Dim, line) } else { line.to_owned() };
        text.push('\n');
    }
    let _ = write!(text, "\nLook closer:  curl -i http://{web}/api/hello");
    if let Some(admin) = app.admin_address() {
        let _ = write!(text, "\n              curl http://{admin}/api/status");
    }
    text + "\nCtrl-C drains and prints a summary; a second one stops at once.\n"
}
