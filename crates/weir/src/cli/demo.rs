//! `weir demo`: a complete working example in one process.

use std::{io, process::ExitCode};

use anyhow::Result;
use clap::Args;
use weir_control::config;
use weir_model::time::Millis;

use super::output;
use crate::{demo, signals::StopRequests};

pub(super) const EXAMPLES: &str = "Examples:
  weir demo                    until Ctrl-C, which drains and prints a summary; a second one stops at once
  weir demo --for 20s          ends by itself: long enough to see a backend leave and come back

Everything is on loopback and in this process. Nothing is written to disk.";

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// End by itself after this time, as in 20s or 2m
    #[arg(long = "for", value_name = "DURATION", value_parser = length)]
    length: Option<Millis>,
}

fn length(text: &str) -> Result<Millis, String> {
    match config::duration(text)? {
        Millis(0) => Err("write a duration above zero: `20s`".to_owned()),
        length => Ok(length),
    }
}

/// Runs the demo.
pub(super) fn demo(args: &DemoArgs) -> Result<ExitCode> {
    let requests = StopRequests::listen()?;
    let shown = demo::run(args.length.unwrap_or(Millis::NONE), &requests);
    // It writes nothing to disk but what it shows.
    shown.map_err(|error| match error.downcast_ref::<io::Error>() {
        Some(full) if full.kind() == io::ErrorKind::StorageFull => output::unwritten(full).into(),
        _ => error,
    })?;
    Ok(ExitCode::SUCCESS)
}
