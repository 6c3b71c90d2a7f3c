//! The program put together: reads like the block diagram.
//!
//! ```text
//! configuration ── compile ──> SnapshotCell ──> workers (weir-proxy) ── fill ──> Status
//!                                   └─────────> control (weir-control): checks, names, operators <──┘
//! ```

mod control;
mod discovery;
mod inherit;
mod listeners;
mod reload;
mod renewal;
mod shutdown;
mod upgrade;
mod workers;

use std::{
    fmt,
    net::SocketAddr,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::watch;
use weir_control::{
    admin::Bounds,
    config::{self, Compiled, Loaded, Style},
    reload::{Ledger, Outcome, Record, Refusal, Reloader, Watch},
    renewal::Renewals,
    upgrade::{Asks, Upgrader},
};
use weir_model::{
    listener::Address,
    snapshot::{Snapshot, SnapshotCell},
    status::Registry,
};
use weir_proxy::{
    clock,
    telemetry::{Level, Voice},
    tls::{self, Tickets},
    worker::Phase,
};

pub use crate::log::Sink;
use crate::{
    log::{AccessWriter, LogWriter, Opened, timestamp},
    terminal,
    upgrade::OrdersRecord,
};
use control::{Control, Reach};
pub(crate) use inherit::Inheritance;
use listeners::{Bound, Orders};
use reload::Reloading;
use workers::{Beats, Workers};

/// A running weir. Dropping it stops at once; [`App::shutdown`] drains first.
pub struct App {
    cell: Arc<SnapshotCell>,
    bound: Arc<RwLock<Vec<Bound>>>,
    phase: watch::Sender<Phase>,
    workers: Workers,
    orders: Orders,
    control: Control,
    /// Who wants another process in its place.
    pub(crate) upgrades: Asks,
    beats: Beats,
    /// What all TLS has in common, for the process that takes over.
    tls: tls::Common,
    /// None once the process stops.
    reloader: Option<Reloader>,
    reloading: Option<JoinHandle<()>>,
    voice: Voice,
    access: Arc<AccessWriter>,
    // Last: it writes what the others still have to say.
    _log: Arc<LogWriter>,
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
        Self::start(
            config::from_text("weir.yaml", text),
            None,
            log,
            Inheritance::default(),
            || Ok(Vec::new()),
        )
    }

    /// Starts from a file or a directory of files.
    ///
    /// # Errors
    /// What is wrong with the configuration, or with the machine, as text for people.
    pub fn from_path(path: &Path, log: Sink) -> Result<Self> {
        Self::begin(path, false, log, Inheritance::default(), || Ok(Vec::new()))
    }

    /// Starts from a file or a directory of files, and reloads whenever they have changed and were quiet for a second.
    ///
    /// # Errors
    /// What is wrong with the configuration, or with the machine, as text for people.
    pub fn from_watched_path(path: &Path, log: Sink) -> Result<Self> {
        Self::begin(path, true, log, Inheritance::default(), || Ok(Vec::new()))
    }

    /// Starts from a file or a directory of files; with `watched`, reloads whenever they have changed and were quiet for a
    /// second. What is inherited is used where the configuration has a use for it. `before_accepting` is called when nothing
    /// but the first accept is left to do, and says what operators have set before.
    pub(crate) fn begin(
        path: &Path,
        watched: bool,
        log: Sink,
        inheritance: Inheritance,
        before_accepting: impl FnOnce() -> Result<Vec<OrdersRecord>>,
    ) -> Result<Self> {
        let mut watch = watched.then(|| Watch::new(path));
        if let Some(watch) = &mut watch {
            watch.before_reading();
        }
        let loaded = config::load(path).map_err(|refusal| anyhow!(refusal.render(terminal::style())))?;
        if let Some(watch) = &mut watch {
            watch.after_reading(loaded.files.watched());
        }
        Self::start(loaded, Some(Source { path, watch }), log, inheritance, before_accepting)
    }

    fn start(
        mut loaded: Loaded,
        source: Option<Source<'_>>,
        log: Sink,
        mut inheritance: Inheritance,
        before_accepting: impl FnOnce() -> Result<Vec<OrdersRecord>>,
    ) -> Result<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let mut registry = Registry::new(cores);
        inheritance.carry_found_over(&mut loaded.draft);
        let Compiled { snapshot, report, discovering, credentials } =
            config::compile(loaded, 1, &mut registry)
                .map_err(|refusal| anyhow!(refusal.render(terminal::style())))?;
        let (first_voice, lines) = weir_proxy::telemetry::journal();
        let log = LogWriter::start(lines, log, snapshot.logging.process);
        let log = Arc::new(log.context("the log writer could not be started")?);
        // The writer ends with the last voice: where something fails below, the voice has to be dropped first.
        let voice = first_voice;
        if report.counts().1 > 0 {
            voice.say(Level::Warn, report.render(Style::Plain).trim_end().to_owned());
        }

        let count = registry.workers();
        let logging = &snapshot.logging;
        let target = logging.access.as_ref().map(|access| Opened::open(&access.target)).transpose()?;
        let access = Arc::new(AccessWriter::start(target, logging.status.clone(), voice.clone())?);
        let prepared = listeners::prepare(&snapshot, &[], count, &mut inheritance)?;
        let tls = tls::Common::new(Tickets::with(std::mem::take(&mut inheritance.tickets)));
        tls::prepare(&snapshot, &tls).map_err(|why| anyhow!(why))?;
        inheritance.remember_health(&snapshot, clock::read());
        let name =
            source.as_ref().map_or_else(|| "text".to_owned(), |source| source.path.display().to_string());
        let ledger = Ledger::new(snapshot.generation, timestamp(clock::wall()), name);
        let cell = Arc::new(SnapshotCell::new(snapshot));
        let (phase, _) = watch::channel(Phase::Starting);
        let beats = Beats::new(count);
        let (reloader, asks) = Reloader::new(ledger.clone());
        let (upgrader, upgrades) = Upgrader::new();
        let bounds = Bounds::default();
        let reach = Reach { reloader: reloader.clone(), upgrader, bounds: bounds.clone() };
        let (beats_of_control, phase_of_control) = (beats.clone(), phase.subscribe());
        let control = Control::start(
            cell.clone(),
            voice.clone(),
            phase_of_control,
            beats_of_control,
            reach,
            &mut inheritance,
        )?;
        let (workers, orders) = Workers::start(&cell, count, &phase, (&voice, &access), &beats)?;
        inherit::remember_orders(&before_accepting()?, &cell, clock::read());
        let bound = orders.open(prepared.listen()?);
        bounds.set(bound.iter().map(Bound::place));
        let bound = Arc::new(RwLock::new(bound));
        phase.send_replace(Phase::Running);
        let mut reloading = Reloading {
            path: source.as_ref().map(|source| source.path.to_owned()),
            watch: source.and_then(|source| source.watch),
            cell: cell.clone(),
            replaced: Vec::new(),
            registry,
            tls: tls.clone(),
            discovering,
            renewals: Renewals::default(),
            warned: clock::read(),
            bound: bound.clone(),
            bounds,
            orders: orders.clone(),
            phase: phase.subscribe(),
            ledger,
            voice: voice.clone(),
            access: access.clone(),
            log: log.clone(),
        };
        reloading.follow(credentials, &cell.load());
        let reloading = Some(reloading.start(asks)?);
        let app = Self {
            cell,
            bound,
            phase,
            workers,
            orders,
            control,
            upgrades,
            beats,
            tls,
            reloader: Some(reloader),
            reloading,
            voice,
            access,
            _log: log,
        };
        app.say_what_is_bound(&inheritance);
        Ok(app)
    }

    /// Says where clients can come, and what was inherited for nothing.
    fn say_what_is_bound(&self, inheritance: &Inheritance) {
        for (listener, address) in self.addresses() {
            self.voice.say(Level::Info, format!("listener={listener} bound to {address}"));
        }
        for (label, _) in &inheritance.sockets {
            let text = format!("no listener is bound to {label}: the socket that came for it is closed");
            self.voice.say(Level::Warn, text);
        }
    }

    /// Every address that is bound, with its listener.
    fn addresses(&self) -> Vec<(Arc<str>, Address)> {
        let snapshot = self.cell.load();
        let bound = self.bound.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        for (key, place) in snapshot.binds() {
            let Some(bound) = bound.iter().find(|bound| bound.key == key) else { continue };
            let names = place.listeners.iter().map(|index| snapshot.listeners[*index].name.clone());
            found.extend(names.map(|name| (name, bound.address.clone())));
        }
        found
    }

    /// Asks for a reload from the files, without waiting for it.
    pub fn ask_for_reload(&self) {
        if let Some(reloader) = &self.reloader {
            reloader.ask();
        }
    }

    /// Reloads from the files and waits for the outcome.
    ///
    /// # Errors
    /// Every reason why nothing was changed.
    pub fn reload(&self) -> Result<Outcome, Refusal> {
        self.reload_from(None)
    }

    /// Reloads from a text instead of the files and waits for the outcome.
    ///
    /// # Errors
    /// Every reason why nothing was changed.
    pub fn reload_text(&self, text: &str) -> Result<Outcome, Refusal> {
        self.reload_from(Some(text.to_owned()))
    }

    fn reload_from(&self, text: Option<String>) -> Result<Outcome, Refusal> {
        match &self.reloader {
            Some(reloader) => reloader.reload_blocking(text),
            None => Err(Refusal::because("weir is shutting down", "")),
        }
    }

    /// How the reloads so far went; none once the process stops.
    pub fn reloads(&self) -> Option<Record> {
        self.reloader.as_ref().map(Reloader::record)
    }

    /// The first address that a listener is bound to.
    ///
    /// # Panics
    /// If there is no listener of this name.
    pub fn address(&self, listener: &str) -> SocketAddr {
        let mut of_name = self.addresses().into_iter().filter(|(name, _)| **name == *listener);
        let found = of_name.find_map(|(_, address)| address.ip());
        found.unwrap_or_else(|| panic!("there is no listener `{listener}` that is bound to a port"))
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

    /// Writes a warning to the process log.
    pub(crate) fn warn(&self, text: &str) {
        self.voice.say(Level::Warn, text.to_owned());
    }

    /// Client connections that are open.
    pub fn open_connections(&self) -> u64 {
        self.cell.load().listeners.iter().map(|listener| listener.status.open()).sum()
    }
}

/// Where a configuration is read from.
struct Source<'p> {
    path: &'p Path,
    watch: Option<Watch>,
}
