//! The compiled, immutable view of a configuration, and the one pointer it is published through.

mod binds;
pub mod compile;
pub mod diff;
mod secret;

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use arc_swap::ArcSwap;
pub use binds::{BindKey, Place, successors};
pub use secret::Secret;

use crate::{
    health::Fact,
    listener::{Address, Listener},
    log::{AccessLog, ProcessLog},
    pool::{Backend, Pool, PoolIndex},
    status::{AccessLogStatus, Drains, Health, Proofs},
    time::{Millis, Moment},
};

/// Everything the data path needs to know. Built by [`compile::compile`] only.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts published snapshots, from 1.
    pub generation: u64,
    /// In name order.
    pub listeners: Vec<Arc<Listener>>,
    /// In name order; routes name pools by their index here. Unchanged pools are shared between snapshots.
    pub pools: Vec<Arc<Pool>>,
    /// Settings of the process.
    pub process: Process,
    /// True if the file gives [`Process::connections`]; otherwise that follows from how many files the process may open.
    pub connections_given: bool,
    /// What is logged.
    pub logging: Logging,
    /// What authorities are answered that issue certificates; survives reloads.
    pub proofs: Arc<Proofs>,
}

impl Snapshot {
    /// The pool of this name.
    pub fn pool(&self, name: &str) -> Option<(PoolIndex, &Arc<Pool>)> {
        let index = self.pools.binary_search_by(|pool| (*pool.name).cmp(name)).ok()?;
        Some((index, &self.pools[index]))
    }
}

/// What is logged, and what answers say about themselves.
#[derive(Clone, Debug, Default)]
pub struct Logging {
    /// One line per exchange and connection, if wanted.
    pub access: Option<Arc<AccessLog>>,
    /// The process's own log.
    pub process: ProcessLog,
    /// Whether answers say which route and backend they come from, and why they failed.
    pub debug_headers: bool,
    /// What has become of the lines of the access log; survives reloads.
    pub status: Arc<AccessLogStatus>,
}

/// Process-wide settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Data-path threads; none is one per core.
    pub workers: Option<usize>,
    /// Whether each worker stays on its core.
    pub pin: bool,
    /// Where weir itself stands, for pools that prefer their own zone.
    pub zone: Option<Arc<str>>,
    /// Where operators are answered.
    pub admin: Option<Address>,
    /// What operators have to show; none if the file names no `admin.token_file`.
    pub admin_token: Option<Secret>,
    /// Client connections at once over all listeners; `u32::MAX` is no limit.
    pub connections: u32,
    /// How long `/readyz` fails before draining starts.
    pub shutdown_announce: Millis,
    /// How long what is in flight may take to finish at shutdown.
    pub shutdown_drain: Millis,
    /// How long this process may finish what it has once another one has taken over.
    pub upgrade_drain: Millis,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            workers: None,
            pin: false,
            zone: None,
            admin: None,
            admin_token: None,
            connections: u32::MAX,
            shutdown_announce: Millis::secs(5),
            shutdown_drain: Millis::secs(30),
            upgrade_drain: Millis::secs(3600),
        }
    }
}

/// One atomic pointer with one writer. Readers compare [`SnapshotCell::generation`] and load only when it moved.
#[derive(Debug)]
pub struct SnapshotCell {
    generation: AtomicU64,
    current: ArcSwap<Snapshot>,
    /// Who waits for the next one.
    waiting: Mutex<Vec<Waker>>,
    drains: Drains,
}

impl SnapshotCell {
    /// A cell that holds its first snapshot.
    pub fn new(snapshot: Snapshot) -> Self {
        let drains = Drains::default();
        snapshot.pools.iter().for_each(|pool| pool.seat());
        follow_states(&drains, &snapshot, Moment(0));
        Self {
            generation: AtomicU64::new(snapshot.generation),
            current: ArcSwap::from_pointee(snapshot),
            waiting: Mutex::default(),
            drains,
        }
    }

    /// The generation of the published snapshot.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The published snapshot.
    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Backends that are let go: by operators, by the file, or because the file has them no more.
    pub const fn drains(&self) -> &Drains {
        &self.drains
    }

