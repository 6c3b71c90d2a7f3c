//! `weir reload`: has the running process read its files again, and says what came of it.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use hyper::Method;
use serde_json::Value;
use weir_control::config::visible;

use super::{output, remote::RemoteArgs};

pub(super) const EXAMPLES: &str = "Examples:
  weir reload
  weir reload -c /etc/weir/weir.yaml
  weir reload --admin unix:/run/weir.sock

A configuration that is refused changes nothing; the exit code is 1 then.";

#[derive(Debug, Args)]
pub(super) struct ReloadArgs {
    #[command(flatten)]
    remote: RemoteArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Reloads.
pub(super) fn run(args: &ReloadArgs) -> Result<ExitCode> {
    let reply = args.remote.remote()?.ask(Method::POST, "/api/reload", None)?;
    let refused = reply.status == 422;
    let told: Value = if refused { reply.json()? } else { reply.well()?.json()? };
    if args.json {
        output::json(&told)?;
        return Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }
    if refused {
        bail!(shown(&told["text"]));
    }
    for warning in told["warnings"].as_array().into_iter().flatten() {
        output::aside(&format!("warning: {}\n", shown(warning)));
    }
    let took = told["took_ms"].as_f64().unwrap_or_default();
    let (generation, summary) = (&told["generation"], shown(&told["summary"]));
    output::line(&format!("generation {generation} after {took:.1} ms: {summary}"))?;
    Ok(ExitCode::SUCCESS)
}

/// A text of the process, line by line without anything that a terminal would obey.
fn shown(value: &Value) -> String {
    value.as_str().unwrap_or_default().lines().map(visible).collect::<Vec<_>>().join("\n")
}
