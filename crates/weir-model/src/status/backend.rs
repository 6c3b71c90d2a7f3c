//! One backend: its health, its load, what operators want of it, and what workers have counted.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
};

use arc_swap::{ArcSwap, ArcSwapOption};

use super::{
    CodeCounter, Counter, Drain, Health, Histogram, LatencyEstimate, Occupancy, OrderBook, Padded, Sharded,
    occupancy::Seat,
};
use crate::{
    health::{Fact, HealthView, Shift, outlier::Faults, slow_start},
    time::{Millis, Moment},
};

/// The [`BackendStatus::share`] of a backend whose whole weight counts.
pub const FULL_SHARE: u32 = 1000;

/// What is happening to one backend.
#[derive(Debug)]
pub struct BackendStatus {
    /// Requests or connections in flight, over all workers; what least_conn compares.
    pub active: Padded<AtomicU32>,
    /// With so many in flight, somebody wants to hear of one that ends; `u32::MAX` if nobody does.
    told_from: AtomicU32,
    seat: ArcSwapOption<Seat>,
    /// How long it is expected to take; kept only for `ewma`.
    pub latency: Padded<LatencyEstimate>,
    /// What follows from `view`, for those that must not wait.
    health: AtomicU8,
    view: Mutex<HealthView>,
    last_error: Mutex<Option<Arc<str>>>,
    /// How often live traffic has ejected it.
    pub ejections: AtomicU64,
    /// See [`BackendStatus::share`].
    share: AtomicU32,
    /// Since when it takes traffic; 0 while it does not.
    joined: AtomicU64,
    /// Addresses that its host name stands for; unused when the endpoint is an address.
    pub addresses: ArcSwap<Vec<SocketAddr>>,
    /// What operators set.
    pub operator: OrderBook,
    /// How it is let go, if it is.
    pub drain: Drain,
    /// Its pool goes on without it.
    pub gone: AtomicBool,
    /// Health checks that it passed.
    pub checks_passed: AtomicU64,
    /// Health checks that it failed.
    pub checks_failed: AtomicU64,
    /// One per worker.
    pub shards: Sharded<BackendCounters>,
}

/// One worker's counters of a backend.
#[derive(Debug, Default)]
pub struct BackendCounters {
    /// Requests by status code (connections by 0).
    pub codes: CodeCounter,
    /// Attempts that failed: refused, timed out, reset, malformed.
    pub errors: Counter,
    /// Connections opened to it.
    pub connects: Counter,
    /// From the choice of the backend to the response head.
    pub latency: Histogram,
    /// What counts against it; takes hardly any memory unless the pool has `outlier`.
    faults: OnceLock<Box<Faults>>,
}

impl BackendCounters {
    /// What this worker saw it get right and wrong.
    #[inline]
    pub fn faults(&self) -> &Faults {
        self.faults.get_or_init(Box::default)
    }

    /// The same, if anything was ever seen.
    pub fn seen_faults(&self) -> Option<&Faults> {
        self.faults.get().map(Box::as_ref)
    }
}

impl BackendStatus {
    /// A backend that has just been named, with its first health.
    pub fn new(workers: usize, health: Health) -> Self {
        Self {
            active: Padded::default(),
            told_from: AtomicU32::new(u32::MAX),
            seat: ArcSwapOption::empty(),
            latency: Padded::default(),
            health: AtomicU8::new(health as u8),
            view: Mutex::new(HealthView::new(health)),
            last_error: Mutex::new(None),
            ejections: AtomicU64::new(0),
            share: AtomicU32::new(slow_start::START),
            joined: AtomicU64::new(0),
            addresses: ArcSwap::default(),
            operator: OrderBook::default(),
            drain: Drain::default(),
            gone: AtomicBool::new(false),
            checks_passed: AtomicU64::new(0),
            checks_failed: AtomicU64::new(0),
            shards: Sharded::new(workers),
        }
    }

    /// One of those in flight has ended.
    #[inline]
    pub fn release(&self) {
        let before = self.active.fetch_sub(1, Ordering::SeqCst);
        if before >= self.told_from.load(Ordering::SeqCst) {
            self.tell();
        }
    }

    /// It was full, and is not any more.
    #[cold]
    fn tell(&self) {
        if let Some(seat) = &*self.seat.load() {
            seat.occupancy.open(seat.place / 64, 1 << (seat.place % 64));
        }
    }

