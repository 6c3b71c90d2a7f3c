//! A reload, from the files to the last retired part. One thread does them, one after the other.
//!
//! ```text
//!  read, compile ── adopt ── prepare ──────── publish ── hand over ── retire
//!  (Refusal)        (Diff)   bind, listen     one swap   new sockets  old sockets, status of what is gone
//!                            (undone by drop)            to workers
//! ```
//!
//! Up to the swap a failure changes nothing; after it nothing can fail any more.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::sync::watch;
use weir_control::{
    admin::Bounds,
    config::{self, Compiled, Loaded},
    reload::{Ask, Asked, Asks, Ledger, Outcome, PlacedProblem, Refusal, Watch, Wish, plan},
    renewal::Renewals,
    trouble::Trouble,
};
use weir_model::{
    draft::PoolDraft,
    snapshot::{Logging, Snapshot, SnapshotCell, diff},
    status::Registry,
    time::{Millis, Moment},
};
use weir_proxy::{
    clock,
    telemetry::{Level, Voice},
    tls,
    worker::Phase,
};

use super::{
    Inheritance,
    listeners::{self, Bound, Orders},
};
use crate::log::{AccessWriter, LogWriter, Opened, timestamp};

/// How often watched files are looked at.
const GLANCE: Duration = Duration::from_millis(250);
/// How often certificates are looked at.
const CALM: Duration = Duration::from_secs(1);
/// How long to wait for an ask where nothing is watched; it ends early when nobody can ask any more.
const LONG: Duration = Duration::from_secs(3600);
/// How long after a reload no worker uses the snapshot before it any more, except for what is under way.
const SETTLED: Millis = Millis::secs(1);
/// Problems that the log shows one by one.
const SHOWN: usize = 20;

/// Does reloads.
pub(super) struct Reloading {
    /// What was given with `-c`; none if the configuration came as text.
    pub(super) path: Option<PathBuf>,
    /// The files, if they are watched.
    pub(super) watch: Option<Watch>,
    pub(super) cell: Arc<SnapshotCell>,
    /// Snapshots that were replaced, and when. A large one takes a while to be freed, which must not be left to the worker
    /// that lets go of it last.
    pub(super) replaced: Vec<(Arc<Snapshot>, Moment)>,
    pub(super) registry: Registry,
    /// What all TLS has in common.
    pub(super) tls: tls::Common,
    /// The pools that discover backends, with those that were found last.
    pub(super) discovering: Vec<PoolDraft>,
    /// The files of certificates.
    pub(super) renewals: Renewals,
    /// When it was said last which certificates end soon.
    pub(super) warned: Moment,
    pub(super) bound: Arc<RwLock<Vec<Bound>>>,
    /// The same for operators.
    pub(super) bounds: Bounds,
    pub(super) orders: Orders,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) ledger: Ledger,
    pub(super) voice: Voice,
    pub(super) access: Arc<AccessWriter>,
    pub(super) log: Arc<LogWriter>,
}

impl Reloading {
    /// Does what is asked for on a thread of its own, until nobody can ask any more.
    pub(super) fn start(self, asks: Asks) -> Result<JoinHandle<()>> {
        let thread =
            std::thread::Builder::new().name("weir-reload".to_owned()).spawn(move || self.run(&asks));
        thread.context("the reload thread could not be started")
    }

    fn run(mut self, asks: &Asks) {
        loop {
            match asks.next(self.patience()) {
                Asked::Never => return,
                Asked::Nothing => {
                    self.free_replaced();
                    self.renew();
                    if self.watch.as_mut().is_some_and(|watch| watch.has_changed(clock::read())) {
                        self.voice.say(Level::Info, "reload: the files have changed".to_owned());
                        _ = self.reload(None);
                    }
                }
                Asked::Now(wishes) => {
                    self.free_replaced();
                    self.take_found(asks.found());
                    self.answer(wishes);
                }
            }
        }
    }

    /// How long to wait for somebody to ask: as long as there is nothing else to look after.
    fn patience(&self) -> Duration {
        if self.watch.is_some() || !self.replaced.is_empty() {
            GLANCE
        } else if !self.renewals.is_empty() {
            CALM
        } else {
            LONG
        }
    }

    /// Frees what workers have let go of by now: they notice a new snapshot within a tick.
    fn free_replaced(&mut self) {
        let now = clock::read();
        self.replaced.retain(|(_, since)| now.since(*since) < SETTLED);
    }

    /// Those that want the files are all served by one reload: it begins after each of them has asked.
    fn answer(&mut self, asks: Vec<Ask>) {
        let mut of_files = Vec::new();
        for ask in asks {
            match &ask.wish {
                Wish::Text(text) => {
                    let result = self.reload(Some(text.clone()));
                    ask.answer(&result);
                }
                Wish::Files => of_files.push(ask),
                Wish::Found => {}
            }
        }
        if !of_files.is_empty() {
            let result = self.reload(None);
            of_files.into_iter().for_each(|ask| ask.answer(&result));
        }
    }

    fn reload(&mut self, text: Option<String>) -> Result<Outcome, Refusal> {
        let result = self.attempt(text);
        match &result {
            Ok(outcome) => {
                let Outcome { generation, summary, took_ms, warnings, .. } = outcome;
                let text = format!("reload: generation {generation} after {took_ms:.1} ms: {summary}");
                self.voice.say(Level::Info, text);
                for warning in warnings {
                    self.voice.say(Level::Warn, format!("reload: {warning}"));
                }
            }
            Err(refusal) => {
                self.ledger.was_refused(&refusal.error);
                self.say_refused(refusal);
            }
        }
        result
    }

