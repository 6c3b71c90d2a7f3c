//! Backends that are let go: since when, until when, and what had to be cut.
//!
//! ```text
//!            draining or disabled,                `drain` of the pool is over
//!            or gone from the file
//!   active ─────────────────────────> draining ────────────────────────────> over: what is left is cut
//!      ^                                  │
//!      └────────── active again ──────────┘
//! ```

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::{BackendStatus, State};
use crate::{
    pool::{Backend, Pool},
    time::{Millis, Moment},
};

/// Every worker has heard of an order within this time: nobody chooses from what was eligible before, and kept
/// connections are closed.
pub const HEARD: Millis = Millis::secs(2);

/// How one backend is let go. Workers read the end of it whenever a connection to the backend waits for something.
#[derive(Debug)]
pub struct Drain {
    /// `u64::MAX` while it is not let go.
    began: AtomicU64,
    /// When what is left is cut; `u64::MAX` for never.
    ends: AtomicU64,
    /// Until then who is bound to it is still sent there.
    binds: AtomicBool,
    /// Requests and connections that were cut since it began.
    cut: AtomicU64,
}

impl Default for Drain {
    fn default() -> Self {
        Self { began: u64::MAX.into(), ends: u64::MAX.into(), binds: false.into(), cut: 0.into() }
    }
}

impl Drain {
    /// When it began; none if the backend is not let go.
    pub fn began(&self) -> Option<Moment> {
        Some(Moment(self.began.load(Ordering::Acquire))).filter(|began| *began != Moment::NEVER)
    }

    /// When what is left is cut; [`Moment::NEVER`] if that is not going to happen.
    #[inline]
    pub fn ends(&self) -> Moment {
        Moment(self.ends.load(Ordering::Relaxed))
    }

    /// True if clients that are bound to it are sent there until [`Self::ends`].
    pub fn binds(&self) -> bool {
        self.binds.load(Ordering::Relaxed)
    }

    /// Requests and connections that were cut since it began.
    pub fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    /// Counts a request or connection that was cut.
    pub fn count_cut(&self) {
        self.cut.fetch_add(1, Ordering::Relaxed);
    }

    /// Lets it go from now on, for so long; one that is let go already goes on since it began. True if that is new.
    fn begin(&self, now: Moment, length: Millis, binds: bool) -> bool {
        let before = self.began();
        let began = before.unwrap_or(now);
        let ends = began + length;
        if before.is_none() {
            self.cut.store(0, Ordering::Relaxed);
        }
        let changed = self.ends.swap(ends.0, Ordering::Relaxed) != ends.0;
        self.binds.store(binds, Ordering::Relaxed);
        self.began.store(began.0, Ordering::Release);
        before.is_none() || changed
    }

    /// It takes traffic again. True if that is new.
    fn stop(&self) -> bool {
        self.ends.store(u64::MAX, Ordering::Relaxed);
        self.began.swap(u64::MAX, Ordering::Release) != u64::MAX
    }
}

/// Every drain that is under way.
#[derive(Debug, Default)]
pub struct Drains {
    /// Moves whenever one begins, ends early, or gets another length.
    generation: AtomicU64,
    /// By where the status stands in memory, which is its own as long as it stands here.
    under_way: Mutex<HashMap<usize, Departing>>,
}

/// A backend that is let go.
#[derive(Debug)]
struct Departing {
    pool: Arc<str>,
    backend: Arc<str>,
    status: Arc<BackendStatus>,
    /// It is part of the configuration no more.
    removed: bool,
}

/// How a drain ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drained {
    /// The pool of the backend.
    pub pool: Arc<str>,
    /// The backend.
    pub backend: Arc<str>,
    /// True if it is part of the configuration no more.
    pub removed: bool,
    /// How long it took.
    pub took: Millis,
    /// Requests and connections that were cut.
    pub cut: u64,
}

impl Drains {
    /// Moves whenever workers have to look at their connections anew.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Begins or ends the drain of a backend, as its state now asks for.
    pub fn follow(&self, pool: &Pool, backend: &Backend, now: Moment) {
        let drain = &backend.status.drain;
        if backend.state_now() == State::Active {
            if drain.stop() {
                self.lock().remove(&key(&backend.status));
                self.move_on();
            }
            return;
        }
        self.begin(pool, backend, now, false);
    }

    /// A backend is part of the configuration no more: what it has may finish for the `drain` of its pool.
    pub fn remove(&self, pool: &Pool, backend: &Backend, now: Moment) {
        self.begin(pool, backend, now, true);
    }

    fn begin(&self, pool: &Pool, backend: &Backend, now: Moment, removed: bool) {
        let new = backend.status.drain.began().is_none();
        let binds = !removed && pool.binds() && backend.state_now() == State::Draining;
        let changed = backend.status.drain.begin(now, pool.drain, binds);
        if new || removed {
            let departing = Departing {
                pool: pool.name.clone(),
                backend: backend.name.clone(),
                status: backend.status.clone(),
                removed,
            };
            self.lock().insert(key(&backend.status), departing);
        }
        if changed {
            self.move_on();
        }
    }

    /// Those that have ended since this was last asked: every worker has heard of them, and they have nothing left.
    pub fn ended(&self, now: Moment) -> Vec<Drained> {
        let mut under_way = self.lock();
        let ended = under_way.extract_if(|_, departing| departing.status.has_left(now));
        let drained = |(_, departing): (usize, Departing)| {
            let Departing { pool, backend, status, removed } = departing;
            let took = now.since(status.drain.began().unwrap_or(now));
            Drained { pool, backend, removed, took, cut: status.drain.cut() }
        };
        let mut drained: Vec<_> = ended.map(drained).collect();
        drained.sort_by(|a, b| (&a.pool, &a.backend).cmp(&(&b.pool, &b.backend)));
        drained
    }

    fn move_on(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<usize, Departing>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(status: &Arc<BackendStatus>) -> usize {
    Arc::as_ptr(status).addr()
}

impl BackendStatus {
    /// True if it is given nothing new, every worker knows, and nothing is left: it may be stopped.
    pub fn has_left(&self, now: Moment) -> bool {
        let Some(began) = self.drain.began() else { return false };
        // An order that came later, such as from draining to disabled, has to be heard of as well, and so has the end of what binds.
        let bound = if self.drain.binds() { self.drain.ends() } else { began };
        let since = self.operator.orders().since.max(began).max(bound);
        now.since(since) >= HEARD && self.active.load(Ordering::Relaxed) == 0
    }
}

#[cfg(test)]
mod tests;