    /// From now on, `occupancy` hears of the end of one of so many in flight, or of more; nobody does if there is none.
    pub(crate) fn sit(&self, occupancy: Option<&Arc<Occupancy>>, place: usize, full: u32) {
        let seat = occupancy.map(|occupancy| Arc::new(Seat { occupancy: occupancy.clone(), place }));
        let from = if seat.is_some() { full } else { u32::MAX };
        self.seat.store(seat);
        self.told_from.store(from, Ordering::SeqCst);
    }

    /// Its health now.
    pub fn health(&self) -> Health {
        match self.health.load(Ordering::Acquire) {
            1 => Health::Up,
            2 => Health::Down,
            3 => Health::Ejected,
            _ => Health::Unknown,
        }
    }

    /// Records what somebody knows of its health. If that changes it, the caller then calls [`super::PoolStatus::touch`] for its
    /// pool.
    pub fn apply(&self, fact: Fact<'_>, now: Moment) -> Option<Shift> {
        let mut view = lock(&self.view);
        let shift = view.apply(fact, now);
        self.health.store(view.health() as u8, Ordering::Release);
        shift
    }

    /// Makes its health what is wanted, for those that have no checks and no traffic: explanations and tests. See
    /// [`BackendStatus::apply`].
    pub fn set_health(&self, health: Health, reason: &str, now: Moment) {
        self.apply(Fact::Checked(health, reason), now);
        if health == Health::Ejected {
            self.apply(Fact::Ejected(Millis::secs(30), reason), now);
        } else {
            self.apply(Fact::Returned(reason), now);
        }
    }

    /// All that is known of its health.
    pub fn view(&self) -> HealthView {
        lock(&self.view).clone()
    }

    /// Sets [`BackendStatus::share`].
    #[cfg(test)]
    pub(crate) fn set_share(&self, share: u32) {
        self.share.store(share.clamp(1, FULL_SHARE), Ordering::Relaxed);
    }

    /// Why its health is what it is, in words; empty if nothing was said yet.
    pub fn reason(&self) -> Arc<str> {
        lock(&self.view).reason().clone()
    }

    /// When its health last changed.
    pub fn changed_at(&self) -> Moment {
        lock(&self.view).since()
    }

    /// When its ejection is over, if it is ejected. It may be down as well.
    pub fn ejected_until(&self) -> Option<Moment> {
        lock(&self.view).ejection().map(|ejection| ejection.until)
    }

    /// How much of its weight counts, in thousandths, where its pool has a slow start; [`FULL_SHARE`] is all of it.
    pub fn share(&self) -> u32 {
        self.share.load(Ordering::Relaxed)
    }

    /// Its whole weight counts if it carries traffic, whatever was known of its share before; else it begins anew.
    pub(crate) fn settle_share(&self, carries: bool) {
        let (joined, share) = if carries { (1, FULL_SHARE) } else { (0, slow_start::START) };
        self.joined.store(joined, Ordering::Relaxed);
        self.share.store(share, Ordering::Relaxed);
    }

    /// Moves its share on, as of now; true if it moved so far that sets of eligible backends should be built anew. One
    /// that does not take traffic begins anew when it does.
    pub(crate) fn ramp(&self, carries: bool, length: Millis, now: Moment) -> bool {
        /// What a share has to move by to matter, in thousandths.
        const STEP: u32 = 10;
        if !carries {
            self.joined.store(0, Ordering::Relaxed);
            self.share.store(slow_start::START, Ordering::Relaxed);
            return false;
        }
        let now = Moment(now.0.max(1));
        let joined = match self.joined.load(Ordering::Relaxed) {
            0 => {
                self.joined.store(now.0, Ordering::Relaxed);
                now
            }
            joined => Moment(joined),
        };
        let (share, before) = (slow_start::share(length, joined, now), self.share());
        let moved = share != before && (share.abs_diff(before) >= STEP || share == FULL_SHARE);
        if moved {
            self.share.store(share, Ordering::Relaxed);
        }
        moved
    }

    /// The last thing that went wrong with it, in words.
    pub fn last_error(&self) -> Option<Arc<str>> {
        lock(&self.last_error).clone()
    }

    /// Keeps the last thing that went wrong. Only called when something did.
    pub fn set_last_error(&self, sentence: &str) {
        *lock(&self.last_error) = Some(sentence.into());
    }

    /// Counts what a health check found.
    pub fn count_check(&self, passed: bool) {
        let counter = if passed { &self.checks_passed } else { &self.checks_failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
