//! Which keys of two compiled things say something else.
//!
//! Every field is named here, those that are not compared included, so that a new field cannot be forgotten: without it
//! this does not compile.

use crate::{
    listener::Listener,
    pool::{Backend, Pool, PoolIndex},
    route::{Action, Route},
    snapshot::{Logging, Process, Snapshot},
};

/// The keys whose fields differ. What follows `besides` is not compared here.
macro_rules! differences {
    ($old:expr, $new:expr, $kind:ident { $($field:ident => $key:literal),* $(,)? } besides { $($other:ident),* }) => {{
        let ($kind { $($field: _,)* $($other: _),* }, old, new) = ($old, $old, $new);
        let mut keys: Vec<&'static str> = Vec::new();
        $(if old.$field != new.$field { keys.push($key); })*
        keys
    }};
}

/// Keys of a listener, without what its routes say.
pub(super) fn listener(
    (old, from): (&Listener, &Snapshot),
    (new, to): (&Listener, &Snapshot),
) -> Vec<&'static str> {
    let mut keys = differences!(old, new, Listener {
        binds => "bind",
        protocol => "protocol",
        sni => "sni",
        tls => "tls",
        acme => "tls.acme",
        timeouts => "timeouts",
        limits => "limits",
        accept_proxy => "accept_proxy_protocol",
        trusted_proxies => "trusted_proxies",
        access => "allow or deny",
        normalize => "normalize",
        tcp => "tcp",
        errors => "errors",
    } besides { name, max_connections, routes, status });
    // One that has no number of its own has that of the process, which need not come from the file.
    let limit = |listener: &Listener, snapshot: &Snapshot| {
        Some(listener.max_connections).filter(|own| *own != snapshot.process.connections)
    };
    if limit(old, from) != limit(new, to) {
        keys.push("max_connections");
    }
    let (before, after) = (old.routes.routes(), new.routes.routes());
    let same = before.len() == after.len()
        && before.iter().zip(after).all(|(a, b)| a.name == b.name && route((a, from), (b, to)).is_empty());
    if !same {
        keys.push("routes");
    }
    keys
}

/// Keys of a route.
pub(super) fn route((old, from): (&Route, &Snapshot), (new, to): (&Route, &Snapshot)) -> Vec<&'static str> {
    let mut keys = differences!(old, new, Route {
        conditions => "match",
        rewrite => "rewrite",
        request_headers => "request_headers",
        response_headers => "response_headers",
        grpc_web => "grpc_web",
        timeout => "timeout",
        retry => "retry",
    } besides { name, action, has_variables, status });
    // Pools are named by their place, which moves when others come and go.
    let pool = |a: PoolIndex, b: PoolIndex| from.pools[a].name == to.pools[b].name;
    let same = match (&old.action, &new.action) {
        (Action::Pool(a), Action::Pool(b)) => pool(*a, *b),
        (Action::Split(a), Action::Split(b)) => {
            a.arms.len() == b.arms.len()
                && a.arms.iter().zip(&b.arms).all(|(a, b)| pool(a.0, b.0) && a.1 == b.1)
        }
        (Action::Redirect(a), Action::Redirect(b)) => a == b,
        (Action::Respond(a), Action::Respond(b)) => a == b,
        _ => false,
    };
    if !same {
        keys.push(match new.action {
            Action::Pool(_) => "pool",
            Action::Split(_) => "split",
            Action::Redirect(_) => "redirect",
            Action::Respond(_) => "respond",
        });
    }
    keys
}

/// Keys of a pool.
pub(super) fn pool(old: &Pool, new: &Pool) -> Vec<&'static str> {
    let mut keys = differences!(old, new, Pool {
        balance => "balance",
        protocol => "protocol",
        discover => "discover",
        health => "health",
        outlier => "outlier",
        slow_start => "slow_start",
        panic => "panic",
        zones => "zone_aware",
        sticky => "sticky",
        connect_timeout => "connect_timeout",
        response_timeout => "response_timeout",
        stream_idle => "stream_idle",
        drain => "drain",
        keepalive => "keepalive",
        tls => "tls",
        send_proxy => "send_proxy_protocol",
        limits => "limits",
    } besides { name, backends, servers, occupancy, hash_table, status });
    let same = old.backends.len() == new.backends.len()
        && old.backends.iter().zip(&new.backends).all(|(a, b)| a.name == b.name && backend(a, b).is_empty());
    if !same {
        keys.push("backends");
    }
    keys
}

/// Keys of a backend.
pub(super) fn backend(old: &Backend, new: &Backend) -> Vec<&'static str> {
    differences!(old, new, Backend {
        endpoint => "address",
        weight => "weight",
        state => "state",
        backup => "backup",
        max_connections => "max_connections",
        server_id => "server_id",
        zone => "zone",
    } besides { name, status })
}

/// Keys of the process: those that take effect at once, and those that wait for its next start.
pub(super) fn process(from: &Snapshot, to: &Snapshot) -> (Vec<&'static str>, Vec<&'static str>) {
    let (old, new) = (&from.process, &to.process);
    let mut at_once = differences!(old, new, Process {
        shutdown_announce => "shutdown.announce",
        shutdown_drain => "shutdown.drain",
        upgrade_drain => "upgrade.drain",
        zone => "zone",
    } besides { connections, workers, pin, admin, admin_token });
    if old.connections != new.connections && (from.connections_given || to.connections_given) {
        at_once.push("limits.connections");
    }
    let mut next_start = differences!(old, new, Process {
        workers => "workers",
        pin => "workers.pin",
        admin => "admin.bind",
    } besides { shutdown_announce, shutdown_drain, upgrade_drain, admin_token, zone, connections });
    if old.admin_token != new.admin_token {
        let keys = if token_waits(old, new) { &mut next_start } else { &mut at_once };
        keys.push("admin.token_file");
    }
    (at_once, next_start)
}

/// True if the token goes together with the socket that it guards, which cannot go before the next start: without it, everybody
/// on this machine could give orders there until then.
fn token_waits(running: &Process, new: &Process) -> bool {
    running.admin != new.admin && new.admin_token.is_none()
}

/// Keys about logs.
pub(super) fn logging(old: &Logging, new: &Logging) -> Vec<&'static str> {
    differences!(old, new, Logging {
        access => "access_log",
        process => "log",
        debug_headers => "debug_headers",
    } besides { status })
}

/// Puts back what a running process cannot change: its threads, and the socket that it answers operators on.
pub(super) fn keep_until_next_start(running: &Process, new: &mut Process) {
    new.workers = running.workers;
    new.pin = running.pin;
    if token_waits(running, new) {
        new.admin_token.clone_from(&running.admin_token);
    }
    new.admin.clone_from(&running.admin);
}
