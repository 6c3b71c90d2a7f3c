//! Health checks and name resolution at work: one task per backend that needs either, and one loop that looks after
//! those that live traffic has taken out.
//!
//! ```text
//!  snapshot ──> one watch per backend ──> resolve names ──> probe (the binary's Prober) ──> HealthState
//!                                              └─────────────┐                                   │ a change
//!                 workers <── PoolStatus::touch <── BackendStatus::apply <───────────────────────┘
//!                    └── Pool::eject ──────────────────^   ^── tend: ejections that are over, shares that grow
//! ```

mod lanes;
mod resolve;
mod round;
mod tend;
mod tiers;
mod watch;

use std::{
    collections::HashMap,
    fmt,
    future::{Future, poll_fn},
    sync::Arc,
};

use tokio::{select, task::AbortHandle, time::sleep};
use weir_model::{
    health::{Fact, HealthCheck, Way},
    listener::Address,
    pool::{Endpoint, PoolIndex},
    snapshot::{Snapshot, SnapshotCell},
    status::{BackendStatus, Health, PoolStatus},
    time::Moment,
};

use lanes::Lanes;
use resolve::Addresses;
pub(crate) use round::is_here;
use round::{Doors, Finder};
pub use tiers::announce;

/// Asks a backend a question. The binary implements it with weir-proxy's probe code.
pub trait Prober: Send + Sync + 'static {
    /// Asks `address` what `check` asks, on the way that leads to the backend. Says what was answered, or why that is not what was expected.
    fn probe(
        &self,
        check: &HealthCheck,
        address: &Address,
        way: &Way,
    ) -> impl Future<Output = Result<String, String>> + Send;
}

/// Where lines for the process log go.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// The process log by how bad a line is.
#[derive(Clone)]
pub struct Logs {
    /// What merely changed.
    pub info: Log,
    /// What somebody should look at.
    pub warn: Log,
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logs").finish_non_exhaustive()
    }
}

/// The clock: milliseconds since the start of the process.
pub type Clock = fn() -> Moment;

/// Keeps the health of every backend of the published snapshot up to date. Never returns; to stop it, drop it.
pub async fn run<P: Prober>(cell: Arc<SnapshotCell>, prober: P, logs: Logs, clock: Clock) {
    let shared = Arc::new(Shared { prober, logs, clock, lanes: Lanes::default() });
    let mut watches = Watches::default();
    loop {
        let seen = cell.generation();
        let snapshot = cell.load();
        watches.follow(&snapshot, &shared);
        while cell.generation() == seen {
            tend::tend(&snapshot, &shared);
            select! {
                () = poll_fn(|cx| cell.poll_published(seen, cx)) => {}
                () = sleep(tend::pause(&snapshot)) => {}
            }
        }
    }
}

/// What all watches use.
struct Shared<P> {
    prober: P,
    logs: Logs,
    clock: Clock,
    lanes: Lanes,
}

/// One backend that is watched: all that its task keeps of a snapshot.
#[derive(Clone)]
struct Subject {
    pool: Arc<str>,
    name: Arc<str>,
    way: Way,
    check: Option<HealthCheck>,
    /// What it must not be, and its name must not stand for.
    doors: Doors,
    status: Arc<BackendStatus>,
    pool_status: Arc<PoolStatus>,
}

impl Subject {
    /// True if a task for the other one does what this one needs.
    fn is_same(&self, other: &Self) -> bool {
        self.way == other.way
            && self.check == other.check
            && self.doors == other.doors
            && Arc::ptr_eq(&self.status, &other.status)
            && Arc::ptr_eq(&self.pool_status, &other.pool_status)
    }

    /// Takes in what is known of it, and makes a change known to workers, operators and the log.
    fn know<P>(&self, fact: Fact<'_>, shared: &Shared<P>) {
        if let Some(shift) = self.status.apply(fact, (shared.clock)()) {
            self.pool_status.touch();
            let text = format!("health={}: {}", shift.to.word(), self.status.reason());
            match shift.to {
                // Whoever wants to read of troubles only wants to read of this one.
                Health::Down => (shared.logs.warn)(&line(&self.pool, &self.name, &text)),
                _ => self.say(shared, &text),
            }
        }
    }

    fn say<P>(&self, shared: &Shared<P>, text: &str) {
        (shared.logs.info)(&line(&self.pool, &self.name, text));
    }
}

/// A line of the log about one backend.
fn line(pool: &str, backend: &str, text: &str) -> String {
    format!("pool={pool} backend={backend} {text}")
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pool, self.name)
    }
}

/// What is watched, by pool and backend.
#[derive(Default)]
struct Watches(HashMap<(Arc<str>, Arc<str>), Watch>);

/// What is done for one backend; ends when this is dropped.
struct Watch {
    subject: Subject,
    /// None if there is nothing to do but to remember it.
    task: Option<AbortHandle>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Watches {
    /// Starts what a snapshot needs anew and stops what it does not need; what stays the same goes on undisturbed.
    fn follow<P: Prober>(&mut self, snapshot: &Snapshot, shared: &Arc<Shared<P>>) {
        let mut finder = Finder::default();
        let mut all = Vec::new();
        for pool in 0..snapshot.pools.len() {
            all.extend(subjects(snapshot, pool, &mut finder));
        }
        let total = all.len();
        let mut kept = HashMap::with_capacity(total);
        for (position, subject) in all.into_iter().enumerate() {
            let key = (subject.pool.clone(), subject.name.clone());
            let before = self.0.remove(&key);
            if before.as_ref().is_some_and(|watch| watch.subject.is_same(&subject)) {
                kept.extend(before.map(|watch| (key, watch)));
                continue;
            }
            drop(before);
            let known = subject.begin(shared);
            let task = subject.needs_watching().then(|| {
                let task = watch::watch(subject.clone(), known, shared.clone(), position, total);
                tokio::spawn(task).abort_handle()
            });
            kept.insert(key, Watch { subject, task });
        }
        self.0 = kept;
    }
}

impl Subject {
    fn needs_watching(&self) -> bool {
        self.check.is_some() || !self.doors.is_empty() || matches!(self.way.endpoint, Endpoint::Name(..))
    }

    /// Brings the status, which survives reloads, into line with what is asked for now. Returns the addresses that
    /// the name is still known to stand for.
    fn begin<P>(&self, shared: &Shared<P>) -> Addresses {
        let unchecked = self.check.is_none() && !matches!(self.way.endpoint, Endpoint::Name(..));
        // Checks that were taken away leave nothing behind.
        if unchecked && self.status.view().checked() != Health::Up {
            self.know(Fact::Checked(Health::Up, "not checked"), shared);
        }
        if self.doors.is_empty() && !matches!(self.way.endpoint, Endpoint::Name(..)) {
            self.know(Fact::Resolved, shared);
        }
        self.status.addresses.load().iter().copied().map(Address::Ip).collect()
    }
}

fn subjects(snapshot: &Snapshot, index: PoolIndex, finder: &mut Finder) -> impl Iterator<Item = Subject> {
    let pool = &snapshot.pools[index];
    pool.backends.iter().map(move |backend| Subject {
        pool: pool.name.clone(),
        name: backend.name.clone(),
        way: Way::to(pool, &backend.endpoint),
        check: pool.health.clone(),
        doors: finder.doors(snapshot, index, &backend.endpoint),
        status: backend.status.clone(),
        pool_status: pool.status.clone(),
    })
}

#[cfg(test)]
mod tests;
