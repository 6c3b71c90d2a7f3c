//! The program put together: reads like the block diagram.
//!
//! ```text
//! configuration ── compile ──> SnapshotCell ──> workers (weir-proxy) ── fill ──> Status
//!                                   └─────────> control (weir-control): checks, names, operators <──┘
//! ```

mod control;
mod listeners;
mod workers;

use std::{
    fmt,
    net::SocketAddr,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::watch;
use weir_control::config::{self, Compiled, Loaded, Style};
use weir_model::{
    snapshot::{Snapshot, SnapshotCell},
    status::Registry,
    time::Millis,
};
use weir_proxy::{
    telemetry::{Level, Voice},
    worker::Phase,
};

use crate::{
    log::{AccessWriter, LogWriter, Sink, Target},
    terminal,
};
use control::Control;
use listeners::Bound;
use workers::{Beats, Workers};

/// A running weir. Dropping it stops at once; [`App::shutdown`] drains first.
pub struct App {
    cell: Arc<SnapshotCell>,
    bound: RwLock<Vec<Bound>>,
    phase: watch::Sender<Phase>,
    workers: Workers,
    control: Control,
    voice: Voice,
    access: AccessWriter,
    // Last: it writes what the others still have to say.
    log: LogWriter,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("generation", &self.cell.generation()).finish_non_exhaustive()
    }
}

impl App {
    /// Starts from a configuration given as text, without a log.
    ///
    /// # Errors
    /// What is wrong with the configuration, or with the machine, as text for people.
    pub fn from_text(text: &str) -> Result<Self> {
        Self::from_text_with_log(text, Sink::none())
    }

    /// Starts from a configuration given as text.
    ///
    /// # Errors
    /// What is wrong with the configuration, or with the machine, as text for people.
    pub fn from_text_with_log(text: &str, log: Sink) -> Result<Self> {
        Self::start(config::from_text("weir.yaml", text), "text".to_owned(), log)
    }

    /// Starts from a file or a directory of files.
    ///
    /// # Errors
    /// What is wrong with the configuration, or with the machine, as text for people.
    pub fn from_path(path: &Path, log: Sink) -> Result<Self> {
        let loaded = config::load(path).map_err(|refusal| anyhow!(refusal.render(terminal::style())))?;
        Self::start(loaded, path.display().to_string(), log)
    }

    fn start(loaded: Loaded, source: String, log: Sink) -> Result<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let mut registry = Registry::new(cores);
        let Compiled { snapshot, report } = config::compile(loaded, 1, &mut registry)
            .map_err(|refusal| anyhow!(refusal.render(terminal::style())))?;
        let (first_voice, lines) = weir_proxy::telemetry::journal();
        let log = LogWriter::start(lines, log, snapshot.logging.process)
            .context("the log writer could not be started")?;
        // The writer ends with the last voice: where something fails below, the voice has to be dropped first.
        let voice = first_voice;
        if report.counts().1 > 0 {
            voice.say(Level::Warn, report.render(Style::Plain).trim_end().to_owned());
        }

        let count = registry.workers();
        let logging = &snapshot.logging;
        let target = logging.access.as_ref().map(|access| Target::open(&access.target)).transpose()?;
        let access = AccessWriter::start(target, logging.status.clone(), voice.clone())?;
        let bound = listeners::bind_all(&snapshot, count)?;
        let cell = Arc::new(SnapshotCell::new(snapshot));
        let (phase, _) = watch::channel(Phase::Running);
        let beats = Beats::new(count);
        let control = Control::start(cell.clone(), voice.clone(), phase.subscribe(), beats.clone(), source)?;
        let workers = Workers::start(&cell, &bound, count, &phase, (&voice, &access), &beats)?;
        for bound in &bound {
            let text = format!("listener={} bound to {}", bound.listener, bound.address);
            voice.say(Level::Info, text);
        }
        Ok(Self { cell, bound: RwLock::new(bound), phase, workers, control, voice, access, log })
    }

    /// The first address that a listener is bound to.
    ///
    /// # Panics
    /// If there is no listener of this name.
    pub fn address(&self, listener: &str) -> SocketAddr {
        let bound = self.bound.read().unwrap_or_else(PoisonError::into_inner);
        let found = bound.iter().find(|bound| &*bound.listener == listener).map(|bound| bound.address);
        found.unwrap_or_else(|| panic!("there is no listener `{listener}`"))
    }

    /// Where the admin API is bound, if it is configured.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.control.admin_address()
    }

    /// The configuration as it runs.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.cell.load()
    }

    /// Opens the file of the access log again, for whoever has renamed it (SIGHUP after a rotation).
    pub fn reopen_logs(&self) {
        self.access.reopen();
    }

    /// Client connections that are open.
    pub fn open_connections(&self) -> u64 {
        let open = |listener: &Arc<weir_model::listener::Listener>| {
            let shards = &listener.status.shards;
            // Closed first: one that closes in between is then not counted twice.
            let closed = shards.sum(|shard| shard.closed.value());
            shards.sum(|shard| shard.accepted.value()).saturating_sub(closed)
        };
        self.cell.load().listeners.iter().map(open).sum()
    }

    /// Stops in order: `/readyz` fails for `shutdown.announce` while everything is still served, then nothing new is
    /// accepted and what is in flight may finish for `shutdown.drain`. `hurry` cuts both short when it becomes true.
    /// Returns how many connections had to be cut.
    pub fn shutdown(mut self, hurry: &dyn Fn() -> bool) -> u64 {
        let process = self.cell.load().process.clone();
        self.phase.send_replace(Phase::Announcing);
        wait(process.shutdown_announce, hurry);
        self.phase.send_replace(Phase::Draining);
        wait(process.shutdown_drain, || hurry() || self.workers.are_done());
        let cut = self.open_connections();
        self.voice.say(Level::Info, format!("stopped; {cut} connections were cut"));
        self.stop();
        cut
    }

    fn stop(&mut self) {
        self.phase.send_replace(Phase::Stopped);
        self.workers.join();
        self.access.finish();
        self.control.join();
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits so long, or until `done` says yes.
fn wait(length: Millis, done: impl Fn() -> bool) {
    const STEP: Duration = Duration::from_millis(20);
    let mut left = length.duration();
    while !done() && !left.is_zero() {
        thread::sleep(STEP.min(left));
        left = left.saturating_sub(STEP);
    }
}
