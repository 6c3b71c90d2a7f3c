//! `weir run`: serves until it is told to stop.

use std::{path::Path, process::ExitCode, thread, time::Duration};

use anyhow::Result;

use crate::{app::App, log::Sink, signals::StopRequests};

/// Serves the configuration at `path`.
pub(super) fn run(path: &Path) -> Result<ExitCode> {
    let requests = StopRequests::listen()?;
    let app = App::from_path(path, Sink::stderr())?;
    while requests.count() == 0 {
        thread::sleep(Duration::from_millis(50));
    }
    app.shutdown(&|| requests.count() > 1);
    Ok(ExitCode::SUCCESS)
}
