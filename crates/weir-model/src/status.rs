//! What is happening: health, load and counters of every listener, route, pool and backend.
//!
//! These objects live outside the snapshot and are keyed by name, so that they survive reloads. Counters are
//! kept per worker (one writer each, no read-modify-write) and summed when read.

mod acme;
mod backend;
mod cause;
mod counter;
mod discovery;
mod drain;
mod grpc;
mod histogram;
mod latency;
mod occupancy;
mod operator;
mod registry;
mod renewal;

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

pub use acme::{AcmeStatus, Proof, Proofs};
pub use backend::{BackendCounters, BackendStatus, FULL_SHARE};
pub use cause::CauseCounter;
pub use counter::{CodeCounter, Counter, Padded, Said, Sharded};
pub use discovery::DiscoveryStatus;
pub use drain::{Drain, Drained, Drains, HEARD};
pub use grpc::GrpcCounter;
pub use histogram::{Histogram, HistogramView};
pub use latency::LatencyEstimate;
pub use occupancy::Occupancy;
pub use operator::{Order, OrderBook, Orders, State};
pub use registry::Registry;
pub use renewal::RenewalStatus;

use crate::limit::RetryBudget;

/// Health as operators see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Health {
    /// No probe has decided yet.
    Unknown = 0,
    /// Takes traffic.
    Up = 1,
    /// Failed its checks, or its name does not resolve.
    Down = 2,
    /// Taken out by live traffic.
    Ejected = 3,
}

impl Health {
    /// The word used in status, metrics and logs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
            Self::Ejected => "ejected",
        }
    }
}

/// What has become of the lines of the access log.
#[derive(Debug, Default)]
pub struct AccessLogStatus {
    /// Lines lost because the target could not take them, or was too slow. Only lines that were meant to be logged
    /// count.
    pub dropped: AtomicU64,
    /// Lines handed to the target.
    pub written: AtomicU64,
}

/// Connections of the whole process, over all listeners.
#[derive(Debug)]
pub struct ProcessStatus {
    /// One per worker.
    pub shards: Sharded<ProcessCounters>,
    /// When it was last said that the process takes no more connections.
    pub full: Said,
}

/// One worker's connections.
#[derive(Debug, Default)]
pub struct ProcessCounters {
    /// Accepted.
    pub accepted: Counter,
    /// Closed; the difference is what is open.
    pub closed: Counter,
}

impl ProcessStatus {
    /// Nothing yet, for so many workers.
    pub fn new(workers: usize) -> Self {
        Self { shards: Sharded::new(workers), full: Said::default() }
    }

    /// Client connections that are open.
    pub fn open(&self) -> u64 {
        // Closed first: one that closes in between is then not counted twice.
        let closed = self.shards.sum(|shard| shard.closed.value());
        self.shards.sum(|shard| shard.accepted.value()).saturating_sub(closed)
    }
}

/// Counters of one listener.
#[derive(Debug)]
pub struct ListenerStatus {
    /// One per worker.
    pub shards: Sharded<ListenerCounters>,
    /// When it was last said that it takes no more connections.
    pub full: Said,
    /// What has become of files of its TLS that changed.
    pub renewal: RenewalStatus,
}

impl ListenerStatus {
    /// Client connections that are open.
    pub fn open(&self) -> u64 {
        // Closed first: one that closes in between is then not counted twice.
        let closed = self.shards.sum(|shard| shard.closed.value());
        let came = |shard: &ListenerCounters| shard.accepted.value() + shard.inherited.value();
        self.shards.sum(came).saturating_sub(closed)
    }

    /// Those of them that speak HTTP/2.
    pub fn http2_open(&self) -> u64 {
        let ended = self.shards.sum(|shard| shard.http2_ended.value());
        let came = |shard: &ListenerCounters| shard.http2_begun.value() + shard.http2_inherited.value();
        self.shards.sum(came).saturating_sub(ended)
    }
}

