//! `GET /api/status`: what is happening, as JSON.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use weir_model::{
    acme::Acme,
    balance::{Standing, Tier},
    discovery::Source,
    listener::Listener,
    pool::{Backend, Pool},
    status::HistogramView,
    time::Moment,
    tls::Certificate,
};

use super::{Admin, Stamp, When};

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
    /// When it was loaded, as RFC 3339.
    loaded_at: String,
    /// The file or directory.
    source: String,
    last_reload_success: bool,
    /// Reloads since the start that were taken.
    reloads: u64,
    /// Reloads since the start that were refused.
    refused: u64,
    /// Why the last one was refused.
    last_error: Option<String>,
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
    /// Null where no TLS ends.
    tls: Option<TlsView>,
    /// Null where no authority issues a certificate.
    acme: Option<AcmeView>,
    routes: Vec<RouteView>,
}

#[derive(Serialize)]
struct AcmeView {
    directory: String,
    domains: Vec<String>,
    challenge: &'static str,
    /// When the certificate in storage ends; null if there is none.
    not_after: Option<String>,
    /// When it is to be issued anew; null if that is not known yet.
    next_attempt: Option<String>,
    /// In a row.
    failures: u32,
    /// What went wrong last; null if nothing has since it was issued.
    last_error: Option<String>,
}

#[derive(Serialize)]
struct TlsView {
    /// In the order of the file: the first one is for those that no other fits.
    certificates: Vec<CertificateView>,
    /// Changes of files that were taken without a reload.
    renewals: u64,
    /// Those that were refused.
    renewals_refused: u64,
    /// Why files are not used as they are now, a sentence each; empty if they are.
    problems: Vec<String>,
}

#[derive(Serialize)]
struct CertificateView {
    /// Its file.
    name: String,
    /// The host names that it is for.
    names: Vec<String>,
    /// When it ends, as RFC 3339.
    not_after: String,
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
    /// How many of its backends live traffic may take out at the same time; null if it takes none out.
    most_ejected: Option<usize>,
    /// Which backends carry the traffic: `primary`, `backup`, `both`, `panic` or `none`.
    tier: &'static str,
    panic: bool,
    /// What there is to say of that; null while the healthy primaries carry it.
    tier_reason: Option<String>,
    /// Requests and connections that wait for a backend.
    pending: u32,
    /// Why files of its TLS are not used as they are now, a sentence each.
    tls_problems: Vec<String>,
    /// Null for a pool whose backends all stand in the file.
    discovery: Option<DiscoveryView>,
    backends: Vec<BackendView>,
}

#[derive(Serialize)]
struct DiscoveryView {
    /// `dns app.internal:8080`.
    source: String,
    /// Backends that were found and are used.
    backends: u64,
    /// When an answer could be used last, as RFC 3339; null if none could yet.
    last_success: Option<String>,
    /// Questions that came to nothing.
    failures: u64,
    /// Why the last question came to nothing; null if it did not.
    last_error: Option<String>,
    /// What was found and is not used, and why.
    left_out: Vec<String>,
}

/// One backend; the rest of the API shows it in the same form.
#[derive(Serialize)]
pub(super) struct BackendView {
    name: String,
    address: String,
    state: &'static str,
    /// `file`, or `operator` while an order holds.
    set_by: &'static str,
    health: &'static str,
    /// Why health is what it is; empty if nothing was said.
    reason: String,
    /// Since when it is that, as RFC 3339; null since the start.
    since: Option<String>,
    /// When its ejection is over, as RFC 3339. One that is ejected may be down as well.
    ejected_until: Option<String>,
    /// How often live traffic has taken it out.
    ejections: u64,
    /// How much of its weight counts, in percent: less than 100 for a while after it came back, where the pool has
    /// `slow_start`.
    share: f64,
    weight: u32,
    backup: bool,
    zone: Option<String>,
    /// Null if there is no limit.
    max_connections: Option<u32>,
    /// Requests and connections in flight.
    active: u32,
    /// Nobody is sent there any more, and it has nothing left.
    safe_to_stop: bool,
    /// How it is let go; null while it takes traffic.
    drain: Option<DrainView>,
    requests: u64,
    errors: u64,
    latency_ms: Latency,
    last_error: Option<String>,
}

/// A backend that is let go.
#[derive(Serialize)]
struct DrainView {
    /// Since it began, in milliseconds.
    since_ms: u64,
    /// Until what is left is cut, in milliseconds; null if that is not going to happen.
    left_ms: Option<u64>,
    /// Clients that are bound to it are sent there until then.
    bound: bool,
    /// Requests and connections that were cut.
    cut: u64,
}

/// Null while nothing was measured.
#[derive(Serialize)]
struct Latency {
    p50: Option<f64>,
    p99: Option<f64>,
}

pub(super) fn of(admin: &Admin) -> Status {
    let snapshot = admin.cell.load();
    let record = admin.reloader.record();
    let now = (admin.clock)();
    Status {
        version: admin.version,
        config: Config {
            generation: snapshot.generation,
            loaded_at: record.loaded_at,
            source: record.source,
            last_reload_success: record.last_reload_success,
            reloads: record.reloads,
            refused: record.refused,
            last_error: record.last_error,
        },
        listeners: snapshot.listeners.iter().map(|listener| listener_view(listener, admin)).collect(),
        pools: snapshot.pools.iter().map(|pool| pool_view(pool, admin, now)).collect(),
    }
}