    fn attempt(&mut self, text: Option<String>) -> Result<Outcome, Refusal> {
        let started = Instant::now();
        let mut loaded = self.load(text)?;
        self.carry_found_over(&mut loaded.draft);
        // A configuration that is refused must leave no trace in what is known.
        let mut registry = self.registry.clone();
        let running = self.cell.load();
        let Compiled { mut snapshot, report, discovering, credentials } =
            config::compile(loaded, running.generation + 1, &mut registry)?;
        let diff = diff::adopt(&running, &mut snapshot);
        tls::prepare(&snapshot, &self.tls).map_err(|why| Refusal::because(why, "nothing was changed"))?;

        // While this is held, the process cannot begin to close its sockets.
        let bound = self.bound.clone();
        let mut bound = bound.write().unwrap_or_else(PoisonError::into_inner);
        match *self.phase.borrow() {
            Phase::Running => {}
            Phase::Starting => return Err(Refusal::because("weir is starting", "ask again")),
            Phase::HandedOver => {
                return Err(Refusal::because("another process has taken over", "ask that one"));
            }
            _ => return Err(Refusal::because("weir is shutting down", "")),
        }
        let because = |error: anyhow::Error| match error.downcast::<Trouble>() {
            Ok(Trouble { cause, remedy }) => {
                Refusal::because(cause, format!("nothing was changed; {remedy}"))
            }
            Err(error) => Refusal::because(format!("{error:#}"), "nothing was changed"),
        };
        let workers = self.orders.0.len();
        let prepared =
            listeners::prepare(&snapshot, &bound, workers, &mut Inheritance::default()).map_err(because)?;
        let target = self.target(&running.logging, &snapshot.logging).map_err(because)?;
        // Last, because from here on clients can connect.
        let opened = prepared.listen().map_err(because)?;

        if let Some(target) = target {
            self.access.change(target);
        }
        self.log.change(snapshot.logging.process);
        let generation = snapshot.generation;
        registry.keep_only(&snapshot);
        self.registry = registry;
        self.discovering = discovering;
        self.follow(credentials, &snapshot);
        let named = snapshot.pools.iter().filter(|pool| pool.discover.is_none());
        named.for_each(|pool| pool.status.discovery.forget());
        let wanted: HashMap<_, _> = snapshot
            .binds()
            .into_iter()
            .map(|(key, place)| (key, place.first(&snapshot).tcp.clone()))
            .collect();
        self.cell.publish(snapshot, clock::read());
        self.replaced.push((running, clock::read()));
        bound.extend(self.orders.open(opened));
        let (kept, gone): (Vec<_>, Vec<_>) =
            bound.drain(..).partition(|bound| wanted.contains_key(&bound.key));
        *bound = kept;
        self.bounds.set(bound.iter().map(Bound::place));
        let untuned = bound.iter_mut().filter_map(|bound| {
            let error = bound.tune(&wanted[&bound.key]).err()?;
            Some(format!("the options of {} stay as they were: {error}", bound.address))
        });
        let untuned: Vec<_> = untuned.collect();
        drop(bound);
        if !gone.is_empty() {
            self.orders.close(gone);
        }
        self.ledger.went_well(generation, timestamp(clock::wall()));

        let mut warnings: Vec<_> = report.problems.iter().map(|problem| problem.cause.clone()).collect();
        warnings.extend(untuned);
        warnings.extend(diff.next_start.iter().map(|key| {
            format!(
                "`{key}` has changed, which takes effect at the next start only; until then it stays as it is"
            )
        }));
        let (summary, changes) = (plan::line(&diff), plan::json(&diff));
        let took_ms = started.elapsed().as_secs_f64() * 1000.0;
        Ok(Outcome { generation, summary, changes, warnings, took_ms })
    }

    /// The target that the access log changes to, opened; inner none is none any more.
    fn target(&self, old: &Logging, new: &Logging) -> Result<Option<Option<Opened>>> {
        let of = |logging: &Logging| logging.access.as_ref().map(|log| log.target.clone());
        let (old, new) = (of(old), of(new));
        if old == new {
            return Ok(None);
        }
        new.map(|target| Opened::open(&target)).transpose().map(Some)
    }

    /// Reads the text that was given, or else the files.
    fn load(&mut self, text: Option<String>) -> Result<Loaded, Refusal> {
        let path = match (text, &self.path) {
            (Some(text), _) => return Ok(config::from_text("weir.yaml", &text)),
            (None, Some(path)) => path,
            (None, None) => {
                let remedy = "give a new text";
                return Err(Refusal::because(
                    "the configuration came as text: there is no file to read",
                    remedy,
                ));
            }
        };
        if let Some(watch) = &mut self.watch {
            watch.before_reading();
        }
        let loaded = config::load(path);
        if let Some(watch) = &mut self.watch {
            let files = loaded.as_ref().map_or_else(|refusal| &refusal.files, |loaded| &loaded.files);
            watch.after_reading(files.watched());
        }
        Ok(loaded?)
    }

    /// A line for each problem.
    fn say_refused(&self, refusal: &Refusal) {
        let say = |text: String| self.voice.say(Level::Warn, text);
        say(format!("reload refused, nothing was changed: {}", refusal.error));
        for problem in refusal.problems.iter().take(SHOWN) {
            let PlacedProblem { severity, cause, remedy, .. } = problem;
            let remedy = if remedy.is_empty() { String::new() } else { format!("; {remedy}") };
            say(format!("reload: {severity}: {}: {cause}{remedy}", problem.place()));
        }
        if refusal.problems.len() > SHOWN {
            say(format!("reload: and {} more", refusal.problems.len() - SHOWN));
        }
    }
}
