//! `/metrics`: what is happening, for Prometheus and everybody who reads its formats.
//!
//! Rendering reads the counters of the workers and nothing of theirs is ever locked or waited for. Series stand for
//! what is configured now; labels are names from the configuration, status codes and causes, all of them bounded.

mod page;
mod process;
mod tls;

use std::sync::{Arc, atomic::Ordering};

use weir_model::{
    balance::{Standing, Tier},
    listener::Listener,
    pool::{Backend, Pool},
    route::Route,
    snapshot::Snapshot,
    status::{CauseCounter, Health, HistogramView, RouteStatus},
};

use crate::reload::Record;
use page::Kind::{Counter, Gauge, Histogram};
pub use page::{Format, Page};

/// What is told beside what the snapshot leads to.
#[derive(Clone, Copy, Debug)]
pub struct Beside<'a> {
    /// The version of the program.
    pub version: &'a str,
    /// The codes of all causes, by their numbers.
    pub causes: &'a [&'a str],
    /// How the reloads so far went.
    pub reloads: &'a Record,
}

/// The whole page.
pub fn render(snapshot: &Snapshot, beside: &Beside<'_>, format: Format) -> String {
    let mut page = Page::new(format);
    about(&mut page, snapshot, beside);
    listeners(&mut page, &snapshot.listeners, beside.causes);
    tls::write(&mut page, snapshot);
    routes(&mut page, snapshot, beside.causes);
    pools(&mut page, snapshot, beside.causes);
    standings(&mut page, snapshot);
    discovery(&mut page, snapshot);
    backends(&mut page, snapshot);
    process::write(&mut page);
    page.finish()
}

fn about(page: &mut Page, snapshot: &Snapshot, beside: &Beside<'_>) {
    page.family("weir_build_info", Gauge, "The version that runs.");
    page.sample("", &[("version", beside.version)], 1);
    page.family(
        "weir_config_generation",
        Gauge,
        "Configurations published since the start, this one included.",
    );
    page.sample("", &[], snapshot.generation);
    page.family(
        "weir_config_last_reload_success",
        Gauge,
        "Whether the last reload was taken; 1 after the start.",
    );
    page.sample("", &[], u8::from(beside.reloads.last_reload_success));
    page.family("weir_config_reloads", Counter, "Reloads since the start by what became of them.");
    page.sample("_total", &[("result", "taken")], beside.reloads.reloads);
    page.sample("_total", &[("result", "refused")], beside.reloads.refused);
    let lines = &snapshot.logging.status;
    page.family("weir_access_log_written", Counter, "Lines of the access log handed to its target.");
    page.sample("_total", &[], lines.written.load(Ordering::Relaxed));
    page.family(
        "weir_access_log_dropped",
        Counter,
        "Lines of the access log lost because its target failed or was too slow.",
    );
    page.sample("_total", &[], lines.dropped.load(Ordering::Relaxed));
}

fn listeners(page: &mut Page, listeners: &[Arc<Listener>], causes: &[&str]) {
    page.family("weir_connections_active", Gauge, "Connections from clients that are open.");
    for listener in listeners {
        page.sample("", &[("listener", &listener.name)], listener.status.open());
    }
    page.family("weir_connections", Counter, "Connections accepted from clients.");
    for listener in listeners {
        let accepted = listener.status.shards.sum(|shard| shard.accepted.value());
        page.sample("_total", &[("listener", &listener.name)], accepted);
    }
    page.family("weir_http2_connections_active", Gauge, "Those of them that speak HTTP/2.");
    for listener in listeners {
        page.sample("", &[("listener", &listener.name)], listener.status.http2_open());
    }
    page.family("weir_http2_connections", Counter, "Connections from clients that spoke HTTP/2.");
    for listener in listeners {
        let begun = listener.status.shards.sum(|shard| shard.http2_begun.value());
        page.sample("_total", &[("listener", &listener.name)], begun);
    }
    page.family("weir_bytes", Counter, "Bytes carried: `in` from clients to backends, `out` to clients.");
    for listener in listeners {
        let shards = &listener.status.shards;
        let (received, sent) =
            (shards.sum(|shard| shard.bytes_in.value()), shards.sum(|shard| shard.bytes_out.value()));
        page.sample("_total", &[("listener", &listener.name), ("direction", "in")], received);
        page.sample("_total", &[("listener", &listener.name), ("direction", "out")], sent);
    }
    page.family("weir_rejected", Counter, "Requests and connections that no route took, by cause.");
    for listener in listeners {
        let counters = || listener.status.shards.iter().map(|shard| &shard.rejected);
        for (cause, count) in by_cause(counters, causes) {
            page.sample("_total", &[("listener", &listener.name), ("reason", cause)], count);
        }
    }
    page.family(
        "weir_overhead_seconds",
        Histogram,
        "Time of a request that was spent here, not waiting for others.",
    );
    for listener in listeners {
        let view: HistogramView = listener.status.shards.iter().map(|shard| &shard.overhead).collect();
        page.histogram(&[("listener", &listener.name)], &view, page::SHORT);
    }
}