fn listener_view(listener: &Listener, admin: &Admin) -> ListenerView {
    let (stamp, shards) = (admin.stamp, &listener.status.shards);
    let routes = listener.routes.routes().iter().map(|route| RouteView {
        name: route.name.to_string(),
        requests: route.sum(|shard| shard.codes.total()),
        failures: route.sum(|shard| shard.failures.total()),
    });
    ListenerView {
        name: listener.name.to_string(),
        protocol: listener.protocol.word(),
        binds: admin.bounds.of(listener).iter().map(ToString::to_string).collect(),
        connections: listener.status.open(),
        connections_total: shards.sum(|shard| shard.accepted.value()),
        rejected: shards.sum(|shard| shard.rejected.total()),
        bytes_in: shards.sum(|shard| shard.bytes_in.value()),
        bytes_out: shards.sum(|shard| shard.bytes_out.value()),
        tls: listener.tls.as_ref().map(|tls| TlsView {
            certificates: tls
                .certificates
                .iter()
                .map(|certificate| certificate_view(certificate, stamp))
                .collect(),
            renewals: listener.status.renewal.times_taken(),
            renewals_refused: listener.status.renewal.times_refused(),
            problems: listener.status.renewal.problems().to_vec(),
        }),
        acme: listener.acme.as_ref().map(|acme| acme_view(acme, stamp)),
        routes: routes.collect(),
    }
}

fn acme_view(acme: &Acme, stamp: Stamp) -> AcmeView {
    let time = |seconds: &AtomicU64| {
        Some(seconds.load(Ordering::Relaxed))
            .filter(|seconds| *seconds > 0)
            .map(|seconds| stamp(When::Unix(seconds)))
    };
    AcmeView {
        directory: acme.directory.to_string(),
        domains: acme.domains.iter().map(ToString::to_string).collect(),
        challenge: acme.challenge.word(),
        not_after: time(&acme.status.not_after),
        next_attempt: time(&acme.status.next_attempt),
        failures: acme.status.failures.load(Ordering::Relaxed),
        last_error: acme.status.last_error().map(|sentence| sentence.to_string()),
    }
}

fn certificate_view(certificate: &Certificate, stamp: Stamp) -> CertificateView {
    CertificateView {
        name: certificate.name.to_string(),
        names: certificate.names.iter().map(ToString::to_string).collect(),
        not_after: stamp(When::Unix(certificate.not_after)),
    }
}

fn pool_view(pool: &Pool, admin: &Admin, now: Moment) -> PoolView {
    let standing = Standing::of(pool);
    PoolView {
        name: pool.name.to_string(),
        balance: pool.balance.word(),
        tier: standing.tier.word(),
        panic: standing.tier == Tier::Panic,
        tier_reason: standing.sentence(pool.panic),
        pending: pool.status.pending.load(Ordering::Relaxed),
        tls_problems: pool.status.renewal.problems().to_vec(),
        discovery: pool.discover.as_ref().map(|source| discovery_view(pool, source, admin.stamp)),
        most_ejected: pool.most_ejected(),
        backends: pool.backends.iter().map(|backend| backend_view(pool, backend, now, admin.stamp)).collect(),
    }
}

fn discovery_view(pool: &Pool, source: &Source, stamp: Stamp) -> DiscoveryView {
    let status = &pool.status.discovery;
    DiscoveryView {
        source: source.to_string(),
        backends: status.found(),
        last_success: status.last_success().map(|seconds| stamp(When::Unix(seconds))),
        failures: status.failures(),
        last_error: status.last_error().map(|sentence| sentence.to_string()),
        left_out: status.left_out().to_vec(),
    }
}

/// A backend as it is now.
pub(super) fn backend_view(pool: &Pool, backend: &Backend, now: Moment, stamp: Stamp) -> BackendView {
    let status = &backend.status;
    let view = status.view();
    let latency: HistogramView = status.shards.iter().map(|shard| &shard.latency).collect();
    let orders = status.operator.orders();
    let ordered = orders.state.is_some_and(|order| order.file == backend.state)
        || orders.weight.is_some_and(|order| order.file == backend.weight);
    let drain = status.drain.began().map(|began| DrainView {
        since_ms: now.since(began).0,
        left_ms: (status.drain.ends() != Moment::NEVER).then(|| status.drain.ends().since(now).0),
        bound: status.drain.binds() && now < status.drain.ends(),
        cut: status.drain.cut(),
    });
    let millis = |share| latency.quantile(share).map(|micros| micros as f64 / 1000.0);
    BackendView {
        name: backend.name.to_string(),
        address: backend.endpoint.to_string(),
        state: backend.state_now().word(),
        set_by: if ordered { "operator" } else { "file" },
        health: view.health().word(),
        reason: view.reason().to_string(),
        since: Some(view.since()).filter(|since| *since > Moment(0)).map(|since| stamp(When::At(since))),
        ejected_until: view.ejection().map(|ejection| stamp(When::At(ejection.until))),
        ejections: status.ejections.load(Ordering::Relaxed),
        share: f64::from(pool.share_of(backend)) / 10.0,
        weight: backend.weight_now(),
        backup: backend.backup,
        zone: backend.zone.as_deref().map(str::to_owned),
        max_connections: Some(backend.max_connections).filter(|most| *most != u32::MAX),
        active: status.active.load(Ordering::Relaxed),
        safe_to_stop: status.has_left(now),
        drain,
        requests: status.shards.sum(|shard| shard.codes.total()),
        errors: status.shards.sum(|shard| shard.errors.value()),
        latency_ms: Latency { p50: millis(0.5), p99: millis(0.99) },
        last_error: status.last_error().map(|sentence| sentence.to_string()),
    }
}
