//! Discovery: one task per pool that has `discover`, each a source of backends for the thread that publishes.
//!
//! ```text
//!  snapshot ──> one task per pool ──> dns, srv, file, docker ──> Feed ── found ──> Board ──> one pool is compiled anew
//!                                                                 └───── failed ──> DiscoveryStatus, log: what was
//!                                                                                   found before stays
//! ```
//!
//! A source says what there is; what is wrong with it, compiling says. An answer that is empty is a failure: the worst
//! thing to do with a pool is to empty it by mistake.

mod dns;
mod docker;
mod feed;
mod file;
mod names;
mod srv;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::task::AbortHandle;
use weir_model::{
    discovery::Source,
    draft::BackendDraft,
    snapshot::{Snapshot, SnapshotCell},
    status::PoolStatus,
};

use crate::{
    health::{Clock, Log},
    reload::Reloader,
};
use feed::Feed;

/// How soon a new snapshot is noticed.
const GLANCE: Duration = Duration::from_millis(100);

/// What a source has found for one pool.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The backends, all of them.
    pub backends: Vec<BackendDraft>,
    /// What the source leaves out, and why, a sentence each.
    pub left_out: Vec<String>,
}

/// What was found and not yet looked at; the last of it for each pool.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board(Arc<Mutex<BTreeMap<Arc<str>, Found>>>);

impl Board {
    pub(crate) fn put(&self, pool: Arc<str>, found: Found) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(pool, found);
    }

    pub(crate) fn take(&self) -> BTreeMap<Arc<str>, Found> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What every source uses.
pub struct Shared {
    /// Where what was found is handed over.
    pub reloader: Reloader,
    /// The log.
    pub log: Log,
    /// Where failures are written, which are warnings.
    pub warn: Log,
    /// The clock.
    pub clock: Clock,
    /// The time of day in seconds since 1970.
    pub wall: fn() -> u64,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Asks the sources of the published snapshot, and goes on asking. Never returns; to stop it, drop it.
pub async fn run(cell: Arc<SnapshotCell>, shared: Shared) {
    let shared = Arc::new(shared);
    let mut tasks = Tasks::default();
    let mut seen = None;
    loop {
        let generation = cell.generation();
        if seen != Some(generation) {
            seen = Some(generation);
            tasks.follow(&cell.load(), &shared);
        }
        tokio::time::sleep(GLANCE).await;
    }
}

/// The tasks by pool.
#[derive(Default)]
struct Tasks(HashMap<Arc<str>, Task>);

/// What is asked for one pool; ends when this is dropped.
struct Task {
    source: Arc<Source>,
    status: Arc<PoolStatus>,
    /// What was known when it began has not been forgotten since.
    forgotten: u64,
    handle: AbortHandle,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

impl Tasks {
    /// Starts what a snapshot needs anew and stops what it does not need; what stays the same goes on undisturbed.
    fn follow(&mut self, snapshot: &Snapshot, shared: &Arc<Shared>) {
        let mut kept = HashMap::new();
        for pool in &snapshot.pools {
            let Some(source) = &pool.discover else { continue };
            let before = self.0.remove(&pool.name);
            // A reload may have taken `discover` away, and the next one may have brought it back before anybody looked.
            let forgotten = pool.status.discovery.times_forgotten();
            let same = |task: &Task| {
                *task.source == **source
                    && Arc::ptr_eq(&task.status, &pool.status)
                    && task.forgotten == forgotten
            };
            let task = before.filter(same).unwrap_or_else(|| {
                let status = pool.status.clone();
                let feed = Feed::new(pool.name.clone(), source.clone(), status.clone(), shared.clone());
                let handle = tokio::spawn(follow(feed)).abort_handle();
                Task { source: source.clone(), status, forgotten, handle }
            });
            kept.insert(pool.name.clone(), task);
        }
        self.0 = kept;
    }
}

/// Asks one source for ever.
async fn follow(mut feed: Feed) {
    let source = feed.source.clone();
    match &*source {
        Source::Dns { host, port, asking } => dns::follow(&mut feed, host, *port, asking).await,
        Source::Srv { name, asking } => srv::follow(&mut feed, name, asking).await,
        Source::File(path) => file::follow(&mut feed, path).await,
        Source::Docker(docker) => docker::follow(&mut feed, docker).await,
    }
}
