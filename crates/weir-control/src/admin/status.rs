//! `GET /api/status`: what is happening, as JSON.

use serde::Serialize;
use weir_model::{
    listener::{Listener, Protocol},
    pool::{Backend, Pool},
    status::HistogramView,
};

use super::Admin;

/// Where the running configuration came from.
#[derive(Clone, Debug, Serialize)]
pub struct Origin {
    /// When it was loaded, as RFC 3339.
    pub loaded_at: String,
    /// The file or directory.
    pub source: String,
}

#[derive(Serialize)]
pub(super) struct Status {
    version: &'static str,
    config: Config,
    listeners: Vec<ListenerView>,
    pools: Vec<PoolView>,
}

#[derive(Serialize)]
struct Config {
    generation: u64,
    #[serde(flatten)]
    origin: Origin,
}

#[derive(Serialize)]
struct ListenerView {
    name: String,
    protocol: &'static str,
    binds: Vec<String>,
    connections: u64,
    connections_total: u64,
    rejected: u64,
    bytes_in: u64,
    bytes_out: u64,
    routes: Vec<RouteView>,
}

#[derive(Serialize)]
struct RouteView {
    name: String,
    requests: u64,
    failures: u64,
}

#[derive(Serialize)]
struct PoolView {
    name: String,
    balance: &'static str,
    backends: Vec<BackendView>,
}

#[derive(Serialize)]
struct BackendView {
    name: String,
    address: String,
    state: &'static str,
    health: &'static str,
    /// Why health is what it is; empty if nothing was said.
    reason: String,
    weight: u32,
    active: u32,
    requests: u64,
    errors: u64,
    latency_ms: Latency,
    last_error: Option<String>,
}

/// Null while nothing was measured.
#[derive(Serialize)]
struct Latency {
    p50: Option<f64>,
    p99: Option<f64>,
}

pub(super) fn of(admin: &Admin) -> Status {
    let snapshot = admin.cell.load();
    Status {
        version: admin.version,
        config: Config { generation: snapshot.generation, origin: (admin.origin)() },
        listeners: snapshot.listeners.iter().map(|listener| listener_view(listener)).collect(),
        pools: snapshot.pools.iter().map(|pool| pool_view(pool)).collect(),
    }
}

fn listener_view(listener: &Listener) -> ListenerView {
    let shards = &listener.status.shards;
    // Closed first: a connection that closes in between is then not counted twice.
    let closed = shards.sum(|shard| shard.closed.value());
    let accepted = shards.sum(|shard| shard.accepted.value());
    let routes = listener.routes.routes().iter().map(|route| RouteView {
        name: route.name.to_string(),
        requests: route.sum(|shard| shard.codes.total()),
        failures: route.sum(|shard| shard.failures.total()),
    });
    ListenerView {
        name: listener.name.to_string(),
        protocol: match listener.protocol {
            Protocol::Http => "http",
            Protocol::Tcp => "tcp",
        },
        binds: listener.binds.iter().map(|bind| bind.address.to_string()).collect(),
        connections: accepted.saturating_sub(closed),
        connections_total: accepted,
        rejected: shards.sum(|shard| shard.rejected.total()),
        bytes_in: shards.sum(|shard| shard.bytes_in.value()),
        bytes_out: shards.sum(|shard| shard.bytes_out.value()),
        routes: routes.collect(),
    }
}

fn pool_view(pool: &Pool) -> PoolView {
    PoolView {
        name: pool.name.to_string(),
        balance: pool.balance.word(),
        backends: pool.backends.iter().map(backend_view).collect(),
    }
}

fn backend_view(backend: &Backend) -> BackendView {
    let status = &backend.status;
    let latency: HistogramView = status.shards.iter().map(|shard| &shard.latency).collect();
    let millis = |share| latency.quantile(share).map(|micros| micros as f64 / 1000.0);
    BackendView {
        name: backend.name.to_string(),
        address: backend.endpoint.to_string(),
        state: backend.state_now().word(),
        health: status.health().word(),
        reason: status.reason().to_string(),
        weight: backend.weight_now(),
        active: status.active.load(std::sync::atomic::Ordering::Relaxed),
        requests: status.shards.sum(|shard| shard.codes.total()),
        errors: status.shards.sum(|shard| shard.errors.value()),
        latency_ms: Latency { p50: millis(0.5), p99: millis(0.99) },
        last_error: status.last_error().map(|sentence| sentence.to_string()),
    }
}
