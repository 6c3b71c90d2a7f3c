//! `weir check`: everything that is wrong with a configuration.

use std::{path::Path, process::ExitCode};

use weir_control::config;
use weir_model::status::Registry;

use crate::terminal;

/// Checks the configuration at `path`; the exit code is 1 if it is refused.
pub(super) fn check(path: &Path) -> ExitCode {
    let compiled = config::load(path).and_then(|loaded| config::compile(loaded, 1, &mut Registry::new(1)));
    match compiled {
        Ok(compiled) => {
            eprint!("{}", compiled.report.render(terminal::style()));
            let snapshot = &compiled.snapshot;
            let routes: usize =
                snapshot.listeners.iter().map(|listener| listener.routes.routes().len()).sum();
            let backends: usize = snapshot.pools.iter().map(|pool| pool.backends.len()).sum();
            println!(
                "{} is valid: {} listeners, {routes} routes, {} pools, {backends} backends",
                path.display(),
                snapshot.listeners.len(),
                snapshot.pools.len(),
            );
            ExitCode::SUCCESS
        }
        Err(report) => {
            eprint!("{}", report.render(terminal::style()));
            ExitCode::FAILURE
        }
    }
}