/// One worker's counters of a listener.
#[derive(Debug, Default)]
pub struct ListenerCounters {
    /// Connections accepted.
    pub accepted: Counter,
    /// Those that were open when the address that they had come to became its own.
    pub inherited: Counter,
    /// Connections closed, or handed on to another listener in that way; the difference is what is open.
    pub closed: Counter,
    /// Bytes received from clients.
    pub bytes_in: Counter,
    /// Bytes sent to clients.
    pub bytes_out: Counter,
    /// Requests and connections that no route took, by cause.
    pub rejected: CauseCounter,
    /// Time of an exchange that was spent here and not waiting for anybody.
    pub overhead: Histogram,
    /// What those that no route took were told, by status code (connections by 0).
    pub codes: CodeCounter,
    /// Connections that turned out to speak HTTP/2.
    pub http2_begun: Counter,
    /// The same of those that it inherited.
    pub http2_inherited: Counter,
    /// Those of them that are over.
    pub http2_ended: Counter,
}

impl ListenerCounters {
    /// Client connections that are open at this worker.
    pub fn open(&self) -> u64 {
        (self.accepted.value() + self.inherited.value()).saturating_sub(self.closed.value())
    }
}

/// Counters of one route towards one of its pools; a route that answers by itself has one of these as well.
#[derive(Debug)]
pub struct RouteStatus {
    /// One per worker.
    pub shards: Sharded<RouteCounters>,
}

/// One worker's counters of a route.
#[derive(Debug, Default)]
pub struct RouteCounters {
    /// Requests by status code (connections by 0).
    pub codes: CodeCounter,
    /// Exchanges that failed, whatever the client was told, by cause.
    pub failures: CauseCounter,
    /// What clients waited.
    pub duration: Histogram,
    /// Calls of gRPC by the status that they ended with.
    pub grpc: GrpcCounter,
}

/// What is happening in one pool.
#[derive(Debug)]
pub struct PoolStatus {
    /// Moves whenever the set of eligible backends may have changed.
    pub epoch: AtomicU64,
    /// Requests in flight; counted only for `limits.requests`.
    pub requests: Padded<AtomicU32>,
    /// Connections in use; counted only for `limits.connections`.
    pub connections: Padded<AtomicU32>,
    /// TCP connections that it carries, from when they look for a backend to their end: `limits.requests` does not concern them.
    pub carried: Padded<AtomicU32>,
    /// Requests and connections that wait for a backend.
    pub pending: Padded<AtomicU32>,
    /// The same by worker; each of them is written by its own.
    pub waiting: Sharded<AtomicU32>,
    /// Moves with every slot that comes free while somebody waits: whose turn it is to get one.
    pub turn: AtomicU32,
    /// Requests and connections in flight to backends; counted only for `bounded_load`.
    pub in_flight: Padded<AtomicU32>,
    /// Those that are not counted there, since they began before a reload set `bounded_load`; as workers saw it last.
    pub beside: AtomicU32,
    /// Shared by all workers: retries may add so much to the load and no more.
    pub retry_budget: RetryBudget,
    /// Retries made, one per worker.
    pub retries: Sharded<RetryCounters>,
    /// How its backends are discovered, if they are.
    pub discovery: DiscoveryStatus,
    /// What has become of files of its TLS that changed.
    pub renewal: RenewalStatus,
    /// Held while it is decided whether the pool can do without a backend.
    pub ejecting: Mutex<()>,
    /// Until when nobody says again that the pool cannot do without a backend that fails.
    pub silent_until: AtomicU64,
    /// A backend may be ejected: somebody has to see to it that it returns.
    pub unsettled: AtomicBool,
}

/// One worker's retries in a pool.
#[derive(Debug, Default)]
pub struct RetryCounters {
    /// By what had failed before.
    pub causes: CauseCounter,
    /// Kept connections that turned out to be closed and were made anew: no failure of anybody.
    pub stale: Counter,
    /// Attempts that were not made because the budget was used up.
    pub refused: Counter,
}

impl PoolStatus {
    /// Tells every worker to look at the backends anew.
    pub fn touch(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }
}
