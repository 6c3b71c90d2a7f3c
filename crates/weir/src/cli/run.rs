//! `weir run`: serves until it is told to stop, reads its configuration again when it is told to, and lets another process
//! take over.

use std::{cell::RefCell, path::Path, process::ExitCode, thread, time::Duration};

use anyhow::Result;
use clap::Args;

use super::{ConfigArgs, output::counted};
use crate::{
    app::{App, Inheritance},
    log::Sink,
    manager::{self, Manager},
    signals::{ReloadRequests, StopRequests, StrayRequests, UpgradeRequests},
    upgrade::{Ancestor, Program},
};

pub(super) const EXAMPLES: &str = "Examples:
  weir run -c weir.yaml            kill -HUP reloads, kill -TERM drains and stops, a second one stops at once
  weir run -c /etc/weir --watch    reloads by itself when the files changed and were quiet for a second

SIGUSR2, as `weir upgrade`, has what stands at the path of the program by now take over; this process finishes what it has.
Under systemd it takes sockets from a .socket unit and says when it is ready: see deploy/ and docs/operating.md.";

/// What whoever sends SIGUSR1 is told: logs of nginx are rotated with it, and it would end a process that does not hear it.
const STRAY: &str = "SIGUSR1 means nothing here and is ignored: SIGHUP opens the access log again and reloads, SIGUSR2 upgrades in place, \
                     SIGTERM stops";

/// Between two looks at what is asked for.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Reload when the files have changed and were quiet for a second, without waiting for SIGHUP
    #[arg(long)]
    watch: bool,
}

/// What the process is asked for from outside.
struct Requests {
    stop: StopRequests,
    reload: ReloadRequests,
    upgrade: UpgradeRequests,
    stray: StrayRequests,
}

/// Serves.
pub(super) fn run(args: &RunArgs) -> Result<ExitCode> {
    let requests = Requests {
        stop: StopRequests::listen()?,
        reload: ReloadRequests::listen()?,
        upgrade: UpgradeRequests::listen()?,
        stray: StrayRequests::listen()?,
    };
    let program = Program::of_this_process()?;
    let manager = Manager::of_this_process();
    let app = match Ancestor::find()? {
        Some((ancestor, inheritance)) => succeed(args, ancestor, inheritance)?,
        None => {
            let path: &Path = args.config.path()?;
            App::begin(path, args.watch, Sink::stderr(), manager::sockets()?, || Ok(Vec::new()))?
        }
    };
    app.upgrades.hear();
    manager.ready(&status(&app));
    serve(app, &requests, &program, manager);
    Ok(ExitCode::SUCCESS)
}

/// Takes over from another process.
fn succeed(args: &RunArgs, mut ancestor: Ancestor, inheritance: Inheritance) -> Result<App> {
    let path: Result<&Path> = args.config.path().map_err(Into::into);
    let begun = path.and_then(|path| {
        App::begin(path, args.watch, Sink::stderr(), inheritance, || ancestor.wait_for_the_word())
    });
    let app = begun.inspect_err(|error| ancestor.failed(error))?;
    let (sockets, admin) = app.holdings();
    ancestor.serving(sockets, admin)?;
    Ok(app)
}

/// Serves until it is asked to stop, or another process has taken over.
fn serve(mut app: App, requests: &Requests, program: &Program, manager: Manager) {
    let manager = RefCell::new(manager);
    let (mut reloads, mut upgrades, mut stray) = (0, 0, 0);
    // How many reloads were done when the last one was asked for.
    let mut reloading = None;
    while requests.stop.count() == 0 {
        let asked = requests.reload.count();
        if asked != reloads {
            reloads = asked;
            manager.borrow().reloading();
            reloading = Some(done(&app));
            // Whatever becomes of the new configuration: whoever has renamed the file of the access log wants it back.
            app.reopen_logs();
            app.ask_for_reload();
        }
        if reloading.is_some_and(|before| done(&app) > before) {
            reloading = None;
            manager.borrow().ready(&status(&app));
        }
        let (asked, waiting) = (requests.upgrade.count(), app.upgrades.next());
        if asked != upgrades || !waiting.is_empty() {
            upgrades = asked;
            let given_up = || {
                manager.borrow_mut().alive();
                requests.stop.count() > 0
            };
            let result = app.upgrade(program, &given_up);
            if let Ok(upgraded) = &result {
                manager.borrow().handed_over(upgraded.pid);
            }
            let over = result.is_ok();
            waiting.answer(&result);
            if over {
                app.retire(&|| requests.stop.count());
                return;
            }
        }
        if std::mem::replace(&mut stray, requests.stray.count()) != stray {
            app.warn(STRAY);
        }
        if app.is_alive() {
            manager.borrow_mut().alive();
        }
        thread::sleep(LOOK);
    }
    manager.borrow().stopping();
    app.shutdown(&|| {
        manager.borrow_mut().alive();
        requests.stop.count() > 1
    });
}

/// Reloads that are over, one way or the other.
fn done(app: &App) -> u64 {
    app.reloads().map_or(u64::MAX, |record| record.reloads + record.refused)
}

fn status(app: &App) -> String {
    let snapshot = app.snapshot();
    let (listeners, pools) = (snapshot.listeners.len(), snapshot.pools.len());
    let (listeners, pools) = (counted(listeners, "listener"), counted(pools, "pool"));
    format!("serving generation {}: {listeners}, {pools}", snapshot.generation)
}
