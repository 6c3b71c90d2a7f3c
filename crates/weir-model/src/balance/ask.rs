//! What one pick is told: what is to be placed, and what goes on at the backends.

use std::sync::atomic::Ordering;

use crate::{pool::Pool, status::Occupancy, time::Moment};

/// What is to be placed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask<'t> {
    /// The hash of its key; unused unless the policy hashes.
    pub hash: u64,
    /// Backends that were tried before, by their index in the pool; none of them is picked.
    pub tried: &'t [usize],
    /// The time.
    pub now: Moment,
}

/// What goes on at the backends of a pool, each known by its index.
pub trait Loads {
    /// Requests or connections in flight.
    fn active(&self, backend: usize) -> u32;
    /// True if it may take nothing more at the moment.
    fn is_full(&self, backend: usize) -> bool;
    /// The time in microseconds that it is expected to take; none if nothing is known of it. Only `ewma` asks.
    fn latency(&self, backend: usize, now: Moment) -> Option<f32>;
    /// What all of them have in flight. Only `bounded_load` asks.
    fn total(&self) -> u32;
    /// Which of them are known to be full, if somebody keeps count of that. Asked only
    /// where a policy goes on to the next one that has room.
    fn occupancy(&self) -> Option<&Occupancy> {
        None
    }
    /// Moves whenever the set of eligible backends may have changed. Asked with [`Loads::occupancy`] only.
    fn epoch(&self) -> u64 {
        0
    }
}

impl Loads for Pool {
    #[inline]
    fn active(&self, backend: usize) -> u32 {
        self.backends[backend].status.active.load(Ordering::Relaxed)
    }

    #[inline]
    fn is_full(&self, backend: usize) -> bool {
        self.backends[backend].is_full()
    }

    fn latency(&self, backend: usize, now: Moment) -> Option<f32> {
        self.backends[backend].status.latency.at(now)
    }

    fn total(&self) -> u32 {
        self.status.in_flight.load(Ordering::Relaxed) + self.status.beside.load(Ordering::Relaxed)
    }

    fn occupancy(&self) -> Option<&Occupancy> {
        self.occupancy.as_deref()
    }

    fn epoch(&self) -> u64 {
        self.status.epoch.load(Ordering::SeqCst)
    }
}
