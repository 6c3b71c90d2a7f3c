//! `weir run`: serves until it is told to stop, and reads its configuration again when it is told to.

use std::{path::Path, process::ExitCode, thread, time::Duration};

use anyhow::Result;
use clap::Args;

use super::ConfigArgs;
use crate::{
    app::App,
    log::Sink,
    signals::{ReloadRequests, StopRequests},
};

pub(super) const EXAMPLES: &str = "Examples:
  weir run -c weir.yaml            kill -HUP reloads, kill -TERM drains and stops, a second one stops at once
  weir run -c /etc/weir --watch    reloads by itself when the files changed and were quiet for a second";

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Reload when the files have changed and were quiet for a second, without waiting for SIGHUP
    #[arg(long)]
    watch: bool,
}

/// Serves.
pub(super) fn run(args: &RunArgs) -> Result<ExitCode> {
    let stops = StopRequests::listen()?;
    let reloads = ReloadRequests::listen()?;
    let path: &Path = args.config.path();
    let start = if args.watch { App::from_watched_path } else { App::from_path };
    let app = start(path, Sink::stderr())?;
    let mut served = 0;
    while stops.count() == 0 {
        let asked = reloads.count();
        if asked != served {
            served = asked;
            // Whatever becomes of the new configuration: whoever has renamed the file of the access log wants it back.
            app.reopen_logs();
            app.ask_for_reload();
        }
        thread::sleep(Duration::from_millis(50));
    }
    app.shutdown(&|| stops.count() > 1);
    Ok(ExitCode::SUCCESS)
}