/// Every route with each of its pools once; the pool is empty for what the route answers by itself.
fn targets(snapshot: &Snapshot) -> impl Iterator<Item = (&Listener, &Route, &str, &RouteStatus)> {
    snapshot.listeners.iter().flat_map(move |listener| {
        listener.routes.routes().iter().flat_map(move |route| {
            let names =
                route.action.pools().map(|pool| &*snapshot.pools[pool].name).chain(std::iter::repeat(""));
            let each = route.status.iter().enumerate().zip(names);
            each.filter(|((number, status), _)| {
                // Two arms with the same pool have one status between them.
                !route.status[..*number].iter().any(|other| Arc::ptr_eq(other, status))
            })
            .map(move |((_, status), pool)| (&**listener, &**route, pool, &**status))
        })
    })
}

fn routes(page: &mut Page, snapshot: &Snapshot, causes: &[&str]) {
    page.family(
        "weir_requests",
        Counter,
        "Requests by the status that the client was told; connections by 0.",
    );
    for listener in &snapshot.listeners {
        // What no route took was answered all the same.
        let codes = listener.status.shards.iter().flat_map(|shard| shard.codes.nonzero());
        for (code, count) in page::summed(codes) {
            let labels = [("listener", &*listener.name), ("route", ""), ("pool", ""), ("code", &*code)];
            page.sample("_total", &labels, count);
        }
    }
    for (listener, route, pool, status) in targets(snapshot) {
        for (code, count) in page::summed(status.shards.iter().flat_map(|shard| shard.codes.nonzero())) {
            let labels =
                [("listener", &*listener.name), ("route", &*route.name), ("pool", pool), ("code", &*code)];
            page.sample("_total", &labels, count);
        }
    }
    page.family(
        "weir_failures",
        Counter,
        "Requests and connections that failed after a route took them, by cause.",
    );
    for (listener, route, pool, status) in targets(snapshot) {
        let counters = || status.shards.iter().map(|shard| &shard.failures);
        for (cause, count) in by_cause(counters, causes) {
            let labels =
                [("listener", &*listener.name), ("route", &*route.name), ("pool", pool), ("cause", cause)];
            page.sample("_total", &labels, count);
        }
    }
    page.family(
        "weir_grpc_responses",
        Counter,
        "Calls of gRPC by the number of the status that the client was told.",
    );
    for (listener, route, pool, status) in targets(snapshot) {
        for (code, count) in page::summed(status.shards.iter().flat_map(|shard| shard.grpc.nonzero())) {
            let labels =
                [("listener", &*listener.name), ("route", &*route.name), ("pool", pool), ("status", &*code)];
            page.sample("_total", &labels, count);
        }
    }
    page.family("weir_request_duration_seconds", Histogram, "What clients waited, from the head of the request to the end of the answer; for connections, how long they lasted.");
    for (listener, route, pool, status) in targets(snapshot) {
        let view: HistogramView = status.shards.iter().map(|shard| &shard.duration).collect();
        let labels = [("listener", &*listener.name), ("route", &*route.name), ("pool", pool)];
        page.histogram(&labels, &view, page::LONG);
    }
}

fn pools(page: &mut Page, snapshot: &Snapshot, causes: &[&str]) {
    page.family("weir_retries", Counter, "Second and further attempts, by what had failed before; `stale` for a kept connection that had been closed.");
    for pool in &snapshot.pools {
        let retries = &pool.status.retries;
        let stale = retries.sum(|shard| shard.stale.value());
        let counters = || retries.iter().map(|shard| &shard.causes);
        let all = by_cause(counters, causes).chain((stale > 0).then_some(("stale", stale)));
        for (reason, count) in all {
            page.sample("_total", &[("pool", &pool.name), ("reason", reason)], count);
        }
    }
    page.family(
        "weir_retries_refused",
        Counter,
        "Attempts that were not made because the budget for retries was used up.",
    );
    for pool in &snapshot.pools {
        let refused = pool.status.retries.sum(|shard| shard.refused.value());
        page.sample("_total", &[("pool", &pool.name)], refused);
    }
}

/// Pools whose backends are discovered.
fn discovery(page: &mut Page, snapshot: &Snapshot) {
    let pools = || snapshot.pools.iter().filter(|pool| pool.discover.is_some());
    page.family("weir_discovery_backends", Gauge, "Backends that were discovered and are used.");
    for pool in pools() {
        page.sample("", &[("pool", &pool.name)], pool.status.discovery.found());
    }
    page.family(
        "weir_discovery_failures",
        Counter,
        "Questions for backends that came to nothing; what was found before stays.",
    );
    for pool in pools() {
        page.sample("_total", &[("pool", &pool.name)], pool.status.discovery.failures());
    }
    page.family(
        "weir_discovery_last_success_timestamp_seconds",
        Gauge,
        "When an answer could be used last; absent while none could.",
    );
    for pool in pools() {
        if let Some(seconds) = pool.status.discovery.last_success() {
            page.sample("", &[("pool", &pool.name)], seconds);
        }
    }
}

