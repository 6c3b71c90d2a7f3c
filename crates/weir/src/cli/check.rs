//! `weir check`: everything that is wrong with a configuration, and what a reload of it would change.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
};

use anyhow::Result;
use clap::Args;
use weir_control::{
    config::{self, Compiled, Refusal},
    reload::plan,
};
use weir_model::{snapshot::diff::Diff, status::Registry};
use weir_proxy::tls;

use super::{
    ConfigArgs,
    output::{self, counted},
};
use crate::terminal;

pub(super) const EXAMPLES: &str = "Examples:
  weir check -c weir.yaml
  weir check -c new.yaml --diff weir.yaml    what a reload from weir.yaml to new.yaml would bind, close, add, change, keep";

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Say what a reload would change if this file or directory were running now
    #[arg(long, value_name = "OTHER")]
    diff: Option<PathBuf>,
}

/// Checks a configuration; the exit code is 1 if it, or the one it is compared with, is refused.
pub(super) fn check(args: &CheckArgs) -> Result<ExitCode> {
    let path = args.config.path()?;
    match (compile(path), args.diff.as_deref().map(compile).transpose()) {
        (Ok(new), Ok(None)) => {
            if let Err(why) = tls::prepare(&new.snapshot, &tls::Common::default()) {
                output::aside(&format!("error: {why}\n"));
                return Ok(ExitCode::FAILURE);
            }
            output::aside(&new.report.render(terminal::style()));
            output::line(&report(path, &new))?;
            Ok(ExitCode::SUCCESS)
        }
        (Ok(new), Ok(Some(running))) => {
            output::aside(&new.report.render(terminal::style()));
            output::text(&plan::page(&Diff::of(&running.snapshot, &new.snapshot)))?;
            Ok(ExitCode::SUCCESS)
        }
        (new, running) => {
            for refusal in [new.err(), running.err()].into_iter().flatten() {
                output::aside(&refusal.render(terminal::style()));
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

fn compile(path: &Path) -> Result<Compiled, Refusal> {
    // As many workers as there would be: what they need of the file limit counts.
    let cores = thread::available_parallelism().map_or(1, usize::from);
    config::load(path).and_then(|loaded| config::compile(loaded, 1, &mut Registry::new(cores)))
}

fn report(path: &Path, compiled: &Compiled) -> String {
    let snapshot = &compiled.snapshot;
    let routes: usize = snapshot.listeners.iter().map(|listener| listener.routes.routes().len()).sum();
    let backends: usize = snapshot.pools.iter().map(|pool| pool.backends.len()).sum();
    let discovering = snapshot.pools.iter().filter(|pool| pool.discover.is_some()).count();
    let more = match discovering {
        0 => String::new(),
        count => format!(", and those that {count} of the pools discover"),
    };
    format!(
        "{} is valid: {}, {}, {}, {}{more}",
        path.display(),
        counted(snapshot.listeners.len(), "listener"),
        counted(routes, "route"),
        counted(snapshot.pools.len(), "pool"),
        counted(backends, "backend"),
    )
}
