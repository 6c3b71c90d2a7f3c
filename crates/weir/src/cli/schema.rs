//! `weir schema`: the configuration language for editors.

use std::process::ExitCode;

use anyhow::Result;
use weir_control::config;

use super::output;

pub(super) const EXAMPLES: &str = "Example:
  weir schema > weir.schema.json

Editors that know the YAML language server take it from the first line of a configuration:
  # yaml-language-server: $schema=weir.schema.json";

/// Prints the schema.
pub(super) fn schema() -> Result<ExitCode> {
    output::line(&format!("{:#}", config::schema()))?;
    Ok(ExitCode::SUCCESS)
}