/// Writes one family with one sample per backend.
fn per_backend(page: &mut Page, snapshot: &Snapshot, suffix: &str, value: impl Fn(&Backend) -> u64) {
    for (pool, backend) in all_backends(snapshot) {
        page.sample(suffix, &[("pool", &pool.name), ("backend", &backend.name)], value(backend));
    }
}

fn all_backends(snapshot: &Snapshot) -> impl Iterator<Item = (&Pool, &Backend)> {
    snapshot.pools.iter().flat_map(|pool| pool.backends.iter().map(|backend| (&**pool, backend)))
}

/// Who carries the traffic of each pool, and who waits for them.
fn standings(page: &mut Page, snapshot: &Snapshot) {
    let standings: Vec<_> =
        snapshot.pools.iter().map(|pool| (&*pool.name, Standing::of(pool), &pool.status)).collect();
    page.family(
        "weir_pool_panic",
        Gauge,
        "Whether so few backends of the pool are healthy that all of them are used.",
    );
    for (pool, standing, _) in &standings {
        page.sample("", &[("pool", pool)], u64::from(standing.tier == Tier::Panic));
    }
    page.family(
        "weir_pool_tier",
        Gauge,
        "Which backends of the pool carry its traffic; 1 for those that do.",
    );
    for (pool, standing, _) in &standings {
        for tier in [Tier::Primary, Tier::Backup, Tier::Both, Tier::Panic, Tier::Nobody] {
            let labels = [("pool", *pool), ("tier", tier.word())];
            page.sample("", &labels, u64::from(standing.tier == tier));
        }
    }
    page.family("weir_pool_pending", Gauge, "Requests and connections that wait for a backend of the pool.");
    for (pool, _, status) in &standings {
        page.sample("", &[("pool", pool)], u64::from(status.pending.load(Ordering::Relaxed)));
    }
}

fn backends(page: &mut Page, snapshot: &Snapshot) {
    page.family("weir_backend_up", Gauge, "Whether the backend is healthy.");
    per_backend(page, snapshot, "", |backend| u64::from(backend.status.health() == Health::Up));
    page.family("weir_backend_ejections", Counter, "How often live traffic has taken it out.");
    per_backend(page, snapshot, "_total", |backend| backend.status.ejections.load(Ordering::Relaxed));
    page.family("weir_backend_weight", Gauge, "Its share of the traffic relative to the others.");
    per_backend(page, snapshot, "", |backend| u64::from(backend.weight_now()));
    page.family("weir_backend_connections_active", Gauge, "Requests and connections in flight to it.");
    per_backend(page, snapshot, "", |backend| u64::from(backend.status.active.load(Ordering::Relaxed)));
    page.family("weir_backend_connections", Counter, "Connections made to it.");
    per_backend(page, snapshot, "_total", |backend| {
        backend.status.shards.sum(|shard| shard.connects.value())
    });
    page.family("weir_backend_errors", Counter, "Attempts that it did not answer.");
    per_backend(page, snapshot, "_total", |backend| backend.status.shards.sum(|shard| shard.errors.value()));
    page.family("weir_backend_requests", Counter, "Its answers by status code; connections by 0.");
    for (pool, backend) in all_backends(snapshot) {
        for (code, count) in
            page::summed(backend.status.shards.iter().flat_map(|shard| shard.codes.nonzero()))
        {
            let labels = [("pool", &*pool.name), ("backend", &*backend.name), ("code", &*code)];
            page.sample("_total", &labels, count);
        }
    }
    page.family("weir_health_checks", Counter, "Health checks by what was found.");
    for (pool, backend) in all_backends(snapshot).filter(|(pool, _)| pool.health.is_some()) {
        let status = &backend.status;
        for (result, counter) in [("passed", &status.checks_passed), ("failed", &status.checks_failed)] {
            let labels = [("pool", &*pool.name), ("backend", &*backend.name), ("result", result)];
            page.sample("_total", &labels, counter.load(Ordering::Relaxed));
        }
    }
}

/// The causes that were counted at all, summed over all workers.
fn by_cause<'c, I: Iterator<Item = &'c CauseCounter>>(
    counters: impl Fn() -> I,
    causes: &[&'c str],
) -> impl Iterator<Item = (&'c str, u64)> {
    let sums: Vec<_> = causes
        .iter()
        .enumerate()
        .map(|(cause, code)| (*code, counters().map(|counter| counter.of(cause)).fold(0, u64::wrapping_add)))
        .filter(|(_, count)| *count > 0)
        .collect();
    sums.into_iter()
}

#[cfg(test)]
mod tests;
