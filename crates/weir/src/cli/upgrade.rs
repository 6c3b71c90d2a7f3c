//! `weir upgrade`: has the program on disk take over from the running process, and says what came of it.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use hyper::Method;
use serde_json::Value;
use weir_control::config::visible;

use super::{output, remote::RemoteArgs};

pub(super) const EXAMPLES: &str = "Examples:
  install -m 755 weir-new /usr/local/bin/weir && weir upgrade
  weir upgrade --admin unix:/run/weir.sock

The running process starts what stands at its own path by now, with the arguments it was started with, and hands it the
listening sockets: no connection is refused or reset. The old process finishes what it has within `upgrade.drain` (1h unless
given). The exit code is 1 if the new process does not come to serve: then the old one goes on, and the reason is said.";

#[derive(Debug, Args)]
pub(super) struct UpgradeArgs {
    #[command(flatten)]
    remote: RemoteArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Upgrades.
pub(super) fn run(args: &UpgradeArgs) -> Result<ExitCode> {
    let reply = args.remote.remote()?.ask(Method::POST, "/api/upgrade", None)?;
    if args.json {
        let failed = reply.status == 422;
        let told: Value = if failed { reply.json()? } else { reply.well()?.json()? };
        output::json(&told)?;
        return Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }
    let told: Value = reply.well()?.json()?;
    let took = told["took_ms"].as_f64().unwrap_or_default();
    let version = visible(told["version"].as_str().unwrap_or_default());
    output::line(&format!("process {} serves with weir {version} after {took:.0} ms", told["pid"]))?;
    let within = match told["drain_ms"].as_u64() {
        Some(millis) => format!(" within {} s", millis.div_ceil(1000)),
        None => String::new(),
    };
    let left = &told["connections"];
    output::line(&format!("process {} finishes its {left} connections{within}", told["old_pid"]))?;
    Ok(ExitCode::SUCCESS)
}