    /// Publishes the next snapshot. Only one thread may ever publish.
    pub fn publish(&self, next: Snapshot, now: Moment) {
        let generation = next.generation;
        next.pools.iter().flat_map(|pool| &pool.backends).for_each(Backend::settle_orders);
        seat_new(&self.current.load(), &next);
        settle_shares(&self.current.load(), &next);
        let next = Arc::new(next);
        let before = self.current.swap(next.clone());
        self.generation.store(generation, Ordering::Release);
        follow_states(&self.drains, &next, now);
        remove_gone(&self.drains, (&before, &next), now);
        self.waiters().drain(..).for_each(Waker::wake);
    }

    /// Ready once another generation than this one is published. Workers look for themselves; this is for those that
    /// would have nothing else to do.
    pub fn poll_published(&self, seen: u64, cx: &Context<'_>) -> Poll<()> {
        let mut waiting = self.waiters();
        if self.generation() != seen {
            return Poll::Ready(());
        }
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn waiters(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets pools that changed hear of slots that come free. Who still chooses in a pool as it was looks at its backends one by
/// one.
fn seat_new(before: &Snapshot, next: &Snapshot) {
    for pool in &next.pools {
        match before.pool(&pool.name) {
            Some((_, old)) if Arc::ptr_eq(old, pool) => continue,
            Some((_, old)) => old.occupancy.iter().for_each(|occupancy| occupancy.retire()),
            None => {}
        }
        pool.seat();
    }
}

/// Where a pool did without a slow start until now, those that take traffic already have begun long ago: else they would begin
/// together with those that come now.
fn settle_shares(before: &Snapshot, next: &Snapshot) {
    for pool in next.pools.iter().filter(|pool| pool.slow_start > Millis(0)) {
        let old = before.pool(&pool.name).filter(|(_, old)| old.slow_start == Millis(0));
        let Some((_, old)) = old else { continue };
        let there: HashSet<_> = old.backends.iter().map(|backend| Arc::as_ptr(&backend.status)).collect();
        let stayed = pool.backends.iter().filter(|backend| there.contains(&Arc::as_ptr(&backend.status)));
        stayed.for_each(|backend| backend.settle_share());
    }
}

/// Lets go of backends that the file says are to take nothing.
fn follow_states(drains: &Drains, snapshot: &Snapshot, now: Moment) {
    for pool in &snapshot.pools {
        pool.backends.iter().for_each(|backend| drains.follow(pool, backend, now));
    }
}

/// Lets go of backends that are part of the configuration no more. They are known by their status: another machine of the
/// same name is another backend.
fn remove_gone(drains: &Drains, (before, next): (&Snapshot, &Snapshot), now: Moment) {
    for old in &before.pools {
        let new = next.pool(&old.name).map(|(_, pool)| pool);
        match new {
            None => remove_pool(drains, old, now),
            Some(new) if Arc::ptr_eq(new, old) => {}
            Some(new) => remove_backends(drains, (old, new), now),
        }
    }
}

/// Who was given this pool before it went goes on with it: waits in its queue, and is tried again in it, since there is nothing
/// that could have taken its place. Nobody else comes to it, but for the last exchanges of connections whose listener went as
/// well.
fn remove_pool(drains: &Drains, pool: &Pool, now: Moment) {
    for backend in &pool.backends {
        drains.remove(pool, backend, now);
        if backend.status.health() == Health::Unknown && !backend.is_nowhere() {
            // The first check, which would have decided, is not going to come.
            backend.status.apply(Fact::Checked(Health::Up, "its pool is gone, and nothing checks it"), now);
        }
    }
    if pool.discover.is_some() {
        // Neither is the first answer.
        pool.status.discovery.end();
    }
    pool.status.touch();
}

fn remove_backends(drains: &Drains, (old, new): (&Pool, &Pool), now: Moment) {
    let kept: HashSet<_> = new.backends.iter().map(|backend| Arc::as_ptr(&backend.status)).collect();
    let gone = old.backends.iter().filter(|backend| !kept.contains(&Arc::as_ptr(&backend.status)));
    let let_go = gone.map(|backend| {
        backend.status.gone.store(true, Ordering::Release);
        drains.remove(old, backend, now);
    });
    if let_go.count() > 0 {
        // Requests that hold the pool as it was choose among those that stayed, if they are tried again.
        old.status.touch();
    }
}
