//! `weir schema`: the configuration language for editors.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Result;
use weir_control::config;

pub(super) const EXAMPLES: &str = "Example:
  weir schema > weir.schema.json

Editors that know the YAML language server take it from the first line of a configuration:
  # yaml-language-server: $schema=weir.schema.json";

/// Prints the schema.
pub(super) fn schema() -> Result<ExitCode> {
    let mut text = format!("{:#}", config::schema());
    text.push('\n');
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever reads it may have read enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}
